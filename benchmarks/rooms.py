"""What idle rooms cost a rendezvous: python -m benchmarks.rooms [ROOMS] [ROUNDS]

A real `comity serve` on loopback. In each round, real clients in processes of their own open ROOMS rooms, one member
each, and post two messages of a waiting host's size; then they stand idle, as while people are awaited, and leave.
Shown are the server's resident memory, its processor time, and how long somebody new takes to get into a room and to
have a message acknowledged. A room is forgotten a minute after its last member left, so that each round takes one.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from comity.core.limits import ROOM_MEMORY
from comity.rendezvous.client import Patience, WebRendezvous

ROOMS, ROUNDS, CROWDS = 10_000, 2, 4
BODIES = (900, 1100)
"""Bytes of an OPEN and a HELLO."""
AT_ONCE, JOINS, IDLE_SECONDS = 20, 100, 20.0
SPARE = 200


async def stand(address: str, rooms: int) -> None:
    """Be a member of so many rooms, say so, and leave when standard input ends. Without a clock of its own."""
    turn = asyncio.Semaphore(AT_ONCE)

    async with AsyncExitStack() as stack:

        async def enter() -> None:
            async with turn:
                rendezvous = WebRendezvous([address], report=complain, patience=Patience(start=120.0))
                mailbox = await stack.enter_async_context(rendezvous.open(os.urandom(16).hex()))
                for size in BODIES:
                    await mailbox.post(os.urandom(size))

        await asyncio.gather(*(enter() for _ in range(rooms)))
        print("standing", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


def complain(line: str) -> None:
    """What should not happen here, but does on a machine that is too busy."""
    print(f"  a client says: {line}", file=sys.stderr)


class Crowd:
    """Processes that stand in rooms."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    @classmethod
    async def gather(cls, address: str, rooms: int, crowds: int = CROWDS) -> Crowd:
        """All stand when this returns."""
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "benchmarks.rooms", "--stand", address, str((rooms + i) // crowds)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for i in range(crowds)
        ]
        crowd = cls(processes)
        for process in processes:
            assert process.stdout is not None
            if await process.stdout.readline() != b"standing\n":
                await crowd.leave()
                raise SystemExit("a client could not get into its rooms")
        return crowd

    async def leave(self) -> None:
        await asyncio.gather(*(process.communicate(b"") for process in self._processes))


@asynccontextmanager
async def serving(rooms: int) -> AsyncIterator[tuple[str, int]]:
    """A server with place for so many rooms: its address and its process."""
    room_for = str(rooms + SPARE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comity", "serve", "--json", "--listen", "127.0.0.1:0"),
        *("--rooms", room_for, "--connections", room_for),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        said = json.loads(await process.stderr.readline())
        if said["event"] != "serving":
            raise SystemExit(said.get("text") or said["message"])
        yield said["addresses"][0], process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


def memory(pid: int) -> int:
    """Bytes resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError("this system does not tell a process's memory")


def processor(pid: int) -> float:
    """Seconds, of system and user."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def joins(address: str) -> str:
    """How long newcomers take, one after another."""
    took = []
    for _ in range(JOINS):
        began = time.perf_counter()
        async with WebRendezvous([address]).open(os.urandom(16).hex()) as mailbox:
            await mailbox.post(os.urandom(BODIES[0]))
            took.append(1000 * (time.perf_counter() - began))
    return f"{statistics.median(took):.1f} ms, 95 % within {statistics.quantiles(took, n=20)[-1]:.1f} ms"


async def measure(rooms: int, rounds: int) -> None:
    async with serving(rooms) as (address, pid):
        print(f"to get into a room of an empty server: {await joins(address)}")
        empty = before = memory(pid)
        print(f"memory of an empty server: {empty / 1e6:.1f} MB")
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            crowd = await Crowd.gather(address, rooms)
            print(f"round {number}: {rooms} rooms stand after {time.perf_counter() - began:.0f} s")
            used, full = processor(pid), memory(pid)
            await asyncio.sleep(IDLE_SECONDS)
            used = processor(pid) - used
            print(f"  memory {full / 1e6:.1f} MB: {(full - before) / rooms / 1000:.1f} kB a room more than before")
            print(f"  processor {100 * used / IDLE_SECONDS:.0f} % of one core, for pings alone")
            print(f"  to get into one more room: {await joins(address)}")
            await crowd.leave()
            await asyncio.sleep(ROOM_MEMORY + 10)
            before = memory(pid)
            print(f"  all have left: {before / 1e6:.1f} MB, {(before - empty) / 1e6:+.1f} MB since the start")


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1:2] == ["--stand"]:
        asyncio.run(stand(sys.argv[2], int(sys.argv[3])))
        return
    numbers = [int(value) for value in sys.argv[1:]]
    rooms, rounds = (numbers + [ROOMS, ROUNDS][len(numbers) :])[:2]
    if rooms + SPARE + SPARE > hard:
        raise SystemExit(f"this system allows {hard} open files to a process: try fewer rooms, or ulimit -n")
    asyncio.run(measure(rooms, rounds))


if __name__ == "__main__":
    main()
