"""Whole sessions under attack: honest parties and mallory, each a real process, and how they end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sessions.parties import Party, Stage, stage

from comity.rendezvous.server import Server

SOON = 10.0
"""Seconds in which honest parties end once somebody cheats."""

GIVE_UP = 4.0
"""Seconds for which they look for a path."""

MALLORY = Path(__file__).with_name("mallory.py")

WORK = """
import sys
from mpyc.runtime import mpc

async def main():
    await mpc.start()
    if mpc.pid == 0:
        sys.stdin.readline()
    print("values", await mpc.transfer(mpc.pid), flush=True)
    print("sum", await mpc.output(mpc.sum(mpc.input(mpc.SecInt(32)(mpc.pid)))), flush=True)
    await mpc.shutdown()

mpc.run(main())
"""
"""Goes on when its first party's standard input has a line, or an end."""

RESULT = "values [0, 1, 2]\nsum 3\n"


async def happens(party: Party, kind: str, count: int = 1) -> bool:
    """Whether an event comes before the party ends."""
    try:
        await party.event(kind, count)
    except AssertionError:
        return False
    return True


async def ends(party: Party) -> int:
    """Its exit code; fails when it does not end within SOON after the last thing that it told."""
    told, running = -1, set(party._tasks)
    while running:
        assert len(party.events) > told, f"{party.name} goes on: {party.events}"
        told = len(party.events)
        _, running = await asyncio.wait(running, timeout=SOON)
    return await party.process.wait()


@dataclass
class Scene:
    """Where it happens. `kind`: what mallory does, once she comes."""

    stage: Stage
    folder: Path
    rendezvous: str
    kind: str = ""
    parties: dict[str, Party] = field(default_factory=dict)

    @property
    def mark(self) -> Path:
        """What exists when mallory got something done."""
        return self.folder / "mark"

    async def meet(
        self, *names: str, m: int = 3, program: tuple[str, ...] = ("work.py",), listen: int = 0, **options: Any
    ) -> None:
        """The first one hosts, at a port of its own; the others join one after another, as long as all goes well."""
        own = ("-n", str(m), "--listen", str(listen), "--rendezvous", self.rendezvous)
        host = await self._start(names[0], "host", *own, *program, **options)
        await host.event("invite")
        for number, name in enumerate(names[1:], 1):
            guest = await self.join(name, *program)
            joined = asyncio.ensure_future(happens(host, "joined", number))
            await asyncio.wait({joined, *guest._tasks}, return_when=asyncio.FIRST_COMPLETED)
            joined.cancel()

    async def join(self, name: str, *program: str) -> Party:
        """With the first one's invitation."""
        host = next(iter(self.parties.values()))
        invited = await host.event("invite")
        return await self._start(name, "join", invited["link"], *(program or ("work.py",)))

    async def _start(self, name: str, command: str, *arguments: str, **options: Any) -> Party:
        prefix = (sys.executable, str(MALLORY), self.kind) if name == "mallory" else ()
        self.parties[name] = party = await self.stage.start(
            name,
            command,
            "--give-up",
            str(GIVE_UP),
            *arguments,
            prefix=prefix,
            cwd=self.folder,
            environ={"MALLORY_MARK": str(self.mark)},
            **options,
        )
        return party

    async def agree(self, *names: str) -> None:
        """These people, by default all, say that the words are the same; who sees none says nothing."""

        async def answer(party: Party) -> None:
            if await happens(party, "check"):
                party.answer("y")

        await asyncio.gather(*(answer(self.parties[name]) for name in names or self.parties))

    async def end(self, *names: str) -> dict[str, tuple[int, str]]:
        """How these parties end: exit code and message."""
        codes = await asyncio.gather(*(ends(self.parties[name]) for name in names))
        return {
            n: (code, self.parties[n].error["message"] if code else "") for n, code in zip(names, codes, strict=True)
        }

    def printed(self, *names: str) -> set[str]:
        return {self.parties[name].output for name in names}


@asynccontextmanager
async def scene(folder: Path, kind: str = "", rendezvous: str = "") -> AsyncIterator[Scene]:
    """`rendezvous`: another one than the honest server of this process."""
    (folder / "work.py").write_text(WORK)
    async with Server((("127.0.0.1", 0),)) as server, stage(folder) as opened:
        yield Scene(opened, folder, rendezvous or f"http://127.0.0.1:{server.port}", kind)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def held_back() -> AsyncIterator[tuple[int, Any]]:
    """A standard input that has no line yet, and what gives it one."""
    theirs, ours = os.pipe()
    try:
        yield theirs, lambda: os.write(ours, b"go\n")
    finally:
        os.close(theirs)
        os.close(ours)
