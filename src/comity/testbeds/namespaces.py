"""Every host is a machine of a lab: real NATs, emulated distances, nothing left behind."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from comity.core.topology import Topology
from comity.interfaces import Host
from comity.lab.building import home
from comity.lab.namespaces import Job, Lab, lab, missing
from comity.testbeds.pipes import Files, Piped, Pipes, piped


class LabProcess(Piped):
    def __init__(self, pipes: Pipes, job: Job) -> None:
        super().__init__(pipes)
        self.job = job

    async def signal(self, number: int) -> None:
        await self.job.signal(number)

    async def wait(self) -> int:
        return await self.job.wait()


class LabHost(Files):
    python = sys.executable

    def __init__(self, made: Lab, name: str) -> None:
        self._lab, self.name, self.home = made, name, str(home(name))
        self.addresses = made.plan.outside(name)
        site = made.topology.host(name).site
        ports = made.topology.site(site).forwards if site else ()
        self.forwards = tuple(
            # the firewall opens the port itself for IPv6; a NAT may have another one outside
            (forward.to, f"[{address}]:{forward.to}" if ":" in address else f"{address}:{forward.port}")
            for forward in ports
            if forward.host == name
            for address in self.addresses
        )
        self.processes: list[LabProcess] = []

    async def start(self, *argv: str, env: Mapping[str, str] | None = None) -> LabProcess:
        async with piped() as (ours, theirs):
            job = await self._lab.start(self.name, argv, files=theirs, env=env)
        self.processes.append(LabProcess(ours, job))
        return self.processes[-1]


@asynccontextmanager
async def hosts_of(made: Lab) -> AsyncIterator[dict[str, LabHost]]:
    """The hosts of a lab that somebody else has entered. Their commands end with it."""
    hosts = {host.name: LabHost(made, host.name) for host in made.topology.hosts}
    try:
        yield hosts
    finally:
        for host in hosts.values():
            for process in host.processes:
                process.pipes.end()


class Namespaces:
    name = "namespaces"

    def __init__(self, kept: Sequence[Path] = ()) -> None:
        self._kept = kept

    def missing(self) -> str | None:
        return missing()

    @asynccontextmanager
    async def provision(self, topology: Topology) -> AsyncIterator[Mapping[str, Host]]:
        async with lab(topology, kept=self._kept) as made, hosts_of(made) as hosts:
            yield hosts


testbed = Namespaces
