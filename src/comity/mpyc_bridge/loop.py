"""The event loop under an unmodified MPyC program: asyncio's or uvloop's, with two methods of our own.

MPyC's runtime calls `create_server` for the parties below it and `create_connection` for each one above. The parties'
names and ports are set to such as nothing on a network has, so that every other call, the program's own, goes where it
always goes, and nothing leads to a real port if the bridge is missing.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from comity.mpyc_bridge.epochs import Epochs

try:
    import uvloop
except ImportError:
    uvloop = None

FIRST_PORT = 1 << 16
"""No TCP port is as high."""


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
        return await super().create_server(protocol_factory, host, port, **options)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, Any]:
        if isinstance(port, int) and port >= FIRST_PORT:
            return await self.epochs.connect(port - FIRST_PORT, protocol_factory)
        return await super().create_connection(protocol_factory, host, port, **options)


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
