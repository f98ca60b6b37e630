"""The rendezvous server: the protocol of wire.py over aiohttp. Keeps everything in memory and logs nothing."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self, cast

from aiohttp import WSCloseCode, WSMsgType, web

from comity.core.encoding import Malformed
from comity.core.limits import BODY_COST
from comity.rendezvous import wire
from comity.rendezvous.listening import Listen, open_sockets
from comity.rendezvous.log import Full, first_of, key_of
from comity.rendezvous.rooms import ROOM, WHY, Bucket, Limits, Reason, Refused, Room, Rooms, who

REQUEST_TIMEOUT = 10.0
"""Seconds from a connection's first byte to its room; the connection is cut off after that."""

SEND_TIMEOUT = 30.0
"""Seconds for which a member may not take what it is sent."""

CLOSE_TIMEOUT = 2.0
"""Seconds for which a close waits for the other side's."""

HEARTBEAT = 20.0
"""Seconds between pings to a silent member; it has half of that to answer."""

SWEEP_EVERY = 5.0
"""Seconds between two looks for rooms to forget."""

_SILENT = logging.Logger("comity.rendezvous", logging.CRITICAL + 1)
"""aiohttp's log of what strangers send names their addresses."""


class Server:
    """`async with Server(...) as server`: serves while it is entered. Raises UsageError when it cannot listen.

    listen: pairs of host and port; host "" means every address of this machine, IPv4 and IPv6; port 0 a fresh one.
    only: the names of the rooms to serve, so that a host's server is of no use to strangers; None: any.
    tls: what makes it https and wss.
    """

    def __init__(
        self,
        listen: Sequence[Listen] = (("", 0),),
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        only: Collection[str] | None = None,
        tls: ssl.SSLContext | None = None,
        rooms: Rooms | None = None,
    ) -> None:
        self.rooms = Rooms(limits, only=only) if rooms is None else rooms
        self.limits = self.rooms.limits
        self.addresses: tuple[Listen, ...] = ()
        self._listen, self._tls = listen, tls
        self._connections = 0
        self._connections_of: Counter[str] = Counter()
        self._members: set[web.WebSocketResponse] = set()
        self._exit = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.addresses[0][1]

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            sockets = await open_sockets(self._listen)
            for sock in sockets:
                stack.callback(sock.close)
            http = web.Server(self._answer)
            stack.push_async_callback(http.shutdown, CLOSE_TIMEOUT)
            stack.push_async_callback(self._close_members)
            for sock in sockets:
                handshake = REQUEST_TIMEOUT if self._tls else None
                listener = await loop.create_server(
                    lambda: _Connection(self, http, loop), sock=sock, ssl=self._tls, ssl_handshake_timeout=handshake
                )
                stack.callback(listener.close)
            sweeper = loop.create_task(self._sweep())
            stack.callback(sweeper.cancel)
            self.addresses = tuple(sock.getsockname()[:2] for sock in sockets)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _close_members(self) -> None:
        closing = (_close(ws, WSCloseCode.GOING_AWAY, "the rendezvous stops") for ws in list(self._members))
        await asyncio.gather(*closing)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.rooms.sweep()

    def admit(self, address: str) -> bool:
        """Whether there is place for one more connection, which then counts until `release`."""
        if self._connections >= self.limits.connections:
            return False
        if address and self._connections_of[address] >= self.limits.connections_of_address:
            return False
        self._connections += 1
        if address:
            self._connections_of[address] += 1
        return True

    def release(self, address: str) -> None:
        self._connections -= 1
        if address:
            self._connections_of[address] -= 1
            if not self._connections_of[address]:
                del self._connections_of[address]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        prefix, _, name = request.path.rpartition("/")
        if prefix != "/room" or not ROOM.fullmatch(name) or not self.rooms.exists(name):
            return _refuse(404, "this is a rendezvous of comity; there is no such room here")
        try:
            known, after = wire.parse_query(dict(request.query))
        except Malformed as exc:
            return _refuse(400, exc.message)
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        ws = web.WebSocketResponse(
            protocols=(wire.SUBPROTOCOL,),
            timeout=CLOSE_TIMEOUT,
            heartbeat=HEARTBEAT,
            autoping=False,
            compress=False,
            max_msg_size=wire.MAX_POST + 1,  # aiohttp refuses a message of exactly this size
        )
        if wire.SUBPROTOCOL not in [o.strip() for o in offered] or not ws.can_prepare(request):
            return _refuse(426, f"this is a rendezvous of comity: it speaks the subprotocol {wire.SUBPROTOCOL}")
        connection = cast(_Connection, request.protocol)
        await ws.prepare(request)
        try:
            room = self.rooms.enter(name, connection.address)
        except Refused as exc:
            await _close(ws, exc.reason, WHY[exc.reason])
            return ws
        connection.settle()
        self._members.add(ws)
        try:
            await _Member(ws, room, self.rooms, Bucket(self.limits.rate, self.limits.burst)).run(known, after)
        finally:
            self._members.discard(ws)
            self.rooms.leave(room)
            connection.cut()
        return ws


class _Connection(web.RequestHandler):
    """One connection, which counts for its address and must get into a room in time."""

    def __init__(self, server: Server, http: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(http, loop=loop, logger=_SILENT, access_log=_SILENT, lingering_time=0)
        self._server = server
        self._admitted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._raw: asyncio.Transport | None = None
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        peer: Any = transport.get_extra_info("peername")  # None: it has left already
        self.address = who(peer[0]) if peer else ""
        self._admitted = bool(peer) and self._server.admit(self.address)
        super().connection_made(transport)
        if self._admitted:
            self._deadline = self._loop.call_later(REQUEST_TIMEOUT, self.cut)
        else:
            self._raw.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.settle()
        if self._admitted:
            self._server.release(self.address)
        super().connection_lost(exc)

    def settle(self) -> None:
        """It is a member now: the deadline is off."""
        if self._deadline is not None:
            self._deadline.cancel()

    def cut(self) -> None:
        """Close at once; what was not sent yet is dropped."""
        if self._raw is not None:
            self._raw.abort()


class _Member:
    """One connection in one room: it is fed the log, and listened to."""

    def __init__(self, ws: web.WebSocketResponse, room: Room, rooms: Rooms, bucket: Bucket) -> None:
        self._ws, self._room, self._rooms, self._bucket = ws, room, rooms, bucket

    async def run(self, known: bytes, after: int) -> None:
        log = self._room.log
        same = known == self._room.incarnation
        if same and after > len(log):
            await self._close(Reason.MALFORMED)
            return
        await first_of(self._listen(), self._feed(after if same else 0))

    async def _close(self, reason: Reason) -> None:
        await _close(self._ws, reason, WHY[reason])

    async def _feed(self, position: int) -> None:
        """Send the log from `position` on, for as long as the member takes it."""
        room = self._room
        try:
            await self._send(wire.Welcome(room.incarnation, len(room.log)).pack())
            while not room.expired:
                while position < len(room.log):
                    position += 1
                    await self._send(wire.Entry(position, room.log[position]).pack())
                if not room.expired:
                    await room.bell.wait()
            await self._close(Reason.EXPIRED)
        except (TimeoutError, ConnectionError):
            await _close(self._ws, WSCloseCode.GOING_AWAY, "too slow")

    async def _send(self, data: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT):
            await self._ws.send_bytes(data)

    async def _listen(self) -> None:
        """Take posts until the connection ends, slower from whoever posts too much."""
        while True:
            message = await self._ws.receive()  # heartbeats end it when the member is gone
            size = len(message.data) if isinstance(message.data, bytes) else 0
            if pause := self._bucket.take(size + BODY_COST):
                await asyncio.sleep(pause)
            if message.type is WSMsgType.PING:
                await self._send_pong(message.data)
            elif message.type is WSMsgType.BINARY:
                try:
                    body = wire.from_member(message.data)
                except Malformed:
                    return await self._close(Reason.MALFORMED)
                await self._post(body)
            elif message.type is WSMsgType.TEXT:
                return await self._close(Reason.MALFORMED)
            elif message.type is not WSMsgType.PONG:
                return None

    async def _send_pong(self, data: bytes) -> None:
        with suppress(TimeoutError, ConnectionError):  # then receive() says that the connection has ended
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._ws.pong(data)

    async def _post(self, body: bytes) -> None:
        try:
            self._rooms.post(self._room, body)
        except Full:
            with suppress(TimeoutError, ConnectionError):
                await self._send(wire.Refusal(key_of(body)).pack())


async def _close(ws: web.WebSocketResponse, code: int, text: str) -> None:
    """Close with a code, waiting a bounded time for the answer."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2 * CLOSE_TIMEOUT):
            await ws.close(code=code, message=text.encode())


def _refuse(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=text + "\n")
    response.force_close()
    return response
