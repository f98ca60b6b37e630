"""What the node needs of the person at the terminal; the command line implements it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Person(Protocol):
    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        """Say what happened: a label and lines to people, an event with fields to scripts."""
        ...

    def detail(self, *lines: str, event: str, **fields: object) -> None:
        """The same, for those who want to know more."""
        ...

    async def ask(self, label: str, /, *lines: str, option: str, event: str = "question", **fields: object) -> bool:
        """Yes or no; the last line is the question. `option` would have answered it.

        Raises UsageError where nobody can be asked.
        """
        ...

    def expect(self, question: str, /, *, option: str) -> None:
        """Raises UsageError, as `ask` would, where nobody will be able to answer this one later."""
        ...

    async def compare(self, words: tuple[str, ...], own: str, others: Mapping[str, str], /, *, option: str) -> bool:
        """Whether everybody sees the same words. `own`: what this person alone sees; `others`: what each of the others
        does, by name, which is typed by this person and never shown.

        Raises UsageError as `ask` does.
        """
        ...

    async def ask_hidden(self, question: str, /, *, option: str) -> str:
        """A text that is not shown while it is typed. Raises UsageError as `ask` does."""
        ...


def warn(person: Person, text: str) -> None:
    person.line("Warning", text, event="warning", text=text)
