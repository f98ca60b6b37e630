"""Strangers and members that want a server's memory, places or time: it goes on for everybody else, within bounds."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from benchmarks.rooms import Crowd
from tests.rendezvous.test_pinning import Authority
from tests.rendezvous.test_server import LOCAL, ROOM, SPEAKS, UPGRADE, Watched, member, raw

from comity.core.limits import MAX_BODY
from comity.rendezvous import connections, wire
from comity.rendezvous import server as server_module
from comity.rendezvous.client import WebRendezvous
from comity.rendezvous.log import key_of
from comity.rendezvous.rooms import Limits, Rooms
from comity.rendezvous.server import Server

HEAD = struct.pack("!BBQ", 0x82, 0xFF, MAX_BODY) + bytes(4)
"""The beginning of a message of MAX_BODY."""


def upgrade(room: str = ROOM, extra: str = "") -> str:
    return UPGRADE.format(room=room, query="", extra=SPEAKS + extra)


@asynccontextmanager
async def inside(
    server: Server, room: str = ROOM, extra: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection without manners, in a room."""
    async with raw(server, upgrade(room, extra)) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer


async def ends(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)


async def goes_on(server: Server, room: str = "0b" * 16) -> None:
    """Everybody else is served."""
    async with WebRendezvous([f"{server.scheme}://127.0.0.1:{server.port}"]).open(room) as mailbox:
        assert await mailbox.post(b"x") == 1


async def test_of_messages_that_are_half_said_only_so_much_is_held() -> None:
    limit = 2 * MAX_BODY
    async with AsyncExitStack() as stack, Server(LOCAL, limits=Limits(unfinished=limit)) as server:
        readers = []
        for _ in range(8):
            reader, writer = await stack.enter_async_context(inside(server))
            writer.write(HEAD + bytes(MAX_BODY // 2))
            readers.append(reader)
        await asyncio.gather(*(ends(reader) for reader in readers[:4]))  # who began first
        assert server.rooms.turned_away["unfinished"] >= 4 and server.places.held <= limit
        await goes_on(server)


async def test_a_message_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte that comes keeps a connection alive, but not for ever."""
    monkeypatch.setattr(server_module, "SWEEP_EVERY", 0.02)
    async with Server(LOCAL, limits=Limits(patience=0.3)) as server, member(server) as a:
        await a.welcome()
        async with inside(server) as (reader, writer):
            ended = asyncio.ensure_future(ends(reader))
            writer.write(HEAD)
            with suppress(ConnectionError):
                while not ended.done():
                    writer.write(b"x")
                    await asyncio.wait({ended}, timeout=0.05)
            await ended
        await a.post(b"who is silent may stay")
        assert await a.entry() == (1, b"who is silent may stay")


async def test_what_was_read_to_its_end_is_held_no_longer() -> None:
    async with Server(LOCAL) as server, member(server) as a:
        await a.welcome()
        for size in (1, 125, 126, 70000, MAX_BODY):
            await a.post(bytes([size % 256]) * size)
            await a.entry()
        await a.ws.ping(b"x" * 125)
        await a.post(b"last")
        await a.entry()
        assert server.places.held == 0


async def test_a_member_that_answers_no_ping_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine was switched off, say: nothing ever comes from it again."""
    monkeypatch.setattr(server_module, "HEARTBEAT", 0.1)
    rooms = Watched()
    rooms.left = asyncio.Event()
    async with Server(LOCAL, rooms=rooms) as server, inside(server):
        await asyncio.wait_for(rooms.left.wait(), 5)
        assert len(rooms) == 0  # and so is a room in which nothing was said
        await goes_on(server)


async def test_a_request_without_end_ends() -> None:
    endless = f"POST /room/{ROOM} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Server(LOCAL) as server:
        async with raw(server, endless) as (reader, writer):
            ended = asyncio.ensure_future(reader.read())
            with suppress(ConnectionError):
                while not ended.done():
                    writer.write(b"ffff\r\n" + bytes(0xFFFF) + b"\r\n")
                    await writer.drain()
            with suppress(ConnectionError):
                assert b" 426 " in await ended
        await goes_on(server)


async def test_headers_without_end_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.3)
    async with Server(LOCAL) as server:
        for piece in (b"x: y\r\n", b"y"):
            async with raw(server, "GET / HTTP/1.1\r\n" + "x" * (piece == b"y")) as (reader, writer):
                ended = asyncio.ensure_future(ends(reader))
                with suppress(ConnectionError):
                    while not ended.done():
                        writer.write(piece)
                        await asyncio.wait({ended}, timeout=0.01)
                await ended
        await goes_on(server)


async def test_half_a_tls_handshake_takes_a_place_and_only_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.3)
    context, pin = Authority(tmp_path).issue("own", self_signed=True)
    async with Server(LOCAL, limits=Limits(connections=2), tls=context) as server, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(raw(server, "\x16\x03" if i else "")) for i in range(2)]
        async with raw(server, "") as (third, _):
            await ends(third)
        assert server.rooms.turned_away == {"connections": 1}
        await asyncio.gather(*(ends(reader) for reader, _ in silent))
        async with WebRendezvous([f"https://127.0.0.1:{server.port}"], pin).open(ROOM) as mailbox:
            assert await mailbox.post(b"x") == 1


async def test_one_address_does_not_fill_a_server() -> None:
    """Seen through a proxy, since loopback is exempt."""
    limits = Limits(stored_of_address=2 * MAX_BODY, rooms_of_address=2)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(LOCAL, limits=limits, proxies=[ip_network("127.0.0.1")]))

        async def enter(room: str, address: str) -> aiohttp.ClientWebSocketResponse:
            session = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-Forwarded-For": address}))
            url = f"http://127.0.0.1:{server.port}/room/{room * 32}"
            return await stack.enter_async_context(session.ws_connect(url, protocols=[wire.SUBPROTOCOL]))

        greedy = [await enter(room, "192.0.2.7") for room in "abc"]
        assert (await greedy[2].receive()).data == 4429  # a third room
        for number, ws in enumerate(greedy[:2]):
            assert (await ws.receive()).data[0] == 1
            await ws.send_bytes(b"\x10" + bytes([number]) * (MAX_BODY - 1024))
            assert (await ws.receive()).data[0] == 2
        await greedy[0].send_bytes(b"\x10y")
        assert (await greedy[0].receive()).data == b"\x03" + key_of(b"y")
        other = await enter("d", "192.0.2.8")
        assert (await other.receive()).data[0] == 1
        await other.send_bytes(b"\x10y")
        assert (await other.receive()).data[5:] == b"y"
        assert server.rooms.turned_away == {"rooms_of_address": 1, "stored_of_address": 1}


async def test_behind_a_proxy_each_client_counts_for_itself() -> None:
    async def status(server: Server, extra: str) -> bytes:
        async with raw(server, upgrade("0c" * 16, extra)) as (reader, _):
            return (await reader.readline()).split()[1]

    name = "X-Forwarded-For: {}\r\n".format
    limits = Limits(connections_of_address=1)
    async with Server(LOCAL, limits=limits, proxies=[ip_network("127.0.0.0/8")]) as server:
        async with inside(server, extra=name("192.0.2.7")):
            assert await status(server, name("192.0.2.7")) == b"429"
            assert await status(server, name("192.0.2.9, 192.0.2.7")) == b"429"  # what a client makes up does not help
            assert await status(server, name("192.0.2.7, 192.0.2.8")) == b"101"
            assert await status(server, "") == b"400"
            assert await status(server, name("me")) == b"400"
        assert not server.proxied
    async with Server(LOCAL, limits=limits, proxies=[ip_network("192.0.2.1")]) as server:
        async with inside(server, extra=name("192.0.2.7")):
            assert await status(server, name("192.0.2.7")) == b"101"  # a stranger's word counts for nothing
        assert server.proxied


async def test_its_health_is_told_and_nothing_else() -> None:
    async with Server(LOCAL) as server, member(server):
        async with raw(server, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, _):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and body == b"ok\n"


async def test_a_bug_of_ours_is_told_to_the_operator_and_not_to_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(values: dict[str, str]) -> None:
        raise LookupError("a secret")

    bugs: list[Exception] = []
    async with Server(LOCAL, bug=bugs.append) as server:
        with monkeypatch.context() as patch:
            patch.setattr(wire, "parse_query", breaks)
            async with raw(server, upgrade()) as (reader, _):
                answer = await reader.read()
        assert b" 500 " in answer and b"secret" not in answer and b"Traceback" not in answer
        assert [type(bug) for bug in bugs] == [LookupError]
        await goes_on(server)


async def test_a_server_without_descriptors_says_nothing_and_goes_on() -> None:
    """It may open a hundred files, and four hundred strangers come."""
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); "
    limited += "runpy.run_module('comity', run_name='__main__', alter_sys=True)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", limited, "serve", "--json", "--listen", "127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        warning, serving = [json.loads(await process.stderr.readline()) for _ in range(2)]
        assert warning["event"] == "warning" and "only 36 connections" in warning["text"]
        coming = (asyncio.open_connection("127.0.0.1", serving["port"]) for _ in range(400))
        came = await asyncio.gather(*coming, return_exceptions=True)
        assert sum(isinstance(one, tuple) for one in came) > 100
        for one in came:
            if isinstance(one, tuple):
                one[1].close()
        async with WebRendezvous(serving["addresses"]).open(ROOM) as mailbox:
            assert await mailbox.post(b"x") == 1
        process.terminate()
        said = await process.stderr.read()
        assert [json.loads(line)["event"] for line in said.splitlines()] == ["stopped"] and await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


A_ROOM = 64 * 1024
"""Bytes of one idle room with its member, in the server: benchmarks.rooms measures less."""


@pytest.mark.timeout(60)
async def test_three_hundred_rooms_leave_nothing_behind() -> None:
    """The members are processes of their own; the clock jumps over the minute for which a room is remembered."""
    now, most = 0.0, 300
    rooms = Rooms(Limits(rooms=most, connections=most + 8), clock=lambda: now)
    left_behind = []
    async with Server(LOCAL, rooms=rooms) as server:
        tasks = asyncio.all_tasks()
        tracemalloc.start()
        try:
            for count in (30, most):  # the first time fills what is kept for good
                empty = tracemalloc.get_traced_memory()[0]
                crowd = await Crowd.gather(f"http://127.0.0.1:{server.port}", count, 1)
                assert len(rooms) == server.members == count
                assert tracemalloc.get_traced_memory()[0] - empty < count * A_ROOM
                await crowd.leave()
                while connections_left := asyncio.all_tasks() - tasks:
                    await asyncio.wait(connections_left)
                await asyncio.sleep(0)  # the last one's place
                now += 61
                rooms.sweep()
                assert len(rooms) == rooms.stored == len(server.places) == server.places.held == server.members == 0
                left_behind.append(await _left(empty, most * 1024))
        finally:
            tracemalloc.stop()
    assert left_behind[1] < most * 1024, left_behind


async def _left(empty: int, enough: int) -> int:
    """Bytes beyond `empty` as soon as they are few: timers that were cancelled stay until they would have been due."""
    until = time.monotonic() + 2 * server_module.HEARTBEAT
    while True:
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - empty
        if left < enough or time.monotonic() > until:
            return left
        await asyncio.sleep(0.1)
