"""The parties of a demo: processes that run `comity host` and `comity join`, watched and answered for by one parent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from comity.cli.screen import Screen
from comity.cli.stage import Stage
from comity.cli.talk import Talk
from comity.core.display import harmless
from comity.core.program import Program, short
from comity.core.record import PHASES, Record, parse
from comity.errors import ComityError, UsageError, VerificationError
from comity.interfaces import Process
from comity.lab.script import Script
from comity.node.meeting import all_of, count
from comity.testbeds.pipes import end, read_line

SHOWN_SECONDS = 0.01
"""What is less is not worth a word."""
MISS_SECONDS = 90.0
"""How long the others may take to notice that a party has failed, and to say what became of them."""
END_SECONDS = 5.0
"""How long parties may take to leave after they are told to."""


@dataclass
class Player:
    """One party's process."""

    name: str
    process: Process
    number: int
    words: tuple[str, ...] = ()
    output: list[bytes] = field(default_factory=list)
    error: dict[str, Any] | None = None

    def answer(self, line: str) -> None:
        self.process.write(line.encode() + b"\n")


class Troupe:
    def __init__(
        self,
        talk: Talk,
        stage: Stage,
        threshold: int | None,
        transports: tuple[str, ...],
        program: tuple[str, ...],
        origin: str,
        script: Script | None = None,
    ) -> None:
        """`origin`: where the program comes from, in words. `script`: faults that wait for what parties say."""
        self._script = script
        self._talk, self._stage, self._threshold, self._transports = talk, stage, threshold, transports
        self._program, self._origin = program, origin
        self._m = len(stage.names)
        self._output = Screen(sys.stdout, os.environ)
        self._players: list[Player] = []
        self._link: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._width = max(map(len, stage.names))
        self._joined: list[str] = []
        self._compared = False
        self._common: tuple[str, ...] = ()

    async def perform(self, common: tuple[str, ...] = (), asked: Sequence[int] = ()) -> int:
        """The exit code: 0 when every party's was. `common`: options of all; `asked`: places of private arguments."""
        private = [[await self._ask(i, place) for place in asked] for i in range(self._m)]
        self._common = common
        try:
            parties = f"{count(self._m)} {'party' if self._m == 1 else 'parties'}"
            self._talk.line("Starting", f"{parties} {self._stage.where}", event="starting", parties=self._m)
            watching = []
            options = ["-n", str(self._m)]
            options += [word for address in self._stage.rendezvous for word in ("--rendezvous", address)]
            if self._threshold is not None:
                options += ["-t", str(self._threshold)]
            host = await self._start(0, ["host", *options])
            for value in private[0]:
                host.answer(value)
            watching.append(asyncio.create_task(self._watch(host)))
            if self._m > 1:
                await asyncio.wait((self._link, watching[0]), return_when=asyncio.FIRST_COMPLETED)
                if self._link.done():
                    for i in range(1, self._m):
                        player = await self._start(i, ["join"])
                        for value in (self._link.result(), *private[i]):
                            player.answer(value)
                        watching.append(asyncio.create_task(self._watch(player)))
            if self._script is not None:
                self._script.started()
            return await self._close(await self._codes(watching))
        finally:
            await self._end()

    async def _codes(self, watching: list[asyncio.Task[int]]) -> list[int]:
        """Every party's. One that fails before it has joined is missed by nobody: the others do not wait for ever."""
        await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        left = watching
        while left and not any(task.result() for task in watching if task.done()):
            _, pending = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            left = list(pending)
        if left:
            await asyncio.wait(left, timeout=MISS_SECONDS)
            await self._end()
        return list(await asyncio.gather(*watching))

    async def _ask(self, i: int, place: int) -> str:
        name = self._stage.names[i]
        return await self._talk.ask_hidden(f"argument {place} of {name}", option=f"--private {place}=FILE")

    async def _start(self, i: int, command: list[str]) -> Player:
        name = self._stage.names[i]

        def build(own: list[str]) -> list[str]:
            argv = [*command, "--json", "--name", name, *own, "--allow-no-secrecy", *self._common]
            argv += [option for transport in self._transports for option in ("--transport", transport)]
            module, program = self._program[0] == "-m", self._program
            argv += ["-m"] if module else []
            argv += ["-"] if command[0] == "join" else []
            return [*argv, *(program[1:] if module else program)]

        player = Player(name, await self._stage.start(i, build), i)
        self._players.append(player)
        return player

    async def _watch(self, player: Player) -> int:
        await asyncio.gather(self._hear(player), self._read(player))
        return await player.process.wait()

    async def _read(self, player: Player) -> None:
        """The program's output, labelled."""
        stream = player.process.stdout
        while line := await read_line(stream):
            player.output.append(line)
            text = line.rstrip(b"\n").decode(errors="replace")
            self._said(player, text)
            self._output.put(f"{self._output.tint(f'{player.name:{self._width}}', player.number)} | {harmless(text)}\n")

    async def _hear(self, player: Player) -> None:
        """What the party says on stderr: its events, and whatever its program writes there."""
        stream = player.process.stderr
        while line := await read_line(stream):
            try:
                event = json.loads(line)
                kind = event["event"]
            except (ValueError, TypeError, KeyError):
                text = harmless(line.rstrip(b"\n").decode(errors="replace"))
                self._said(player, text)
                self._talk.line("", f"{player.name}: {text}", event="stderr", name=player.name, text=text)
                continue
            self._said(player, f"{str(kind).capitalize()} {line.decode(errors='replace')}")
            self._happened(player, kind, event)

    def _said(self, player: Player, text: str) -> None:
        """An event begins as people see it: Running."""
        if self._script is not None:
            self._script.heard(player.name, text)

    def _happened(self, player: Player, kind: str, event: dict[str, Any]) -> None:
        host = player is self._players[0]
        if kind == "invite" and not self._link.done():
            self._link.set_result(event["link"])
        elif kind == "check":
            player.words = tuple(event["words"])
            self._compare()
        elif kind == "error":
            player.error = event
        elif kind == "program" and host:
            program = Program(event["name"], tuple(event["arguments"]), {}, "")
            lines = filter(None, (f"{program.command}, {self._origin}, {short(event['digest'])}", program.private))
            self._talk.line("Program", *lines, event="program", digest=event["digest"])
        elif kind == "warning" and host:
            self._talk.line("Warning", event["text"], event="warning", text=event["text"])
        elif kind == "joined" and host:
            self._joined.append(event["name"])
            if self._talk.json or len(self._joined) == self._m - 1:
                self._talk.line("Joined", ", ".join(self._joined), event="joined", name=event["name"])
        elif kind == "connected":
            paths = ", ".join(f"{p['name']} {p['seconds'] * 1000:.1f} ms {p['path']}" for p in event["peers"])
            self._talk.detail(f"{player.name} connected to {paths}", event="connected", name=player.name)
        elif kind == "running" and host:
            self._talk.line("Running", event="running")

    def _compare(self) -> None:
        """What people do by telephone: all words are the same, or nobody says yes."""
        words = [player.words for player in self._players]
        if len(words) < self._m or not all(words) or self._compared:
            return
        self._compared = True
        same = len(set(words)) == 1
        text = f"{'  '.join(words[0])}   the same at {all_of(self._m)}, answered for you" if same else "they differ!"
        self._talk.line("Check", text, event="check", words=list(words[0]), same=same)
        for player in self._players:
            player.answer("y" if same else "n")

    async def _close(self, codes: list[int]) -> int:
        """What people want to know at the end: did it work, do they agree, what took how long."""
        failed = [(p, code) for p, code in zip(self._players, codes, strict=True) if code]
        if failed:
            self._raise(failed)
        outputs = {b"".join(player.output) for player in self._players}
        agree = len(outputs) == 1
        said = f"{all_of(self._m)} outputs are the same" if agree else "the outputs differ, as this program may want it"
        if self._m > 1:
            self._talk.line("Agree", said, event="agree", same=agree)
        records = [parse(await self._stage.record(i)) for i in range(self._m)]
        self._talk.line("Took", _timings(records), event="took", phases=[record.phases for record in records])
        return 0

    def _raise(self, failed: list[tuple[Player, int]]) -> None:
        """The first cause: a party's own failure rather than what the others say about each other."""
        order = {1: 0, 6: 1, 3: 2, 2: 3, 5: 4, 4: 5}
        first, code = min(failed, key=lambda f: order.get(f[1], 9))
        for player, its in failed:
            if player is not first or self._talk.json:  # people read the first one's as the error
                text = f"{player.name}: {player.error['message'] if player.error else f'ended with code {its}'}"
                self._talk.line("Failed", text, event="failed", name=player.name, code=its)
        error = first.error or {"message": f"ended with code {code}", "hints": []}
        kinds: dict[int, type[ComityError]] = {k.exit_code: k for k in (UsageError, VerificationError)}
        kind = kinds.get(code, type("Other", (ComityError,), {"exit_code": code, "kind": error.get("kind", "peer")}))
        raise kind(f"at {first.name}: {error['message']}", hint=tuple(error["hints"]))

    async def _end(self) -> None:
        """Nobody is left behind, whatever happened here."""
        try:
            await end([player.process for player in self._players], END_SECONDS)
        finally:
            for player in self._players:
                player.process.close()


def _timings(records: list[Record]) -> str:
    """The slowest party's seconds, phase by phase, but for those that took no time."""
    spans, before = [], 0.0
    for phase in PHASES:
        ends = [record.phases[phase] for record in records if phase in record.phases]
        if ends:
            seconds, before = max(0.0, max(ends) - before), max(ends)
            if seconds >= SHOWN_SECONDS:
                spans.append(f"{phase} {seconds:.2f} s")
    who = ", as the slowest party" if len(records) > 1 else ""
    return f"{before:.2f} s{who}: {', '.join(spans)}"
