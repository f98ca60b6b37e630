"""What people and scripts see: one line a phase on stderr, questions on the terminal, errors with hints.

    Label      text                      one JSON object a line with --json:   {"event": "joined", "name": "bob"}
               more text
    error: what happened                 {"event": "error", "kind": ..., "message": ..., "hints": [...], "exit": 4}
    hint: what to do

stdout is the program's. What is said while a question is open takes its place on a terminal, and the question moves
down, so that it is always the last line.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from comity.cli.answers import Answers, from_descriptor, from_terminal
from comity.cli.screen import Screen
from comity.core.display import harmless
from comity.core.words import WORDS, meant
from comity.errors import ComityError, UsageError
from comity.node.meeting import all_of

TRIES = 3
"""Wrong words of one person after which it is no mishearing any more."""
ROOM = 12
"""Columns behind a question that an answer needs: the longest word, and some."""

_YES_NO = {"y": True, "yes": True, "n": False, "no": False}

T = TypeVar("T")


@dataclass(frozen=True)
class _Question:
    label: str
    lines: tuple[str, ...]
    suffix: str
    option: str  # what would have answered it
    event: str = ""  # none: it was told already
    fields: Mapping[str, object] = field(default_factory=dict)
    secret: bool = False  # the answer is not repeated
    early: bool = False  # it may be typed ahead
    hidden: bool = False  # a terminal does not show it while it is typed

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
        self._environ = os.environ if environ is None else environ
        self._screen = Screen(sys.stderr if stream is None else stream, self._environ, plain=as_json)
        self._turn = asyncio.Lock()  # one question at a time
        self._interrupt: Callable[[str], None] | None = None  # says something in front of the question that is open
        self._clean = True  # the cursor stands at a line's begin, as far as we know

    # -- telling -----------------------------------------------------------------------------------------------------

    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        """One thing that happened; each further line stands under the first. --json gives `fields` instead."""
        if self.json:
            self._event(event, fields)
        elif not self.quiet:
            self._say(self._screen.block(label, lines).rstrip())

    def detail(self, *lines: str, event: str, **fields: object) -> None:
        """The same for those who asked for more, with --verbose."""
        if self.verbose:
            self.line("", *lines, event=event, **fields)

    def error(self, exc: ComityError) -> None:
        """Also with --quiet."""
        if self.json:
            hints = list(exc.hints)
            self._event("error", {"kind": exc.kind, "message": exc.message, "hints": hints, "exit": exc.exit_code})
        else:
            self._say(self._screen.error(exc.message, exc.hints))

    def key_pressed(self) -> None:
        """After Ctrl-C, of which a terminal shows ^C: what is said next begins a line of its own."""
        if self._screen.terminal and self._clean:
            self._screen.put("\n")

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

        return await self._answer(_Question(label, lines, " [y/n] ", option, event, fields), understand)

    async def compare(self, words: tuple[str, ...], own: str, others: Mapping[str, str], /, *, option: str) -> bool:
        """Whether everybody sees the same words: a person types what each of the others alone can say.

        A yes by habit is therefore none (docs/adr/0010). A script compares by itself, and says y or n once.
        """
        people = list(others)
        block = (
            f"call one another: {all_of(len(people) + 1)} must see",
            f"  {'  '.join(words)}",
            "and you alone see your own word, which you tell the others:",
            f"  {own}",
        )
        question = f"did you hear these words from {' and from '.join(people)}?"
        fields = {"words": list(words), "people": people, "own": own}
        if self._answers is not None or self._no_input:
            return await self.ask("Check", *block, question, option=option, event="check", **fields)
        if self.json:
            self._event("check", {**fields, "question": question, "option": option})
        first = True
        for name, word in others.items():
            lines = (f"the same at {name}? type the own word of {name}, or no:",)
            asked = _Question(
                "Check" if first else "", (*(block if first else ()), *lines), " ", option, early=not first
            )
            if not await self._answer(asked, _Hearing(name, word, own, words).understand):
                return False
            first = False
        return True

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
        suffix = " " if lines else ""
        return await self._answer(
            _Question(label, lines, suffix, option, event, fields, secret=True, early=True), check
        )

    async def ask_hidden(self, question: str, /, *, option: str) -> str:
        """A text that nobody sees: a terminal does not echo it. Spaces around it do not count."""
        asked = _Question("Private", (question,), " ", option, "question", secret=True, hidden=True)
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
                if source.terminal and not question.early:
                    source.forget()
                if self.json and question.event:
                    self._event(
                        question.event, {**question.fields, "question": question.name, "option": question.option}
                    )
                again = screen.block(*question.shown_again, room=ROOM) + question.suffix
                prompt = screen.block(question.label, question.lines, room=ROOM) + question.suffix
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
                        screen.put(screen.block("", (exc.message, *exc.hints)) + "\n")
                        prompt = again

    async def _reply(
        self, source: Answers, screen: Screen, question: _Question, prompt: str, repeated: str
    ) -> str | None:
        if self.json and not source.terminal:
            return await source.line()  # whoever answers has read the event

        def interrupt(text: str) -> None:
            if source.terminal and source.finished():  # it was answered just now
                screen.put(text)
                return
            if source.terminal:
                source.forget()  # half a line: what counts is what stands behind the question
            back = screen.back(repeated) if source.terminal else ""
            screen.put((back or "\n") + text + repeated)

        answer = None
        broken_off = True
        try:
            with source.hidden() if question.hidden else nullcontext():
                screen.put(prompt)
                self._interrupt = interrupt if screen is self._screen else None
                self._clean = self._interrupt is None
                answer = await source.line()
            broken_off = False
        finally:
            self._interrupt, self._clean = None, True
            shown = source.terminal and not question.hidden  # the answer and its line's end
            back = screen.back(repeated) if broken_off and source.terminal else ""
            if broken_off and source.terminal:
                source.forget()  # half an answer would be the shell's
                self._clean = not back
            if answer is None or not shown:
                screen.put(back or ("" if question.secret else harmless(answer or "", 40)) + "\n")
        return answer

    @contextmanager
    def _source(self, question: _Question) -> Iterator[tuple[Answers, Screen]]:
        """Where the answer comes from and where the question stands."""
        if self._answers is not None:
            yield self._answers, self._screen
            return
        source = self._find_terminal(question.name, question.option)
        try:
            if self._screen.terminal:
                yield source, self._screen
            else:
                with open(source.fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stream:
                    yield source, Screen(stream, self._environ, plain=self.json)
        finally:
            os.close(source.fd)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _event(self, event: str, fields: Mapping[str, object]) -> None:
        self._say(json.dumps({"event": event, **fields}))  # ASCII: escapes keep it harmless

    def _say(self, text: str) -> None:
        if self._interrupt is not None:
            self._interrupt(text + "\n")
        else:
            self._screen.put(text + "\n")


@dataclass
class _Hearing:
    """One person's own word, as another one heard it."""

    name: str
    word: str
    own: str  # of the person who types
    words: tuple[str, ...]  # that all see
    wrong: int = 0

    def understand(self, answer: str) -> bool:
        """False: it is another one, or the person says so. Raises UsageError for what is neither."""
        if _YES_NO.get(answer.lower()) is False:
            return False
        typed = meant(answer)
        if typed == self.word:
            return True
        if not answer or answer.lower() in _YES_NO:
            raise UsageError(f"a yes is not enough: type the word that {self.name} alone can tell you, or no")
        if not typed:
            close = difflib.get_close_matches(answer.lower(), WORDS, n=3)
            hint = f"near it are: {', '.join(close)}" if close else ()
            raise UsageError(f"'{harmless(answer, 40)}' is none of the words", hint=hint)
        if typed == self.own or typed in self.words:
            raise UsageError(f"{typed} stands on your screen: {self.name} has a word that does not")
        self.wrong += 1
        if self.wrong == TRIES:
            return False
        raise UsageError(f"{typed} is not the own word of {self.name}: have it spelled, or type no")
