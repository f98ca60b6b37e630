"""What people look at: one line for one thing, whatever it is made of, folded to the terminal's width.

Whatever comes from others passes `harmless` before it gets here or to any other output.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import TextIO

from comity.core.display import harmless

COLUMNS = 11
"""Width of a label and the space after it."""
NARROW = 16
"""Columns beside the label below which nothing is folded any more: the terminal does it as well."""
TINTS = (36, 35, 33, 32, 34)
"""Cyan, magenta, yellow, green, blue."""
AS_IT_IS = "  "
"""What a line begins with that is copied or compared, and so never folded by us."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def cells(text: str) -> int:
    """How many columns a text takes."""
    plain = _STYLE.sub("", text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else unicodedata.category(c)[0] != "M" for c in plain)


def fold(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces; a longer word stays whole."""
    if width < NARROW or text.startswith(AS_IT_IS) or cells(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cells(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


class Screen:
    """A stream with people in front of it, or a file. `plain`: no colours."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str], *, plain: bool = False) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self._moves = self.terminal and environ.get("TERM") != "dumb"  # understands escapes
        self._colours = self._moves and not plain and not environ.get("NO_COLOR")

    @property
    def columns(self) -> int:
        """0: nobody knows, or it does not matter."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns if self.terminal else 0
        except (OSError, ValueError):
            return 0

    def block(self, label: str, lines: tuple[str, ...], *, room: int = 0) -> str:
        """A label with lines beside and under it; the last of them leaves `room` columns."""
        return self._beside(self._paint(label, "1") + " " * max(COLUMNS - len(label), 1), COLUMNS, lines, room)

    def error(self, message: str, hints: tuple[str, ...]) -> str:
        said = [self._beside(self._paint("error:", "1;31") + " ", 7, (message,))]
        said += [self._beside(self._paint("hint:", "33") + " ", 6, (hint,)) for hint in hints]
        return "\n".join(said)

    def back(self, text: str) -> str:
        """What takes `text` off the screen again, at whose end the cursor still stands; empty where that cannot be."""
        if not self._moves:
            return ""
        columns = self.columns
        rows = sum(max(1, -(-cells(line) // columns)) if columns else 1 for line in text.split("\n"))
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"

    def put(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:  # nobody reads any more: the session matters more than its talk
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)

    def _beside(self, head: str, indent: int, lines: tuple[str, ...], room: int = 0) -> str:
        width = self.columns - indent
        folded: list[str] = []
        for i, line in enumerate(lines, 1):
            last = i == len(lines)
            folded += fold(harmless(line), width - room if last else width)
        return head + ("\n" + " " * indent).join(folded)

    def tint(self, text: str, number: int) -> str:
        """In one of a few colours, to tell parties apart."""
        return self._paint(text, str(TINTS[number % len(TINTS)]))

    def _paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colours and text else text
