"""The rendezvous server: the protocol of wire.py over aiohttp. Keeps everything in memory and logs nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, cast

from aiohttp import WSCloseCode, web

from comity.core.encoding import Malformed
from comity.reach.listener import accepting
from comity.rendezvous import wire
from comity.rendezvous.connections import WRITE_LIMIT, Connection, Entrance
from comity.rendezvous.listening import Listen, open_sockets
from comity.rendezvous.members import CLOSE_TIMEOUT, Member, close
from comity.rendezvous.places import Address, Network, Place, Places, client_of, who
from comity.rendezvous.rooms import ROOM, WHY, Limits, Refused, Rooms

HEARTBEAT = 20.0
"""Seconds between pings to a silent member; it has half of that to answer."""

SWEEP_EVERY = 5.0
"""Seconds between two looks for rooms to forget, and for messages that do not end."""

HEALTH = "/health"
"""What a proxy or a watchman asks for; the answer says nothing of who is there."""


class Server:
    """`async with Server(...) as server`: serves while it is entered. Raises UsageError when it cannot listen.

    listen: pairs of host and port; host "" means every address of this machine, IPv4 and IPv6; port 0 a fresh one.
    only: the names of the rooms to serve, so that a host's server is of no use to strangers; None: any.
    tls: what makes it https and wss. proxies: who is believed when it says for which address it speaks.
    bug: is told what went wrong in here; strangers get a bare status 500.
    """

    def __init__(
        self,
        listen: Sequence[Listen] = (("", 0),),
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        only: Collection[str] | None = None,
        tls: ssl.SSLContext | None = None,
        rooms: Rooms | None = None,
        proxies: Sequence[Network] = (),
        bug: Callable[[Exception], None] | None = None,
    ) -> None:
        self.rooms = Rooms(limits, only=only) if rooms is None else rooms
        self.limits = self.rooms.limits
        self.places = Places(self.limits, self.rooms.turned_away)
        self.addresses: tuple[Listen, ...] = ()
        self.proxied = False  # whether somebody spoke for others who is no proxy that we know
        self._listen, self._tls, self._proxies, self._bug = listen, tls, proxies, bug or _tell_the_loop
        self._members: set[web.WebSocketResponse] = set()
        self._exit = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.addresses[0][1]

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    @property
    def members(self) -> int:
        return len(self._members)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            http = web.Server(self._answer)
            entrance = Entrance(http, self._admit, self._tls)
            stack.push_async_callback(http.shutdown, CLOSE_TIMEOUT)
            stack.push_async_callback(self._close_members)
            sockets = await open_sockets(self._listen)
            for sock in sockets:
                stack.callback(sock.close)
            stack.push_async_callback(entrance.close)
            for sock in sockets:
                stack.enter_context(accepting(sock, entrance.take, _nobody))
            sweeper = asyncio.create_task(self._sweep())
            stack.callback(sweeper.cancel)
            self.addresses = tuple(sock.getsockname()[:2] for sock in sockets)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _close_members(self) -> None:
        closing = (close(ws, WSCloseCode.GOING_AWAY, "the rendezvous stops") for ws in list(self._members))
        await asyncio.gather(*closing)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.rooms.sweep()
            self.places.sweep()

    def _admit(self, address: Address) -> Place | None:
        """A proxy's connections count for its clients, once it has named them."""
        return self.places.admit("" if self._is_proxy(address) else who(address))

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._respond(request, cast(Connection, request.protocol))
        except ConnectionError:  # it left in the middle
            raise
        except Exception as exc:
            self._bug(exc)
            return _refuse(500, "a bug of comity")

    async def _respond(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        if request.path == HEALTH:
            return _refuse(200, "ok")
        prefix, _, name = request.path.rpartition("/")
        if prefix != "/room" or not ROOM.fullmatch(name) or not self.rooms.exists(name):
            return _refuse(404, "this is a rendezvous of comity; there is no such room here")
        try:
            known, after = wire.parse_query(dict(request.query))
            placed = self._place(request, connection)
        except Malformed as exc:
            return _refuse(400, exc.message)
        if not placed:
            return _refuse(429, "too many connections of this address")
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        ws = web.WebSocketResponse(
            protocols=(wire.SUBPROTOCOL,),
            timeout=CLOSE_TIMEOUT,
            heartbeat=HEARTBEAT,
            autoping=False,
            compress=False,
            writer_limit=WRITE_LIMIT,
            max_msg_size=wire.MAX_POST + 1,  # aiohttp refuses a message of exactly this size
        )
        if wire.SUBPROTOCOL not in [o.strip() for o in offered] or not ws.can_prepare(request):
            return _refuse(426, f"this is a rendezvous of comity: it speaks the subprotocol {wire.SUBPROTOCOL}")
        await ws.prepare(request)
        try:
            room = self.rooms.enter(name, connection.place.address)
        except Refused as exc:
            await close(ws, exc.reason, WHY[exc.reason])
            return ws
        connection.entered()
        self._members.add(ws)
        try:
            await Member(ws, connection, room, self.rooms).run(known, after)
        finally:
            self._members.discard(ws)
            self.rooms.leave(room)
            connection.cut()
        return ws

    def _place(self, request: web.BaseRequest, connection: Connection) -> bool:
        """Count the connection for whom a proxy names. Raises Malformed."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        if not self._is_proxy(connection.peer):
            self.proxied = self.proxied or bool(forwarded)
            return True
        return connection.place.belongs_to(who(client_of(forwarded, self._proxies)))


def _refuse(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=text + "\n")
    response.force_close()
    return response


def _nobody(line: str) -> None:
    """Limits keep descriptors from running out; where they do all the same, whoever comes waits."""


def _tell_the_loop(exc: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "a bug of the rendezvous", "exception": exc})
