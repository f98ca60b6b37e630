"""One party's whole run, host or joiner: from the command line's options to a record.

examine the program -> invitation -> room and ceremony -> session -> run -> record
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from comity.core.ceremony import Ceremony
from comity.core.commands import Finished, Frozen
from comity.core.identity import Secrets, exchange_public, fingerprint, fold, public_key
from comity.core.invitation import SECRET_SIZE, Invitation
from comity.core.manifest import Member, Session
from comity.core.messages import Open
from comity.core.program import Program
from comity.core.record import Record, session_name
from comity.core.sealing import room_key, room_name
from comity.errors import PeerError, UsageError
from comity.interfaces import Mailbox, Rendezvous, Transport
from comity.links.certificate import make_certificate
from comity.mpyc_bridge.probe import Examined, probe
from comity.mpyc_bridge.process import ProgramProcess
from comity.mpyc_bridge.program import FoundProgram, builtin_names, find
from comity.node.inviting import invite, meeting_place
from comity.node.meeting import Meeting
from comity.node.options import Options
from comity.node.pairs import Pairs
from comity.node.person import Person
from comity.node.run import Run
from comity.node.signals import signal_room
from comity.node.start import (
    check_secrecy,
    expect_questions,
    promise,
    show_program,
    show_session,
    usable_transports,
)
from comity.rendezvous.client import WebRendezvous

INVITE_SECONDS = 3600.0
"""How long an invitation is good: people find one another within an hour, or make a new one."""


@dataclass
class Party:
    options: Options
    person: Person
    seed: bytes = field(repr=False)  # of the identity
    record: Record = field(default_factory=lambda: Record(0, 0, 0))
    _began: float = field(default_factory=time.monotonic)
    _program: asyncio.Task[ProgramProcess] | None = None
    _meeting: Meeting | None = None

    def __post_init__(self) -> None:
        self._secrets = Secrets(self.seed, os.urandom(32), os.urandom(32), os.urandom(32))  # of this session
        self._certificate = make_certificate(self._secrets.session)

    def phase(self, name: str) -> None:
        self.record.passed(name, time.monotonic() - self._began)

    # -- host --------------------------------------------------------------------------------------------------------

    async def host(self, found: FoundProgram) -> None:
        """Raises ComityError for anything but a good end."""
        expect_questions(self.options, self.person, opens=True)
        with usable_transports(self.options) as transports:
            await self._host(found, transports)

    async def _host(self, found: FoundProgram, transports: dict[str, Transport]) -> None:
        options = self.options
        examined = await self._examine(found, options.m, options.threshold)
        program = examined.program
        show_program(program, found.kind == "builtin", self.person)
        await check_secrecy(options.m, options.threshold, options, self.person)
        if options.m == 1:
            await self._alone(found, examined, transports)
            return
        secret = os.urandom(SECRET_SIZE)
        rooms = frozenset((room_name(secret), signal_room(secret)))
        async with (
            meeting_place(options, rooms, self._rendezvous_report) as (rendezvous, addresses),
            rendezvous.open(room_name(secret)) as mailbox,  # before anybody is invited there
        ):
            host = fingerprint(public_key(self.seed))
            invitation = Invitation(secret, host, addresses, options.certificate)
            invite(invitation, options.m, bool(options.rendezvous), self.person)
            self.phase("invite")
            opened = Open(options.m, options.threshold, program, tuple(transports), options.name, options.verify)
            await self._hold(rendezvous, mailbox, secret, transports, found, opened, examined)

    # -- join --------------------------------------------------------------------------------------------------------

    async def join(self, invitation: Invitation, found: FoundProgram | None) -> None:
        """`found`: what the joiner named itself; None: the built-in that the host's opening names."""
        expect_questions(self.options, self.person, opens=False)
        report = self._rendezvous_report
        rendezvous = WebRendezvous(invitation.rendezvous, invitation.certificate, report)
        secret = invitation.secret
        with usable_transports(self.options) as transports:
            async with rendezvous.open(room_name(secret)) as mailbox:
                await self._hold(rendezvous, mailbox, secret, transports, found, invitation.host)

    def _rendezvous_report(self, line: str) -> None:
        """People wait for it only until they are connected, or leave."""
        if "connected" in self.record.phases or (self._meeting is not None and self._meeting.leaving):
            self.person.detail(line, event="rendezvous", text=line)
        else:
            self.person.line("Rendezvous", line.removeprefix("the rendezvous "), event="rendezvous", text=line)

    # -- both --------------------------------------------------------------------------------------------------------

    async def _examine(self, found: FoundProgram, m: int, t: int) -> Examined:
        examined = await probe(found, m=m, threshold=t)
        program, record = examined.program, self.record
        record.m, record.t, record.program, record.digest = m, t, program.name, program.digest
        record.versions["python"] = program.python
        self.phase("start")
        return examined

    async def _hold(
        self,
        rendezvous: Rendezvous,
        mailbox: Mailbox,
        secret: bytes,
        transports: dict[str, Transport],
        found: FoundProgram | None,
        host: Open | bytes,
        examined: Examined | None = None,
    ) -> None:
        options = self.options
        offered = tuple(transports)
        ceremony = Ceremony(self._secrets, self._certificate, options.name, offered, options.verify, host)
        chosen = found

        async def choose(opened: Open) -> Program:
            nonlocal chosen, examined
            self.phase("invite")
            chosen = found or await self._choose(opened)
            examined = await self._examine(chosen, opened.m, opened.threshold)
            program = examined.program
            show_session(opened, program, chosen.kind == "builtin", self.person)
            if program.digest == opened.program.digest:
                await check_secrecy(opened.m, opened.threshold, options, self.person)
            return program

        def frozen(command: Frozen) -> None:
            self.record.party = command.number
            if chosen is not None and examined is not None:
                self._program = asyncio.ensure_future(self._start_program(chosen, examined, command))

        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._end_program)
            self._meeting = Meeting(
                ceremony,
                mailbox,
                room_key(secret),
                self.person,
                INVITE_SECONDS,
                choose,
                self._distinct_name,
                frozen,
                self.phase,
            )
            finished = await self._meeting.hold()
            run = await self._make_run(finished, transports)
            await run.go(rendezvous, signal_room(secret), self._meeting)

    def _distinct_name(self, taken: Sequence[str]) -> str:
        """A name that nobody here has yet, or one like it; one that the person chose is never changed."""
        name, number, alike = self.options.name, 2, {fold(other) for other in taken}
        while not self.options.name_chosen and fold(name) in alike:
            name, number = f"{self.options.name}-{number}", number + 1
        return name

    async def _choose(self, opened: Open) -> FoundProgram:
        """What a joiner runs that has named no program: the built-in of that name, its holes filled by the person."""
        theirs, private = opened.program, dict(self.options.private)
        if theirs.name not in builtin_names():
            raise UsageError(
                f"{opened.name} runs {shlex.quote(theirs.name)}, which is not built in",
                hint="a program is never taken from a peer: name your own copy after the invitation",
            )
        for place in private:
            if place > len(theirs.arguments) or theirs.arguments[place - 1] is not None:
                raise UsageError(f"argument {place} is not private at {opened.name}", hint="leave --private away")
        for place, argument in enumerate(theirs.arguments, 1):
            if argument is None and place not in private:
                question = f"your argument {place} of {theirs.name}"
                private[place] = await self.person.ask_hidden(question, option=f"--private {place}=FILE")
        public = tuple(argument for argument in theirs.arguments if argument is not None)
        return find(theirs.name, public, private=private, include=self.options.include)

    async def _start_program(self, found: FoundProgram, examined: Examined, frozen: Frozen) -> ProgramProcess:
        """Early, while people still compare: importing MPyC overlaps with that. It waits for the session's keys."""
        return await ProgramProcess.start(
            found,
            examined.files,
            number=frozen.number,
            m=len(frozen.names),
            threshold=self.record.t,
            seed=int.from_bytes(frozen.shared[:4], "big"),
            names=frozen.names,
            verbose=self.options.verbose,
        )

    async def _end_program(self) -> None:
        if self._program is not None:
            self._program.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                program = await self._program
                await program.end()

    async def _make_run(self, finished: Finished, transports: dict[str, Transport]) -> Run:
        session = finished.session
        names = tuple(member.name for member in session.members)
        self.record.session, self.record.transport = session_name(session.transcript), session.transport
        said = promise(names, session.threshold)
        self.person.line("Agreed", said, event="agreed", names=list(names), threshold=session.threshold)
        pairs = Pairs.of(session, finished.number, self._secrets)
        return await self._with_program(pairs, transports[session.transport])

    async def _with_program(self, pairs: Pairs, transport: Transport) -> Run:
        if self._program is None:
            raise PeerError("the roster never stood")
        program = await asyncio.shield(self._program)
        return Run(
            pairs,
            self._secrets,
            self._certificate,
            program,
            transport,
            self.options,
            self.person,
            self.record,
            self.phase,
        )

    async def _alone(self, found: FoundProgram, examined: Examined, transports: dict[str, Transport]) -> None:
        secrets, name = self._secrets, self.options.name
        keys = public_key(secrets.session), exchange_public(secrets.exchange)
        me = Member(name, public_key(secrets.identity), *keys, self._certificate, self.options.verify)
        session = Session((me,), 0, os.urandom(32), os.urandom(16), "", self.record.digest)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._end_program)
            frozen = Frozen(0, (name,), os.urandom(32))
            self._program = asyncio.ensure_future(self._start_program(found, examined, frozen))
            pairs = Pairs.of(session, 0, secrets)
            run = await self._with_program(pairs, next(iter(transports.values())))
            await run.alone()
