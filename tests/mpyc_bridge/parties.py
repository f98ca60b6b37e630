"""Programs in real child processes, whose nodes live here and pass them socket pairs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from comity.core.identity import public_key
from comity.core.manifest import Member
from comity.errors import ComityError, ProgramError
from comity.links.certificate import make_certificate
from comity.mpyc_bridge.agreed import Files, Root
from comity.mpyc_bridge.closure import closure_of
from comity.mpyc_bridge.process import Ended, Event, Fault, ProgramProcess, Totals, Wants
from comity.mpyc_bridge.program import FoundProgram

NAMES = ("alice", "bob", "carol", "dave", "erin")
TRANSCRIPT = b"T" * 32


def seed(party: int) -> bytes:
    return bytes([party + 1]) * 32


def member(party: int) -> Member:
    key = public_key(seed(party))
    return Member(NAMES[party], b"I" * 32, key, b"X" * 32, make_certificate(seed(party)))


@dataclass
class Party:
    """One party's node: as little of it as the program's process needs."""

    number: int
    process: ProgramProcess
    files: list[IO[bytes]]  # its standard streams
    events: list[Event] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    out: str = ""
    err: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, kind: type[Event]) -> None:
        """Wait for an event of this kind."""
        while not any(isinstance(event, kind) for event in self.events):
            self._news.clear()
            await self._news.wait()

    @property
    def code(self) -> int:
        (end,) = (event for event in self.events if isinstance(event, Ended))
        return end.code

    @property
    def error(self) -> ComityError | None:
        return next((event.error for event in self.events if isinstance(event, Fault)), None)

    @property
    def totals(self) -> Totals:
        (totals,) = (event for event in self.events if isinstance(event, Totals))
        return totals


@dataclass
class Session:
    """m parties. `pair` makes the two ends of a channel; a test may put itself in a party's place."""

    parties: dict[int, Party]
    m: int
    pair: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair
    outsider: Callable[[int, int, socket.socket], None] | None = None  # peer, epoch: channels to who is no process here
    made: set[tuple[int, int, int]] = field(default_factory=set)

    def start(self) -> None:
        for i in self.parties:
            self.start_party(i)
        for i in self.parties:
            self.connect(i, 0, tuple(j for j in range(self.m) if j != i))

    def start_party(self, i: int) -> None:
        members = tuple(member(j) for j in range(self.m))
        self.parties[i].process.give_session(TRANSCRIPT, seed(i), make_certificate(seed(i)), members)

    def connect(self, party: int, epoch: int, peers: tuple[int, ...]) -> None:
        for peer in peers:
            low, high = sorted((party, peer))
            if (low, high, epoch) not in self.made:
                self.made.add((low, high, epoch))
                mine, theirs = self.pair()
                self.parties[party].process.give_channel(peer, epoch, 1, mine)
                if peer in self.parties:
                    self.parties[peer].process.give_channel(party, epoch, 1, theirs)
                elif self.outsider is not None:
                    self.outsider(party, epoch, theirs)

    async def follow(self, party: Party) -> None:
        async for event in party.process.events():
            party.saw(event)
            if isinstance(event, Wants):
                self.connect(party.number, event.epoch, event.peers)
        party.out, party.err = (_text(file) for file in party.files[1:])
        party.ended.set()
        await party.process.end()

    async def over(self) -> list[Party]:
        """All parties, once every process has ended."""
        await asyncio.gather(*(party.ended.wait() for party in self.parties.values()))
        return list(self.parties.values())


@contextlib.asynccontextmanager
async def session(
    program: FoundProgram,
    m: int,
    *,
    threshold: int | None = None,
    stdin: bytes = b"",
    present: tuple[int, ...] | None = None,
    verbose: bool = False,
    pickle: bool = False,
    agreed: bytes | None = None,
) -> AsyncIterator[Session]:
    """Processes of the parties that are `present`, ready to start together. `agreed`: other files than there are."""
    running = Session({}, m)
    packed = files_of(program) if agreed is None else agreed
    async with contextlib.AsyncExitStack() as stack:
        for i in range(m) if present is None else present:
            files: list[IO[bytes]] = []
            for _ in range(3):
                file = tempfile.TemporaryFile()  # noqa: SIM115  the stack closes it
                files.append(stack.enter_context(file))
            files[0].write(stdin)
            files[0].seek(0)
            process = await ProgramProcess.start(
                program,
                packed,
                number=i,
                m=m,
                threshold=(m - 1) // 2 if threshold is None else threshold,
                seed=4711,
                names=NAMES[:m],
                verbose=verbose,
                pickle=pickle,
                streams=(files[0], files[1], files[2]),
            )
            stack.push_async_callback(process.end)
            running.parties[i] = party = Party(i, process, files)
            following = asyncio.ensure_future(running.follow(party))
            stack.push_async_callback(_settle, following)
        yield running


def files_of(program: FoundProgram) -> bytes:
    """What a probe finds; of a program that is no Python, which no probe passes, its file."""
    try:
        return closure_of(program).files.pack()
    except ProgramError:
        path = Path(program.target)
        files = Files(roots=[Root(str(path.parent))])
        files.add(files.roots[0], path.name, path.read_bytes())
        return files.pack()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


async def _settle(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run(program: FoundProgram, m: int, **options: object) -> list[Party]:
    """A whole session, from start to end."""
    async with session(program, m, **options) as running:  # type: ignore[arg-type]
        running.start()
        return await running.over()


def written(folder: Path, source: str, *arguments: str, name: str = "program.py") -> FoundProgram:
    """A program of its own file."""
    path = folder / name
    path.write_text(source)
    return FoundProgram("file", str(path), path.stem, arguments)
