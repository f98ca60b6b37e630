import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contracts.machine import descriptors, traces

from comity.core.candidates import Candidate
from comity.core.limits import MAX_RESOLVED
from comity.errors import UnreachableError
from comity.reach import dialling
from comity.reach.dialling import connect_first, resolved, talks_to_itself


def at(sock: socket.socket) -> Candidate:
    host, port = sock.getsockname()[:2]
    return Candidate(host, port)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def listener6() -> Iterator[socket.socket]:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        yield server


@pytest.fixture
def closed() -> Iterator[Candidate]:
    """A port that refuses: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield at(sock)


@pytest.fixture
def black_hole() -> Iterator[Candidate]:
    """A port that never answers: its queue is full, so the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.create_connection(server.getsockname()):
        yield at(server)


async def test_the_first_address_that_answers_wins(
    closed: Candidate, listener: socket.socket, listener6: socket.socket
) -> None:
    for server in (listener, listener6):
        with await connect_first([closed, at(server)], 5) as sock:
            assert sock.getpeername()[:2] == server.getsockname()[:2]
            assert not sock.getblocking() and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_address_that_does_not_answer_holds_up_the_next_one_only_shortly(
    black_hole: Candidate, listener: socket.socket
) -> None:
    before = descriptors()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    with await connect_first([black_hole, black_hole, at(listener)], 5) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert 2 * dialling.STAGGER <= loop.time() - begin < 2
    assert descriptors() == before


async def test_after_a_refusal_the_next_one_is_tried_at_once(closed: Candidate, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    many = [Candidate(f"127.0.0.{i}", closed.port) for i in range(1, 16)]
    (await connect_first([*many, at(listener)], 5)).close()
    assert loop.time() - begin < 15 * dialling.STAGGER / 2


async def test_what_became_of_each_address_is_told(
    closed: Candidate, black_hole: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    monkeypatch.setattr(dialling, "STAGGER", 0.01)
    with pytest.raises(UnreachableError) as caught:
        await connect_first([black_hole, closed], 0.1)
    assert sorted(caught.value.message.removeprefix("tried ").split(", ")) == sorted(
        [f"127.0.0.1:{black_hole.port}: no answer", f"127.0.0.1:{closed.port}: connection refused"]
    )
    with pytest.raises(UnreachableError, match=r"^tried 127.0.0.1:\d+: connection refused$"):
        await connect_first([closed], 5)
    with pytest.raises(UnreachableError, match="no address to dial"):
        await connect_first([], 5)
    with pytest.raises(UnreachableError, match=r"unreachable|forbids"):
        await connect_first([Candidate("255.255.255.255", 9)], 5)
    assert descriptors() == before


async def test_a_cancelled_race_leaves_no_socket(
    black_hole: Candidate, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "STAGGER", 0)
    before = descriptors()
    for turns in range(8):
        race = asyncio.create_task(connect_first([black_hole, at(listener), at(listener)], 5))
        for _ in range(turns):
            await asyncio.sleep(0)
        race.cancel()
        try:
            (await race).close()
        except asyncio.CancelledError:
            assert race.cancelled()
        assert descriptors() == before


async def test_who_answers_second_is_closed(
    listener: socket.socket, listener6: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "STAGGER", 0)
    before = descriptors()
    for _ in range(20):
        winner = await connect_first([at(listener6), at(listener), at(listener6)], 5)
        winner.close()
        assert descriptors() == before


def test_a_socket_that_met_itself_is_recognised(listener: socket.socket) -> None:
    with socket.socket() as sock, socket.create_connection(listener.getsockname()) as other:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert talks_to_itself(sock) and not talks_to_itself(other)
    with socket.socket() as unconnected:
        assert not talks_to_itself(unconnected)


async def test_meeting_oneself_counts_as_refused(closed: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect_ex

    def from_the_same_port(sock: socket.socket, address: Any) -> int:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.2", address[1]))
        return connect(sock, ("127.0.0.2", address[1]))

    monkeypatch.setattr(socket.socket, "connect_ex", from_the_same_port)
    with pytest.raises(UnreachableError, match="connection refused"):
        await connect_first([closed], 5)


def answers(*hosts: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]


async def test_names_become_addresses_where_they_stood() -> None:
    loop = asyncio.get_running_loop()
    looked_up: list[str] = []

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        looked_up.append(host)
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return answers("192.0.2.1", "192.0.2.1", *(f"192.0.2.{i}" for i in range(2, 40)))

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
    given = [
        Candidate("192.0.2.99", 1),
        Candidate("bob.example", 7, True),
        Candidate("gone.example", 8),
        Candidate("bob.example", 9),
        Candidate("2001:db8::1", 2),
    ]
    names = [f"192.0.2.{i}" for i in range(1, MAX_RESOLVED + 1)]
    assert await resolved(given) == (
        Candidate("192.0.2.99", 1),
        *(Candidate(host, 7, True) for host in names),
        *(Candidate(host, 9) for host in names),
        Candidate("2001:db8::1", 2),
    )
    assert sorted(looked_up) == ["bob.example", "gone.example"]


async def test_a_dead_name_server_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(dialling, "RESOLVING", 0.01)
    asyncio.get_running_loop().getaddrinfo = getaddrinfo  # type: ignore[method-assign]
    before = traces().tasks
    assert await resolved([Candidate("bob.example", 7), Candidate("192.0.2.1", 1)]) == (Candidate("192.0.2.1", 1),)
    looking = asyncio.create_task(resolved([Candidate("bob.example", 7)]))
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert looking.cancelled()
    assert traces().tasks == before


async def test_localhost_resolves_for_real() -> None:
    assert {c.host for c in await resolved([Candidate("localhost", 7)])} & {"127.0.0.1", "::1"}
