"""A lab as its owner holds it: enter it, run commands on its machines, leave it and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import comity
from comity.core.addressing import plan
from comity.core.topology import Topology
from comity.errors import ComityError
from comity.lab.delay import Lateness
from comity.lab.selftest import Finding
from comity.lab.wire import Task, Wire, raised

END_SECONDS = 6.0
"""How long the leader may take to end; then it is killed, and the kernel ends the rest."""
TUN = "/dev/net/tun"


def missing() -> str | None:
    """Why there can be no lab here and what to do about it; None: there can."""
    absent = [tool for tool in ("ip", "nft", "unshare") if not shutil.which(tool)]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: apt install iproute2 nftables util-linux)"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} cannot be opened: run as root, or chmod 666 {TUN}"
    probe = subprocess.run([*_unshare(rootless()), "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"no namespaces can be made: {probe.stderr.strip()}"
    return None


def rootless() -> bool:
    return os.geteuid() != 0


def _unshare(as_user: bool) -> list[str]:
    own = ["--user", "--map-root-user"] if as_user else []
    return [
        "unshare",
        *own,
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]


class Job:
    """A command on a machine."""

    def __init__(self, lab: Lab, number: int, machine: str) -> None:
        self._lab, self.number, self.machine = lab, number, machine
        self.pid = 0  # inside the lab
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Its exit code; -N when signal N ended it. Raises ComityError when the lab ended under it."""
        return await asyncio.shield(self.ended)

    async def signal(self, number: int) -> None:
        """To the command and what it has started, unless it has left the process group."""
        await self._lab.ask("signal", job=self.number, number=number)


class Lab:
    """Made by `lab`."""

    def __init__(self, topology: Topology, wire: Wire, pid: int) -> None:
        self.topology = topology
        self.plan = plan(topology)
        self.pid = pid
        """Of the process above the leader: killing it ends the lab."""
        self.realtime = False
        """Whether the delay core goes before normal processes."""
        self.congestion = ""
        """TCP's congestion control on every machine."""
        self.findings: tuple[Finding, ...] = ()
        """Of its self-test."""
        self._wire = wire
        self._last_words: dict[str, Any] | None = None  # of a leader that had to end
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._jobs: dict[int, Job] = {}

    async def start(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        files: tuple[int, int, int] = (0, 1, 2),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        terminal: str = "none",
    ) -> Job:
        """Runs a command on a machine, its stdin, stdout and stderr those given.

        terminal: "shell" or "command": files[0] is one, which becomes its own. Raises UsageError when it cannot be run.
        """
        number = next(self._numbers)
        job = self._jobs[number] = Job(self, number, machine)
        try:
            job.pid = await self.ask(
                "run",
                files,
                machine=machine,
                argv=list(argv),
                env=dict(env or {}),
                cwd=cwd or str(Path.cwd()),
                job=number,
                terminal=terminal,
            )
        except BaseException:
            self._jobs.pop(number, None)
            raise
        return job

    async def ask(self, do: str, files: Sequence[int] = (), **values: Any) -> Any:
        """One request to the leader. Raises what it raised there."""
        serial = next(self._numbers)
        answer = self._asked[serial] = asyncio.get_running_loop().create_future()
        try:
            await self._wire.send({"serial": serial, "do": do, **values}, files)
            return await answer
        except OSError as exc:
            raise self._over() from exc
        finally:
            del self._asked[serial]

    async def cut(self, machine: str) -> None:
        """Its uplink, or that of its site, is down."""
        await self.ask("line", machine=machine, up=False, shape=None)

    async def heal(self, machine: str) -> None:
        await self.ask("line", machine=machine, up=True, shape=None)

    async def line(self, machine: str, **shape: float) -> None:
        """On top of the path, each way: delay and jitter in ms, loss as a share, rate in bit/s."""
        await self.ask("line", machine=machine, up=None, shape=shape)

    async def path(self, a: str, b: str, **shape: float) -> None:
        """Between two regions, in place of what the topology says: as `line` has it."""
        await self.ask("path", a=a, b=b, shape=shape)

    async def move(self, machine: str, place: str) -> None:
        """To a region: its site, with its addresses. To a site: the machine alone, which gets an address there."""
        await self.ask("move", machine=machine, place=place)

    async def part(self, *groups: Sequence[str]) -> None:
        """No packet between two groups of machines; who is in none is reached by all. Without groups: as before."""
        await self.ask("part", groups=[list(group) for group in groups])

    async def reset(self, machine: str) -> None:
        """The routers of its site forget all connections and mappings."""
        await self.ask("reset", machine=machine)

    async def capture(self, machine: str, path: Path | None) -> None:
        """Writes what its uplink carries to a new pcap file from now on; None: no more."""
        await self.ask("capture", machine=machine, path=None if path is None else str(path.absolute()))

    async def signal(self, machine: str, number: int) -> None:
        """To every command that runs there."""
        for job in [job for job in self._jobs.values() if job.machine == machine]:
            await job.signal(number)

    async def restart(self, machine: str) -> None:
        """Kills what runs there and starts the same again; for who waits for it, it is the same command."""
        await self.ask("restart", machine=machine)

    async def lateness(self) -> Lateness:
        """Of the delay core's packets, since the last time that it was asked for."""
        return Lateness(**await self.ask("lateness"))

    async def counts(self) -> dict[str, dict[str, int]]:
        """For each uplink: packets (and bytes) sent, packets received, and packets dropped, by reason."""
        found: dict[str, dict[str, int]] = await self.ask("counts")
        return found

    async def listen(self) -> None:
        """Until the leader has gone."""
        try:
            while (got := await self._wire.receive()) is not None:
                self._hear(got[0])
        finally:  # also of a bug here: nobody waits for ever
            for future in (*self._asked.values(), *(job.ended for job in self._jobs.values())):
                if not future.done():
                    future.set_exception(self._over())
                    future.exception()  # nobody may be waiting for it

    def _hear(self, message: dict[str, Any]) -> None:
        if "serial" not in message and "error" in message:  # its last words
            self._last_words = message
        elif "ended" in message:
            job = self._jobs.pop(message["ended"], None)
            if job is not None:  # else whoever started it was cancelled in the middle
                job.ended.set_result(message["code"])
        elif (asked := self._asked.get(message["serial"])) is not None and not asked.done():
            if "error" in message:
                asked.set_exception(raised(message))
            else:
                asked.set_result(message["answer"])

    def _over(self) -> ComityError:
        if self._last_words is not None:
            return raised(self._last_words)
        return ComityError("the lab has ended before it was left")


@asynccontextmanager
async def lab(topology: Topology, *, kept: Sequence[Path] = (), strict: bool = True) -> AsyncIterator[Lab]:
    """Builds a lab and takes it away. `kept`: files and folders below /tmp and /run that its machines can see.

    The current folder and the installation of Python can always be seen. Raises UsageError when there can be no lab,
    and UnreachableError when its self-test finds something off; without `strict` that is for the caller to judge.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wire = Wire(ours)
    try:
        with theirs, tempfile.TemporaryFile() as task:
            task.write(pickle.dumps(Task(topology, _kept(kept), strict)))
            task.seek(0)
            process = await asyncio.create_subprocess_exec(
                *_unshare(rootless()),
                *(sys.executable, "-P", "-m", "comity.lab.leader", str(theirs.fileno())),
                stdin=task,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is for the owner, which ends the lab in order
            )
    except BaseException:
        wire.close()
        raise
    made = Lab(topology, wire, process.pid)
    listening: asyncio.Task[None] | None = None
    try:
        try:
            first = await wire.receive()
        except asyncio.CancelledError:  # nothing runs in it yet that could end in order
            process.kill()
            raise
        if first is None:
            raise ComityError("the lab has ended before it was ready")
        if "error" in first[0]:
            raise raised(first[0])
        made.realtime = first[0]["realtime"]
        made.congestion = first[0]["congestion"]
        made.findings = tuple(Finding(**finding) for finding in first[0]["findings"])
        listening = asyncio.create_task(made.listen())
        yield made
    finally:
        if listening is not None:
            listening.cancel()
        wire.close()
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


def _kept(more: Sequence[Path]) -> tuple[Path, ...]:
    """In the order of nesting."""
    package = Path(comity.__file__).parent.parent
    found = {Path.cwd(), Path(sys.prefix), Path(sys.base_prefix), package, *(Path(p).resolve() for p in more)}
    return tuple(sorted(found))
