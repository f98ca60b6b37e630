"""Transcripts: what each party sees and types, played by real processes.

    # a comment
    (when alice sees: Joined     bob)        the next section begins only then
    carol$ comity join <link>                a section: this is typed at the prompt, as soon as the <link> is known; the
                                             lines below are shown
    Check      call one another              a line of text, as it must stand there
                 <words>                     a pattern of PATTERNS: the same wherever it stands, unless it VARIES
               is it so? [y/n] «y»           typed, with Enter; «^C» is a key; after a (when ...), then
                                             (a question that is not answered is taken off the screen in the end)
    | 2 [1, 0]                               a line of the program
    ...                                      any lines

The sections of one party follow one another on its terminal; those of different parties run side by side. Bold and
colours do not count in a transcript that does not show them (␛ stands for escape).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.transcripts.terminal import Terminal

PATTERNS = {
    "link": r"comity://[\w-]+",
    "words": r"[a-z]+  [a-z]+  [a-z]+",
    "digest": r"[0-9a-f]{4} [0-9a-f]{4}",
    "draw": r"\[\d+(?:, \d+)*\]",
    "own": r"[a-z]+",
    "name": r"[a-z]+",
    "identity": r"[a-z2-7]{4}(?:-[a-z2-7]{2,4}){6}",
    "date": r"\d{4}-\d\d-\d\d",
    "ms": r"\d+\.\d ms",
    "s": r" *\d+\.\d+ s",
    "size": r"\d+(?:\.\d)? [kM]?B",
    "text": r".+",
}
VARIES = ("ms", "s", "size", "text")
"""Patterns that stand for something else each time; of the others, `<name two>` is another one than `<name one>`."""
CHANCE = ("own",)
"""But for these, of which two may be the same by chance."""

_PATTERN = re.compile(rf"<((?:{'|'.join(PATTERNS)})(?: \w+)?)>")
_COMMAND, _WHEN = re.compile(r"(\w+)\$ (.*)"), re.compile(r"\(when (\w+) sees: (.*)\)")
_TYPED = re.compile(r"(.*?) ?«(.*)»")


@dataclass(frozen=True)
class Line:
    text: str
    typed: str | None = None
    program: bool = False
    place: int = 0  # how many lines that are not the program's stand before it
    when: tuple[str, str] | None = None  # of what is typed: another party, and what it must see before

    @property
    def keys(self) -> str:
        """What goes to the terminal: a line, or one key such as ^C."""
        typed = self.typed or ""
        return chr(ord(typed[1]) - 64) if typed.startswith("^") else typed + "\n"


@dataclass
class Section:
    party: str
    command: str
    when: tuple[str, str] | None  # another party, and what it sees
    lines: list[Line] = field(default_factory=list)

    def add(self, text: str, when: tuple[str, str] | None) -> None:
        place = sum(not line.program for line in self.lines)
        if text.startswith("| "):
            self.lines.append(Line(text[2:], program=True, place=place))
        elif found := _TYPED.fullmatch(text):
            self.lines.append(Line(found[1].rstrip(), found[2], place=place, when=when))
        else:
            self.lines.append(Line(text.rstrip(), place=place))


def read(text: str) -> list[Section]:
    sections: list[Section] = []
    when: tuple[str, str] | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if found := _WHEN.fullmatch(line):
            when = found[1], found[2]
        elif found := _COMMAND.fullmatch(line):
            sections.append(Section(found[1], found[2], when))
            when = None
        elif sections and (line or when is None):
            sections[-1].add(line, when)
            when = None
    for section in sections:
        while section.lines and not section.lines[-1].text:
            section.lines.pop()
    return sections


class Play:
    """One transcript, on terminals of its own below `folder`, where `programs` are at hand."""

    def __init__(self, text: str, folder: Path, programs: Path) -> None:
        self._sections = read(text)
        self._known: dict[str, str] = {}
        self._news = asyncio.Event()
        names = dict.fromkeys(section.party for section in self._sections)
        self.terminals = {name: Terminal(name, folder / name, programs, raw="␛" in text) for name in names}
        self._waits = dict.fromkeys(names, "")

    async def run(self, seconds: float) -> None:
        """Raises AssertionError with all screens when something else happens, or nothing in time."""
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for terminal in self.terminals.values():
                    group.create_task(self._party(terminal))
        except* (AssertionError, TimeoutError) as errors:
            problems = [str(error) or f"not over after {seconds} s" for error in errors.exceptions]
            problems += [f"{name} waits for: {text}" for name, text in self._waits.items() if text]
            screens = [f"--- {name}\n{terminal.screen}" for name, terminal in self.terminals.items()]
            raise AssertionError("\n".join((*problems, *screens))) from None

    def close(self) -> None:
        for terminal in self.terminals.values():
            terminal.close()

    async def _party(self, terminal: Terminal) -> None:
        await terminal.until(lambda: terminal.screen == terminal.prompt)
        modes = terminal.modes()
        for section in self._sections:
            if section.party == terminal.name:
                await self._begin(section)
                at = len(terminal.screen)
                command = self.known(section.command)
                terminal.type(command + "\n")
                await _Reading(self, terminal, section, command, at).run()
                assert terminal.modes() == modes, f"{terminal.name}'s terminal is set otherwise than before"
        terminal.type("exit\n")
        self._waits[terminal.name] = "the shell's end"
        await asyncio.to_thread(terminal.shell.wait)
        assert not terminal.left(), f"{terminal.name} left running: {terminal.left()}"
        self._waits[terminal.name] = ""

    async def _begin(self, section: Section) -> None:
        self.waits(section.party, f"what is needed for {section.command}")
        await self.knows(section.command)
        await self.until(section.when)

    async def knows(self, text: str) -> None:
        """Until everything is known that its patterns stand for."""
        needed = {found[1] for found in _PATTERN.finditer(text)}
        while not needed <= set(self._known):
            self._news.clear()
            await self._news.wait()

    async def until(self, when: tuple[str, str] | None) -> None:
        if when is not None:
            other, text = self.terminals[when[0]], when[1]
            await other.until(lambda: f"\n{text}\n" in other.screen)

    def known(self, text: str) -> str:
        """With what its patterns stand for."""
        return _PATTERN.sub(lambda found: self._known[found[1]], text)

    def waits(self, name: str, text: str) -> None:
        self._waits[name] = text

    def matches(self, text: str, shown: str) -> bool:
        """Whether what is shown is what the transcript has; notes what its patterns stand for."""
        groups: dict[str, str] = {}
        parts, at = [], 0
        for found in _PATTERN.finditer(text):
            parts.append(re.escape(text[at : found.start()]))
            at = found.end()
            label, kind = found[1], found[1].partition(" ")[0]
            if label in self._known:
                parts.append(re.escape(self._known[label]))
            elif label in groups:
                parts.append(f"(?P={groups[label]})")
            elif kind in VARIES:
                parts.append(PATTERNS[kind])
            else:
                groups[label] = f"g{len(groups)}"
                parts.append(f"(?P<{groups[label]}>{PATTERNS[kind]})")
        matched = re.fullmatch("".join(parts) + re.escape(text[at:]), shown)
        if matched is None:
            return False
        new = {label: matched[group] for label, group in groups.items()}
        told = [thing for label, thing in (self._known | new).items() if label.partition(" ")[0] not in CHANCE]
        if len(set(told)) < len(told):
            return False  # two names for one thing
        self._known |= new
        self._news.set()
        return True


class _Reading:
    """What one command shows, line by line."""

    def __init__(self, play: Play, terminal: Terminal, section: Section, command: str, at: int) -> None:
        self._play, self._terminal, self._at = play, terminal, at
        self._talk = [Line(command), *(line for line in section.lines if not line.program)]
        self._program = [line for line in section.lines if line.program]
        self._next = 0

    async def run(self) -> None:
        """Until the shell's prompt is there again."""
        terminal = self._terminal
        while True:
            self._play.waits(terminal.name, self._due)
            await terminal.until(lambda: len(terminal.screen) > self._at)
            line, end, _ = terminal.screen[self._at :].partition("\n")
            if end:
                self._take(line)
                self._at += len(line) + 1
            elif line == terminal.prompt and self._done():
                return
            else:
                seen = terminal.screen
                await self._answer(line.rstrip())
                await terminal.until(lambda: terminal.screen != seen)  # noqa: B023 - awaited here

    @property
    def _due(self) -> str:
        return self._talk[self._next].text if self._next < len(self._talk) else self._terminal.prompt

    def _done(self) -> bool:
        left = [line for line in self._talk[self._next :] if line.text != "..."]
        return not left and not self._program

    async def _answer(self, shown: str) -> None:
        """If it is a question that we answer, do."""
        for place, line in enumerate(self._talk[self._next : self._next + 2], self._next):
            if line.typed is not None and self._play.matches(line.text, shown):
                await self._play.until(line.when)
                await self._play.knows(line.keys)
                self._terminal.type(self._play.known(line.keys))
                if line.typed.startswith("^"):  # a key that ends it: the question is taken off the screen
                    self._next = place + 1
            if line.text != "...":
                return

    def _take(self, shown: str) -> None:
        read = self._next + (self._due == "...")
        for line in self._program:
            if line.place < read and self._play.matches(line.text, shown):
                self._program.remove(line)
                return
        late = [line.text for line in self._program if line.place < self._next]
        assert not late, f"{self._terminal.name} waits for: {late[0]}\nand sees: {shown}"
        self._take_talk(shown)

    def _take_talk(self, shown: str) -> None:
        skipping = self._due == "..."
        place = self._next + skipping
        if place < len(self._talk):
            line = self._talk[place]
            text = line.text if line.typed is None else f"{line.text} {line.typed}"
            if self._play.matches(text.rstrip(), shown.rstrip()):
                self._next = place + 1
                return
        assert skipping, f"{self._terminal.name} waits for: {self._due}\nand sees: {shown}"
