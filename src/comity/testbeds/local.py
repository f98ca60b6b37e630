"""Every host is this machine, with a home of its own: no distances, no NATs, and nothing that it needs."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from comity.core.topology import Topology
from comity.errors import UsageError
from comity.interfaces import Host
from comity.testbeds import pipes
from comity.testbeds.pipes import Files, Piped, Pipes, piped

END_SECONDS = 2.0
"""How long commands may take to end after SIGTERM."""


class LocalProcess(Piped):
    """In a process group of its own: Ctrl-C reaches who started it alone."""

    def __init__(self, pipes: Pipes, process: asyncio.subprocess.Process) -> None:
        super().__init__(pipes)
        self.process = process

    async def signal(self, number: int) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(self.process.pid, number)

    async def wait(self) -> int:
        return await self.process.wait()


class LocalHost(Files):
    addresses: tuple[str, ...] = ("127.0.0.1",)
    forwards: tuple[tuple[int, str], ...] = ()
    python = sys.executable

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, str(home)
        self.processes: list[LocalProcess] = []

    async def start(self, *argv: str, env: Mapping[str, str] | None = None) -> LocalProcess:
        own = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")} | {"HOME": self.home}
        async with piped() as (ours, theirs):
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=theirs[0],
                    stdout=theirs[1],
                    stderr=theirs[2],
                    env={**own, **(env or {})},
                    process_group=0,
                )
            except OSError as exc:
                raise UsageError(f"{argv[0]} cannot be run on {self.name}: {exc.strerror}") from exc
        self.processes.append(LocalProcess(ours, process))
        return self.processes[-1]

    async def end(self) -> None:
        """Of whatever still runs."""
        await pipes.end(self.processes, END_SECONDS)
        for process in self.processes:
            process.pipes.end()


class Local:
    name = "local"

    def missing(self) -> str | None:
        return None

    @asynccontextmanager
    async def provision(self, topology: Topology) -> AsyncIterator[Mapping[str, Host]]:
        with tempfile.TemporaryDirectory(prefix="comity-") as folder:
            hosts = {}
            for host in topology.hosts:
                home = Path(folder) / host.name
                home.mkdir(mode=0o700)
                hosts[host.name] = LocalHost(host.name, home)
            try:
                yield hosts
            finally:
                await asyncio.gather(*(host.end() for host in hosts.values()))


testbed = Local
