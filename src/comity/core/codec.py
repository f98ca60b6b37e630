"""Plain data as tagged bytes, in place of pickle: reading can build values and nothing else.

None, booleans, integers of any size, floats, complex numbers, text, bytes, and lists, tuples, dictionaries and sets of
these, by exact type. A byte of tag stands before each value:

    N T F            None, True, False
    i  count, bytes  integer: two's complement, little endian, bit_length // 8 + 1 bytes
    f c              float, complex: 8 and 16 bytes of IEEE 754, little endian
    s b a            text (UTF-8), bytes, bytearray: count, bytes
    l t d e z        list, tuple, dict, set, frozenset: count, values (keys and values in turn)
    x  kind, value   what an extension carries as another value

A count is one byte below 255, else 255 and five bytes. Two names for one list arrive as two equal lists.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from comity.core.encoding import Malformed
from comity.core.limits import ITEM, MAX_ALIKE, MAX_DEPTH, MAX_ITEMS, MAX_MESSAGE
from comity.errors import ProgramError

_FLOAT, _COMPLEX = struct.Struct("<d"), struct.Struct("<dd")
_CONTAINER = 8
"""What a container costs in items beside its own: an empty set has 216 bytes for its two on the wire."""
_KEY = 6
"""What a key or a set's member costs beside itself: its places in three tables, two of which judge it."""
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}
_BLOBS: dict[type, bytes] = {bytes: b"b", bytearray: b"a"}


class Unsupported(ProgramError):
    """the program sends what cannot be carried"""


class Extension(Protocol):
    """Carries values of further types as values of the types above, or of its own."""

    def pack(self, value: object, /) -> tuple[int, object] | None:
        """A kind (0 .. 255) and what stands for the value; None for a type that it does not know."""
        ...

    def unpack(self, kind: int, content: object, spend: Callable[[int], None], /) -> object:
        """The value. `spend` takes how many items it makes beyond the content's own. Raises Malformed."""
        ...


def dumps(value: object, extension: Extension | None = None) -> bytes:
    """The bytes of a value. Raises Unsupported, which names the type."""
    writer = _Writer(extension)
    writer.write(value, 0)
    data = b"".join(writer.parts)
    if len(data) > MAX_MESSAGE:
        raise Unsupported(
            f"the program sends {len(data)} bytes at once, {MAX_MESSAGE} are allowed", hint="send them in parts"
        )
    return data


def loads(data: bytes, extension: Extension | None = None) -> object:
    """The value of bytes that anybody may have made. Raises Malformed."""
    reader = _Reader(data, extension)
    value = reader.read(0)
    if reader.at != len(data):
        raise Malformed("a value is followed by something")
    return value


def type_name(value: object) -> str:
    """How a value's type is called in a message."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _Writer:
    def __init__(self, extension: Extension | None) -> None:
        self.parts: list[bytes] = []
        self._extension = extension
        self._left = MAX_ITEMS

    def write(self, value: Any, depth: int) -> None:
        """Append a value; exact types only, since a subclass would arrive as something else."""
        kind = type(value)
        if depth > MAX_DEPTH:
            raise Unsupported(f"the program sends a {kind.__name__} nested more than {MAX_DEPTH} deep")
        put = self.parts.append
        if value is None:
            put(b"N")
        elif kind is bool:
            put(b"T" if value else b"F")
        elif kind is int:
            size = value.bit_length() // 8 + 1
            self._spend(size // ITEM)
            put(b"i" + _count(size) + value.to_bytes(size, "little", signed=True))
        elif kind is float:
            put(b"f" + _FLOAT.pack(value))
        elif kind is complex:
            put(b"c" + _COMPLEX.pack(value.real, value.imag))
        elif kind is str:
            text = value.encode("utf-8", "surrogatepass")
            self._spend(_text_cost(text))
            put(b"s" + _count(len(text)) + text)
        elif kind in _BLOBS:
            self._spend(1 + len(value) // ITEM)
            put(_BLOBS[kind] + _count(len(value)))
            put(value)
        elif kind in _SEQUENCES:
            self._spend(_CONTAINER + len(value) * (1 if kind in (list, tuple) else 1 + _KEY))
            put(_SEQUENCES[kind] + _count(len(value)))
            for item in value:
                self.write(item, depth + 1)
        elif kind is dict:
            self._spend(_CONTAINER + len(value) * (2 + _KEY))
            put(b"d" + _count(len(value)))
            for key, item in value.items():
                self.write(key, depth + 1)
                self.write(item, depth + 1)
        else:
            self._extended(value, depth)

    def _extended(self, value: object, depth: int) -> None:
        packed = self._extension.pack(value) if self._extension else None
        if packed is None:
            raise Unsupported(
                f"the program sends a value of type {type_name(value)}, which cannot be carried",
                hint="send numbers, text, lists, dictionaries, arrays, elements of MPyC's fields and groups",
            )
        self.parts.append(b"x" + bytes((packed[0],)))
        self.write(packed[1], depth + 1)

    def _spend(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise Unsupported(f"the program sends more than {MAX_ITEMS} values at once", hint="send them in parts")


def _text_cost(text: bytes) -> int:
    """In items: Python takes four bytes for each character of a text with a single one beyond its first plane."""
    return 1 + len(text) * (1 if text.isascii() else 4) // ITEM


def _count(number: int) -> bytes:
    return bytes((number,)) if number < 255 else b"\xff" + number.to_bytes(5, "little")


class _Reader:
    def __init__(self, data: bytes, extension: Extension | None) -> None:
        self.at = 0
        self._data = data
        self._extension = extension
        self._left = MAX_ITEMS

    def read(self, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise Malformed("a value is nested too deeply")
        tag = self._take(1)
        match tag:
            case b"N":
                return None
            case b"T" | b"F":
                return tag == b"T"
            case b"i":
                return self._integer()
            case b"f":
                return _FLOAT.unpack(self._take(8))[0]
            case b"c":
                return complex(*_COMPLEX.unpack(self._take(16)))
            case b"s":
                return self._text()
            case b"b":
                return self._blob()
            case b"a":
                return bytearray(self._blob())
            case b"l":
                return self._items(depth)
            case b"t":
                return tuple(self._items(depth))
            case b"d":
                return self._dict(depth)
            case b"e":
                return set(self._keyed(self._items(depth)))
            case b"z":
                return frozenset(self._keyed(self._items(depth)))
            case b"x" if self._extension:
                kind = self._take(1)[0]
                return self._extension.unpack(kind, self.read(depth + 1), self._spend)
        raise Malformed(f"a value has the unknown tag {tag[0]}")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise Malformed("a value is cut short")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def _count(self) -> int:
        first = self._take(1)[0]
        if first < 255:
            return first
        count = int.from_bytes(self._take(5), "little")
        if count < 255:
            raise Malformed("a value has a count in the wrong form")
        return count

    def _blob(self) -> bytes:
        data = self._take(self._count())
        self._spend(1 + len(data) // ITEM)
        return data

    def _integer(self) -> int:
        data = self._take(self._count())
        self._spend(len(data) // ITEM)
        value = int.from_bytes(data, "little", signed=True)
        if len(data) != value.bit_length() // 8 + 1:
            raise Malformed("an integer has a wrong length")
        return value

    def _text(self) -> str:
        data = self._take(self._count())
        self._spend(_text_cost(data))
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as exc:
            raise Malformed("a text is not UTF-8") from exc

    def _items(self, depth: int, each: int = 1) -> list[object]:
        count = each * self._count()
        if count > len(self._data) - self.at:
            raise Malformed("a value is cut short")
        self._spend(_CONTAINER + count)
        return [self.read(depth + 1) for _ in range(count)]

    def _dict(self, depth: int) -> dict[object, object]:
        items = self._items(depth, each=2)
        made = self._keyed(items[::2])
        made.update(zip(items[::2], items[1::2], strict=True))
        return made

    def _keyed(self, keys: list[object]) -> dict[object, object]:
        """The keys, which must be hashable and distinct and not chosen to make a table slow."""
        self._spend(_KEY * len(keys))
        try:
            if max(Counter(map(hash, keys)).values(), default=0) > MAX_ALIKE:
                raise Malformed("a value has keys chosen to collide")
            made: dict[object, object] = dict.fromkeys(keys)
        except (TypeError, ValueError) as exc:
            raise Malformed("a value has a key that cannot be one") from exc
        if len(made) != len(keys):
            raise Malformed("a value has a key twice")
        return made

    def _spend(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise Malformed(f"a value holds more than {MAX_ITEMS} others")
