"""Our codec in place of pickle: what MPyC sends and receives as Python values builds values and runs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any, NoReturn

from comity.core import codec
from comity.core.encoding import Malformed
from comity.errors import ComityError, PeerError


class RefusedValueError(PeerError):
    """another party sent what is no value"""

    def __init__(self, message: str, *, peer: int, hint: str | tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.peer = peer


@cache
def received_from(peer: int) -> type[bytes]:
    """A class of bytes that knows which party sent them, as its attribute `sender`."""
    return type(f"BytesOf{peer}", (bytes,), {"__slots__": (), "sender": peer})


def install(
    runtime_module: Any,
    fail: Callable[[ComityError], NoReturn],
    name: Callable[[int], str] = "party {}".format,
    check: Callable[[object, int, FrameType], None] = lambda *_: None,
) -> None:
    """Replace `pickle` in mpyc.runtime.

    `fail` is called in place of raising: an exception would vanish inside MPyC, and the peers would wait for ever.
    It gets Unsupported for a value of this party's program, RefusedValueError with `peer` for what another party sent;
    `name` tells what a party is called. `check` gets each value that came, who sent it, and the frame that asked.
    """
    runtime_module.pickle = _Codec(fail, name, check)


class _Codec:
    def __init__(
        self,
        fail: Callable[[ComityError], NoReturn],
        name: Callable[[int], str],
        check: Callable[[object, int, FrameType], None],
    ) -> None:
        # only now: importing MPyC reads sys.argv, which must be the program's by then
        from comity.mpyc_bridge.values import Values

        self._values = Values()
        self._fail = fail
        self._name = name
        self._check = check

    def dumps(self, value: object) -> bytes:
        try:
            return codec.dumps(value, self._values)
        except ComityError as exc:
            self._fail(exc)
        except Exception as exc:
            self._fail(_bug(exc))

    def loads(self, data: bytes) -> object:
        sender = getattr(data, "sender", None)  # none: MPyC reads what this party itself wrote
        try:
            value = codec.loads(data, self._values)
        except Malformed as exc:
            if sender is None:
                self._fail(_bug(exc))
            message = f"{self._name(sender)} sent what is no value: {exc.message}"
            self._fail(RefusedValueError(message, peer=sender, hint=exc.hints))
        except Exception as exc:
            self._fail(_bug(exc))
        if sender is not None:
            self._check(value, sender, sys._getframe(1))
        return value


def _bug(exc: Exception) -> ComityError:
    bug = ComityError(f"the codec failed: {exc!r}")
    bug.__cause__ = exc
    return bug
