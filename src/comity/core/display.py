"""Text from others on somebody's terminal: it is shown, and does nothing."""

from __future__ import annotations

import unicodedata

from comity.core.identity import INVISIBLE

MAX_LINE = 8192
"""Characters of one line: twice the longest invitation."""
MAX_MARKS = 3
"""Combining marks on one letter: real scripts use up to three; a tower of them covers other lines."""


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


def harmless_lines(text: str) -> str:
    """The same for text of several lines, such as a traceback: its line ends and spaces in front stay."""
    return "\n".join(harmless(line.replace("\t", "    ")) for line in text.split("\n"))
