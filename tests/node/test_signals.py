"""Signals reach their addressee alone, whatever the other parties and the rendezvous do."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from comity.core.encoding import encode
from comity.core.identity import derive
from comity.core.limits import MAX_SIGNAL
from comity.core.sealing import seal, unseal
from comity.errors import PeerError, UsageError
from comity.interfaces import Mailbox
from comity.node import signals
from comity.node.signals import SignalRoom, signal_room
from comity.rendezvous.memory import MemoryRendezvous

T = b"T" * 32
ROOM = signal_room(b"s" * 16)


def pair_keys(me: int) -> dict[int, bytes]:
    return {peer: bytes([min(me, peer), max(me, peer)]) * 16 for peer in range(3) if peer != me}


@asynccontextmanager
async def three() -> AsyncIterator[tuple[MemoryRendezvous, list[SignalRoom]]]:
    rendezvous = MemoryRendezvous()
    async with (
        SignalRoom.open(rendezvous, ROOM, T, 0, pair_keys(0)) as alice,
        SignalRoom.open(rendezvous, ROOM, T, 1, pair_keys(1)) as bob,
        SignalRoom.open(rendezvous, ROOM, T, 2, pair_keys(2)) as carol,
    ):
        rooms = [alice, bob, carol]
        pumps = [asyncio.create_task(room.pump()) for room in rooms]
        try:
            yield rendezvous, rooms
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def heard(room: SignalRoom, transport: str) -> tuple[int, bytes]:
    async with asyncio.timeout(5):
        async for signal in room.scoped(transport).receive():
            return signal
    raise AssertionError


async def test_a_signal_reaches_its_addressee_within_its_transport() -> None:
    async with three() as (_, (alice, bob, carol)):
        await alice.scoped("direct").send(1, b"for bob")
        await carol.scoped("relay").send(1, b"by relay")
        await carol.scoped("direct").send(1, b"and this")
        receiving = bob.scoped("direct").receive()
        assert await anext(receiving) == (0, b"for bob")
        assert await anext(receiving) == (2, b"and this")
        assert await heard(bob, "relay") == (2, b"by relay")


async def test_what_others_forge_change_or_readdress_has_no_effect() -> None:
    async with three() as (rendezvous, (_alice, bob, carol)):
        key = derive(T, b"", "signals")
        async with rendezvous.open(ROOM) as mallory:
            context = signals._context(0, 1, "direct")
            box = seal(pair_keys(0)[1], os.urandom(12), bytes(7) + b"\1true", context)
            forged = seal(os.urandom(32), os.urandom(12), bytes(7) + b"\1forged", context)
            values: list[object] = [
                {"from": 0, "to": 1, "transport": "direct", "box": forged.hex()},
                {"from": 2, "to": 1, "transport": "direct", "box": box.hex()},
                {"from": 0, "to": 1, "transport": "relay", "box": box.hex()},
                {"from": 0, "to": 2, "transport": "direct", "box": box.hex()},
                {"from": 1, "to": 1, "transport": "direct", "box": box.hex()},
                {"from": 9, "to": 1, "transport": "direct", "box": box.hex()},
                {"from": 0, "to": 1, "transport": "direct", "box": ""},
                {"from": 0, "to": 1, "transport": "direct"},
                [],
            ]
            for value in values:
                await mallory.post(seal(key, os.urandom(12), encode(value)))
            await mallory.post(b"not sealed")
            await mallory.post(seal(os.urandom(32), os.urandom(12), b"{}"))
        await carol.scoped("direct").send(1, b"the first that counts")
        assert await heard(bob, "direct") == (2, b"the first that counts")


async def said_again(mailbox: Mailbox, times: int) -> None:
    """All that the room holds, sealed anew by somebody who knows T, so that the rendezvous keeps it."""
    key = derive(T, b"", "signals")
    async with asyncio.timeout(5):
        bodies = [await anext(mailbox.read(after)) for after in range(2)]
    for _ in range(times):
        for _, body in bodies:
            await mailbox.post(seal(key, os.urandom(12), unseal(key, body)))


async def test_a_signal_that_is_said_again_has_no_effect_and_nobody_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mallory would make alice's old addresses the newest ones, or have alice taken for a flood."""
    monkeypatch.setattr(signals, "MAX_SIGNALS", 5)
    async with three() as (rendezvous, (alice, bob, carol)), rendezvous.open(ROOM) as mallory:
        receiving = bob.scoped("direct").receive()
        for offer in (b"where alice was", b"where alice is"):
            await alice.scoped("direct").send(1, offer)
            assert await anext(receiving) == (0, offer)
        await said_again(mallory, 5)
        await carol.scoped("direct").send(1, b"carol")
        await alice.scoped("direct").send(1, b"alice once more")
        assert [await anext(receiving) for _ in range(2)] == [(2, b"carol"), (0, b"alice once more")]


async def test_a_signal_without_a_number_has_no_effect() -> None:
    async with three() as (rendezvous, (alice, bob, _)), rendezvous.open(ROOM) as mailbox:
        for body in (b"", bytes(7), bytes(8) + b"zero"):
            box = seal(pair_keys(0)[1], os.urandom(12), body, signals._context(0, 1, "direct"))
            value = {"from": 0, "to": 1, "transport": "direct", "box": box.hex()}
            await mailbox.post(seal(derive(T, b"", "signals"), os.urandom(12), encode(value)))
        await alice.scoped("direct").send(1, b"the first")
        assert await heard(bob, "direct") == (0, b"the first")


async def test_a_flood_of_signals_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "MAX_SIGNALS", 5)
    rendezvous = MemoryRendezvous()
    async with (
        SignalRoom.open(rendezvous, ROOM, T, 0, pair_keys(0)) as alice,
        SignalRoom.open(rendezvous, ROOM, T, 1, pair_keys(1)) as bob,
    ):
        for i in range(6):
            await alice.scoped("direct").send(1, bytes([i]))
        with pytest.raises(PeerError, match="floods"):
            async with asyncio.timeout(5):
                await bob.pump()


async def test_a_signal_that_is_too_large_is_not_sent() -> None:
    async with three() as (_, (alice, _bob, _carol)):
        with pytest.raises(UsageError):
            await alice.scoped("direct").send(1, bytes(MAX_SIGNAL + 1))
