"""What people and scripts see: one line a phase on stderr, questions on the terminal, errors with hints.

    Label      text                      one JSON object a line with --json:   {"event": "joined", "name": "bob"}
               more text
    error: what happened                 {"event": "error", "kind": ..., "message": ..., "hints": [...], "exit": 4}
    hint: what to do

stdout is the program's. Whatever comes from others passes `harmless` before it reaches a terminal.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TextIO, TypeVar

from comity.cli.answers import Answers, from_descriptor, from_terminal
from comity.core.identity import INVISIBLE
from comity.errors import ComityError, UsageError

COLUMNS = 11
"""Width of a label and the space after it."""
MAX_LINE = 8192
"""Characters of one line: twice the longest invitation."""
MAX_MARKS = 3
"""Combining marks on one letter: real scripts use up to three; a tower of them covers other lines."""

_YES_NO = {"y": True, "yes": True, "n": False, "no": False}


def harmless(text: str, limit: int = MAX_LINE) -> str:
    """One line that shows `text` and does nothing else, of at most `limit` characters.

    Control characters and line ends, marks that turn the direction of writing, invisible and unassigned characters
    become visible as escapes such as \\x1b.
    """
    shown = []
    marks = MAX_MARKS  # a mark at the very start would sit on our own text
    for c in text[: limit + 1]:
        kind = unicodedata.category(c)
        marks = marks + 1 if kind[0] == "M" else 0
        if kind == "Zs":
            shown.append(" ")
        elif kind[0] in "LMNPS" and c not in INVISIBLE and marks <= MAX_MARKS:
            shown.append(c)
        else:
            shown.append(c.encode("unicode_escape").decode())
    line = "".join(shown)
    return line if len(line) <= limit else line[: limit - 1] + "…"


T = TypeVar("T")


@dataclass(frozen=True)
class _Question:
    label: str
    lines: tuple[str, ...]
    suffix: str
    option: str  # what would have answered it
    event: str
    fields: Mapping[str, object]
    secret: bool  # the answer is not repeated, and may be typed ahead
    hidden: bool = False  # nor does a terminal show it while it is typed; then it may not be typed ahead

    @property
    def name(self) -> str:
        return self.lines[-1] if self.lines else self.label

    @property
    def shown_again(self) -> tuple[str, tuple[str, ...]]:
        """Label and lines of a repetition: what stands above the last line can still be read further up."""
        return ("", self.lines[-1:]) if self.lines[1:] else (self.label, self.lines)


class Talk:
    """Says what happens and asks people. For one loop; `answers`: a descriptor, closed by nobody here.

    With `no_input`, or where nobody can be asked, a question is a UsageError that names the option answering it.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_input: bool = False,
        answers: int | None = None,
        stream: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        terminal: str = "/dev/tty",
    ) -> None:
        self.json, self.quiet, self.verbose = as_json, quiet, verbose
        self._no_input, self._terminal = no_input, terminal
        self._answers = None if answers is None else from_descriptor(answers)
        self._stream = sys.stderr if stream is None else stream
        env = os.environ if environ is None else environ
        self._plain = as_json or not self._stream.isatty() or bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb"
        self._turn = asyncio.Lock()  # one question at a time
        self._again: Callable[[], None] | None = None  # shows a question once more that stands on our stream

    # -- telling -----------------------------------------------------------------------------------------------------

    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        """One thing that happened; each further line stands under the first. --json gives `fields` instead."""
        if self.json:
            self._event(event, fields)
        elif not self.quiet:
            self._say(self._block(label, lines).rstrip())

    def detail(self, *lines: str, event: str, **fields: object) -> None:
        """The same for those who asked for more, with --verbose."""
        if self.verbose:
            self.line("", *lines, event=event, **fields)

    def error(self, exc: ComityError) -> None:
        """Also with --quiet."""
        if self.json:
            hints = list(exc.hints)
            self._event("error", {"kind": exc.kind, "message": exc.message, "hints": hints, "exit": exc.exit_code})
            return
        said = [f"{self._paint('error:', '1;31')} {harmless(exc.message)}"]
        said += [f"{self._paint('hint:', '33')} {harmless(hint)}" for hint in exc.hints]
        self._say("\n".join(said))

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, label: str, /, *lines: str, option: str, event: str = "question", **fields: object) -> bool:
        """Whether the answer is yes; the last of `lines` is the question.

        `option`: what would have answered it. --json shows `fields`, the question and the option as `event`.
        What was typed before the question stood there does not count. An empty answer is none, so neither a stray Enter
        nor one whose first half was dropped ends a session for everybody.
        """

        def understand(answer: str) -> bool:
            try:
                return _YES_NO[answer.lower()]
            except KeyError:
                shown = f"'{harmless(answer, 40)}' is neither y nor n" if answer else "type y or n"
                raise UsageError(shown) from None

        question = _Question(label, lines, " [y/n] ", option, event, fields, secret=False)
        return await self._answer(question, understand)

    async def ask_text(
        self,
        label: str,
        /,
        *lines: str,
        option: str,
        event: str = "question",
        check: Callable[[str], T],
        **fields: object,
    ) -> T:
        """What `check` makes of the answer; on a terminal its UsageError is shown and the question asked again."""
        question = _Question(label, lines, " " if lines else "", option, event, fields, secret=True)
        return await self._answer(question, check)

    async def ask_hidden(self, question: str, /, *, option: str) -> str:
        """A text that nobody sees: a terminal does not echo it. Spaces around it do not count."""
        asked = _Question("Private", (question,), " ", option, "question", {}, secret=True, hidden=True)
        return await self._answer(asked, lambda answer: answer)

    def expect(self, question: str, /, *, option: str) -> None:
        """Raises UsageError where this question could not be answered; nothing is shown."""
        self._check_input(question, option)
        if self._answers is None:
            os.close(self._find_terminal(question, option).fd)

    def _check_input(self, question: str, option: str) -> None:
        if self._no_input:
            raise UsageError(f"'{question}' needs an answer", hint=f"answer beforehand with {option}")

    def _find_terminal(self, question: str, option: str) -> Answers:
        """Its descriptor is closed by the caller. Raises UsageError where there is none."""
        source = from_terminal(self._terminal)
        if source is None:
            raise UsageError(
                f"there is no terminal to ask on: {question}",
                hint=(f"answer beforehand with {option}", "or give the answers, a line each, by --answers FD"),
            )
        return source

    async def _answer(self, question: _Question, understand: Callable[[str], T]) -> T:
        self._check_input(question.name, question.option)
        async with self._turn:
            with self._source(question) as (source, screen):
                if source.terminal and (question.hidden or not question.secret):
                    source.forget()
                if self.json:
                    self._event(
                        question.event, {**question.fields, "question": question.name, "option": question.option}
                    )
                prompt = self._block(question.label, question.lines) + question.suffix
                again = self._block(*question.shown_again) + question.suffix
                while True:
                    answer = await self._reply(source, screen, question, prompt, again)
                    if answer is None:
                        raise UsageError(
                            f"'{question.name}' was not answered", hint=f"answer beforehand with {question.option}"
                        )
                    try:
                        return understand(answer.strip())
                    except UsageError as exc:
                        if not source.terminal:  # the next line answers another question
                            raise
                        self._put(screen, self._block("", (exc.message, *exc.hints)) + "\n")
                        prompt = again

    async def _reply(
        self, source: Answers, screen: TextIO, question: _Question, prompt: str, repeated: str
    ) -> str | None:
        if self.json and not source.terminal:
            return await source.line()  # whoever answers has read the event

        def again() -> None:
            if source.terminal:
                if source.finished():
                    return  # it was answered just now
                source.forget()  # half a line: what counts is what stands behind the question
            self._put(screen, repeated)

        answer = None
        try:
            with source.hidden() if question.hidden else nullcontext():
                self._put(screen, prompt)
                self._again = again if screen is self._stream else None
                answer = await source.line()
        finally:
            self._again = None
            shown = source.terminal and not question.hidden  # the answer and its line's end
            if answer is None or not shown:
                self._put(screen, ("" if question.secret else harmless(answer or "", 40)) + "\n")
        return answer

    @contextmanager
    def _source(self, question: _Question) -> Iterator[tuple[Answers, TextIO]]:
        """Where the answer comes from and where the question stands."""
        if self._answers is not None:
            yield self._answers, self._stream
            return
        source = self._find_terminal(question.name, question.option)
        try:
            if self._stream.isatty():
                yield source, self._stream
            else:
                with open(source.fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as screen:
                    yield source, screen
        finally:
            os.close(source.fd)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _block(self, label: str, lines: tuple[str, ...]) -> str:
        head = self._paint(label, "1") + " " * max(COLUMNS - len(label), 1)
        return head + ("\n" + " " * COLUMNS).join(harmless(line) for line in lines)

    def _paint(self, text: str, style: str) -> str:
        return text if self._plain or not text else f"\x1b[{style}m{text}\x1b[0m"

    def _event(self, event: str, fields: Mapping[str, object]) -> None:
        self._say(json.dumps({"event": event, **fields}))  # ASCII: escapes keep it harmless

    def _say(self, text: str) -> None:
        again = self._again
        self._put(self._stream, text + "\n" if again is None else f"\n{text}\n")
        if again is not None:
            again()

    def _put(self, screen: TextIO, text: str) -> None:
        try:
            screen.write(text)
            screen.flush()
        except OSError:  # nobody reads any more: the session matters more than its talk
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, screen.fileno())
            os.close(null)
