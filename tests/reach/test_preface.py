import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from comity.core.limits import MAX_ARRIVALS
from comity.core.preface import DATA, PROOF_SIZE, SIZE, Preface, proof
from comity.errors import UnreachableError
from comity.interfaces import Channel, Path
from comity.reach import preface
from comity.reach.arrivals import Arrivals
from comity.reach.preface import greet, receive, route

KEY = b"k" * 32
MINE = Preface(b"t" * 16, 0, 1, DATA, 0, 1, b"n" * 16).pack(KEY)
ANSWER = Preface(b"t" * 16, 1, 0, DATA, 0, 1, b"m" * 16).pack(KEY)
PROOF = proof(MINE, ANSWER, KEY)


def prove(answer: bytes) -> bytes | None:
    return PROOF if answer == ANSWER else None


def reply(question: bytes) -> tuple[bytes, bytes] | None:
    return (ANSWER, PROOF) if question == MINE else None


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield Channel(near, Path("direct", remote="192.0.2.7:7000")), far


async def test_prefaces_are_exchanged_and_not_a_byte_more_is_read(ends: tuple[Channel, socket.socket]) -> None:
    channel, far = ends
    arrived = Channel(far, Path("direct"))

    async def dial() -> None:
        await greet(channel, MINE, prove)
        channel.sock.send(b"what the link says")

    answered, _ = await asyncio.gather(receive(arrived, reply), dial())
    assert answered == MINE
    assert far.recv(100) == b"what the link says"
    far.send(b"and its answer")
    assert channel.sock.recv(100) == b"and its answer"


async def test_a_preface_may_come_byte_by_byte(ends: tuple[Channel, socket.socket]) -> None:
    channel, far = ends
    reading = asyncio.create_task(receive(channel, reply))
    for byte in MINE + PROOF:
        assert not reading.done()
        far.send(bytes([byte]))
        for _ in range(3):
            await asyncio.sleep(0)  # a turn to see it, one to read it, one to go on
    assert await reading == MINE


async def test_another_answer_than_expected_closes_the_channel(ends: tuple[Channel, socket.socket]) -> None:
    channel, far = ends
    far.send(MINE)
    with pytest.raises(UnreachableError, match=r"another session answers at 192.0.2.7:7000"):
        await greet(channel, MINE, prove)
    assert channel.sock.fileno() == -1
    assert far.recv(SIZE + 1) == MINE and far.recv(1) == b""


async def test_a_preface_that_nobody_expects_is_not_answered(ends: tuple[Channel, socket.socket]) -> None:
    channel, far = ends
    far.send(ANSWER)
    with pytest.raises(UnreachableError, match=r"192.0.2.7:7000 is nobody who is expected"):
        await receive(channel, reply)
    assert channel.sock.fileno() == -1 and far.recv(1) == b""


@pytest.mark.parametrize("said", [bytes(PROOF_SIZE), proof(MINE, MINE, KEY), proof(MINE, ANSWER, b"j" * 32)])
async def test_who_repeats_a_preface_and_cannot_prove_it_is_closed(
    ends: tuple[Channel, socket.socket], said: bytes
) -> None:
    """Mallory has recorded a preface of bob's, and the proof that belonged to another answer."""
    channel, far = ends
    far.send(MINE + said)
    with pytest.raises(UnreachableError, match=r"192.0.2.7:7000 repeats what somebody else has said"):
        await receive(channel, reply)
    assert channel.sock.fileno() == -1 and far.recv(SIZE + 1) == ANSWER


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", MINE[:-1], MINE, MINE + PROOF[:-1]])
async def test_an_end_before_the_preface_closes_the_channel(ends: tuple[Channel, socket.socket], said: bytes) -> None:
    channel, far = ends
    far.send(said)
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(UnreachableError, match=r"192.0.2.7:7000 closed the channel before it was used"):
        await receive(channel, reply)
    assert channel.sock.fileno() == -1


@pytest.mark.parametrize("said", [MINE[:-1], MINE])
async def test_who_says_nothing_more_is_given_up(ends: tuple[Channel, socket.socket], said: bytes) -> None:
    channel, far = ends
    far.send(said)
    with pytest.raises(UnreachableError, match="said nothing"):
        await receive(channel, reply, timeout=0.01)
    assert channel.sock.fileno() == -1


async def test_a_broken_channel_is_an_error_of_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        near.setblocking(False)
        far, _ = server.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()  # a reset
    with pytest.raises(UnreachableError, match="broke: connection reset by peer"):
        await greet(Channel(near, Path("direct")), MINE, prove)
    assert near.fileno() == -1


@pytest.mark.parametrize("greeting", [True, False])
async def test_a_cancelled_exchange_closes_the_channel(ends: tuple[Channel, socket.socket], greeting: bool) -> None:
    channel, _ = ends
    exchange = greet(channel, MINE, prove) if greeting else receive(channel, reply)
    task = asyncio.ensure_future(exchange)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() and channel.sock.fileno() == -1


class Arriving:
    """Arrivals whose far ends the test holds."""

    def __init__(self) -> None:
        self.queue = Arrivals(limit=MAX_ARRIVALS * 4)
        self.far: list[socket.socket] = []
        self.near: list[Channel] = []

    def come(self, said: bytes = b"") -> None:
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setblocking(False)
        far.send(said)
        self.far.append(far)
        self.near.append(Channel(near, Path("direct")))
        self.queue.put(self.near[-1])

    def still_open(self) -> list[bool]:
        return [channel.sock.fileno() != -1 for channel in self.near]

    def close(self) -> None:
        for sock in (*self.far, *(channel.sock for channel in self.near)):
            sock.close()


@pytest.fixture
async def arriving() -> AsyncIterator[Arriving]:
    made = Arriving()
    yield made
    made.close()


async def test_every_arrival_is_handed_over_with_its_preface_whatever_strangers_do(arriving: Arriving) -> None:
    taken: asyncio.Queue[tuple[Channel, bytes]] = asyncio.Queue()
    routing = asyncio.create_task(route(arriving.queue, reply, lambda *arrival: taken.put_nowait(arrival)))
    arriving.come()  # says nothing
    arriving.come(b"GET /")
    arriving.far[1].close()
    arriving.come(ANSWER + PROOF)
    arriving.come(MINE)  # and no proof yet
    arriving.come(MINE + PROOF)
    assert await taken.get() == (arriving.near[4], MINE)
    assert arriving.still_open() == [True, False, False, True, True]
    arriving.far[0].send(MINE + PROOF)  # slow, but in time
    assert await taken.get() == (arriving.near[0], MINE)
    arriving.far[3].send(PROOF)
    assert await taken.get() == (arriving.near[3], MINE)
    arriving.queue.close()
    await routing


async def test_of_too_many_arrivals_that_say_nothing_the_oldest_is_closed(
    arriving: Arriving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preface, "MAX_ARRIVALS", 3)
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    routing = asyncio.create_task(route(arriving.queue, reply, lambda _, preface: taken.put_nowait(preface)))
    for said in (b"", MINE, b"", MINE, b""):
        arriving.come(said)
    arriving.come(MINE + PROOF)
    assert await taken.get() == MINE
    assert arriving.still_open() == [False, False, False, True, True, True]
    routing.cancel()
    await asyncio.wait([routing])
    assert routing.cancelled()
    assert arriving.still_open() == [False] * 5 + [True], "what was handed over belongs to who took it"


@pytest.mark.parametrize("turns", range(6))
async def test_an_arrival_is_closed_at_whatever_moment_routing_ends(arriving: Arriving, turns: int) -> None:
    routing = asyncio.create_task(route(arriving.queue, reply, lambda *_: None))
    arriving.come()
    for _ in range(turns):
        await asyncio.sleep(0)
    routing.cancel()
    await asyncio.wait([routing])
    arriving.queue.close()
    assert arriving.still_open() == [False]


async def test_an_error_of_who_takes_is_not_hidden(arriving: Arriving) -> None:
    def take(channel: Channel, data: bytes) -> None:
        raise ZeroDivisionError

    arriving.come(MINE + PROOF)
    with pytest.raises(ExceptionGroup) as caught:
        await route(arriving.queue, reply, take)
    assert caught.group_contains(ZeroDivisionError)
