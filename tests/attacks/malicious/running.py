"""One behaviour in one session: alice and carol are `comity` commands, mallory is here. How it ended, when, how large.

Memory is VmHWM, the most that a process ever had at once, of each node and of each program's process. It is read from
outside until they end, and compared with what their own records say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.attacks.malicious.computing import ME, PROGRAM, RESULT
from tests.attacks.malicious.party import Mallory
from tests.attacks.malicious.table import INTERRUPTED, PATH, Behaviour, Ends, Goes, Waits
from tests.independent.notation import Fault
from tests.sessions.parties import Party, Stage, stage

from comity.rendezvous.server import Server

GIVE_UP = 4
"""Seconds for which the honest parties look for a path where there is none."""

PATIENT = 30
"""The same elsewhere: what is measured then is no busy machine."""

TOO_LONG = 40.0
"""Seconds after which a run is ended from here; nothing that is right takes as long."""

LOOK = 0.02


@dataclass
class Honest:
    """How one honest party ended."""

    name: str
    code: int = -1
    message: str = ""
    output: str = ""
    waited: list[str] = field(default_factory=list)  # for whom it said that it waits
    stalls: list[int] = field(default_factory=list)  # and what its record says of that: parties
    node: int = 0  # bytes
    program: int = 0
    seconds: float = 0.0  # from the moment at which mallory began


@dataclass
class Result:
    behaviour: Behaviour
    parties: list[Honest] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of mallory herself
    noticed: list[str] = field(default_factory=list)  # how her own links ended, and else
    wrong: str = ""  # what is not as it must be

    @property
    def node(self) -> int:
        return max(party.node for party in self.parties)

    @property
    def program(self) -> int:
        return max(party.program for party in self.parties)

    @property
    def seconds(self) -> float:
        return max(party.seconds for party in self.parties)


class Meter:
    """Follows the peaks of processes and their children until they end."""

    def __init__(self) -> None:
        self._peaks: dict[int, dict[int, int]] = {}  # of a node: by process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def follow(self, pid: int) -> None:
        self._peaks = {**self._peaks, pid: {}}

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def node(self, pid: int) -> int:
        return self._peaks[pid].get(pid, 0)

    def children(self, pid: int) -> int:
        return max((peak for process, peak in self._peaks[pid].items() if process != pid), default=0)

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            for node, peaks in self._peaks.items():
                with contextlib.suppress(OSError):
                    children = Path(f"/proc/{node}/task/{node}/children").read_text().split()
                    for process in (node, *map(int, children)):
                        peaks[process] = _peak(process) or peaks.get(process, 0)  # before exec it was another's


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.asynccontextmanager
async def rendezvous() -> AsyncIterator[str]:
    async with Server((("127.0.0.1", 0),)) as server:
        yield f"http://127.0.0.1:{server.port}"


async def run(behaviour: Behaviour, folder: Path, address: str) -> Result:
    """The whole session, and the judgement on it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.py").write_text(PROGRAM)
    result = Result(behaviour)
    meter = Meter()
    try:
        async with stage(folder) as opened:
            await _run(behaviour, opened, address, meter, result)
    finally:
        meter.stop()
    result.wrong = judge(result)
    if result.wrong:
        result.wrong += f" (mallory: {result.noticed})"
    return result


async def _run(behaviour: Behaviour, opened: Stage, address: str, meter: Meter, result: Result) -> None:
    program = ("work.py", str(behaviour.turns), str(behaviour.loud))
    pathless = isinstance(behaviour.ends, Ends) and behaviour.ends.code == PATH
    give_up = ("--give-up", str(GIVE_UP if pathless else PATIENT))
    alice = await _start(opened, "alice", "host", *give_up, "--rendezvous", address, "-n", "3", *program)
    meter.follow(alice.process.pid)
    link = (await alice.event("invite"))["link"]
    async with Mallory.at(link) as mallory:
        behaviour.prepare(mallory)
        meeting = mallory.start(mallory.meet())
        joined = asyncio.ensure_future(alice.event("joined"))
        await asyncio.wait((meeting, joined), return_when=asyncio.FIRST_COMPLETED)
        if not joined.done():
            joined.cancel()
            raise RuntimeError(f"mallory does not come: {mallory.faults}")
        carol = await _start(opened, "carol", "join", *give_up, link, *program)
        meter.follow(carol.process.pid)
        honest = [alice, carol]
        answering = [asyncio.create_task(_agree(party)) for party in honest]
        await asyncio.wait({meeting})
        began = time.monotonic()
        acting = asyncio.create_task(behaviour.play(mallory))
        followed = [asyncio.create_task(_follow(party, began, meter)) for party in honest]
        watching = asyncio.create_task(_patience(behaviour, honest))
        result.parties = await asyncio.gather(*followed)
        for task in (acting, watching, *answering):
            task.cancel()
        acted = await asyncio.gather(acting, watching, *answering, return_exceptions=True)
        if isinstance(acted[0], Exception) and not isinstance(acted[0], OSError):
            mallory.faults.append(acted[0])
        result.noticed = [repr(fault) for fault in mallory.faults]
        result.faults = sorted({repr(fault) for fault in mallory.faults if not isinstance(fault, Fault | OSError)})
    for party in result.parties:
        record = json.loads((opened.folder / f"{party.name}.json").read_text())
        party.stalls = [stall["party"] for stall in record["stalls"]]
        party.node, party.program = max(party.node, record["node_memory"]), max(party.program, record["peak_memory"])


async def _start(opened: Stage, name: str, command: str, *arguments: str) -> Party:
    record = ("--record", str(opened.folder / f"{name}.json"))
    return await opened.start(name, command, *record, *arguments, cwd=opened.folder)


async def _agree(party: Party) -> None:
    with contextlib.suppress(AssertionError):  # it may end before
        await party.event("check")
        party.answer("y")


async def _patience(behaviour: Behaviour, parties: list[Party]) -> None:
    """Ends what goes on: where it must wait, once it has said for whom; elsewhere, after too long a time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TOO_LONG):
            if isinstance(behaviour.ends, Waits):
                try:
                    for party in parties:
                        await party.event("waiting")
                except AssertionError:  # it has ended by itself
                    await asyncio.Event().wait()
            else:
                await asyncio.Event().wait()
    for party in parties:
        if party.process.returncode is None:
            party.process.terminate()


async def _follow(party: Party, began: float, meter: Meter) -> Honest:
    code = await party.end()
    seconds = time.monotonic() - began
    pid = party.process.pid
    said = party.all("error")
    waited = [name for event in party.all("waiting") if "why" in event for name in event["names"]]
    return Honest(
        party.name,
        code,
        said[0]["message"] if said else "",
        party.output,
        waited,
        node=meter.node(pid),
        program=meter.children(pid),
        seconds=seconds,
    )


def judge(result: Result) -> str:
    """What is wrong with how it ended; empty when it is as the table says."""
    behaviour, ends = result.behaviour, result.behaviour.ends
    if result.faults:
        return "; ".join(result.faults)
    for party in result.parties:
        if isinstance(ends, Goes):
            if party.code or (ends.right and party.output != RESULT * behaviour.turns):
                return f"{party.name} does not go on: {party.code} {party.message} {party.output!r} {party.waited}"
        elif isinstance(ends, Waits):
            if "mallory" not in party.waited:
                return f"{party.name} does not say that it waits for mallory: {party.code} {party.message}"
            if ME not in party.stalls:
                return f"{party.name}'s record does not say that it waited for mallory"
            if party.code != INTERRUPTED:
                return f"{party.name} ends with {party.code} {party.message}"
        elif not _named(party):
            return f"{party.name} does not name mallory: {party.code} {party.message} {party.output!r} {party.waited}"
    if not isinstance(ends, Goes | Waits):
        saw = [party for party in result.parties if ends.fits(party.code, party.message)]
        if not saw:
            said = [(party.code, party.message) for party in result.parties]
            return f"nobody ends with {ends}, but with {said}"
        if result.seconds > ends.within:
            return f"it took {result.seconds:.1f} s"
    return ""


def _named(party: Honest) -> bool:
    return party.code in (3, 4, 5) and "mallory" in party.message and not RESULT.startswith(party.output + "\0")
