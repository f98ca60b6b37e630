"""From a session to the last byte: channels, links, the program, and the last words between the nodes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from comity.core import preface
from comity.core.ceremony import Departed
from comity.core.identity import Secrets
from comity.core.limits import MAX_CHANNELS
from comity.core.record import PeerRecord, Record
from comity.errors import ComityError, PeerError, ProgramError, UnreachableError, VerificationError
from comity.interfaces import Channel, PartyId, Rendezvous, Transport
from comity.links.control import ControlLink
from comity.links.link import Goodbye
from comity.links.pairing import Pairing
from comity.mpyc_bridge.control import Fault, Linked, Stalled, Totals, Unagreed, Wants
from comity.mpyc_bridge.process import Ended, ProgramProcess
from comity.node.channels import Channels, Slot
from comity.node.ending import YOU, Ending
from comity.node.meeting import Meeting
from comity.node.options import Options
from comity.node.pairs import Pairs
from comity.node.person import Person, warn
from comity.node.signals import Flood, SignalRoom
from comity.node.waits import LOOK_SECONDS, Lost, Waits

DONE = "done"
FRESH_SECONDS = 3.0
"""For which holds what the program's process said of waiting: it says so every second, unless it is busy."""
MAX_AHEAD = 1
"""Epochs that a peer may be ahead of our program: its last one ended with a barrier."""


@dataclass
class _Peer:
    name: str
    control: ControlLink | None = None
    data: bool = False  # the link of epoch 0 stands
    path: str = ""
    done: bool = False  # said its last word, and it was good


@dataclass
class Run:
    """One session's run; `go` raises ComityError for anything but a good end."""

    pairs: Pairs
    secrets: Secrets
    certificate: bytes
    program: ProgramProcess
    transport: Transport
    options: Options
    person: Person
    record: Record
    phase: Callable[[str], None]
    _incarnation: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    _epoch: int = 0
    _given: set[Slot] = field(default_factory=set)
    _greeted: Counter[Slot] = field(default_factory=Counter)  # channels on which a control link may come to stand
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _faulted: bool = False
    _stalled: dict[PartyId, tuple[str, float]] = field(default_factory=dict)  # for whom the program waits
    _stalled_at: float = 0.0  # of the loop's clock: when it said so
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        session = self.pairs.session
        me = self.pairs.me
        self.ending = Ending(tuple(YOU if i == me else member.name for i, member in enumerate(session.members)))
        self.peers = {i: _Peer(session.name(i)) for i in self.pairs.peers}
        self._channels: Channels | None = None
        self._running = False  # the program was told to start
        self._connected = asyncio.Event()  # every link stands, of nodes and of programs

    async def go(self, rendezvous: Rendezvous, room: str, meeting: Meeting) -> None:
        """`room`: of the signals. Before every link stands, who leaves says so in the `meeting`."""
        session, me = self.pairs.session, self.pairs.me
        try:
            async with SignalRoom.open(rendezvous, room, session.transcript, me, self.pairs.signals) as signals:
                scoped = signals.scoped(self.transport.name)
                async with self.transport.connect(session, me, scoped, self._report) as reach:
                    channels = self._channels = Channels(reach, self.pairs, self._take)
                    slots = [Slot(peer, kind, 0) for peer in self.peers for kind in (preface.CONTROL, preface.DATA)]
                    fills = (self._fill(channels, slot) for slot in slots)
                    works = (self._pump(signals), self._watch(meeting), self._look_out(), channels.accept(), *fills)
                    error = await self._supervise(*works)
            if error is not None:
                raise error
        except BaseException as exc:
            if not self._connected.is_set():
                await meeting.say_goodbye(exc)
            raise
        finally:
            await self.program.end()
            self._measure()

    async def alone(self) -> None:
        """One party needs no room and no links."""
        self.person.line("Running", "alone", event="running")
        self._start_program()
        try:
            error = await self._supervise()
        finally:
            await self.program.end()
        if error is not None:
            raise error

    async def _supervise(self, *works: Coroutine[Any, Any, None]) -> ComityError | None:
        """Everything at once, until the program has ended well or something went wrong."""
        for work in (self._follow(), *works):
            self._start(work)
        try:
            error = await self.ending.settled()
            self._last_words(*self._judge(error))
        except asyncio.CancelledError:
            self._last_words("interrupted", None)
            raise
        finally:
            self._leaving.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return error

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """A part that fails ends the run; a bug of ours too, instead of being lost in a task."""
        try:
            await work
        except ComityError as exc:
            self.ending.cause(exc)
        except Exception as exc:
            bug = ComityError(f"a bug of comity: {exc!r}")
            bug.__cause__ = exc
            self.ending.cause(bug)

    def _judge(self, error: ComityError | None) -> tuple[str, PartyId | None]:
        """Our last word: a reason, and whose doing it was if not ours."""
        if error is None:
            return DONE, None
        if self.ending.blame is None:
            return "error", None
        return ("path" if isinstance(error, UnreachableError) else "protocol"), self.ending.blame

    # -- reaching ----------------------------------------------------------------------------------------------------

    def _report(self, line: str) -> None:
        self.person.detail(line, event="transport", transport=self.transport.name, text=line)

    async def _fill(self, channels: Channels, slot: Slot) -> None:
        try:
            await channels.fill(slot, self.options.give_up)
        except UnreachableError as exc:
            self.ending.cause(exc, slot.peer)

    async def _pump(self, signals: SignalRoom) -> None:
        """A rendezvous that dies once every link stands disturbs nobody."""
        try:
            await signals.pump()
        except Flood as exc:
            name = self.pairs.session.name(exc.peer)
            self.ending.cause(PeerError(f"{name} floods the session with signals"), exc.peer)
        except UnreachableError:
            if not self._connected.is_set():
                raise
            self._report("the rendezvous is gone; the session goes on without it")

    async def _watch(self, meeting: Meeting) -> None:
        """Until every link stands: then goodbyes come over the control links."""
        watching = asyncio.ensure_future(meeting.watch())
        connected = asyncio.ensure_future(self._connected.wait())
        try:
            await asyncio.wait((watching, connected), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        except Departed as exc:
            members = self.pairs.session.members
            leaver = next(i for i, member in enumerate(members) if member.identity == exc.sender)
            if exc.reason in ("path", "protocol"):  # it may be about us, or another's doing
                self.ending.goodbye(leaver, exc.reason)
            else:
                self.ending.cause(exc, leaver)
        finally:
            watching.cancel()
            connected.cancel()
            await asyncio.gather(watching, connected, return_exceptions=True)

    def _take(self, slot: Slot, number: int, channel: Channel) -> bool:
        """A channel with a proper preface: for the control link here, or for the program's process."""
        if self._leaving.is_set():
            return False
        controls = self.pairs.me < slot.peer
        if (controls and slot in self._given) or self._held(slot) >= MAX_CHANNELS:
            return False
        peer = self.peers[slot.peer]
        if slot.kind == preface.CONTROL:
            if slot.epoch != 0 or peer.control is not None:
                return False
            self._given.add(slot)
            self._start(self._control(slot, channel))
        else:
            if slot.epoch > self._epoch + MAX_AHEAD:
                return False
            self._given.add(slot)
            self.program.give_channel(slot.peer, slot.epoch, number, channel.sock)
        peer.path = channel.path.kind
        return True

    def _held(self, slot: Slot) -> int:
        return self._greeted[slot] if slot.kind == preface.CONTROL else self.program.held(slot.peer, slot.epoch)

    def _pairing(self, peer: PartyId) -> Pairing:
        session, me = self.pairs.session, self.pairs.me
        member = session.members[peer]
        return Pairing(
            session.transcript,
            me,
            peer,
            member.name,
            preface.CONTROL,
            0,
            self._incarnation,
            self.secrets.session,
            self.certificate,
            member.certificate,
            member.session_key,
        )

    async def _look_out(self) -> None:
        """Say for whom we wait, and end the run when a peer's node falls silent."""
        clock = asyncio.get_running_loop()
        waits = Waits(self.ending.names, self.person, clock.time())
        try:
            await self._look(clock, waits)
        finally:
            self.record.stalls = waits.end()

    async def _look(self, clock: asyncio.AbstractEventLoop, waits: Waits) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            links = {party: peer.control for party, peer in self.peers.items() if not peer.done}
            silences = {party: link.silence for party, link in links.items() if link is not None}
            pathless = [party for party, link in links.items() if link is None]
            idle = [party for party, peer in self.peers.items() if not peer.data]
            stalled = self._stalled if clock.time() - self._stalled_at < FRESH_SECONDS else {}
            try:
                waits.look(clock.time(), silences, pathless, idle, stalled)
            except Lost as exc:
                self.ending.cause(exc, exc.peer)
                return

    # -- control links -----------------------------------------------------------------------------------------------

    async def _control(self, slot: Slot, channel: Channel) -> None:
        peer = self.peers[slot.peer]
        self._greeted[slot] += 1
        link: ControlLink | None = None
        try:
            async with ControlLink.over(channel.sock, self._pairing(slot.peer)) as link:
                await link.ready()
                if peer.control is not None:
                    return  # another channel was faster
                peer.control = link
                if self._channels is not None:
                    self._channels.filled(slot)
                self._check_reached()
                async for _ in link.messages():
                    raise PeerError(f"{peer.name}'s node speaks a later version of the protocol")
                peer.done = True
                await self._leaving.wait()  # our own last word is still to be said
        except ComityError as exc:
            if peer.control is None or peer.control is link:  # else a channel that another one was faster than
                self._control_ended(slot, exc)
        finally:
            self._greeted[slot] -= 1

    def _control_ended(self, slot: Slot, exc: ComityError) -> None:
        peer = self.peers[slot.peer]
        if peer.control is None:  # never stood: another channel may
            self._given.discard(slot)
            if self._channels is not None:
                self._channels.lost(slot)
            self._report(f"a channel to {peer.name} failed: {exc.message}")
            if exc.exit_code == VerificationError.exit_code:
                self.ending.cause(exc, slot.peer)
        elif peer.done or self._leaving.is_set():
            return
        elif isinstance(exc, Goodbye):
            about = int(exc.detail) if exc.detail.isdecimal() and int(exc.detail) < self.pairs.session.m else None
            self.ending.goodbye(slot.peer, exc.reason, about)
        else:
            self.ending.symptom(exc, slot.peer)

    def _last_words(self, reason: str, about: PartyId | None) -> None:
        """Tell every other node how it ended here, and whose doing it was; each link then ends by itself."""
        self._leaving.set()
        for peer in self.peers.values():
            if peer.control is not None:
                peer.control.goodbye(reason, "" if about is None else str(about))

    # -- the program -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """What the program's process says."""
        async for event in self.program.events():
            match event:
                case Wants(epoch, peers):
                    self._want(epoch, peers)
                case Linked(party, epoch):
                    self._linked(party, epoch)
                case Stalled(waits):
                    self._stalled = {peer: (why, seconds) for peer, why, seconds in waits}
                    self._stalled_at = asyncio.get_running_loop().time()
                case Unagreed(label):
                    text = f"{label} is read but not agreed on: --include {label}"
                    warn(self.person, text)
                case Fault(error, party):
                    self._faulted = True
                    if isinstance(error, PeerError) and party is not None:
                        self.ending.symptom(error, party)
                    else:
                        self.ending.cause(error, party)
                case Totals():
                    self._totals(event)
                case Ended(code):
                    self._program_ended(code)

    def _want(self, epoch: int, peers: tuple[PartyId, ...]) -> None:
        self._epoch = max(self._epoch, epoch)
        if self._channels is None:
            return
        for party in peers:
            slot = Slot(party, preface.DATA, epoch)
            self._given.discard(slot)
            self._channels.lost(slot)
            if epoch > 0:
                self._start(self._fill(self._channels, slot))

    def _linked(self, party: PartyId, epoch: int) -> None:
        if self._channels is not None:
            self._channels.filled(Slot(party, preface.DATA, epoch))
        if epoch == 0:
            self.peers[party].data = True
            if all(peer.data for peer in self.peers.values()):
                self._connected.set()
                self.phase("connected")

    def _check_reached(self) -> None:
        """Once every other node is: people learn how, and then the program starts, whose output may come at once."""
        if self._running or any(peer.control is None for peer in self.peers.values()):
            return
        shown, fields = [], []
        for party, peer in self.peers.items():
            seconds = peer.control.round_trip if peer.control is not None else None
            trip = f"{seconds * 1000:.1f} ms " if seconds is not None else ""
            shown.append(f"{peer.name} {trip}{peer.path}")
            fields.append({"party": party, "name": peer.name, "path": peer.path, "seconds": seconds})
        self.person.line("Connected", ", ".join(shown), event="connected", peers=fields)
        self.person.line("Running", event="running")
        self._start_program()

    def _start_program(self) -> None:
        self._running = True
        session = self.pairs.session
        self.program.give_session(session.transcript, self.secrets.session, self.certificate, session.members)

    def _program_ended(self, code: int) -> None:
        self.phase("run")
        if code == 0:
            self.ending.done()
        elif self._faulted:
            return  # it has said why
        elif code < 0:
            self.ending.cause(ProgramError(f"the program was ended by signal {-code}"))
        else:
            self.ending.cause(ProgramError(f"the program ended with exit code {code}"))

    # -- the record --------------------------------------------------------------------------------------------------

    def _totals(self, totals: Totals) -> None:
        record = self.record
        record.rounds, record.epochs = totals.rounds, totals.epochs
        record.program_seconds, record.cpu_seconds = totals.program_seconds, totals.cpu_seconds
        record.peak_memory = totals.peak_memory
        record.peers = [PeerRecord(**dict[str, Any](peer)) for peer in totals.peers]

    def _measure(self) -> None:
        """What the control links know, also of peers for which the program has no totals."""
        entries = {entry.party: entry for entry in self.record.peers}
        for party, peer in self.peers.items():
            entry = entries.setdefault(party, PeerRecord(party))
            entry.path = peer.path
            if peer.control is not None and peer.control.round_trip is not None:
                entry.round_trip_ms = round(peer.control.round_trip * 1000, 3)
        self.record.peers = list(entries.values())
