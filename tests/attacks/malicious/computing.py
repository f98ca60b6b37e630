"""What three parties compute while mallory is among them, and her honest part in it, without MPyC.

She needs no program counters of her own: whoever she sends something to has sent her a message with the same counter,
or the third party has.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable

from tests.independent.codec import dumps

PROGRAM = """
import asyncio
import sys
import numpy as np
from mpyc.runtime import mpc

async def main():
    turns, loud = int(sys.argv[1]), int(sys.argv[2])
    for turn in range(turns):
        await mpc.start()
        values = await mpc.transfer(mpc.pid)
        print("values", values if all(type(value) is int and value < 100 for value in values) else "others", flush=True)
        for _ in range(loud):
            mpc.transfer(bytes(1 << 20), senders=[0, 2], receivers=1)
            await asyncio.sleep(0)
        secint = mpc.SecInt(32)
        print("sum", await mpc.output(mpc.sum(mpc.input(secint(mpc.pid)))), flush=True)
        numbers = mpc.input(secint.array(np.array([mpc.pid, 7])))
        print("array", (await mpc.output(numbers[0] + numbers[1] + numbers[2])).tolist(), flush=True)
        await mpc.shutdown()

mpc.run(main())
"""
RESULT = "values [0, 1, 2]\nsum 3\narray [3, 21]\n"
"""Of each turn."""

PRIME, WIDTH = 18446744073709551427, 8
"""MPyC's field for `SecInt(32)`, and the bytes of its elements."""

HEADER = struct.Struct("<qI")
KEY = b"k" * 16
ALICE, ME, CAROL = range(3)
VALUES, INPUT, OUTPUT, ARRAY_INPUT, ARRAY_OUTPUT, SHUTDOWN = range(6)
STEPS = {
    ALICE: (VALUES, INPUT, OUTPUT, ARRAY_INPUT, ARRAY_OUTPUT, SHUTDOWN),
    CAROL: (VALUES, INPUT, ARRAY_INPUT, SHUTDOWN),
}
"""What each says to her, in this order. With one step between parties 0, 1 and 2, each outputs to the next one."""

SENDS = {VALUES: (ALICE, CAROL), INPUT: (ALICE, CAROL), OUTPUT: (CAROL,)}
SENDS |= {ARRAY_INPUT: (ALICE, CAROL), ARRAY_OUTPUT: (CAROL,), SHUTDOWN: (ALICE, CAROL)}


def message(counter: int, payload: bytes, length: int | None = None) -> bytes:
    return HEADER.pack(counter, len(payload) if length is None else length) + payload


def array(numbers: list[int]) -> bytes:
    """An array of integers, in the codec."""
    data = b"".join(number.to_bytes(WIDTH, "little") for number in numbers)
    return b"x\2" + dumps(((len(numbers),), WIDTH, data))


class Engine:
    """Her program in one epoch. `change` gives what she sends in a step in place of the honest payload."""

    def __init__(self, send: Callable[[int, bytes | None], None]) -> None:
        self.send = send
        self._buffers = {ALICE: bytearray(), CAROL: bytearray()}
        self._skip = {ALICE: 2 + len(KEY), CAROL: 0}
        self._heard: dict[int, list[tuple[int, bytes]]] = {ALICE: [], CAROL: []}
        self._loud: dict[int, int] = {ALICE: 0, CAROL: 0}
        self._news = asyncio.Event()
        self.greeting = ME.to_bytes(2, "little") + KEY
        self.change: Callable[[int, int, int, bytes], bytes | None] = self.honest
        self.counters: dict[int, int] = {}
        self.over = asyncio.Event()

    def honest(self, step: int, peer: int, counter: int, payload: bytes) -> bytes | None:
        return message(counter, payload)

    def greet(self, peer: int) -> None:
        self.send(peer, self.greeting)

    def feed(self, peer: int, data: bytes) -> None:
        buffer = self._buffers[peer]
        buffer += data
        if self._skip[peer]:
            taken = min(self._skip[peer], len(buffer))
            self._skip[peer] -= taken
            del buffer[:taken]
        while len(buffer) >= HEADER.size and not self._skip[peer]:
            counter, length = HEADER.unpack_from(buffer)
            end = HEADER.size + length
            if len(buffer) < end:
                break
            if length < 1 << 20:  # what the loud ones say is heard and forgotten
                self._heard[peer].append((counter, bytes(buffer[HEADER.size : end])))
            del buffer[:end]
            self._news.set()

    async def hears(self, peer: int, step: int) -> tuple[int, bytes]:
        """The counter and payload of what a peer says in a step."""
        place = STEPS[peer].index(step)
        while len(self._heard[peer]) <= place:
            self._news.clear()
            await self._news.wait()
        self.counters[step] = self._heard[peer][place][0]
        return self._heard[peer][place]

    async def run(self, free: asyncio.Event) -> None:
        """All steps, once she is free to compute; then she ends, as the lower party of her pair with carol."""
        await free.wait()
        await self._step(VALUES, dict.fromkeys((ALICE, CAROL), dumps(ME)))
        share = await self._input(INPUT, [ME], lambda numbers: numbers[0].to_bytes(WIDTH, "little"))
        await self._output(OUTPUT, share[0].to_bytes(WIDTH, "little"))
        shares = await self._input(ARRAY_INPUT, [ME, 7], array)
        await self._output(ARRAY_OUTPUT, array(shares))
        await self._step(SHUTDOWN, dict.fromkeys((ALICE, CAROL), dumps(ME)))
        self.send(CAROL, None)
        self.over.set()

    async def _step(self, step: int, payloads: dict[int, bytes]) -> dict[int, bytes]:
        """Say something to each, and hear what they say; whoever she says something to is behind the same step."""
        heard = {peer: await self.hears(peer, step) for peer in (ALICE, CAROL) if step in STEPS[peer]}
        for peer, payload in payloads.items():
            said = self.change(step, peer, self.counters[step], payload)
            if said is not None:
                self.send(peer, said)
        return {peer: payload for peer, (_, payload) in heard.items()}

    async def _input(self, step: int, mine: list[int], marshal: Callable[[list[int]], bytes]) -> list[int]:
        """Shares of her numbers to each; returns her shares of the sum of everybody's."""
        slopes = [random.randrange(PRIME) for _ in mine]
        shares = [[(n + s * (party + 1)) % PRIME for n, s in zip(mine, slopes, strict=True)] for party in range(3)]
        heard = await self._step(step, {peer: marshal(shares[peer]) for peer in (ALICE, CAROL)})
        for payload in heard.values():
            data = payload[-WIDTH * len(mine) :]  # both forms end with the numbers
            theirs = [int.from_bytes(data[at : at + WIDTH], "little") for at in range(0, len(data), WIDTH)]
            shares[ME] = [(a + b) % PRIME for a, b in zip(shares[ME], theirs, strict=True)]
        return shares[ME]

    async def _output(self, step: int, payload: bytes) -> None:
        await self._step(step, {CAROL: payload})
