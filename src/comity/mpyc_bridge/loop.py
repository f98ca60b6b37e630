"""The event loop under an unmodified MPyC program: asyncio's or uvloop's, with three methods of our own.

MPyC's runtime calls `create_server` for the parties below it and `create_connection` for each one above. The parties'
names and ports are set to such as nothing on a network has, so that every other call, the program's own, goes where it
always goes. The third method is told of lost exceptions.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from comity.errors import ComityError, ProgramError
from comity.mpyc_bridge.control import Fault
from comity.mpyc_bridge.epochs import Epochs

try:
    import uvloop
except ImportError:
    uvloop = None

FIRST_PORT = 1 << 16
"""No TCP port is as high; the parties' are, so that they can be told from the program's own."""


def host(party: int) -> str:
    """The name under which MPyC knows a party; `invalid` resolves nowhere (RFC 6761)."""
    return f"party{party}.session.invalid"


class _Seam(asyncio.AbstractEventLoop):
    """What is put in front of asyncio's or uvloop's loop."""

    epochs: Epochs

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if port == FIRST_PORT + self.epochs.number:
            self.epochs.serve(protocol_factory)
            return _Listening(self)
        if isinstance(port, int) and port >= FIRST_PORT:
            raise OverflowError("port must be 0-65535")  # as asyncio has it; uvloop would take the low 16 bits of it
        return await super().create_server(protocol_factory, host, port, **options)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, Any]:
        if isinstance(port, int) and port >= FIRST_PORT:
            return await self.epochs.connect(port - FIRST_PORT, protocol_factory)
        return await super().create_connection(protocol_factory, host, port, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Exceptions that nobody handles: shown as ever, but those that would leave the others waiting end the run."""
        if hasattr(context.get("handle"), "_args") or "handle" not in context:
            super().call_exception_handler(context)
        else:  # MPyC's handler looks into asyncio's handles, and fails on uvloop's
            self.default_exception_handler(context)
        exception = context.get("exception")
        if isinstance(exception, BaseException) and _is_ours(exception):
            self.epochs.fault(Fault(ComityError(f"a bug of comity: {exception!r}")))
        elif hasattr(context.get("future"), "f_back"):  # MPyC's tasks have this; those without a result fail in silence
            self.epochs.fault(Fault(ProgramError(f"a coroutine of the program failed: {exception!r}")))


def _is_ours(exception: BaseException) -> bool:
    """Whether our own code raised it."""
    traceback = exception.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(name).startswith("comity.")


class _Listening(asyncio.AbstractServer):
    """MPyC closes the server that it asked for; there is none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._serving = loop, True

    def close(self) -> None:
        self._serving = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving

    async def start_serving(self) -> None:
        return

    async def serve_forever(self) -> NoReturn:
        raise RuntimeError("there is no server to wait for")

    async def wait_closed(self) -> None:
        return


def make_loop(epochs: Epochs | None, *, fast: bool) -> asyncio.AbstractEventLoop:
    """`fast`: uvloop's, where it is installed. One party alone needs nothing of ours."""
    base: Any = uvloop.Loop if fast and uvloop is not None else asyncio.SelectorEventLoop
    if epochs is None:
        alone: asyncio.AbstractEventLoop = base()
        return alone
    loop: _Seam = type("SessionLoop", (_Seam, base), {})()
    loop.epochs = epochs
    return loop
