"""Canonical JSON: one value, one text, so that what is signed is what is read.

Objects with string keys in the order of their code points (JavaScript's own order differs above U+FFFF), arrays,
strings, integers of 53 bits, booleans and null; no floats, no spaces, no escapes beyond those JSON demands, each in its
shortest form. A text that is not the encoding of its own value is refused, which also refuses repeated keys. Bytes
travel as lower-case hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from comity.errors import PeerError

MAX_INTEGER = 2**53
"""Integers that a browser's numbers hold exactly."""


class Malformed(PeerError):
    """what arrived is not a message of this protocol"""


def _check(value: Any, what: str, depth: int = 0) -> None:
    if depth > 12:
        raise Malformed(f"{what} is nested too deeply")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if not value.isascii() and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise Malformed(f"{what} holds half a character")
    elif isinstance(value, int):
        if abs(value) >= MAX_INTEGER:
            raise Malformed(f"{what} holds a number that is too large")
    elif isinstance(value, list):
        for item in value:
            _check(item, what, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Malformed(f"{what} has a key that is no text")
            _check(key, what)
            _check(item, what, depth + 1)
    else:
        raise Malformed(f"{what} cannot hold {type(value).__name__}")


def encode(value: Any, what: str = "a message") -> bytes:
    """The one canonical text of a value, as UTF-8. Raises Malformed, which says `what` it is about."""
    _check(value, what)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(data: bytes, limit: int, what: str = "a message") -> Any:
    """The value of a canonical text of at most `limit` bytes. Raises Malformed, which says `what` it is about."""
    if len(data) > limit:
        raise Malformed(f"{what} has {len(data)} bytes, {limit} are allowed")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"{what} is not JSON") from exc
    if encode(value, what) != data:
        raise Malformed(f"{what} is not in canonical form")
    return value


def digest(label: str, *parts: bytes) -> bytes:
    """SHA-256 over a label and length-prefixed parts, 32 bytes: distinct inputs never share an encoding."""
    h = hashlib.sha256()
    for part in (b"comity/1 " + label.encode(), *parts):
        h.update(len(part).to_bytes(8, "big"))
        h.update(part)
    return h.digest()


class Fields:
    """Reads one JSON object strictly: every field named once, of the right type and size, and none left over."""

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{what} is not an object")
        self._rest: dict[str, Any] = dict(value)
        self._what = what

    def _take(self, name: str, kind: type) -> Any:
        value = self._rest.pop(name, None)
        if type(value) is not kind:
            raise Malformed(f"{self._what} has no proper {name}")
        return value

    def text(self, name: str, limit: int) -> str:
        value: str = self._take(name, str)
        if len(value) > limit or any(ord(c) < 32 or ord(c) == 127 for c in value):
            raise Malformed(f"{self._what}: {name} is too long or not printable")
        return value

    def choice(self, name: str, among: tuple[str, ...]) -> str:
        value: str = self._take(name, str)
        if value not in among:
            raise Malformed(f"{self._what}: {name} is none of {', '.join(among)}")
        return value

    def number(self, name: str, low: int, high: int) -> int:
        value: int = self._take(name, int)
        if not low <= value <= high:
            raise Malformed(f"{self._what}: {name} must be from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._take(name, bool))

    def data(self, name: str, low: int, high: int | None = None) -> bytes:
        """Bytes from hexadecimal; between `low` and `high` of them, exactly `low` without `high`."""
        value: str = self._take(name, str)
        most = low if high is None else high
        if len(value) > 2 * most:
            raise Malformed(f"{self._what}: {name} is too long")
        try:
            result = bytes.fromhex(value)
        except ValueError:
            raise Malformed(f"{self._what}: {name} is not hexadecimal") from None
        if result.hex() != value or len(result) < low:
            raise Malformed(f"{self._what}: {name} is not {low} bytes in hexadecimal")
        return result

    def texts(self, name: str, count: int, limit: int) -> tuple[str, ...]:
        value: list[Any] = self._take(name, list)
        if len(value) > count or any(type(v) is not str or len(v) > limit for v in value):
            raise Malformed(f"{self._what}: {name} is not a list of at most {count} texts")
        return tuple(value)

    def items(self, name: str, count: int) -> list[Any]:
        value: list[Any] = self._take(name, list)
        if len(value) > count:
            raise Malformed(f"{self._what}: {name} has more than {count} entries")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        value: dict[str, Any] = self._take(name, dict)
        return value

    def end(self) -> None:
        if self._rest:
            raise Malformed(f"{self._what} has an unknown field {min(self._rest)[:40]!r}")
