"""The server against members that keep to wire.py to the letter, and against those that do not."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest

from comity.core.limits import BODY_COST, MAX_BODY
from comity.errors import UsageError
from comity.rendezvous import connections, members
from comity.rendezvous import server as server_module
from comity.rendezvous.log import key_of
from comity.rendezvous.places import Place
from comity.rendezvous.rooms import Limits, Reason, Room, Rooms
from comity.rendezvous.server import Server

ROOM = "0a" * 16
LOCAL = [("127.0.0.1", 0)]
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class Watched(Rooms):
    """Rooms that tell when somebody has left."""

    left: asyncio.Event

    def leave(self, room: Room) -> None:
        super().leave(room)
        self.left.set()


class Member:
    """A member written from the protocol's description alone."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def receive(self) -> bytes:
        message = await self.ws.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.BINARY, (message, self.ws.close_code)
        assert isinstance(message.data, bytes)
        return message.data

    async def welcome(self) -> tuple[bytes, int]:
        data = await self.receive()
        assert data[0] == 1 and len(data) == 21
        return data[1:17], int.from_bytes(data[17:], "big")

    async def entry(self) -> tuple[int, bytes]:
        data = await self.receive()
        assert data[0] == 2
        return int.from_bytes(data[1:5], "big"), data[5:]

    async def post(self, body: bytes) -> None:
        await self.ws.send_bytes(b"\x10" + body)

    async def closed(self) -> int | None:
        """The code with which the server closes, whatever it says before."""
        while (await self.ws.receive(timeout=5)).type not in CLOSED:
            pass
        return self.ws.close_code


@asynccontextmanager
async def member(
    server: Server, room: str = ROOM, query: str = "", host: str = "127.0.0.1", take: bool = True
) -> AsyncIterator[Member]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://{host}:{server.port}/room/{room}{query}", protocols=["comity.mailbox.1"], max_msg_size=0
        ) as ws,
    ):
        yield Member(ws)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(LOCAL) as server:
        yield server


async def test_a_member_is_welcomed_and_reads_the_log_from_where_it_asked(server: Server) -> None:
    async with member(server) as a:
        incarnation, count = await a.welcome()
        assert count == 0
        for i, body in enumerate((b"one", b"two", b"three"), start=1):
            await a.post(body)
            assert await a.entry() == (i, body)
        async with member(server, query=f"?incarnation={incarnation.hex()}&after=2") as b:
            assert await b.welcome() == (incarnation, 3)
            assert await b.entry() == (3, b"three")
        async with member(server, query=f"?incarnation={'00' * 16}&after=2") as c:
            assert await c.welcome() == (incarnation, 3)
            assert await c.entry() == (1, b"one")


async def test_a_body_posted_twice_is_in_the_log_once(server: Server) -> None:
    async with member(server) as a, member(server) as b:
        await a.welcome()
        await a.post(b"x")
        assert await a.entry() == (1, b"x")
        await b.welcome()
        await b.post(b"x")
        await b.post(b"y")
        assert [await b.entry(), await b.entry()] == [(1, b"x"), (2, b"y")]
        assert await a.entry() == (2, b"y")


async def test_a_full_room_refuses_by_the_bodys_hash() -> None:
    async with Server(LOCAL, limits=Limits(bodies=1)) as server, member(server) as a:
        await a.welcome()
        await a.post(b"x")
        assert await a.entry() == (1, b"x")
        await a.post(b"y")
        assert await a.receive() == b"\x03" + key_of(b"y")
        await a.post(b"x")
        await a.post(b"z")
        assert await a.receive() == b"\x03" + key_of(b"z")


@pytest.mark.parametrize("message", [b"", b"\x01" + bytes(20), b"\x11x", "text"])
async def test_a_malformed_message_closes_only_its_senders_connection(server: Server, message: bytes | str) -> None:
    async with member(server) as good, member(server) as bad:
        await good.welcome()
        await bad.welcome()
        await (bad.ws.send_str(message) if isinstance(message, str) else bad.ws.send_bytes(message))
        assert await bad.closed() == Reason.MALFORMED
        await good.post(b"still here")
        assert await good.entry() == (1, b"still here")


async def test_a_position_that_the_log_has_not_reached_is_malformed(server: Server) -> None:
    async with member(server) as a:
        incarnation, _ = await a.welcome()
        async with member(server, query=f"?incarnation={incarnation.hex()}&after=1") as b:
            assert await b.closed() == Reason.MALFORMED


async def test_a_body_that_is_too_large_is_not_taken(server: Server) -> None:
    async with member(server) as a, member(server) as b:
        await a.welcome()
        await a.post(bytes(MAX_BODY))
        assert await a.entry() == (1, bytes(MAX_BODY))
        await b.welcome()
        await b.post(bytes(MAX_BODY + 4))
        assert await b.closed() in (1009, 1006)  # 1006 when our own bytes met the closed connection first
        await a.post(b"next")
        assert await a.entry() == (2, b"next")


UPGRADE = (
    "GET /room/{room}{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{extra}\r\n"
)
SPEAKS = "Sec-WebSocket-Protocol: other, comity.mailbox.1\r\n"


@asynccontextmanager
async def raw(server: Server, request: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request.encode())
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (UPGRADE.format(room=ROOM, query="", extra=SPEAKS), b"101"),
        (UPGRADE.format(room=ROOM, query="", extra=""), b"426"),
        (UPGRADE.format(room=ROOM, query="", extra="Sec-WebSocket-Protocol: comity.mailbox.2\r\n"), b"426"),
        (UPGRADE.format(room=ROOM.upper(), query="", extra=SPEAKS), b"404"),
        (UPGRADE.format(room=ROOM + "/x", query="", extra=SPEAKS), b"404"),
        (UPGRADE.format(room="..%2froom%2f" + ROOM, query="", extra=SPEAKS), b"404"),
        (UPGRADE.format(room=ROOM, query="?after=1", extra=SPEAKS), b"400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (f"GET /room/{ROOM} HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: comity.mailbox.1\r\n\r\n", b"426"),
        (f"POST /room/{ROOM} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nxx", b"426"),
        ("\x16\x03\x01 what is this\r\n\r\n", b"400"),
        ("GET / HTTP/1.1\r\nx: " + "y" * 9000 + "\r\n\r\n", b"400"),
    ],
)
async def test_other_requests_get_their_status(server: Server, request_text: str, status: bytes) -> None:
    async with raw(server, request_text) as (reader, _):
        assert (await reader.readline()).split()[1] == status


async def test_strangers_leave_no_line_in_any_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    for request in ("nonsense\r\n\r\n", UPGRADE.format(room=ROOM, query="", extra="Sec-WebSocket-Protocol: no\r\n")):
        async with raw(server, request) as (reader, _):
            await reader.read()
    assert caplog.records == []


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!BBQ", 0x82, 0xFF, 2**62),  # declares four exabytes
        struct.pack("!BBQ", 0x82, 0xFF, MAX_BODY + 100),
        b"\xf2\x81\0\0\0\0x",  # reserved bits
        b"\x83\x81\0\0\0\0x",  # an opcode that does not exist
        b"\x80\x81\0\0\0\0x",  # continues nothing
        b"\x89\xfe\x01\x00" + bytes(260),  # a ping of 256 bytes
        b"\x02\x81\0\0\0\0x" * 2,  # two beginnings
    ],
)
async def test_a_frame_that_is_no_websocket_frame_ends_the_connection(server: Server, frame: bytes) -> None:
    async with (
        member(server) as good,
        raw(server, UPGRADE.format(room=ROOM, query="", extra=SPEAKS)) as (reader, writer),
    ):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame)
        await asyncio.wait_for(reader.read(), 5)  # to the end
        await good.welcome()
        await good.post(b"still here")
        assert await good.entry() == (1, b"still here")


async def test_endless_fragments_of_one_message_end_at_the_largest_size(server: Server) -> None:
    async with raw(server, UPGRADE.format(room=ROOM, query="", extra=SPEAKS)) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        ended = asyncio.ensure_future(reader.read())
        piece, head, sent = bytes(64 * 1024 - 1), 0x02, 0
        with suppress(ConnectionError):
            while not ended.done() and sent < 8 * MAX_BODY:
                writer.write(struct.pack("!BBH", head, 0xFE, len(piece)) + bytes(4) + piece)
                head, sent = 0x00, sent + len(piece)
                await writer.drain()
        with suppress(ConnectionError):
            await asyncio.wait_for(ended, 5)
        assert sent < 8 * MAX_BODY


async def test_a_flood_is_read_at_the_servers_pace() -> None:
    rate, burst, posts = 100 * BODY_COST, 10 * BODY_COST, 60
    async with Server(LOCAL, limits=Limits(rate=rate, burst=burst)) as server, member(server) as a, member(server) as b:
        await a.welcome()
        await b.welcome()
        time = asyncio.get_running_loop().time
        began = time()
        for i in range(posts):
            await a.post(bytes([i]))
        for i in range(posts):
            if i == 20:
                await b.post(b"not slowed down by the other one")
            await a.entry()
        assert time() - began > (posts * BODY_COST - burst) / rate * 0.9
        read = [(await b.entry())[1] for _ in range(posts)]
        assert read.index(b"not slowed down by the other one") < posts - 10


async def test_pings_are_answered_and_count_as_much_as_posts() -> None:
    rate, burst = 100 * BODY_COST, 10 * BODY_COST
    async with Server(LOCAL, limits=Limits(rate=rate, burst=burst)) as server, member(server) as a:
        await a.welcome()
        time = asyncio.get_running_loop().time
        began = time()
        for _ in range(40):
            await a.ws.ping(b"are you there")
        await a.post(b"after the pings")
        assert await a.entry() == (1, b"after the pings")
        assert time() - began > 0.25


async def test_a_member_that_does_not_read_is_dropped_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SEND_TIMEOUT", 0.2)
    monkeypatch.setattr(members, "CLOSE_TIMEOUT", 0.1)
    rooms = Watched()
    rooms.left = asyncio.Event()
    async with Server(LOCAL, rooms=rooms) as server, member(server) as a:
        await a.welcome()
        sock = socket.create_connection(("127.0.0.1", server.port))
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(UPGRADE.format(room=ROOM, query="", extra=SPEAKS).encode())
            for i in range(12):
                body = bytes([i]) * MAX_BODY
                await a.post(body)
                assert await a.entry() == (i + 1, body)
            await asyncio.wait_for(rooms.left.wait(), 5)


async def test_a_room_that_has_too_many_members_closes_to_the_next() -> None:
    async with Server(LOCAL, limits=Limits(members=1)) as server, member(server) as a:
        await a.welcome()
        async with member(server) as b:
            assert await b.closed() == Reason.CROWDED
        async with member(server, "0b" * 16) as c:
            await c.welcome()


async def test_a_server_with_all_its_rooms_has_no_place_for_another() -> None:
    async with Server(LOCAL, limits=Limits(rooms=1)) as server, member(server) as a:
        await a.welcome()
        async with member(server, "0b" * 16) as b:
            assert await b.closed() == Reason.BUSY


async def test_a_server_of_one_room_knows_no_other() -> None:
    async with Server(LOCAL, only={ROOM}) as server:
        async with member(server) as a:
            await a.welcome()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with member(server, "0b" * 16):
                pass


async def test_one_connection_too_many_is_cut_off_and_its_place_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()
    leave = Place.leave

    def leaves(self: Place) -> None:
        leave(self)
        left.set()

    monkeypatch.setattr(Place, "leave", leaves)
    async with Server(LOCAL, limits=Limits(connections=1)) as server:
        async with member(server) as a:
            await a.welcome()
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                async with member(server):
                    pass
            assert not left.is_set() and server.rooms.turned_away["connections"] > 0
        await asyncio.wait_for(left.wait(), 5)
        async with member(server) as b:
            await b.welcome()


async def test_a_connection_without_a_room_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.1)
    async with Server(LOCAL) as server, member(server) as a:
        await a.welcome()
        for request in ("", "GET /room", UPGRADE.format(room=ROOM, query="", extra="")[:-2]):
            async with raw(server, request) as (reader, _):
                try:
                    assert await asyncio.wait_for(reader.read(), 5) == b""
                except ConnectionResetError:
                    continue
        await a.post(b"members stay")
        assert await a.entry() == (1, b"members stay")


async def test_an_expired_room_closes_to_its_members_and_a_new_one_takes_its_name() -> None:
    now = 0.0
    rooms = Rooms(Limits(life=100), clock=lambda: now)
    async with Server(LOCAL, rooms=rooms) as server, member(server) as a:
        old, _ = await a.welcome()
        await a.post(b"x")
        assert await a.entry() == (1, b"x")
        now = 100.0
        rooms.sweep()
        assert await a.closed() == Reason.EXPIRED
        async with member(server) as b:
            new, count = await b.welcome()
            assert new != old and count == 0


async def test_a_room_is_forgotten_after_its_last_member_left() -> None:
    now = 0.0
    rooms = Watched(Limits(memory=60), clock=lambda: now)
    async with Server(LOCAL, rooms=rooms) as server:
        seen = []
        for later in (0, 59, 61):
            now += later
            rooms.left = asyncio.Event()
            async with member(server) as a:
                seen.append(await a.welcome())
                await a.post(b"x")
                await a.entry()
            await asyncio.wait_for(rooms.left.wait(), 5)
        (first, zero), (second, one), (third, none) = seen
        assert first == second != third and (zero, one, none) == (0, 1, 0)


async def test_rooms_are_swept_while_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SWEEP_EVERY", 0.01)
    now = 0.0
    rooms = Rooms(Limits(life=100), clock=lambda: now)
    async with Server(LOCAL, rooms=rooms) as server, member(server) as a:
        await a.welcome()
        now = 100.0
        assert await a.closed() == Reason.EXPIRED
        assert len(rooms) == 0


async def test_a_stopping_server_tells_its_members_and_frees_its_port() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(LOCAL))
        async with member(server) as a:
            await a.welcome()
            closing = asyncio.ensure_future(a.closed())
            await stack.aclose()
            assert await closing == 1001
            with pytest.raises(aiohttp.ClientConnectorError):
                async with member(server):
                    pass
    async with Server(server.addresses), member(server) as b:
        await b.welcome()


async def test_one_port_serves_every_address_of_both_families() -> None:
    async with Server() as server:
        assert len(server.addresses) == 1 and server.port > 0 and server.scheme == "http"
        hosts = ["127.0.0.1", "127.0.0.2"] + (["[::1]"] if socket.has_dualstack_ipv6() else [])
        for host in hosts:
            async with member(server, host=host) as a:
                await a.welcome()


async def test_a_list_of_addresses_with_port_0_shares_one_fresh_port() -> None:
    async with Server([("127.0.0.1", 0), ("127.0.0.2", 0)]) as server:
        assert server.addresses == (("127.0.0.1", server.port), ("127.0.0.2", server.port))


async def test_an_address_that_cannot_be_listened_on_is_named() -> None:
    async with Server(LOCAL) as server:
        for address, why in (
            (("127.0.0.1", server.port), "address already in use"),
            (("192.0.2.1", 8787), "cannot assign"),
            (("a" * 64, 1), "no such address"),  # no label of a name is so long
            (("127.0.0.1", 70000), "no such port"),
        ):
            with pytest.raises(UsageError, match=why):
                async with Server([address]):
                    pass
