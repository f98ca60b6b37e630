"""Parties as separate processes with homes of their own, driven as scripts drive them: --json and --answers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Party:
    name: str
    process: asyncio.subprocess.Process
    answers: int
    events: list[dict[str, Any]] = field(default_factory=list)
    talk: list[str] = field(default_factory=list)  # what stands on stderr besides
    output: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The count-th event of a kind, as soon as it is there; fails when the party ends before."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended() or len(self.all(kind)) >= count)
        found = self.all(kind)
        assert len(found) >= count, f"{self.name} ended without {kind}: {self.events} {self.talk}"
        return found[count - 1]

    async def prints(self, text: str) -> None:
        """Returns when this stands in the program's output; fails when the party ends before."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended() or text in self.output)
        assert text in self.output, f"{self.name} ended without {text}: {self.events} {self.talk}"

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    def _ended(self) -> bool:
        return all(task.done() for task in self._tasks)

    def answer(self, line: str) -> None:
        os.write(self.answers, line.encode() + b"\n")

    async def end(self) -> int:
        """Its exit code, once it has ended and everything it said is read."""
        await asyncio.gather(*self._tasks)
        return await self.process.wait()

    @property
    def error(self) -> dict[str, Any]:
        (error,) = self.all("error")
        return error

    async def _read_events(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                event = json.loads(line)
                assert isinstance(event, dict) and "event" in event
                self.events.append(event)
            except (ValueError, AssertionError):
                self.talk.append(line.decode(errors="replace").rstrip("\n"))
            await self._tell()
        await self._tell()

    async def _read_output(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output += line.decode()
            await self._tell()
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Stage:
    """Starts parties and leaves none of them behind."""

    def __init__(self, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self.folder, self.prefix = folder, prefix
        self.parties: list[Party] = []

    async def start(
        self,
        name: str,
        *arguments: str,
        stdin: int = asyncio.subprocess.DEVNULL,
        cwd: Path | None = None,
        prefix: tuple[str, ...] | None = None,
        environ: dict[str, str] | None = None,
    ) -> Party:
        """`arguments`: command, options, program; --json, --name and --answers come by themselves, where they exist."""
        home = self.folder / f"home-{name}"
        home.mkdir(exist_ok=True)
        folders = {f"XDG_{kind}_HOME": str(home) for kind in ("DATA", "CONFIG", "STATE")}
        theirs, ours = os.pipe()
        os.set_inheritable(theirs, True)
        command, *rest = arguments
        own = ["--json"]
        if command not in ("serve", "doctor"):
            own += ["--answers", str(theirs), *(["--name", name] if "--name" not in rest else [])]
        try:
            process = await asyncio.create_subprocess_exec(
                *(self.prefix if prefix is None else prefix),
                *(sys.executable, "-P", "-m", "comity", command, *own, *rest),
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs,),
                cwd=cwd,
                env={**os.environ, **folders, **(environ or {})},
                limit=1 << 20,
                process_group=0,
            )
        finally:
            os.close(theirs)
        party = Party(name, process, ours)
        party._tasks = [asyncio.create_task(party._read_events()), asyncio.create_task(party._read_output())]
        self.parties.append(party)
        return party

    async def session(self, *program: str, names: tuple[str, ...] = ("alice", "bob", "carol"), **options: Any) -> None:
        """Host and joiners, up to where each waits for its answer to the words. `options`: `host`, `join`: lists."""
        host = await self.start(
            names[0], "host", "-n", str(len(names)), *options.get("host", ()), *program, cwd=options.get("cwd")
        )
        link = (await host.event("invite"))["link"] if names[1:] else ""
        for name in names[1:]:
            theirs = program if options.get("own", False) else ()
            await self.start(name, "join", *options.get("join", ()), link, *theirs, cwd=options.get("cwd"))

    async def agree(self) -> list[dict[str, Any]]:
        """Everyone says yes; the check events."""
        checks = [await party.event("check") for party in self.parties]
        for party in self.parties:
            party.answer("y")
        return checks

    async def ends(self) -> list[int]:
        return [await party.end() for party in self.parties]


@asynccontextmanager
async def stage(folder: Path, prefix: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        opened = Stage(folder, prefix)
        stack.push_async_callback(_end, opened)
        yield opened


async def _end(opened: Stage) -> None:
    for party in opened.parties:
        if party.process.returncode is None:
            with suppress(ProcessLookupError):
                party.process.kill()
        await party.end()
        os.close(party.answers)
