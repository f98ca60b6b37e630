"""Two nodes fill their slots over reaches that are socket pairs; a test says what becomes of each channel."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.contracts.parties import session

from comity.core import preface
from comity.errors import UnreachableError
from comity.interfaces import Channel, PartyId, Path
from comity.node import channels
from comity.node.channels import Channels, Slot
from comity.node.pairs import Pairs
from comity.reach.arrivals import Arrivals

AGREED = session(2)
DATA, CONTROL = preface.DATA, preface.CONTROL


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "REDIAL_SECONDS", (0.001,))
    monkeypatch.setattr(channels, "LATER_SECONDS", 0.01)


@dataclass
class Wires:
    """A reach to one peer."""

    there: Arrivals
    here: Arrivals = field(default_factory=Arrivals)
    up: bool = True
    dialled: int = 0

    async def dial(self, peer: PartyId) -> Channel:
        self.dialled += 1
        if not self.up:
            raise UnreachableError(f"no path to {AGREED.name(peer)}: the wire is cut", hint="mend it")
        near, far = socket.socketpair()
        for sock in near, far:
            sock.setblocking(False)
        self.there.put(Channel(far, Path("wire")))
        return Channel(near, Path("wire"))

    def arrivals(self) -> AsyncIterator[Channel]:
        return self.here

    def refresh(self) -> None:
        raise AssertionError


class Node:
    """Takes what its test wants to have taken, and keeps it."""

    def __init__(self, me: PartyId, reach: Wires) -> None:
        self.reach, self.wants = reach, True
        self.taken: list[tuple[Slot, Channel]] = []
        self.news = asyncio.Event()
        peer = 1 - me
        self.channels = Channels(reach, Pairs(AGREED, me, {peer: b""}, {peer: b"key of the pair"}), self._take)

    def _take(self, slot: Slot, number: int, channel: Channel) -> bool:
        if self.wants:
            self.taken.append((slot, channel))
            self.news.set()
        return self.wants

    async def has_taken(self, count: int) -> list[Slot]:
        while len(self.taken) < count:
            self.news.clear()
            await self.news.wait()
        return [slot for slot, _ in self.taken]


@asynccontextmanager
async def nodes() -> AsyncIterator[tuple[Node, Node]]:
    """alice, who controls, and bob."""
    arrivals = Arrivals(), Arrivals()
    pair = Node(0, Wires(arrivals[1], arrivals[0])), Node(1, Wires(arrivals[0], arrivals[1]))
    accepting = [asyncio.create_task(node.channels.accept()) for node in pair]
    try:
        yield pair
    finally:
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        for node in pair:
            node.reach.here.close()
            for _, channel in node.taken:
                channel.sock.close()


def theirs(slot: Slot) -> Slot:
    return Slot(1 - slot.peer, slot.kind, slot.epoch)


async def test_one_dials_both_take_and_each_link_that_stands_ends_it() -> None:
    async with nodes() as (alice, bob):
        slot = Slot(1, CONTROL, 0)
        filling = asyncio.create_task(alice.channels.fill(slot, 5))
        assert await alice.has_taken(1) == [slot] and await bob.has_taken(1) == [theirs(slot)]
        assert not filling.done()
        alice.channels.filled(slot)
        await filling
        assert (alice.reach.dialled, bob.reach.dialled) == (1, 0)


async def test_the_other_side_dials_when_only_it_gets_through() -> None:
    async with nodes() as (alice, bob):
        alice.reach.up = False
        slot = Slot(1, DATA, 0)
        filling = [
            asyncio.create_task(alice.channels.fill(slot, 5)),
            asyncio.create_task(bob.channels.fill(theirs(slot), 5)),
        ]
        assert await alice.has_taken(1) == [slot]
        alice.channels.filled(slot)
        bob.channels.filled(theirs(slot))
        await asyncio.gather(*filling)
        assert bob.reach.dialled == 1


async def test_who_got_a_channel_does_not_dial() -> None:
    async with nodes() as (alice, bob):
        slot = Slot(1, DATA, 0)
        filling = asyncio.create_task(alice.channels.fill(slot, 5))
        await bob.has_taken(1)
        late = asyncio.create_task(bob.channels.fill(theirs(slot), 0.05))
        assert not (await asyncio.wait((late,), timeout=0.1))[0] and bob.reach.dialled == 0
        for node, own, task in ((alice, slot, filling), (bob, theirs(slot), late)):
            node.channels.filled(own)
            await task


async def test_a_program_that_starts_late_is_not_a_missing_path() -> None:
    """Its node took the channel; nobody gives up, and nobody dials again."""
    async with nodes() as (alice, _):
        filling = asyncio.create_task(alice.channels.fill(Slot(1, DATA, 0), 0.05))
        await alice.has_taken(1)
        assert not (await asyncio.wait((filling,), timeout=0.2))[0]
        assert alice.reach.dialled == 1
        alice.channels.filled(Slot(1, DATA, 0))
        await filling


async def test_a_control_link_that_never_stands_is_a_missing_path() -> None:
    async with nodes() as (alice, _):
        with pytest.raises(UnreachableError, match=r"^no path to bob in 0 s$"):
            await alice.channels.fill(Slot(1, CONTROL, 0), 0.05)
        assert alice.reach.dialled == 1


async def test_a_channel_that_is_lost_is_dialled_again() -> None:
    async with nodes() as (alice, _):
        slot = Slot(1, DATA, 0)
        filling = asyncio.create_task(alice.channels.fill(slot, 5))
        await alice.has_taken(1)
        alice.channels.lost(slot)
        await alice.has_taken(2)
        alice.channels.filled(slot)
        await filling
        assert alice.reach.dialled == 2


async def test_the_time_that_a_program_took_is_not_given_back_nor_taken() -> None:
    """A path that is lost after it was held has what was left of the time to come back."""
    async with nodes() as (alice, _):
        slot = Slot(1, DATA, 0)
        filling = asyncio.create_task(alice.channels.fill(slot, 0.1))
        await alice.has_taken(1)
        assert not (await asyncio.wait((filling,), timeout=0.2))[0]
        alice.reach.up = False
        alice.channels.lost(slot)
        with pytest.raises(UnreachableError, match="no path to bob") as caught:
            await filling
        assert caught.value.hints == ("the wire is cut", "mend it", "bob and you: comity doctor")


async def test_a_slot_is_filled_once_however_often_it_is_wanted() -> None:
    async with nodes() as (alice, _):
        slot = Slot(1, DATA, 1)
        filling = asyncio.create_task(alice.channels.fill(slot, 5))
        await alice.has_taken(1)
        await alice.channels.fill(slot, 5)
        alice.channels.filled(slot)
        await filling
        assert alice.reach.dialled == 1


async def test_who_repeats_a_recorded_preface_gets_no_channel() -> None:
    """Mallory has heard alice and bob, and their link does not stand yet."""
    async with nodes() as (alice, bob):
        loop, key = asyncio.get_running_loop(), b"key of the pair"
        question = alice.channels._pairs.preface(1, DATA, 0, 1)
        with arrival(bob) as channel:
            await loop.sock_sendall(channel, question)
            proof = preface.proof(question, await loop.sock_recv(channel, preface.SIZE), key)
            await loop.sock_sendall(channel, proof)
            await bob.has_taken(1)
        for said in (question + proof, question + question, question + bytes(preface.PROOF_SIZE)):
            with arrival(bob) as channel:
                await loop.sock_sendall(channel, said)
                answer = preface.parse(await loop.sock_recv(channel, preface.SIZE))
                assert answer is not None and answer.sender == 1
                with suppress(ConnectionError):  # what was sent in excess is not read
                    assert await loop.sock_recv(channel, 1) == b""
        assert len(bob.taken) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"tag": b"another session."},
        {"sender": 0, "to": 0},
        {"sender": 1},
        {"sender": 7},
        {"to": 0},
        {"key": b"key of another pair"},
        {"after": {"kind": CONTROL}},
        {"after": {"epoch": 1}},
        {"after": {"number": 2}},
        {"after": {"nonce": bytes(16)}},
    ],
    ids=str,
)
async def test_an_arrival_with_a_wrong_preface_is_closed_without_a_word(change: dict[str, Any]) -> None:
    """Of another session, in a wrong name, for somebody else, under another key, or changed `after` it was made."""
    async with nodes() as (alice, bob):
        loop, key = asyncio.get_running_loop(), change.get("key", b"key of the pair")
        right = preface.parse(alice.channels._pairs.preface(1, DATA, 0, 1))
        assert right is not None
        fields = {name: value for name, value in change.items() if name not in ("key", "after")}
        said = replace(right, **fields).pack(key)
        if "after" in change:
            said = replace(right, **change["after"]).pack(key)[: -preface.PROOF_SIZE] + said[-preface.PROOF_SIZE :]
        with arrival(bob) as channel:
            await loop.sock_sendall(channel, said)
            assert await loop.sock_recv(channel, preface.SIZE) == b""
        assert not bob.taken
        with arrival(bob) as channel:
            await loop.sock_sendall(channel, right.pack(b"key of the pair"))
            assert len(await loop.sock_recv(channel, preface.SIZE)) == preface.SIZE


@contextmanager
def arrival(at: Node) -> Iterator[socket.socket]:
    near, far = socket.socketpair()
    for sock in near, far:
        sock.setblocking(False)
    at.reach.here.put(Channel(far, Path("wire")))
    with near:
        yield near


async def test_an_arrival_for_a_link_that_stands_or_that_nobody_takes_is_closed() -> None:
    async with nodes() as (alice, bob):
        stands, unwanted = Slot(0, DATA, 0), Slot(0, DATA, 7)
        bob.channels.filled(stands)
        bob.wants = False
        filling = [asyncio.create_task(alice.channels.fill(theirs(slot), 5)) for slot in (stands, unwanted)]
        await alice.has_taken(1)  # bob answers for the unwanted one before he looks at it
        (_, channel), *more = alice.taken
        assert await asyncio.get_running_loop().sock_recv(channel.sock, 1) == b"" and not more and not bob.taken
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
