"""Shares of other parties, looked at before MPyC computes with them.

MPyC takes what it is sent for shares of as many numbers as it has itself. Of fewer it makes a result that never comes,
of others an error deep inside, which would look like the program's own. Here such a share is refused, and its sender
named. That a share is the right one is what nobody can see.

MPyC reads shares in three of its functions, and has in variables of theirs what is due: `x`, its own numbers, or
`shape`, that of their array. Numbers come as bytes, `from_bytes` of their field; arrays come as values of the codec.
Most numbers are then recombined with the own ones, which stand beside them: that is cheaper to look at. Only an input's
numbers are not, so MPyC's tasks know by a context variable that they read an input: to ask for a frame costs more than
all the rest, since every audit hook hears of it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, NoReturn

from mpyc import thresha
from mpyc.finfields import FiniteFieldElement
from mpyc.numpy import np

from comity.core.limits import LARGE, MAX_ITEMS
from comity.errors import ComityError
from comity.mpyc_bridge.codec import RefusedValueError

_INPUT: Final = "_distribute"
_READERS: Final = (_INPUT, "output", "_reshare")
"""MPyC's functions that read shares, all of its runtime."""

_reads_input: Final = ContextVar[bool]("_reads_input", default=False)


class Shares:
    """`fail` is called in place of raising, as in the codec; `name` tells what a party is called."""

    def __init__(self, fail: Callable[[ComityError], NoReturn], name: Callable[[int], str]) -> None:
        self._fail, self._name = fail, name

    def install(self, runtime: Any) -> None:
        """Put the checks in front of MPyC's own functions. `runtime`: MPyC's class of that name."""
        FiniteFieldElement.from_bytes = classmethod(self._reading(FiniteFieldElement.from_bytes.__func__))
        if hasattr(runtime, _INPUT):
            setattr(runtime, _INPUT, reading_input(getattr(runtime, _INPUT)))
        thresha.recombine = self._recombining(thresha.recombine)

    def check(self, value: object, sender: int, frame: FrameType) -> None:
        """A value that was decoded; `frame`: whoever asked for it, which may want no shares."""
        reader = _reader(frame)
        if reader is None:
            return
        due = reader.f_locals
        wrong = _wrong_array(value, _count(due), due["field"], reduced=reader.f_code.co_name != _INPUT)
        if wrong:
            self._refuse(sender, wrong)

    def _reading(self, honest: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def from_bytes(field: Any, data: Any) -> Any:
            """Once for nearly each message: only an input's numbers, or many, are worth more than a glance."""
            if len(data) > LARGE or _reads_input.get():
                self._look(field, data)
            return honest(field, data)

        return from_bytes

    def _look(self, field: Any, data: Any) -> None:
        sender = getattr(data, "sender", None)
        if sender is None:
            return  # this party's own
        count, rest = divmod(len(data), field.byte_length)
        if rest:
            self._refuse(sender, f"{len(data)} bytes for numbers of {field.byte_length}")
        if count > MAX_ITEMS:
            self._refuse(sender, f"{count} numbers, {MAX_ITEMS} are allowed")
        reader = _reader(sys._getframe())
        if reader is not None:
            self._compare(count, _count(reader.f_locals), sender)

    def _recombining(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        def recombine(field: Any, points: Any, *others: Any) -> Any:
            size = len(points[-1][1])  # mine, where I have one
            for point in points:
                if len(point[1]) != size:
                    self._find(points)
            return honest(field, points, *others)

        return recombine

    def _find(self, points: Any) -> None:
        """Whose share has another size than is due."""
        reader = _reader(sys._getframe())
        if reader is not None:
            for x, numbers in points:
                self._compare(len(numbers), _count(reader.f_locals), x - 1)  # a party's place is its number and one

    def _compare(self, count: int, due: int, sender: int) -> None:
        if count != due:
            self._refuse(sender, f"{count} numbers for {due}")

    def _refuse(self, sender: int, what: str) -> None:
        self._fail(RefusedValueError(f"{self._name(sender)} sent what is no share: {what}", peer=sender))


def reading_input(distribute: Callable[..., Any]) -> Callable[..., Any]:
    """MPyC's function, in whose task the context says that an input is read."""

    @functools.wraps(distribute)
    def wrapped(*args: Any) -> Any:
        before = _reads_input.set(True)
        try:
            return distribute(*args)  # its task takes a copy of the context
        finally:
            _reads_input.reset(before)

    return wrapped


def _reader(frame: FrameType | None) -> Any:
    """MPyC's function that reads shares, if this is its frame or one inside it; a frame or None.

    Ours in front of it are passed by; once compiled they have no frames. It is `Any` for its `f_locals`: no dict from
    Python 3.13 on, whatever stubs say.
    """
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_name.startswith("<"):
        frame = frame.f_back
    if frame is None or frame.f_code.co_name not in _READERS or frame.f_globals.get("__name__") != "mpyc.runtime":
        return None
    return frame


def _count(due: Any) -> int:
    """How many numbers a reader has itself. `due`: its variables."""
    return len(due["x"]) if due["shape"] is None else int(math.prod(due["shape"]))  # of integers of NumPy, too


def _wrong_array(value: Any, count: int, field: Any, *, reduced: bool) -> str:
    """What is wrong with an array of shares; empty if nothing is. `reduced`: MPyC takes numbers beyond the field."""
    if type(value) is not np.ndarray or value.dtype != object:
        return "no array of numbers"
    if value.shape != (count,):
        return f"an array of shape {value.shape} for {count} numbers"
    items = value.tolist()
    ring = type(field.modulus)
    if any(kind is not ring for kind in set(map(type, items))):
        return "an array of something else"
    if not reduced and ring is int and items and not 0 <= min(items) <= max(items) < field.order:
        return "numbers that are not of the field"
    return ""
