"""What a link costs beside plain TCP: python -m benchmarks.link [BLOCKS]

Two processes on loopback. Each block runs every arm once, in a shuffled order: plain asyncio TCP, plain again (the
A/A arm: what chance alone does), and a link, on asyncio's loop and on uvloop. Ratios are taken within a block; shown
are their medians and 95 % bootstrap intervals.
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop
from benchmarks.ratios import show

from comity.core import preface
from comity.core.identity import public_key
from comity.links.certificate import make_certificate
from comity.links.pairing import Pairing
from comity.links.stream import Depth, Stream

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
ENGINES = ("tcp", "tcp again", "link")
MESSAGE, ROUNDS, WARM = 64, 4000, 500
WRITE, TOTAL = 1 << 20, 96 << 20
SEEDS = (b"a" * 32, b"b" * 32)


class Plain(asyncio.Protocol):
    """asyncio TCP with the surface of a Stream."""

    def __init__(self, data: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        self.data_received, self._ready = data, ready  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]
        self._ready()


def pairing(me: int) -> Pairing:
    mine, theirs = SEEDS[me], SEEDS[1 - me]
    certificates = make_certificate(mine), make_certificate(theirs)
    return Pairing(b"T" * 32, me, 1 - me, "peer", preface.DATA, 0, b"i" * 16, mine, *certificates, public_key(theirs))


def endpoint(engine: str, me: int, data: Callable[[bytes], None], ready: Callable[[], None]) -> Plain | Stream:
    if engine == "link":
        return Stream(pairing(me), 0, Depth(), ready=ready, data=data, ended=lambda error: None)
    return Plain(data, ready)


async def answer(engine: str, sock: socket.socket) -> None:
    """The other process: echo the rounds, then take TOTAL bytes and say so."""
    left, done = [(WARM + ROUNDS) * MESSAGE, TOTAL], asyncio.Event()

    def take(data: bytes) -> None:
        if left[0]:
            left[0] -= len(data)
            end.write(data)
        else:
            left[1] -= len(data)
            if not left[1]:
                end.write(b".")
                done.set()

    loop = asyncio.get_running_loop()
    end = endpoint(engine, 1, take, lambda: None)
    await loop.connect_accepted_socket(lambda: end, sock)
    await done.wait()
    await loop.run_in_executor(None, sys.stdin.buffer.read)  # until the other side is done


@dataclass(frozen=True)
class Result:
    round_trip: float  # microseconds
    megabytes: float  # a second


async def measure(engine: str, sock: socket.socket) -> Result:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[float] = loop.create_future()
    message, rounds, began, waiting = b"m" * MESSAGE, 0, 0.0, 0

    def pong(data: bytes) -> None:
        nonlocal rounds, began, waiting
        waiting += len(data)
        if waiting < MESSAGE:
            return
        waiting, rounds = 0, rounds + 1
        if rounds == WARM:
            began = time.perf_counter()
        if rounds < WARM + ROUNDS:
            end.write(message)
        elif not done.done():
            done.set_result(time.perf_counter() - began)
        else:
            taken.set_result(time.perf_counter())

    end = endpoint(engine, 0, pong, lambda: end.write(message))
    await loop.connect_accepted_socket(lambda: end, sock)
    seconds = await done
    taken: asyncio.Future[float] = loop.create_future()
    waiting, body, start = MESSAGE - 1, bytes(WRITE), time.perf_counter()
    for _ in range(TOTAL // WRITE):
        end.write(body)
    return Result(seconds / ROUNDS * 1e6, TOTAL / 1e6 / (await taken - start))


def run(loop: str, engine: str) -> Result:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    descriptor = theirs.fileno()
    command = [sys.executable, "-m", "benchmarks.link", "answer", loop, engine, str(descriptor)]
    with subprocess.Popen(command, pass_fds=[descriptor], stdin=subprocess.PIPE) as child, theirs:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            result = runner.run(measure(engine, ours))
        child.communicate()
    return result


def main(blocks: int) -> None:
    arms = [(loop, engine) for loop in LOOPS for engine in ENGINES]
    results: dict[tuple[str, str], list[Result]] = {arm: [] for arm in arms}
    shuffle = random.Random(0)
    for block in range(blocks):
        for arm in shuffle.sample(arms, len(arms)):
            results[arm].append(run(*arm))
        print(f"\rblock {block + 1} of {blocks}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(
        f"{MESSAGE} B round trip and MB/s, medians of {blocks} blocks; ratios to tcp (round trip of, speed of tcp over)"
    )
    for loop, engine in arms:
        mine, plain = results[loop, engine], results[loop, "tcp"]
        round_trips = [m.round_trip / p.round_trip for m, p in zip(mine, plain, strict=True)]
        speeds = [p.megabytes / m.megabytes for m, p in zip(mine, plain, strict=True)]
        print(
            f"{loop:8} {engine:10} {statistics.median(m.round_trip for m in mine):7.1f} us {show(round_trips)}"
            f"  {statistics.median(m.megabytes for m in mine):7.0f} MB/s {show(speeds)}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["answer"]:
        _, _, loop_name, engine_name, number = sys.argv
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as answering:
            answering.run(answer(engine_name, socket.socket(fileno=int(number))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
