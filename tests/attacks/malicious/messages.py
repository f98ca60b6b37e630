"""What her program says: numbers and keys, counters and lengths, and what it does not read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tests.attacks.malicious.channels import LOST
from tests.attacks.malicious.computing import (
    ALICE,
    HEADER,
    INPUT,
    KEY,
    ME,
    OUTPUT,
    SHUTDOWN,
    VALUES,
    Engine,
    message,
)
from tests.attacks.malicious.frames import NEEDED
from tests.attacks.malicious.party import PEERS, Mallory
from tests.attacks.malicious.table import PEER, Act, Behaviour, Ends, Goes, Prepare, Waits

from comity.core.limits import ITEM, MAX_ITEMS, MAX_MESSAGE, MAX_UNCLAIMED, MESSAGE_COST

UNASKED = Ends(PEER, "that the program did not ask for")
TOO_MUCH = Ends(PEER, "mallory sent more than the program takes")
MIB = 1 << 20


def greeting(said: bytes) -> Prepare:
    def prepare(mallory: Mallory) -> None:
        def engine(mallory: Mallory, epoch: int) -> Engine:
            made = Engine(mallory.send_data(epoch))
            made.greeting = said
            return made

        mallory.engine = engine

    return prepare


def sends(*pieces: bytes, count: int = 1, at: tuple[int, ...] = PEERS) -> Act:
    async def act(mallory: Mallory) -> None:
        for peer in at:
            for piece in pieces:
                mallory.engines[0].send(peer, piece * count)
                await mallory.data[peer, 0].drained()

    return act


async def _give(mallory: Mallory, data: bytes) -> None:
    for peer in PEERS:
        wire = mallory.data[peer, 0]
        if not wire.closed.is_set():
            mallory.engines[0].send(peer, data)
            await wire.drained()
    await asyncio.sleep(0)


def unasked(size: int) -> Act:
    """Messages of this size, for as long as anybody takes them."""

    async def act(mallory: Mallory) -> None:
        counter, many = 0, max(1, 4 * MIB // (size + HEADER.size))
        while not all(mallory.data[peer, 0].closed.is_set() for peer in PEERS):
            await _give(mallory, b"".join(message(number, bytes(size)) for number in range(counter, counter + many)))
            counter += many

    return act


def largest(step: int, more: int = 0) -> Act:
    """In this step's place the largest message that is allowed, but for its last byte."""

    async def act(mallory: Mallory) -> None:
        counter, _ = await mallory.engines[0].hears(ALICE, step)
        await _give(mallory, HEADER.pack(counter, MAX_MESSAGE + more))
        for _ in range(MAX_MESSAGE // (4 * MIB) - 1):
            await _give(mallory, bytes(4 * MIB))
        await _give(mallory, bytes(4 * MIB - 1))
        await asyncio.Event().wait()

    return act


def largest_whole(step: int) -> Act:
    """In this step's place the largest message that is allowed, of zeros."""

    async def act(mallory: Mallory) -> None:
        counter, _ = await mallory.engines[0].hears(ALICE, step)
        await _give(mallory, HEADER.pack(counter, MAX_MESSAGE))
        for _ in range(MAX_MESSAGE // (4 * MIB)):
            await _give(mallory, bytes(4 * MIB))
        await asyncio.Event().wait()

    return act


async def everything(mallory: Mallory) -> None:
    """Small messages and a large one that nobody asks for, as many as are not yet too many, and the dearest value."""
    number = 2 * MAX_UNCLAIMED // (MESSAGE_COST + 8) - 1000
    for start in range(0, number, 20_000):
        await _give(mallory, b"".join(message(-i, bytes(8)) for i in range(start, min(number, start + 20_000))))
    await _give(mallory, message(7, bytes(MAX_MESSAGE - 1)))
    size = (MAX_ITEMS - 100) * ITEM // 4
    text = b"s\xff" + size.to_bytes(5, "little") + b"x" * (size - 4) + b"\xf0\x9f\x99\x82"
    for peer in PEERS:
        counter, _ = await mallory.engines[0].hears(peer, VALUES)
        mallory.engines[0].send(peer, message(counter, text))
        await mallory.data[peer, 0].drained()
    mallory.engines[0].change = lambda step, peer, counter, payload: (
        message(counter, payload) if step != VALUES else None
    )


def answers(change: Callable[[int, int, int, bytes], bytes | None]) -> Act:
    """`change` gives what she sends for a step, a peer, a counter and the honest payload."""

    async def act(mallory: Mallory) -> None:
        mallory.engines[0].change = change

    return act


def _twice(step: int, peer: int, counter: int, payload: bytes) -> bytes:
    return message(counter, payload) * 3


def _nothing_after(last: int) -> Callable[[int, int, int, bytes], bytes | None]:
    return lambda step, peer, counter, payload: message(counter, payload) if step <= last else None


def _in_two_orders(step: int, peer: int, counter: int, payload: bytes) -> bytes:
    """Counters that nobody will ask for, before the one that is."""
    others = (counter ^ 1, ~counter, 2**63 - 1 - step, step - 2**63, step)
    return b"".join(message(other, os.urandom(20)) for other in others) + message(counter, payload)


async def a_byte_at_a_time(mallory: Mallory) -> None:
    """Each byte in a message of its own to the channel, some milliseconds apart."""
    for wire in mallory.data.values():
        wire.drip = 60


async def reads_slowly(mallory: Mallory) -> None:
    for wire in mallory.data.values():
        wire.pause()
    mallory.free.set()
    for _ in range(40):
        await asyncio.sleep(0.05)
        for wire in mallory.data.values():
            wire.resume()
            await asyncio.sleep(0)
            wire.pause()
    for wire in mallory.data.values():
        wire.resume()


async def never_reads(mallory: Mallory) -> None:
    """She says all that she has to say and takes nothing."""
    engine = mallory.engines[0]
    for peer in PEERS:
        counter, payload = await engine.hears(peer, VALUES)
        engine.send(peer, message(counter, payload.replace(bytes([2 * peer % 3]), bytes([2 * peer % 3]))))
    for wire in mallory.data.values():
        wire.pause()
    await asyncio.Event().wait()


async def never_acknowledges(mallory: Mallory) -> None:
    """She reads everything and tells nobody."""
    engine = mallory.engines[0]
    for peer in PEERS:
        mallory.data[peer, 0].link.deaf = True
        counter, _ = await engine.hears(peer, VALUES)
        engine.send(peer, message(counter, b"N"))
    await asyncio.Event().wait()


def ends_after(step: int, how: Callable[[Mallory, int], None]) -> Act:
    """She computes until she has answered a step; then her channels end, in one way or another."""

    async def act(mallory: Mallory) -> None:
        engine = mallory.engines[0]
        said: set[int] = set()

        def change(now: int, peer: int, counter: int, payload: bytes) -> bytes | None:
            if now < step:
                return message(counter, payload)
            if now == step and peer not in said:
                said.add(peer)
                engine.send(peer, message(counter, payload))
                how(mallory, peer)
            return None

        engine.change = change

    return act


async def ends_inside(mallory: Mallory) -> None:
    for peer in PEERS:
        mallory.engines[0].send(peer, message(7, b"abc", 50))
        mallory.engines[0].send(peer, None)
    await asyncio.Event().wait()


def _cut(mallory: Mallory, peer: int) -> None:
    mallory.data[peer, 0].cut()


def _close(mallory: Mallory, peer: int) -> None:
    mallory.data[peer, 0].close()


def _half_close(mallory: Mallory, peer: int) -> None:
    mallory.start(mallory.data[peer, 0].end())


def _fin(mallory: Mallory, peer: int) -> None:
    mallory.engines[0].send(peer, None)


def _vanish(mallory: Mallory, peer: int) -> None:
    """All her channels to this peer, also the node's."""
    _cut(mallory, peer)
    mallory.control[peer].cut()


TABLE = [
    *(
        Behaviour(f"message: {name}", "messages", ends, prepare=greeting(said))
        for name, ends, said in (
            ("calls herself party 0", Ends(PEER, "mallory is party 1 and calls itself party 0"), b"\0\0" + KEY),
            ("calls herself carol", Ends(PEER, "mallory is party 1 and calls itself party 2"), b"\2\0" + KEY),
            ("calls herself party 65535", Ends(PEER, "calls itself party 65535"), b"\xff\xff" + KEY),
            ("one key too many", Ends(PEER, "mallory"), ME.to_bytes(2, "little") + 2 * KEY),
            ("a thousand keys too many", Ends(PEER, "mallory"), ME.to_bytes(2, "little") + 1000 * b"\xff" * 16),
        )
    ),
    Behaviour("message: no number and no keys", "messages", Waits(), prepare=greeting(b"")),
    Behaviour("message: half of a key", "messages", Waits(), prepare=greeting(ME.to_bytes(2, "little") + KEY[:8])),
    *(
        Behaviour(f"message: {name}", "messages", ends, act)
        for name, ends, act in (
            (
                "1 byte more than allowed",
                Ends(PEER, "mallory announced a message of"),
                sends(message(5, b"", MAX_MESSAGE + 1)),
            ),
            ("4 GiB", Ends(PEER, "mallory announced a message of 4294967295 bytes"), sends(message(5, b"", 2**32 - 1))),
            (
                "a counter twice",
                Ends(PEER, "mallory used the counter of a message twice"),
                sends(message(5, b"a"), message(5, b"b")),
            ),
            ("each message three times", Ends(PEER, "mallory used the counter of a message twice"), answers(_twice)),
            ("others that nobody asks for around each", Goes(), answers(_in_two_orders)),
            ("10 000 that nobody asks for", Goes(), sends(b"".join(message(i, b"x") for i in range(10_000)))),
            ("small ones that nobody asks for, without end", UNASKED, unasked(0)),
            ("ones of 4 MiB that nobody asks for, without end", TOO_MUCH, unasked(4 * MIB)),
            ("ones of 100 bytes that nobody asks for, without end", UNASKED, unasked(100)),
            ("all but the last byte of the largest", Waits(), largest(VALUES)),
            ("the largest, where a value is due", Ends(PEER, "mallory sent what is no value"), largest_whole(VALUES)),
            ("as much as is allowed at once", Goes(right=False), everything),
            ("half of a header", Waits(), sends(b"\1\2\3\4\5")),
            ("the header alone", Waits(), sends(message(7, b"", 100))),
            ("a few bytes at a time", Goes(), a_byte_at_a_time),
            ("stops after the values", Waits(), answers(_nothing_after(VALUES))),
            ("stops after the input", Waits(), answers(_nothing_after(INPUT))),
            ("never comes to the end", Waits(), answers(_nothing_after(SHUTDOWN - 1))),
            ("reads slowly", Goes(), reads_slowly),
            ("ends in the middle of one", Ends(PEER, "mallory ended in the middle of a message"), ends_inside),
            ("FIN after the values", NEEDED, ends_after(VALUES, _fin)),
            ("FIN after the input", NEEDED, ends_after(INPUT, _fin)),
            ("FIN after all but the end", NEEDED, ends_after(OUTPUT, _fin)),
            *(
                (f"{what} after the {when}", LOST, ends_after(step, how))
                for step, when in ((VALUES, "values"), (INPUT, "input"), (OUTPUT, "output"))
                for what, how in (
                    ("reset", _cut),
                    ("closed", _close),
                    ("half closed", _half_close),
                    ("vanishes", _vanish),
                )
            ),
        )
    ),
    *(
        Behaviour(f"message: {name}", "messages", Ends(PEER, "mallory does not take its bytes"), act, loud=loud)
        for name, act, loud in (
            ("never reads, and is sent a lot", never_reads, 1000),
            ("never acknowledges, and is sent a lot", never_acknowledges, 1000),
        )
    ),
]
