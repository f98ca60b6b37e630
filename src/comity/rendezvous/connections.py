"""One connection to a server: it has a place, must get into a room in time, and holds little that is half said."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from aiohttp import web

from comity.rendezvous.places import Address, Place, parse_address

REQUEST_TIMEOUT = 10.0
"""Seconds from a connection's first byte to its room, and for a TLS handshake; then the connection is cut off."""

WRITE_LIMIT = 16 * 1024
"""Bytes that wait to be sent to a member before its next message waits for them."""

FRAME_HEADER = 6
"""Bytes around a member's message of at most 125 bytes, its mask included; larger ones have two or eight more."""

_SILENT = logging.Logger("comity.rendezvous", logging.CRITICAL + 1)
"""aiohttp's log of what strangers send names their addresses."""


class Connection(web.RequestHandler):
    def __init__(self, http: web.Server, loop: asyncio.AbstractEventLoop, peer: Address, place: Place) -> None:
        super().__init__(http, loop=loop, logger=_SILENT, access_log=_SILENT, lingering_time=0)
        self.peer, self.place = peer, place
        self._unread = 0  # bytes that came since the last message that was whole
        self._deadline: asyncio.TimerHandle | None = None
        self._raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        self._raw.set_write_buffer_limits(high=WRITE_LIMIT)
        self.place.cut = self.cut
        super().connection_made(transport)
        self._deadline = self._loop.call_later(REQUEST_TIMEOUT, self.cut)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        self.place.hold(len(data))
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._settle()
        self.place.leave()
        super().connection_lost(exc)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def entered(self) -> None:
        """It is a member now: the deadline is off, and its request is done with."""
        self._settle()
        self.place.let_go(self._unread)
        self._unread = 0

    def was_taken(self, size: int) -> None:
        """A message of this size was read to its end."""
        size += FRAME_HEADER + 2 * (size > 125) + 6 * (size > 65535)
        rest = self._unread - size
        if rest < FRAME_HEADER * 100:  # of a message that came in so many pieces
            rest = 0
        self.place.let_go(self._unread - rest)
        self._unread = rest

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        self.place.hold(size)
        try:
            yield
        finally:
            self.place.let_go(size)

    def cut(self) -> None:
        """Close at once; what was not sent yet is dropped."""
        if self._raw is not None:
            self._raw.abort()


Admit = Callable[[Address], Place | None]


class Entrance:
    """From an accepted socket to a Connection, by TLS if there is one. Who gets no place is closed unanswered."""

    def __init__(self, http: web.Server, admit: Admit, tls: ssl.SSLContext | None) -> None:
        self._http, self._admit, self._tls = http, admit, tls
        self._entering: set[asyncio.Task[None]] = set()

    def take(self, sock: socket.socket) -> None:
        """Raises OSError when it has left already."""
        address = parse_address(sock.getpeername()[0])
        place = self._admit(address)
        if place is None:
            sock.close()
            return
        sock.setblocking(False)
        task = asyncio.create_task(self._enter(sock, address, place))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def close(self) -> None:
        tasks = list(self._entering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _enter(self, sock: socket.socket, address: Address, place: Place) -> None:
        loop = asyncio.get_running_loop()
        handshake: dict[str, Any] = {"ssl_handshake_timeout": REQUEST_TIMEOUT} if self._tls else {}
        entered = False
        try:
            with suppress(OSError):  # what strangers say instead of TLS
                await loop.connect_accepted_socket(
                    lambda: Connection(self._http, loop, address, place), sock, ssl=self._tls, **handshake
                )
                entered = True
        finally:
            if not entered:
                place.leave()
