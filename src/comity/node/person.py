"""What the node needs of the person at the terminal; the command line implements it."""

from __future__ import annotations

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

    async def ask_hidden(self, question: str, /, *, option: str) -> str:
        """A text that is not shown while it is typed. Raises UsageError as `ask` does."""
        ...
