"""Messages close to proper ones: a template, and bytes that say how to change it.

Random bytes are hardly ever canonical JSON, still less a message with all its fields. So a fuzzer's bytes are read as a
list of edits of a proper message: `what 1 | where 1 | size 1 | size bytes`, at most MAX_EDITS of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

MAX_EDITS = 6
MAX_GROWTH = 40  # times that something is repeated
CONSTANTS: tuple[Any, ...] = (None, True, False, [], {}, "", 0, 1, -1, 63, 64, 65, 2**32, 2**53 - 1, -(2**53) + 1)

Edit = Callable[[Any, Any, bytes], None]
"""Changes one place of a list or dictionary, as the bytes say."""


class Template:
    """A value of JSON's types."""

    def __init__(self, value: Any) -> None:
        self._text = json.dumps(value)
        self._places = tuple(_places(value))

    def edited(self, script: bytes) -> Any:
        value, at, repeated = json.loads(self._text), 0, False
        for _ in range(MAX_EDITS):
            head = script[at : at + 3]
            if len(head) < 3:
                break
            what, where, size = head
            place = self._places[where % len(self._places)]
            at += 3 + size
            holder, key, edit = _find(value, place[:-1]), place[-1], EDITS[what % len(EDITS)]
            if edit is _repeat and repeated:
                continue  # repetitions of repetitions grow beyond any message
            repeated |= edit is _repeat
            if isinstance(holder, dict if type(key) is str else list) and (type(key) is str or key < len(holder)):
                edit(holder, key, script[at - size : at])
        return value


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from _places(item, (*path, key))


def _find(value: Any, path: tuple[Any, ...]) -> Any:
    """What stands there; None where earlier edits left nothing."""
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and type(key) is int and key < len(value):
            value = value[key]
        else:
            return None
    return value


def _text(holder: Any, key: Any, said: bytes) -> None:
    holder[key] = said.decode("utf-8", "replace")


def _hexadecimal(holder: Any, key: Any, said: bytes) -> None:
    holder[key] = said.hex()


def _integer(holder: Any, key: Any, said: bytes) -> None:
    holder[key] = int.from_bytes(said[:6], "little", signed=True)


def _constant(holder: Any, key: Any, said: bytes) -> None:
    value = CONSTANTS[said[0] % len(CONSTANTS) if said else 0]
    holder[key] = value.copy() if isinstance(value, list | dict) else value


def _remove(holder: Any, key: Any, said: bytes) -> None:
    if isinstance(holder, list):
        del holder[key]
    else:
        holder.pop(key, None)


def _add(holder: Any, key: Any, said: bytes) -> None:
    if isinstance(holder, list):
        holder.insert(key, said.decode("utf-8", "replace"))
    else:
        holder[said.decode("utf-8", "replace")] = len(said)


def _turn(holder: Any, key: Any, said: bytes) -> None:
    """Change characters of a text: place and character in turn."""
    old = _get(holder, key)
    if isinstance(old, str) and old:
        for i in range(0, len(said) - 1, 2):
            place = said[i] % len(old)
            old = old[:place] + chr(said[i + 1]) + old[place + 1 :]
        holder[key] = old


def _repeat(holder: Any, key: Any, said: bytes) -> None:
    old = _get(holder, key)
    if isinstance(old, str | list):
        holder[key] = old * (said[0] % MAX_GROWTH if said else 2)


def _wrap(holder: Any, key: Any, said: bytes) -> None:
    value = _get(holder, key)
    for _ in range(said[0] % 16 if said else 1):
        value = [value]
    holder[key] = value


def _swap(holder: Any, key: Any, said: bytes) -> None:
    """Change places with a neighbour."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if keys and key in keys:
        other = keys[said[0] % len(keys) if said else 0]
        holder[key], holder[other] = holder[other], holder[key]


def _get(holder: Any, key: Any) -> Any:
    return holder.get(key) if isinstance(holder, dict) else holder[key]


EDITS: tuple[Edit, ...] = (
    _text, _hexadecimal, _integer, _constant, _remove, _add, _turn, _repeat, _wrap, _swap,
)  # fmt: skip
