"""Strict reading of a TOML file that a person wrote: an error names the file, the line and the key.

A key that nobody asked for is refused, so that a slip of the pen is an error and not a silent default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from comity.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9]{0,19}(-[a-z0-9]{1,19})?")
"""What may be named: it becomes a host name, and the beginning of others."""
MAX_LINE = 4096
"""Characters of a line: a key of many parts costs memory by their square, and int refuses a number of 4301 digits."""
MAX_SHOWN = 60
"""Characters of a wrong value that are shown."""
_QUOTED_OR_BARE = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^\s.\"']+)")


class Table:
    """One table of a file. What is read is gone; `end` refuses what is left."""

    def __init__(self, values: dict[str, Any], where: tuple[str | int, ...], source: Source) -> None:
        self._values, self.where, self.source = dict(values), where, source

    def fail(self, key: str, why: str) -> NoReturn:
        self.source.fail((*self.where, key), why)

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, default: str | None = None, *, choices: Sequence[str] | None = None) -> str:
        value = self._take(key, default, str, "a text")
        if choices is not None and value not in choices:
            self.fail(key, _not_among(value, choices))
        return str(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        return bool(self._take(key, default, bool, "true or false"))

    def number(self, key: str, default: float | None = None, *, low: float = 0, high: float) -> float:
        return self.check_number(key, self._take(key, default, (int, float), "a number"), low, high)

    def check_number(self, key: str, value: object, low: float, high: float) -> float:
        """`value` as a float. TOML's nan and inf, and bool, are no numbers here."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fail(key, f"{_shown(value)} is no number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int | None = None, *, low: int = 0, high: int) -> int:
        return self.check_whole(key, self._take(key, default, int, "a whole number"), low, high)

    def check_whole(self, key: str, value: object, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(key, f"{_shown(value)} is no whole number from {low} to {high}")
        return value

    def items(self, key: str, default: list[Any] | None = None, *, most: int) -> list[Any]:
        value: list[Any] = self._take(key, default, list, "a list")
        if len(value) > most:
            self.fail(key, f"more than {most}")
        return value

    def names(
        self, key: str, default: list[str] | None = None, *, most: int, choices: Sequence[str]
    ) -> tuple[str, ...]:
        """A list of texts out of `choices`, each once."""
        found = self.items(key, default, most=most)
        for value in found:
            if value not in choices:
                self.fail(key, _not_among(value, choices))
        return tuple(found)

    def table(self, key: str, default: dict[str, Any] | None = None) -> Table:
        return Table(self._take(key, default, dict, "a table"), (*self.where, key), self.source)

    def tables(self, key: str, *, most: int) -> list[Table]:
        """An array of tables, or of inline tables; empty where there is none."""
        found = self.items(key, [], most=most)
        for value in found:
            if not isinstance(value, dict):
                self.fail(key, f"{_shown(value)} is no table")
        return [Table(value, (*self.where, key, i), self.source) for i, value in enumerate(found)]

    def named(self) -> Iterator[tuple[str, Table]]:
        """Every table below this one, in the file's order, with its name."""
        for key in self.keys():
            yield key, self.table(key)

    def keys(self) -> list[str]:
        """Every key, in the file's order: each a name."""
        for key in self._values:
            if not NAME.fullmatch(key):
                self.fail(key, "a name is up to 20 small letters and digits, and as many again after one hyphen")
        return list(self._values)

    def end(self) -> None:
        for key in self._values:
            self.fail(key, "there is no such key")

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], what: str) -> Any:
        if key not in self._values:
            if default is None:
                self.fail(key, "it is missing")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, f"{_shown(value)} is not {what}")
        return value


class Source:
    """A file's text, and what people call it."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def read(self) -> Table:
        """The file as one table. Raises UsageError where it is no TOML."""
        for place, line in enumerate(self._text.splitlines(), 1):
            if len(line) > MAX_LINE:
                raise UsageError(f"{self._name}, line {place}: it is longer than {MAX_LINE} characters")
        try:
            return Table(tomllib.loads(self._text), (), self)
        except tomllib.TOMLDecodeError as exc:
            why = re.sub(r" \(at line (\d+), column \d+\)$", "", str(exc))
            found = re.search(r"at line (\d+)", str(exc))
            at = int(found[1]) if found else self._text.count("\n") + 1
            raise UsageError(f"{self._name}, line {at}: {why[:1].lower()}{why[1:]}") from exc
        except RecursionError as exc:
            raise UsageError(f"{self._name}: lists or tables are nested too deeply") from exc

    def fail(self, where: Sequence[str | int], why: str) -> NoReturn:
        """Raises UsageError."""
        key = ".".join(str(part) for part in where if isinstance(part, str))
        raise UsageError(f"{self._name}, line {self.line(where)}, {key}: {why}")

    def line(self, where: Sequence[str | int]) -> int:
        """The line that comes closest to a key: its own, that of an inline table around it, or its table's head."""
        best, depth = 1, 0
        head: tuple[str | int, ...] = ()
        seen: dict[str, int] = {}
        for number, line in enumerate(self._text.splitlines(), 1):
            if found := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line):
                head = _parts(found[2])
                if found[1] == "[[":
                    seen[found[2]] = seen.get(found[2], -1) + 1
                    head = (*head, seen[found[2]])
                path: tuple[str | int, ...] = head
            elif found := re.match(r"\s*([\w\"'.-]+)\s*=", line):
                path = (*head, *_parts(found[1]))
            else:
                continue
            if len(path) > depth and tuple(where[: len(path)]) == path:
                best, depth = number, len(path)
        return best


def _parts(text: str) -> tuple[str | int, ...]:
    return tuple(double or single or bare for double, single, bare in _QUOTED_OR_BARE.findall(text))


def _shown(value: object) -> str:
    """Of a wrong value as much as one line has room for."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _not_among(value: object, choices: Sequence[str]) -> str:
    return f"{_shown(value)} is " + (f"none of {', '.join(choices)}" if choices else "nowhere in this file")
