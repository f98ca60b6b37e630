"""The contract that every transport keeps: one that is found is run through all of this by itself.

What is written here is what interfaces.py promises; how a transport does it stands in its own tests.
"""

import asyncio
import hashlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.contracts.machine import traces
from tests.contracts.parties import Exchange, session

from comity.core.limits import MAX_SIGNAL
from comity.core.manifest import Session
from comity.errors import UnreachableError
from comity.interfaces import Channel, PartyId, Reach, Settings, Traits, Transport
from comity.transports import Kind, available

KINDS = available()


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    reason = request.param(Settings()).missing()
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def lines() -> list[str]:
    """What the transport reported."""
    return []


@asynccontextmanager
async def entered(
    kind: Kind, m: int, lines: list[str], *, label: str = "", absent: tuple[PartyId, ...] = ()
) -> AsyncIterator[dict[PartyId, Reach]]:
    """All parties of one session side by side, each with a transport of its own."""
    async with AsyncExitStack() as stack:
        exchange, agreed, reaches = Exchange(m), session(m, label), {}
        for party in range(m):
            if party not in absent:
                transport = kind(Settings())
                context = transport.connect(agreed, party, exchange.signals(party), lines.append)
                reaches[party] = await stack.enter_async_context(context)
        yield reaches


@asynccontextmanager
async def entered_both(
    kind: Kind, agreed: Session, exchange: Exchange, lines: list[str]
) -> AsyncIterator[tuple[Reach, Reach]]:
    async with (
        kind(Settings()).connect(agreed, 0, exchange.signals(0), lines.append) as alice,
        kind(Settings()).connect(agreed, 1, exchange.signals(1), lines.append) as bob,
    ):
        yield alice, bob


async def exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(sock, min(size - len(data), 1 << 16))
        assert part, "the channel ended early"
        data += part
    return bytes(data)


async def say(channel: Channel, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(channel.sock, data)


async def arrival(reach: Reach) -> Channel:
    return await anext(aiter(reach.arrivals()))


async def pair(dialler: Reach, to: PartyId, other: Reach) -> tuple[Channel, Channel]:
    """Both ends of a new channel."""
    return await dialler.dial(to), await arrival(other)


async def carries(one: Channel, other: Channel) -> bool:
    await say(one, b"there")
    there = await exactly(other.sock, 5)
    await say(other, b"back!")
    return there == b"there" and await exactly(one.sock, 5) == b"back!"


def close(*channels: Channel) -> None:
    for channel in channels:
        channel.sock.close()


def test_a_transport_says_what_it_is(kind: Kind) -> None:
    transport: Transport = kind(Settings())
    assert KINDS[transport.name] is kind and isinstance(transport.traits, Traits)
    assert all(vars(transport.traits).values())
    assert transport.missing() is None


@pytest.mark.parametrize("m", [2, 3])
async def test_every_party_reaches_every_other_one(kind: Kind, m: int, lines: list[str]) -> None:
    async with entered(kind, m, lines) as reaches:
        for dialler in range(m):
            for to in range(m):
                if to != dialler:
                    near, far = await pair(reaches[dialler], to, reaches[to])
                    assert await carries(near, far) and await carries(far, near)
                    close(near, far)
    assert lines == []


async def test_all_dial_one_another_at_once(kind: Kind, lines: list[str]) -> None:
    async def dial(me: PartyId, to: PartyId) -> Channel:
        channel = await reaches[me].dial(to)
        await say(channel, bytes([me]))
        return channel

    async with entered(kind, 3, lines) as reaches:
        pairs = [(me, to) for me in range(3) for to in range(3) if me != to]
        near = await asyncio.gather(*(dial(me, to) for me, to in pairs))
        far = {party: [await arrival(reaches[party]) for _ in range(2)] for party in range(3)}
        for party, channels in far.items():
            callers = sorted([(await exactly(channel.sock, 1))[0] for channel in channels])
            assert callers == [other for other in range(3) if other != party]
        close(*near, *(channel for channels in far.values() for channel in channels))


async def test_a_channel_is_a_non_blocking_stream_that_sends_at_once(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        channels = await pair(reaches[0], 1, reaches[1])
        for channel in channels:
            assert channel.path.kind
            assert channel.sock.type == socket.SOCK_STREAM and not channel.sock.getblocking()
            assert not os.get_inheritable(channel.sock.fileno())
            with pytest.raises(BlockingIOError):
                channel.sock.recv(1)
            if channel.sock.family in (socket.AF_INET, socket.AF_INET6):
                assert channel.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert channel.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        close(*channels)


async def test_many_channels_of_one_pair_are_told_apart(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        near = await asyncio.gather(*(reaches[0].dial(1) for _ in range(40)))
        for number, channel in enumerate(near):
            await say(channel, bytes([number]))
        far = {}
        for _ in near:
            channel = await arrival(reaches[1])
            far[(await exactly(channel.sock, 1))[0]] = channel
        assert sorted(far) == list(range(40))
        for number in (7, 31):
            assert await carries(near[number], far[number])
        close(*near, *far.values())


async def test_a_closed_channel_ends_alone_and_is_replaced_by_dialling_again(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        staying = await pair(reaches[0], 1, reaches[1])
        for _ in range(5):
            near, far = await pair(reaches[0], 1, reaches[1])
            near.sock.close()
            assert await asyncio.get_running_loop().sock_recv(far.sock, 1) == b""
            far.sock.close()
        assert await carries(*staying)
        close(*staying)


async def test_large_data_arrives_intact_both_ways_at_once(kind: Kind, lines: list[str]) -> None:
    size = 8 << 20
    data = [hashlib.shake_256(label).digest(size) for label in (b"there", b"back")]
    async with entered(kind, 2, lines) as reaches:
        near, far = await pair(reaches[0], 1, reaches[1])
        _, _, there, back = await asyncio.gather(
            say(near, data[0]), say(far, data[1]), exactly(far.sock, size), exactly(near.sock, size)
        )
        close(near, far)
    assert [there == data[0], back == data[1]] == [True, True]


async def test_what_is_said_before_a_close_still_arrives(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        near = await reaches[0].dial(1)
        await say(near, b"x" * 50_000)
        near.sock.shutdown(socket.SHUT_WR)
        far = await arrival(reaches[1])
        assert await exactly(far.sock, 50_000) == b"x" * 50_000
        assert await asyncio.get_running_loop().sock_recv(far.sock, 1) == b""
        close(near, far)


async def test_a_dial_that_is_cancelled_at_any_moment_leaves_nothing(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        close(*await pair(reaches[0], 1, reaches[1]))
        for turns in range(25):
            before = traces()
            dial = asyncio.create_task(reaches[0].dial(1))
            for _ in range(turns):
                await asyncio.sleep(0)
            dial.cancel()
            try:
                close(await dial)
            except asyncio.CancelledError:
                assert dial.cancelled()
            left = traces()
            assert left.tasks == before.tasks and left.files == before.files
            # what the other side has accepted meanwhile is its arrival, which ends at once
            near, far = await reaches[0].dial(1), None
            await say(near, b"!")
            while far is None:
                channel = await arrival(reaches[1])
                if await asyncio.get_running_loop().sock_recv(channel.sock, 1):
                    far = channel
                else:
                    close(channel)
            close(near, far)
            assert traces() == before


async def test_waiting_for_a_party_that_never_comes_can_be_cancelled(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 3, lines, absent=(2,)) as reaches:
        await asyncio.sleep(0)
        close(*await pair(reaches[0], 1, reaches[1]))
        before = traces()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reaches[0].dial(2)
        assert traces() == before
        channels = await pair(reaches[0], 1, reaches[1])
        assert await carries(*channels)
        close(*channels)


async def test_a_party_that_left_cannot_be_reached(kind: Kind, lines: list[str]) -> None:
    agreed, exchange = session(2), Exchange(2)
    async with kind(Settings()).connect(agreed, 0, exchange.signals(0), lines.append) as staying:
        async with kind(Settings()).connect(agreed, 1, exchange.signals(1), lines.append) as leaving:
            close(*await pair(staying, 1, leaving))
        before = traces()
        with pytest.raises(UnreachableError, match="bob"):
            await staying.dial(1)
        assert traces() == before


async def test_a_party_that_comes_back_is_reached_at_its_new_place(kind: Kind, lines: list[str]) -> None:
    agreed, exchange = session(2), Exchange(2)
    async with kind(Settings()).connect(agreed, 0, exchange.signals(0), lines.append) as staying:
        for time in range(3):
            async with kind(Settings()).connect(agreed, 1, exchange.signals(1), lines.append) as returning:
                channels = await pair(returning, 0, staying)
                close(*channels)
                await exchange.settled(time + 2)
                channels = await pair(staying, 1, returning)
                assert await carries(*channels)
                close(*channels)


async def test_refreshing_disturbs_nothing(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines) as reaches:
        before = await pair(reaches[0], 1, reaches[1])
        for reach in reaches.values():
            reach.refresh()
            reach.refresh()
        after = await pair(reaches[1], 0, reaches[0])
        assert await carries(*before) and await carries(*after)
        close(*before, *after)
    assert lines == []


def hostile_bodies() -> Iterator[bytes]:
    yield b""
    yield b"\0" * 16
    yield b"\xff" * 100
    yield b"x" * MAX_SIGNAL
    yield b"x" * (MAX_SIGNAL + 1)
    yield b"[" * 1_000_000
    yield b'{"version":1}'
    yield b'{"candidates":[{"advertised":false,"host":"127.0.0.1","port":99999}],"machine":"","version":1}'
    yield b"/etc/passwd"
    yield b"../../run/docker.sock"


async def test_hostile_signals_do_not_disturb(kind: Kind, lines: list[str]) -> None:
    """Bob's node sends rubbish before and after its offer; a mailbox that is corrupt delivers in wrong names."""
    agreed, exchange = session(2), Exchange(2)
    for body in hostile_bodies():
        for sender in (1, 0, -1, 2, 1 << 80):
            exchange.inject(sender, 0, body)
    async with entered_both(kind, agreed, exchange, lines) as (alice, bob):
        await exchange.settled(52)
        channels = await pair(alice, 1, bob)
        for body in hostile_bodies():
            exchange.inject(1, 0, body)
        assert await carries(*channels)
        close(*channels)
        await exchange.settled(62)
        channels = await pair(bob, 0, alice)
        assert await carries(*channels)
        close(*channels)
    assert len(lines) <= 1 and all(line.startswith("bob ") for line in lines)


async def test_arrivals_that_say_nothing_or_go_away_do_not_disturb(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 3, lines) as reaches:
        silent = [await reaches[1].dial(0) for _ in range(10)]
        for _ in range(10):
            gone = await reaches[1].dial(0)
            gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset where TCP
            gone.sock.close()
        near = await reaches[2].dial(0)
        await say(near, b"!")
        speaking, others = await first_to_speak(reaches[0])
        assert await carries(near, speaking)
        close(near, *silent, speaking, *others)


async def first_to_speak(reach: Reach) -> tuple[Channel, list[Channel]]:
    """The first arrival that says something, and all others until then."""
    arrived: list[Channel] = []
    found: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    async def hear(channel: Channel) -> None:
        with suppress(ConnectionResetError):
            if await asyncio.get_running_loop().sock_recv(channel.sock, 1):
                found.set_result(channel)

    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        async def accept() -> None:
            async for channel in reach.arrivals():
                arrived.append(channel)
                tasks.append(group.create_task(hear(channel)))

        accepting = group.create_task(accept())
        speaking = await found
        for task in (accepting, *tasks):
            task.cancel()
    return speaking, [channel for channel in arrived if channel is not speaking]


async def test_two_sessions_side_by_side_do_not_meet(kind: Kind, lines: list[str]) -> None:
    async with entered(kind, 2, lines, label="one") as one, entered(kind, 2, lines, label="other") as other:
        near, far = await asyncio.gather(one[0].dial(1), other[0].dial(1))
        await say(near, b"1")
        await say(far, b"2")
        there = await arrival(one[1])
        here = await arrival(other[1])
        assert await exactly(there.sock, 1) == b"1" and await exactly(here.sock, 1) == b"2"
        close(near, far, there, here)


async def ended(channel: Channel) -> bool:
    try:
        return await asyncio.get_running_loop().sock_recv(channel.sock, 1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("end", ["done", "error", "cancelled"])
async def test_leaving_restores_the_machine(kind: Kind, end: str, lines: list[str]) -> None:
    async def run() -> None:
        me = asyncio.current_task()
        assert me
        async with entered(kind, 3, lines, absent=(2,)) as reaches:
            abandoned.append(await reaches[0].dial(1))  # nobody takes this arrival
            close(*await pair(reaches[1], 0, reaches[0]))
            held.append(await reaches[1].dial(0))
            held.append(await arrival(reaches[0]))
            iterating = asyncio.create_task(drain(reaches[0]))
            if end == "error":
                raise ZeroDivisionError
            if end == "cancelled":
                me.cancel()
                await asyncio.Event().wait()
        await iterating  # arrivals have ended

    async def drain(reach: Reach) -> None:
        async for channel in reach.arrivals():
            channel.sock.close()

    await asyncio.to_thread(int)  # the loop's thread stays, with its descriptors if it has any
    held: list[Channel] = []
    abandoned: list[Channel] = []
    before = traces()
    task = asyncio.create_task(run())
    await asyncio.wait([task])
    expected = {"done": type(None), "error": ZeroDivisionError, "cancelled": asyncio.CancelledError}
    outcome = asyncio.CancelledError() if task.cancelled() else task.exception()
    assert isinstance(outcome, expected[end])
    assert await carries(*held), "channels that were handed out outlive their transport"
    assert await ended(abandoned[0])
    close(*held, *abandoned)
    del task
    assert traces() == before


async def test_a_transport_can_be_entered_again(kind: Kind, lines: list[str]) -> None:
    transports = [kind(Settings()), kind(Settings())]
    for label in ("first", "second"):
        agreed, exchange = session(2, label), Exchange(2)
        async with (
            transports[0].connect(agreed, 0, exchange.signals(0), lines.append) as alice,
            transports[1].connect(agreed, 1, exchange.signals(1), lines.append) as bob,
        ):
            channels = await pair(alice, 1, bob)
            assert await carries(*channels)
            close(*channels)


def test_uvloop_carries_it_as_well(kind: Kind, lines: list[str]) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> int:
        async with entered(kind, 3, lines) as reaches:
            channels = await pair(reaches[0], 1, reaches[1])
            for turns in range(6):
                dial = asyncio.create_task(reaches[0].dial(2))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dial.cancel()
                with suppress(asyncio.CancelledError):
                    close(await dial)
            reaches[2].refresh()
            assert await carries(*channels)
            close(*channels)
        assert traces().tasks == frozenset()
        return len(traces().descriptors)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == runner.run(run()), "descriptors are left"
    assert lines == []
