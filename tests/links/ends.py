"""Ends of real channels for the tests of streams, on every kind of loop and of socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import pytest
import uvloop
from tests.links.parties import ALICE, BOB, NUMBER, Rogue, pairing

from comity.core.limits import MAX_UNSENT
from comity.errors import ComityError
from comity.links.stream import Depth, Stream, attach

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_every_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test once on each kind of event loop."""

    async def in_time(**arguments: Any) -> None:
        async with asyncio.timeout(15):  # pytest's own timeout raises in a callback, which uvloop only reports
            await test(**arguments)

    @pytest.mark.parametrize("loop_name", list(LOOPS))
    @wraps(test)
    def run(loop_name: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(in_time(**arguments))

    own = signature(test)
    name = Parameter("loop_name", Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = own.replace(parameters=[name, *own.parameters.values()])  # type: ignore[attr-defined]
    return run


def unix_pair() -> tuple[socket.socket, socket.socket]:
    return _unblocked(*socket.socketpair())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _unblocked(one, other)


def _unblocked(*pair: socket.socket) -> tuple[socket.socket, socket.socket]:
    for sock in pair:
        sock.setblocking(False)
    return pair[0], pair[1]


class End:
    """One stream, and what it said so far."""

    def __init__(self, me: int, peer: int, *, timeout: float | None = 10.0, limit: int = MAX_UNSENT, **changes: Any):
        self.got = bytearray()
        self.pieces = 0
        self.finished_at: list[int] = []  # bytes received when the stream said that the peer has finished
        self.verdicts: list[ComityError | None] = []
        self.ready, self.ended, self._more = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.stream = Stream(
            pairing(me, peer, **changes),
            NUMBER,
            Depth(),
            ready=self.ready.set,
            data=self.data,
            ended=self._end,
            finished=self._finish,
            limit=limit,
            timeout=timeout,
        )

    def data(self, data: bytes) -> None:
        assert self.ready.is_set() and not self.ended.is_set()
        self.got += data
        self.pieces += 1
        self._more.set()

    def _finish(self) -> None:
        assert not self.ended.is_set()
        self.finished_at.append(len(self.got))
        self._more.set()

    async def finished(self) -> None:
        while not self.finished_at:
            assert not self.ended.is_set(), self.verdicts
            self._more.clear()
            await self._more.wait()

    def _end(self, error: ComityError | None) -> None:
        self.verdicts.append(error)
        self.ended.set()
        self._more.set()

    async def received(self, size: int) -> bytes:
        """Waits until that many bytes in all have come."""
        while len(self.got) < size:
            assert not self.ended.is_set(), self.verdicts
            self._more.clear()
            await self._more.wait()
        return bytes(self.got)

    async def verdict(self) -> ComityError | None:
        await self.ended.wait()
        assert len(self.verdicts) == 1
        return self.verdicts[0]


async def meet(a: End, b: End, pair: tuple[socket.socket, socket.socket]) -> None:
    await asyncio.gather(attach(a.stream, pair[0]), attach(b.stream, pair[1]))
    await asyncio.gather(a.ready.wait(), b.ready.wait())


async def alice_and_bob(pair: tuple[socket.socket, socket.socket] | None = None, **options: Any) -> tuple[End, End]:
    alice, bob = End(ALICE, BOB, **options), End(BOB, ALICE, **options)
    await meet(alice, bob, pair or tcp_pair())
    return alice, bob


class SocketRogue(Rogue):
    """A rogue at the end of a socket."""

    def __init__(self, me: int, peer: int, sock: socket.socket) -> None:
        super().__init__(pairing(me, peer))
        self.sock = sock

    async def greet(self, **changes: Any) -> None:
        """The handshake and a hello."""
        while not self.tls.handshake():
            await self.send()
            self.tls.feed(await self._read())
        self.tls.write(self.hello(**changes))
        await self.send()

    async def say(self, *said: bytes) -> None:  # type: ignore[override]
        for data in said:
            self.tls.write(data)
        await self.send()

    async def send(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, self.tls.output())

    async def _read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)

    async def listen(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Read until `enough`, or the end of the channel."""
        while not enough() and (data := await self._read()):
            self.tls.feed(data)
            self.heard += b"".join(self.tls.read())
