"""Connections that break, servers that come back empty, and what members read then."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from comity.errors import UnreachableError
from comity.interfaces import Mailbox
from comity.rendezvous import wire
from comity.rendezvous.client import Patience, WebRendezvous
from comity.rendezvous.dialling import Connection, Dialler, NoWay, web_session
from comity.rendezvous.rooms import Limits, Rooms
from comity.rendezvous.server import Server

ROOM = "0a" * 16


async def take(mailbox: Mailbox, count: int, after: int = 0) -> list[bytes]:
    bodies = []
    async for _, body in mailbox.read(after):
        bodies.append(body)
        if len(bodies) == count:
            break
    return bodies


class Lines:
    """Takes lines for people; `first` is set with the first one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.first = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.first.set()


class Power:
    """A server that can be switched off and on again at the same port, with its rooms or without."""

    def __init__(self) -> None:
        self.rooms = Rooms()
        self._stack = AsyncExitStack()
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def on(self, rooms: Rooms | None = None) -> None:
        self.rooms = Rooms() if rooms is None else rooms
        server = await self._stack.enter_async_context(Server([("127.0.0.1", self.port)], rooms=self.rooms))
        self.port = server.port

    async def off(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def power() -> AsyncIterator[Power]:
    power = Power()
    await power.on()
    yield power
    await power.off()


class Cable:
    """Passes bytes between members and a server; can be cut, and can be made to swallow what the server says."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self.swallows = False
        self.swallowed = asyncio.Event()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back, False), self._pump(there, writer, True))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if answers and self.swallows:
                    self.swallowed.set()
                else:
                    writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    @asynccontextmanager
    async def plugged(self) -> AsyncIterator["Cable"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listener:
            self.port = listener.sockets[0].getsockname()[1]
            yield self
            self.cut()


async def test_a_lost_acknowledgement_stores_nothing_twice(power: Power) -> None:
    async with (
        Cable(power.port).plugged() as cable,
        WebRendezvous([f"http://127.0.0.1:{cable.port}"]).open(ROOM) as a,
        WebRendezvous([power.address]).open(ROOM) as b,
    ):
        await a.post(b"before")
        cable.swallows = True
        posting = asyncio.ensure_future(a.post(b"acknowledged into nothing"))
        assert await take(b, 2) == [b"before", b"acknowledged into nothing"]
        await cable.swallowed.wait()
        assert not posting.done()
        cable.swallows = False
        cable.cut()
        assert await posting == 2
        assert await b.post(b"after") == 3
        assert await take(a, 3) == [b"before", b"acknowledged into nothing", b"after"]


async def test_a_cable_that_is_cut_again_and_again_loses_and_doubles_nothing(power: Power) -> None:
    lines = Lines()
    async with (
        Cable(power.port).plugged() as cable,
        WebRendezvous([f"http://127.0.0.1:{cable.port}"], report=lines).open(ROOM) as a,
        WebRendezvous([power.address]).open(ROOM) as b,
    ):
        mine = [f"a {i}".encode() for i in range(60)]
        posting = asyncio.gather(*(a.post(body) for body in mine))
        reading = asyncio.ensure_future(take(a, 120))
        for i in range(60):
            await b.post(f"b {i}".encode())
            if i % 20 == 10:
                cable.cut()
        await posting
        read = await reading
        assert read == await take(b, 120)
        assert [body for body in read if body.startswith(b"a")] == mine
        assert lines.lines == []  # nothing that a person needs to know


async def test_a_server_that_kept_its_rooms_goes_on_where_it_was(power: Power) -> None:
    lines = Lines()
    async with WebRendezvous([power.address], report=lines).open(ROOM) as a:
        await a.post(b"one")
        rooms = power.rooms
        await power.off()
        later = asyncio.ensure_future(a.post(b"two"))
        await lines.first.wait()
        await power.on(rooms)
        assert await later == 2
        assert await take(a, 2) == [b"one", b"two"]
    assert lines.lines == [
        f"the rendezvous does not answer; trying for 120 s: {power.address}: connection refused",
        "the rendezvous answers again",
    ]


async def test_a_server_that_came_back_empty_gets_everything_again_in_its_order(power: Power) -> None:
    lines = Lines()
    async with (
        WebRendezvous([power.address], report=lines).open(ROOM) as a,
        WebRendezvous([power.address]).open(ROOM) as b,
    ):
        for body in (b"question", b"other"):
            await a.post(body)
        await take(b, 2)
        await b.post(b"answer")
        assert await take(a, 3) == [b"question", b"other", b"answer"]
        await power.off()
        unsent = asyncio.ensure_future(a.post(b"unsent"))
        await power.on()
        assert await unsent == 4
        assert await a.post(b"question") == 1  # a body's first position, in what its member has read
        assert await take(b, 4) == [b"question", b"other", b"answer", b"unsent"]
        async with WebRendezvous([power.address]).open(ROOM) as late:
            assert await take(late, 4) == [b"question", b"other", b"answer", b"unsent"]
        assert "came back empty" in " ".join(lines.lines)


class Reader:
    """A member behind a cable of its own; notes what it had read, and posted itself, before each of its posts."""

    def __init__(self, mailbox: Mailbox, cable: Cable) -> None:
        self.mailbox, self.cable = mailbox, cable
        self.read: list[bytes] = []
        self.posted: list[bytes] = []
        self.causes: dict[bytes, set[bytes]] = {}

    async def keep_reading(self) -> None:
        async for _, body in self.mailbox.read():
            self.read.append(body)

    async def post(self, body: bytes) -> None:
        self.causes[body] = {*self.read, *self.posted}
        self.posted.append(body)
        await self.mailbox.post(body)


@pytest.mark.parametrize("seed", range(4))
async def test_no_member_ever_reads_an_answer_before_what_it_answers(power: Power, seed: int) -> None:
    """Some members stop hearing at different times, post what they can, and the server comes back empty, twice."""
    rng = random.Random(seed)
    members: list[Reader] = []
    async with AsyncExitStack() as stack:
        for _ in range(4):
            cable = await stack.enter_async_context(Cable(power.port).plugged())
            mailbox = await stack.enter_async_context(WebRendezvous([f"http://127.0.0.1:{cable.port}"]).open(ROOM))
            members.append(Reader(mailbox, cable))
        reading = [asyncio.create_task(member.keep_reading()) for member in members]
        for task in reading:
            stack.callback(task.cancel)
        for turn in range(3):
            posting = []
            for step in range(12):
                member = rng.choice(members)
                post = asyncio.ensure_future(member.post(f"{turn} {step}".encode()))
                posting.append(post)
                if not member.cable.swallows:
                    await post
                if step in (3, 6, 9):
                    rng.choice(members).cable.swallows = True
            await power.off()
            for member in members:
                member.cable.swallows = False
                member.cable.cut()
            await power.on()
            await asyncio.gather(*posting)
            for member in members:
                assert len(await take(member.mailbox, 12 * (turn + 1))) == 12 * (turn + 1)
        async with WebRendezvous([power.address]).open(ROOM) as late:
            orders = [await take(late, 36)]
        orders += [await take(member.mailbox, 36) for member in members]
        causes = {body: before for member in members for body, before in member.causes.items()}
        for order in orders:
            assert sorted(order) == sorted(causes)
            for place, body in enumerate(order):
                assert causes[body] <= set(order[:place])


async def test_who_cannot_reach_a_server_again_gives_up(power: Power) -> None:
    lines = Lines()
    rendezvous = WebRendezvous([power.address], report=lines, patience=Patience(later=0.3))
    async with rendezvous.open(ROOM) as a:
        await a.post(b"one")
        reading = asyncio.ensure_future(take(a, 2))
        await power.off()
        with pytest.raises(UnreachableError, match="connection refused") as given_up:
            await reading
        assert given_up.value.hints
        with pytest.raises(UnreachableError):
            await a.post(b"two")
        assert await take(a, 1) == [b"one"]  # what was read stays readable
    assert lines.lines == [f"the rendezvous does not answer; trying for 0 s: {power.address}: connection refused"]


def knows(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Whoever asks for a name gets this error."""

    def answer(*asked: object, **more: object) -> None:
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_where_every_address_says_no_the_start_fails_soon_and_says_which_one_why(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows(monkeypatch, socket.EAI_NONAME)
    lines = Lines()
    address, time = f"http://127.0.0.1:{unused_tcp_port}", asyncio.get_running_loop().time
    for invited, hint in ((True, "is the host's comity still running"), (False, "does comity serve run there")):
        began = time()
        rendezvous = WebRendezvous([address, "http://name.invalid"], report=lines, invited=invited)
        with pytest.raises(UnreachableError, match=f"{address}: connection refused.*name.invalid: no such name") as no:
            async with rendezvous.open(ROOM):
                pass
        assert hint in no.value.hints[0] and time() - began < 5
    assert lines.lines == []  # what it says is the error


async def test_where_waiting_may_help_the_start_waits(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name server answers, which a laptop that wakes up sees for some seconds."""
    knows(monkeypatch, socket.EAI_AGAIN)
    lines = Lines()
    rendezvous = WebRendezvous(
        [f"http://127.0.0.1:{unused_tcp_port}", "http://name.invalid"],
        report=lines,
        patience=Patience(refused=0.0, start=0.5),
    )
    time = asyncio.get_running_loop().time
    began = time()
    with pytest.raises(UnreachableError, match="no name server answers"):
        async with rendezvous.open(ROOM):
            pass
    assert time() - began > 0.2
    assert lines.lines[0].startswith("the rendezvous does not answer; trying for 0 s: http://127.0.0.1:")


@pytest.mark.parametrize(("status", "lasting"), [(404, True), (302, True), (200, True), (503, False), (429, False)])
async def test_what_an_address_answers_tells_whether_to_wait(status: int, lasting: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener, web_session() as session:
        address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(NoWay) as no:
            await Dialler(session, [address], b"", ROOM).connect(b"", 0)
        assert no.value.lasting is lasting and ("does not serve now" in str(no.value)) is not lasting


async def test_a_server_that_starts_a_moment_late_is_found(unused_tcp_port: int) -> None:
    """Started by the same script, in the background."""
    lines = Lines()
    tried = asyncio.Event()
    connect = Dialler.connect

    async def tries(self: Dialler, *arguments: Any) -> Connection:
        tried.set()
        return await connect(self, *arguments)

    rendezvous = WebRendezvous([f"http://127.0.0.1:{unused_tcp_port}"], report=lines, patience=Patience(refused=15.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dialler, "connect", tries)
        async with AsyncExitStack() as stack:
            opening = asyncio.ensure_future(stack.enter_async_context(rendezvous.open(ROOM)))
            await tried.wait()
            async with Server([("127.0.0.1", unused_tcp_port)]):
                assert await (await opening).post(b"x") == 1
                await stack.aclose()
    assert lines.lines == []


async def test_the_first_address_that_answers_wins(power: Power, unused_tcp_port: int) -> None:
    silent: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda reader, writer: silent.append(writer), "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        addresses = [f"http://127.0.0.1:{unused_tcp_port}", f"ws://127.0.0.1:{port}", power.address]
        time = asyncio.get_running_loop().time
        began = time()
        async with WebRendezvous(addresses).open(ROOM) as a:
            assert await a.post(b"x") == 1
        assert time() - began < 5  # far less than the silent one's time-out
        assert len(silent) == 1
        silent[0].close()


async def test_an_expired_room_ends_its_mailboxes() -> None:
    now = 0.0
    rooms = Rooms(Limits(life=100), clock=lambda: now)
    async with (
        Server([("127.0.0.1", 0)], rooms=rooms) as server,
        WebRendezvous([f"http://127.0.0.1:{server.port}"]).open(ROOM) as a,
    ):
        await a.post(b"x")
        now = 100.0
        rooms.sweep()
        with pytest.raises(UnreachableError, match="the room has expired"):
            await take(a, 2)


async def test_a_room_forgotten_while_its_member_was_away_is_filled_again(power: Power) -> None:
    now = 0.0
    rooms = Rooms(Limits(memory=60), clock=lambda: now)
    await power.off()
    await power.on(rooms)
    lines = Lines()
    async with WebRendezvous([power.address], report=lines).open(ROOM) as a:
        await a.post(b"x")
        await power.off()
        now = 61.0
        await power.on(rooms)
        assert await a.post(b"y") == 2
        assert [body for _, body in rooms.enter(ROOM).log.items()] == [b"x", b"y"]
    assert lines.lines[-1] == "the rendezvous came back empty; posting 1 messages again"


async def test_a_bug_of_ours_reaches_whoever_reads(power: Power, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(data: bytes) -> None:
        raise LookupError("a bug")

    async with WebRendezvous([power.address]).open(ROOM) as a:
        await a.post(b"x")
        monkeypatch.setattr(wire, "from_server", breaks)
        with pytest.raises(LookupError, match="a bug"):
            await a.post(b"y")
        with pytest.raises(LookupError, match="a bug"):
            await take(a, 2)


async def test_an_address_that_answers_in_the_same_moment_but_second_is_left(
    power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Connection] = []
    attempt = Dialler._attempt
    both = asyncio.Event()

    async def at_once(self: Dialler, address: str, query: dict[str, str], timeout: float) -> Connection:
        connection = await attempt(self, address, query, timeout)
        opened.append(connection)
        if len(opened) == 2:
            both.set()
        await both.wait()
        return connection

    monkeypatch.setattr(Dialler, "_attempt", at_once)
    host = power.address.replace("127.0.0.1", "localhost")
    async with WebRendezvous([power.address, host]).open(ROOM) as a:
        assert await a.post(b"x") == 1
        assert sorted(connection.socket.closed for connection in opened) == [False, True]
