"""Where a demo's parties are: processes on this machine, or each on a host of a testbed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from comity.core.topology import Topology, name_of
from comity.errors import UnreachableError, UsageError
from comity.interfaces import Host, Process
from comity.rendezvous.server import Server
from comity.testbeds.pipes import MAX_LINE

ANSWERS = 'exec 3<&0 </dev/null; exec "$@"'
"""On a host, a party's stdin becomes its descriptor 3."""
RECORD = "record.json"

Build = Callable[[list[str]], list[str]]
"""From options that a stage has for a party to what follows `python -P -m comity`."""


class Stage(Protocol):
    names: tuple[str, ...]  # of the parties
    rendezvous: tuple[str, ...]  # where they meet, at addresses of one server
    where: str  # in words

    async def start(self, i: int, build: Build) -> Process:
        """Party i's command. What is written to it are answers."""
        ...

    async def record(self, i: int) -> str:
        """What party i has recorded."""
        ...


class Actor:
    """A party's process on this machine. What is written to it goes to its answers, and stdin is what the demo has."""

    def __init__(self, process: asyncio.subprocess.Process, answers: int) -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("the process has no pipes")
        self._process, self._answers = process, answers
        self.stdout, self.stderr = process.stdout, process.stderr

    def write(self, data: bytes) -> None:
        with suppress(BrokenPipeError):  # it has ended, which its exit code says
            os.write(self._answers, data)

    def close(self) -> None:
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1

    async def signal(self, number: int) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def wait(self) -> int:
        return await self._process.wait()


class Here:
    """Entered by `here`."""

    where = "on this machine"

    def __init__(self, m: int, folder: Path, port: int) -> None:
        self.names = tuple(name_of(i) for i in range(m))
        self.rendezvous: tuple[str, ...] = (f"http://127.0.0.1:{port}",)
        self._folder = folder

    async def start(self, i: int, build: Build) -> Process:
        home = self._folder / self.names[i]
        home.mkdir()
        folders = {f"XDG_{kind}_HOME": str(home) for kind in ("DATA", "CONFIG", "STATE")}
        theirs, ours = os.pipe()
        os.set_inheritable(theirs, True)
        own = ["--answers", str(theirs), "--record", str(self._folder / f"{self.names[i]}.json")]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "comity", *build(own)),
                stdin=None if i == 0 else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **folders},
                pass_fds=(theirs,),
                limit=MAX_LINE,
                process_group=0,  # Ctrl-C reaches the parent alone, which ends them in order
            )
        finally:
            os.close(theirs)
        return Actor(process, ours)

    async def record(self, i: int) -> str:
        return (self._folder / f"{self.names[i]}.json").read_text()


@asynccontextmanager
async def here(m: int) -> AsyncIterator[Here]:
    with tempfile.TemporaryDirectory(prefix="comity-demo-") as folder:
        async with Server((("127.0.0.1", 0),)) as server:
            yield Here(m, Path(folder), server.port)


class There:
    """Entered by `there`."""

    def __init__(self, where: str, hosts: Sequence[Host], rendezvous: tuple[str, ...]) -> None:
        self.where, self._hosts, self.rendezvous = where, hosts, rendezvous
        self.names = tuple(host.name for host in hosts)

    async def start(self, i: int, build: Build) -> Process:
        host = self._hosts[i]
        own = ["--answers", "3", "--record", f"{host.home}/{RECORD}"]
        if host.forwards:
            listen = host.forwards[0][0]
            own += ["--listen", str(listen)]
            own += [word for port, address in host.forwards if port == listen for word in ("--advertise", address)]
        return await host.start("sh", "-c", ANSWERS, "sh", host.python, "-P", "-m", "comity", *build(own))

    async def record(self, i: int) -> str:
        return (await self._hosts[i].get(RECORD)).decode()


@asynccontextmanager
async def there(topology: Topology, hosts: Mapping[str, Host], m: int) -> AsyncIterator[There]:
    """On the topology's hosts for parties; they meet at a server on its public host. Raises UsageError without one."""
    if not topology.rendezvous:
        raise UsageError(f"{topology.name} has no public host where parties could meet", hint="name it: rendezvous")
    meet = hosts[topology.rendezvous]
    server = await meet.start(meet.python, "-P", "-m", "comity", "serve", "--json")
    try:
        port = await _serving(server)
        parties = [hosts[name] for name in topology.parties[:m]]
        shown = (f"[{address}]" if ":" in address else address for address in meet.addresses)
        yield There(f"on hosts of {topology.name}", parties, tuple(f"http://{host}:{port}" for host in shown))
    finally:
        await server.signal(signal.SIGTERM)
        await server.wait()


async def _serving(server: Process) -> int:
    """The server's port, once it has one."""
    while line := await server.stderr.readline():
        event = json.loads(line)
        if event["event"] == "serving":
            return int(event["port"])
        if event["event"] == "error":
            raise UnreachableError(f"there is no rendezvous: {event['message']}", hint=tuple(event["hints"]))
    raise UnreachableError("there is no rendezvous: its server has ended")
