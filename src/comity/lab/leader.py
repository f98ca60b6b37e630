"""The leader: the process that holds a lab, and with which it goes.

    comity lab ...              in the machine's own namespaces
      unshare                   kills its child when it is killed
        process 1               of the lab's PID namespace: collects orphans, ends with the leader
          leader                builds the machines, holds their namespaces open, starts commands there
            delay core          every wan
            commands            each in its machine's namespaces

Nothing of a lab is anywhere but in its own PID, mount, network, IPC and user namespaces, so the kernel takes all of it
away when process 1 ends; and that ends when any of those above it does. The leader ends when its owner closes the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.core.addressing import WAN, Machine, plan, visiting
from comity.core.topology import MOST_IN_SITE, routers
from comity.errors import ComityError, UnreachableError, UsageError
from comity.lab import batch, building, conntrack
from comity.lab.delay import DelayCore
from comity.lab.kernel import Spaces
from comity.lab.names import Resolver
from comity.lab.nat import forget, ruleset
from comity.lab.selftest import measure
from comity.lab.tun import unread
from comity.lab.wire import Task, Wire, failure

MOST_HINTS = 10
OUTSIDE = ("SSH_AUTH_SOCK", "GPG_AGENT_INFO", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
"""Variables that lead to sockets of this machine, which are files and may lie where a lab's hosts see them."""
END_SECONDS = 2.0
"""How long commands may take to end after SIGTERM."""


@dataclass
class Job:
    """A command on a machine, in a process group of its own."""

    number: int
    machine: str
    spawn: Callable[[], Awaitable[asyncio.subprocess.Process]]
    files: list[int]  # its own descriptors of stdin, stdout and stderr, for the next time
    process: asyncio.subprocess.Process
    again: bool = False  # it was killed to be started anew

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.killpg(self.process.pid, number)


class Leader:
    def __init__(self, wire: Wire, task: Task) -> None:
        self._wire, self._topology, self._kept, self._strict = wire, task.topology, task.kept, task.strict
        self._plan = self._first = plan(task.topology)
        self._guests = 0  # machines that were moved to another site, however often
        self._spaces: dict[str, Spaces] = {}
        self._jobs: dict[int, Job] = {}
        self._lines: dict[str, tuple[bool, dict[str, float]]] = {}  # what faults have made of attachments

    async def lead(self) -> None:
        """Until the owner has gone."""
        self._wire.watch(lambda: os._exit(0))  # who has asked for nothing yet has gone, and wants no lab any more
        self._spaces = building.own_space(self._plan, self._kept)
        self._core = await DelayCore.start()
        await building.distances(self._topology, self._core)
        await building.connect(self._plan, self._spaces, self._core, rules)
        self._mappings = await building.port_mapping(self._plan, self._spaces)
        self._resolvers = [Resolver.start(self._space(m.name), self._plan.names(m.name)) for m in self._plan.machines]
        findings = await measure(self._topology, self._plan, self._space, realtime=self._core.realtime)
        wrong = [finding for finding in findings if not finding.fine]
        if wrong and self._strict:
            hints = tuple(f"{finding.about} is {finding.found}, not {finding.wanted}" for finding in wrong[:MOST_HINTS])
            raise UnreachableError("the lab is not as its topology says", hint=hints)
        self._wire.watch(None)
        await self._wire.send(
            {
                "realtime": self._core.realtime,
                "congestion": building.congestion(self._space(self._plan.machines[0].name)),
                "findings": [vars(finding) for finding in findings],
            }
        )
        async with asyncio.TaskGroup() as self._tasks:  # a bug in one of them ends the lab, loudly
            guard = self._tasks.create_task(self._guard())
            while (got := await self._wire.receive()) is not None:
                self._tasks.create_task(self._answer(*got))
            await self._end_jobs()
            guard.cancel()

    async def _guard(self) -> None:
        await self._core.ended()
        raise ComityError("the delay core has ended, and with it the lab's network")

    def _space(self, name: str) -> str:
        return f"/proc/self/fd/{self._spaces[name].net}"

    async def _answer(self, request: dict[str, Any], files: list[int]) -> None:
        serial = request.pop("serial")
        answer: dict[str, Any]
        try:
            method = getattr(self, f"do_{request.pop('do')}")
            answer = {"answer": await method(**request, **({"files": files} if files else {}))}
        except ComityError as exc:
            answer = failure(exc)
        finally:
            for file in files:
                os.close(file)
        with contextlib.suppress(OSError):  # the owner has gone, and the leader is about to
            await self._wire.send({"serial": serial, **answer})

    async def do_run(
        self, machine: str, argv: list[str], env: dict[str, str], cwd: str, job: int, terminal: str, files: list[int]
    ) -> int:
        """Starts a command; `ended` is sent when it has. Returns its process number inside the lab.

        terminal: "none"; "shell", which has job control of its own; "command": it has the terminal, where nobody could
        make it go on once Ctrl-Z had stopped it.
        """
        spaces = self._spaces[machine]

        def enter() -> None:
            os.setpgid(0, 0)
            if terminal == "command":
                signal.signal(signal.SIGTSTP, signal.SIG_IGN)
            if terminal != "none":
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(0, os.getpgrp())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            spaces.enter()
            os.chdir(cwd)

        own = {"HOME": str(building.home(machine)), "PWD": cwd}
        kept = [os.dup(file) for file in files]

        async def spawn() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=kept[0],
                stdout=kept[1],
                stderr=kept[2],
                env={**_environment(), **own, **env},
                preexec_fn=enter,
            )

        try:
            process = await spawn()
        except OSError as exc:
            _close(kept)
            raise UsageError(f"{argv[0]} cannot be run on {machine}: {exc.strerror}") from exc
        self._jobs[job] = Job(job, machine, spawn, kept, process)
        self._tasks.create_task(self._watch(self._jobs[job]))
        return process.pid

    async def _watch(self, job: Job) -> None:
        code = await job.process.wait()
        while job.again:
            job.again = False
            try:
                job.process = await job.spawn()
            except OSError:  # its file has gone meanwhile: it ends as it was killed
                break
            code = await job.process.wait()
        del self._jobs[job.number]
        _close(job.files)  # before its end is told: who reads its output waits for both
        with contextlib.suppress(OSError):  # the owner has gone
            await self._wire.send({"ended": job.number, "code": code})

    async def do_restart(self, machine: str) -> None:
        jobs = [job for job in self._jobs.values() if job.machine == machine]
        if not jobs:
            raise UsageError(f"nothing runs on {machine}")
        for job in jobs:
            job.again = True
            job.signal(signal.SIGKILL)

    async def do_signal(self, job: int, number: int) -> None:
        if job in self._jobs:
            self._jobs[job].signal(number)

    def _attachment(self, machine: str) -> str:
        """What carries a machine's packets to the internet: itself, or its site's outermost router."""
        found = self._plan.machine(machine)
        return machine if found.region else routers(self._topology.site(found.site))[0]

    async def do_line(self, machine: str, up: bool | None, shape: dict[str, float] | None) -> None:
        """None: as it is."""
        name = self._attachment(machine)
        now_up, now_shape = self._lines.get(name, (True, {}))
        self._lines[name] = now_up if up is None else up, now_shape if shape is None else shape
        up, shape = self._lines[name]
        await self._core.link(name, up=up, **building.seconds(shape))

    async def do_path(self, a: str, b: str, shape: dict[str, float]) -> None:
        await self._core.path(a, b, **{"delay": 0.0, **building.seconds(shape)})

    async def do_move(self, machine: str, place: str) -> None:
        if place in self._topology.regions:
            await self._core.move(self._attachment(machine), place)
            return
        host, router = visiting(self._plan, self._first, machine, place), self._plan.router(place).name
        if host == self._plan.machine(machine):
            return
        self._plan = self._plan.with_machine(host)  # at once: another one may be under way
        self._guests += 1
        cable = batch.cable(MOST_IN_SITE + self._guests, machine, self._space)
        await building.command(self._spaces[machine], "ip", "link", "delete", WAN)
        share = self._spaces.values()
        await building.command(self._spaces[router], "ip", "-batch", "-", text=cable, share=share)
        await building.command(self._spaces[machine], "ip", "-batch", "-", text=batch.addresses(host))

    async def do_part(self, groups: list[list[str]]) -> None:
        await self._core.partition([[self._attachment(name) for name in group] for group in groups])

    async def do_capture(self, machine: str, path: str | None) -> None:
        await self._core.capture(self._attachment(machine), None if path is None else Path(path))

    async def do_reset(self, machine: str) -> None:
        site = self._plan.machine(machine).site
        if not site:
            raise UsageError(f"{machine} has no router")
        for name in routers(self._topology.site(site)):
            router = self._plan.machine(name)
            daemon = self._mappings.pop(name, None)
            if daemon is not None:
                await daemon.end()
            if router.nat is not None:
                text = forget(router.nat, len(router.publics), router.services)
                await building.command(self._spaces[name], "nft", "-f", "-", text=text)
            conntrack.flush(self._space(name))
            if daemon is not None:
                self._mappings[name] = await building.start_mapping(router, self._spaces[name])

    async def do_lateness(self) -> dict[str, Any]:
        return vars(await self._core.lateness())

    async def do_counts(self) -> dict[str, dict[str, int]]:
        counts = await self._core.counts()
        return {name: {**found, "unread": unread(self._space(name))} for name, found in counts.items()}

    async def _end_jobs(self) -> None:
        """What still runs has a moment to say goodbye; what has left its process group is the kernel's."""
        left = list(self._jobs.values())
        for job in left:
            job.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*(job.process.wait() for job in left))
        for job in left:
            job.signal(signal.SIGKILL)


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def rules(machine: Machine) -> str:
    return ruleset(
        machine.nat,
        machine.firewall,
        publics=machine.publics,
        openings=machine.openings,
        services=machine.services,
    )


def _environment() -> dict[str, str]:
    """The owner's, but for what says where its home is, and where its desktop and its keys can be asked."""
    return {key: value for key, value in os.environ.items() if not key.startswith("XDG_") and key not in OUTSIDE}


def _lead(descriptor: int) -> int:
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent, by its pipe
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    async def main() -> None:
        wire = Wire(socket.socket(fileno=descriptor))
        try:
            await Leader(wire, task).lead()
        except* ComityError as group:
            first = _first(group)
            await wire.send(failure(first))

    asyncio.run(main())
    return 0


def _first(group: BaseExceptionGroup[ComityError]) -> ComityError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def main() -> None:
    """As process 1. The lab is over when its leader is."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each machine is three open files, and a resolver's
    leader = os.fork()
    if not leader:
        os._exit(_run(lambda: _lead(int(sys.argv[1]))))
    os.close(int(sys.argv[1]))
    while True:
        pid, status = os.wait()
        if pid == leader:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _run(work: Callable[[], int]) -> int:
    """Never returns to what was forked."""
    try:
        return work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


if __name__ == "__main__":
    main()
