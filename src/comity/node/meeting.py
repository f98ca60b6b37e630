"""The meeting: a ceremony over a room, with clocks, a person, and a LEAVE for the others when it goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from comity.core.ceremony import Ceremony, Departed, State
from comity.core.commands import Command, Compare, Confirmed, Finished, Frozen, Joined, Left, Opened, Post, Refused
from comity.core.messages import Open
from comity.core.program import Program
from comity.core.sealing import seal, unseal
from comity.errors import (
    ComityError,
    PeerError,
    ProgramDiffers,
    UnreachableError,
    VerificationError,
    WordsDiffer,
)
from comity.interfaces import Mailbox
from comity.node.person import Person

MACHINE_SECONDS = 60.0
"""How long another node may take for a step that needs no person."""
PERSON_SECONDS = 15 * 60.0
"""How long people may take to compare words."""
REMIND_SECONDS = 10.0
"""After how long we say for whom we wait."""
LEAVE_SECONDS = 2.0
"""How long we try to tell the others that we leave."""

CONTEXT = b"ceremony"
"""What bodies of the ceremony are sealed with, besides the room's key."""

Choose = Callable[[Open], Awaitable[Program]]
"""What a joiner runs, given what the host opened."""
Naming = Callable[[Sequence[str]], str]
"""A joiner's name, given those that are taken so far."""


class TooLate(PeerError):
    """others did not answer in time"""


@dataclass
class Meeting:
    ceremony: Ceremony
    mailbox: Mailbox
    key: bytes
    person: Person
    invite_seconds: float
    choose: Choose  # asked of a joiner
    naming: Naming
    frozen: Callable[[Frozen], None]
    phase: Callable[[str], None]
    leaving: bool = False  # it went wrong, and the others are being told
    _position: int = 0  # in the log, of what was read last
    _names: list[str] = field(default_factory=list)
    _finished: Finished | None = None
    _asking: asyncio.Task[None] | None = None
    _warned: bool = False  # that the host is not there
    _early: list[str] | None = None  # who joined before this party knows what it is invited to: told afterwards

    async def hold(self) -> Finished:
        """From the first message to the session. Raises ComityError, after telling the others."""
        try:
            return await self._hold()
        except BaseException as exc:
            await self.say_goodbye(exc)
            raise
        finally:
            if self._asking is not None:
                self._asking.cancel()
                await asyncio.gather(self._asking, return_exceptions=True)

    async def _hold(self) -> Finished:
        loop = asyncio.get_running_loop()
        await self._obey(self.ceremony.start())
        state, since = self.ceremony.state, loop.time()
        reading = self.mailbox.read(self._position)
        step: asyncio.Task[tuple[int, bytes]] | None = None
        try:
            while self._finished is None:
                if self.ceremony.state is not state:
                    state, since = self.ceremony.state, loop.time()
                step = step or asyncio.ensure_future(anext(reading))
                waits = {step, self._asking} if self._asking is not None else {step}
                remaining = since + self._patience(state) - loop.time()
                done, _ = await asyncio.wait(
                    waits, timeout=min(remaining, REMIND_SECONDS), return_when=asyncio.FIRST_COMPLETED
                )
                if self._asking is not None and self._asking in done:
                    asked, self._asking = self._asking, None
                    await asked
                if step in done:
                    self._position, body = step.result()
                    step = None
                    await self._obey(self.ceremony.receive(unseal(self.key, body, CONTEXT)))
                elif not done:
                    self._late(state, loop.time() - since)
            return self._finished
        finally:
            if step is not None:
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
            await reading.aclose()  # type: ignore[attr-defined]  # every mailbox reads by a generator

    def _patience(self, state: State) -> float:
        if state in (State.REVEALING, State.AGREEING):
            return MACHINE_SECONDS
        return PERSON_SECONDS if state is State.COMPARING else self.invite_seconds

    def _late(self, state: State, seconds: float) -> None:
        waiting = ", ".join(self.ceremony.waiting)
        if seconds >= self._patience(state):
            if not self.ceremony.spent:
                raise TooLate("nobody came in time", hint="the invitation has expired; start again")
            raise TooLate(
                f"no answer from {waiting} for {seconds:.0f} s", hint="this invitation is spent: start with a new one"
            )
        if state is State.OPENING and not self._warned:
            self._warned = True
            self.person.line(
                "Waiting",
                "the host: not here yet, or not any more; is this its newest invitation?",
                event="waiting",
                names=[],
            )
        if self.ceremony.spent and self._asking is None:
            self.person.line(
                "Waiting", f"{waiting}: {seconds:.0f} s", event="waiting", names=list(self.ceremony.waiting)
            )

    async def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Post(body):
                    await self._post(body)
                case Opened(opened):
                    self._names.append(opened.name)
                    self._early = []
                    self._asking = asyncio.ensure_future(self._choose(opened))  # and read on: it may have begun
                case Joined(name):
                    if name not in self._names:  # the host is known from its opening
                        self._names.append(name)
                        self._tell_joined(name)
                case Left(name, reason):
                    self._names = [known for known in self._names if known != name]
                    if self._early is not None and name in self._early:
                        self._early.remove(name)
                    else:
                        self.person.line("Left", f"{name}: {reason}; waiting for another", event="left", name=name)
                case Refused(mine=True):
                    await self._obey(self.ceremony.rename(self.naming(self._names)))
                case Refused(name, holder) if self._early is None:
                    why = "the name is taken" if name == holder else f"the name looks like {holder}"
                    self.person.line("Refused", f"{name}: {why}", event="refused", name=name, holder=holder)
                case Frozen():
                    self.phase("joined")
                    self.frozen(command)
                case Compare():
                    self._compare(command)
                case Confirmed(name):
                    self.person.line("Confirmed", name, event="confirmed", name=name)
                case Finished():
                    self._finished = command
                    self.phase("agreed")

    def _tell_joined(self, name: str) -> None:
        if self._early is None:
            self.person.line("Joined", name, event="joined", name=name)
        else:
            self._early.append(name)

    async def _post(self, body: bytes) -> None:
        await self.mailbox.post(seal(self.key, os.urandom(12), body, CONTEXT))

    async def _choose(self, opened: Open) -> None:
        program = await self.choose(opened)
        early, self._early = self._early or [], None
        for joined in early:
            self._tell_joined(joined)
        await self._obey(self.ceremony.choose(program, self.naming(self._names)))

    def _compare(self, command: Compare) -> None:
        if command.ask:
            self._asking = asyncio.ensure_future(self._ask(command))
            return
        self.person.line(
            "Check",
            "nothing to compare here (--verify link); if others ask you, all see",
            f"  {'  '.join(command.words)}",
            "and you alone see your own word:",
            f"  {command.own}",
            event="words",
            words=list(command.words),
            people=list(command.people),
            own=command.own,
        )
        self.phase("checked")

    async def _ask(self, command: Compare) -> None:
        others = dict(zip(command.people, command.theirs, strict=True))
        if not await self.person.compare(command.words, command.own, others, option="--verify link"):
            raise WordsDiffer(
                hint=(
                    "someone may be in the middle; this invitation is spent",
                    "start again over another network, or bring the people to one room",
                ),
            )
        self.phase("checked")
        await self._obey(self.ceremony.answer())

    async def watch(self) -> NoReturn:
        """After the session stands and before every link does. Raises what ends it: Departed when somebody leaves."""
        async for _, body in self.mailbox.read(self._position):
            self.ceremony.receive(unseal(self.key, body, CONTEXT))
        raise AssertionError("reading never ends by itself")

    async def say_goodbye(self, exc: BaseException) -> None:
        """Best effort: the others learn why, if the room can still be reached."""
        self.leaving = True
        reason = "interrupted" if isinstance(exc, asyncio.CancelledError) else _reason(exc)
        posts = [c.body for c in self.ceremony.leave(reason) if isinstance(c, Post)]
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                for body in posts:
                    await self._post(body)
        except (TimeoutError, ComityError) as second:
            exc.add_note(f"the others could not be told: {second!r}")


def _reason(exc: BaseException) -> str:
    """What the others are told: one of core.messages.REASONS."""
    if isinstance(exc, Departed):
        return exc.reason
    if isinstance(exc, TooLate):
        return "error"
    if isinstance(exc, WordsDiffer):
        return "words"
    if isinstance(exc, ProgramDiffers):
        return "program"
    if isinstance(exc, UnreachableError):
        return "path"
    return "protocol" if isinstance(exc, PeerError | VerificationError) else "error"


def count(number: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if number < len(words) else str(number)


def all_of(number: int) -> str:
    """All of so many parties, in words."""
    return "both" if number == 2 else f"all {count(number)}"
