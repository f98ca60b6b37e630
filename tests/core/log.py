"""A ceremony's room in one process: parties that read the log at their own speeds, and a rendezvous that may cheat.

    room = Room()
    alice, bob = room.host("alice", m=2), room.join("bob")
    room.run()           everyone reads until nothing is new; with a seed: in any order that a network could make
    room.compare()       the people call one another, and say yes only when all the words are the same
    room.run()
    alice.session        what it became, or alice.error

The rendezvous passes each sealed body on to each party, honestly unless the test gives another function. A party
cheats by `instead`: what it posts in place of its own message of a type.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, lru_cache
from itertools import pairwise
from textwrap import dedent

from comity.core import messages
from comity.core.ceremony import Ceremony, State
from comity.core.commands import Command, Compare, Confirmed, Finished, Frozen, Joined, Left, Opened, Post, Refused
from comity.core.encoding import digest
from comity.core.identity import Secrets, fingerprint, public_key
from comity.core.manifest import Session
from comity.core.messages import Envelope, Hello, Open
from comity.core.program import Program
from comity.core.sealing import room_key, seal, unseal
from comity.errors import ComityError, ProgramDiffers, UnreachableError, UsageError, WordsDiffer
from comity.links.certificate import make_certificate

SANTA = Program("secretsanta", ("8",), {"file gift.py": "77ab", "mpyc": "0.11", "option threshold": "1"}, "3.11.7")

TRANSPORTS = ("direct", "relay")

certificate = cache(make_certificate)
parse = lru_cache(10_000)(messages.parse)  # for us who look on; the parties check each signature themselves


def secrets_of(name: str, session: int = 0) -> Secrets:
    """The same person has one identity and fresh keys in each session."""
    fresh = (digest(f"{what} {session}", name.encode()) for what in ("session", "exchange", "nonce"))
    return Secrets(digest("identity seed", name.encode()), *fresh)


def hello_of(
    secrets: Secrets, opening: bytes, name: str, program: Program = SANTA, transports: tuple[str, ...] = TRANSPORTS
) -> Hello:
    """A proper HELLO. `opening`: H(OPEN)."""
    return messages.make_hello(
        secrets,
        open_digest=opening,
        name=name,
        program=program,
        transports=transports,
        verify="words",
        certificate=certificate(secrets.session),
    )


def remake(secrets: Secrets, envelope: Envelope, **fields: object) -> bytes:
    """The same message with other fields, signed by `secrets`' identity."""
    return messages.make(envelope.type, secrets.identity, {**envelope.body, **fields}).raw


def honest(body: bytes, to: Party) -> Iterable[bytes]:
    return [body]


class Party:
    """A node without a network: obeys its ceremony, says why when it leaves, and asks its person."""

    def __init__(
        self,
        room: Room,
        name: str,
        secrets: Secrets,
        host: bytes | Open,
        *,
        program: Program,
        verify: str,
        transports: tuple[str, ...],
    ) -> None:
        self.room, self.name, self.secrets = room, name, secrets
        self.ceremony = room.ceremony(secrets, certificate(secrets.session), name, transports, verify, host)
        self.choose: Callable[[Open], tuple[Program, str]] | None = lambda _: (program, "")
        self.second_name = ""  # after a refusal; empty: none but the first
        self.inbox = [passed for body in room.bodies for passed in room.rendezvous(body, self)]
        self.outbox: list[bytes] = []
        self.told: list[Command] = []
        self.story: list[str] = []
        self.heard: list[bytes] = []  # what was read, unsealed; empty where it could not be
        self.error: ComityError | None = None
        self.left = ""  # the reason it gave
        self.instead: dict[str, Callable[[Envelope], Iterable[bytes]]] = {}
        self.obey(self.ceremony.start())

    @property
    def key(self) -> bytes:
        return public_key(self.secrets.identity)

    @property
    def session(self) -> Session | None:
        return next((c.session for c in self.told if isinstance(c, Finished)), None)

    @property
    def compare(self) -> Compare | None:
        return next((c for c in self.told if isinstance(c, Compare)), None)

    @property
    def words(self) -> tuple[str, ...]:
        return () if self.compare is None else self.compare.words

    @property
    def answered(self) -> bool:
        """Whether I posted CONFIRM."""
        return any(parse(raw).type == "confirm" for raw in self.posts)

    @property
    def members(self) -> set[bytes]:
        """The identities in the roster that I took; empty before."""
        taken = {c.shared for c in self.told if isinstance(c, Frozen)}
        rosters = [e for e in self.room.log() if e.type == "roster" and e.digest in taken]
        return {hello.member.identity for e in rosters for hello in messages.read_roster(e)[1]}

    @property
    def done(self) -> bool:
        return self.ceremony.state is State.DONE

    def said(self, kind: str) -> Envelope:
        """My message of a type, as I posted it."""
        return next(e for e in map(parse, self.posts) if e.type == kind)

    @property
    def posts(self) -> list[bytes]:
        return [c.body for c in self.told if isinstance(c, Post)]

    def read(self) -> None:
        """The next body of the log."""
        body = self.inbox.pop(0)
        if self.left or self.done:
            return
        at, heard = len(self.told), "something sealed with another key"
        try:
            self.heard.append(b"")
            self.heard[-1] = raw = unseal(self.room.key, body, b"ceremony")
            heard = self.room.describe(raw)
            self.obey(self.ceremony.receive(raw))
        except ComityError as exc:
            self.fail(exc)
        told = [show(c) for c in self.told[at:]]
        self.story.append(f"{heard:<14} {', '.join(told)}".rstrip())

    def fail(self, exc: ComityError) -> None:
        self.error = exc
        reasons = {WordsDiffer: "words", ProgramDiffers: "program", UnreachableError: "path", UsageError: "error"}
        self.leave(reasons.get(type(exc), "protocol"))

    def leave(self, reason: str) -> None:
        self.left = reason
        self.obey(self.ceremony.leave(reason))

    def answer(self, same: bool) -> None:
        """What the person says to the question of a Compare."""
        if same:
            self.obey(self.ceremony.answer())
        else:
            self.fail(WordsDiffer())

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            self.told.append(command)
            match command:
                case Post(raw):
                    envelope = parse(raw)
                    cheat = self.instead.get(envelope.type)
                    self.outbox += [raw] if cheat is None else cheat(envelope)
                case Opened(opened) if self.choose is not None:
                    self.obey(self.ceremony.choose(*self.choose(opened)))
                case Refused(mine=True):
                    self.obey(self.ceremony.rename(self.second_name))


class Room:
    """A room at the rendezvous, and who is in it. `session` makes every party's fresh keys others."""

    def __init__(
        self,
        session: int = 0,
        rendezvous: Callable[[bytes, Party], Iterable[bytes]] = honest,
        ceremony: type[Ceremony] = Ceremony,
    ) -> None:
        self.key = room_key(digest("room", bytes([session]))[:16])
        self.number, self.rendezvous, self.ceremony = session, rendezvous, ceremony
        self.parties: list[Party] = []
        self.bodies: list[bytes] = []  # the log, sealed
        self._names: dict[bytes, str] = {}
        self._host = b""

    def host(
        self,
        name: str,
        m: int,
        *,
        threshold: int | None = None,
        program: Program = SANTA,
        verify: str = "words",
        secrets: Secrets | None = None,
    ) -> Party:
        secrets = secrets or secrets_of(name, self.number)
        self._host = fingerprint(public_key(secrets.identity))
        t = (m - 1) // 2 if threshold is None else threshold
        opened = Open(m, t, program, TRANSPORTS, name, verify)
        party = Party(self, name, secrets, opened, program=program, verify=verify, transports=TRANSPORTS)
        return self._enter(party)

    def join(
        self,
        name: str,
        *,
        program: Program = SANTA,
        verify: str = "words",
        transports: tuple[str, ...] = TRANSPORTS,
        secrets: Secrets | None = None,
        host: Party | bytes | None = None,
    ) -> Party:
        """A joiner, whose invitation names the host of this room, or another one (a party, or its identity)."""
        invited_by = self._host if host is None else fingerprint(host if isinstance(host, bytes) else host.key)
        keys = secrets or secrets_of(name, self.number)
        return self._enter(Party(self, name, keys, invited_by, program=program, verify=verify, transports=transports))

    def _enter(self, party: Party) -> Party:
        self.parties.append(party)
        self._names[party.key] = party.name
        self.flush(party)
        return party

    def post(self, raw: bytes) -> None:
        """Somebody who knows the invitation posts."""
        self.put(seal(self.key, len(self.bodies).to_bytes(12), raw, b"ceremony"))

    def put(self, body: bytes) -> None:
        """Somebody who knows only the room's address posts."""
        self.bodies.append(body)
        for party in self.parties:
            party.inbox += self.rendezvous(body, party)

    def flush(self, party: Party) -> None:
        while party.outbox:
            self.post(party.outbox.pop(0))

    def run(self, seed: int | None = None, steps: int = 10**6) -> None:
        """Everyone reads until nothing is new: in turn, or in an order of reading and posting drawn from `seed`."""
        rng = None if seed is None else random.Random(seed)
        while (busy := [p for p in self.parties if p.inbox or p.outbox]) and steps > 0:
            steps -= 1
            for party in busy if rng is None else [rng.choice(busy)]:
                if party.outbox and (rng is None or not party.inbox or rng.random() < 0.5):
                    self.post(party.outbox.pop(0))
                elif party.inbox:
                    party.read()
                if rng is None:
                    self.flush(party)

    def compare(self, *people: Party) -> None:
        """The people (of all rooms that they sit in; by default of this one) call one another, and answer."""
        people = people or tuple(self.parties)
        same = len({p.words for p in people}) == 1
        for party in people:
            if party.compare is not None and party.compare.ask and party.error is None:
                party.answer(same)

    def log(self) -> list[Envelope]:
        return [parse(unseal(self.key, body, b"ceremony")) for body in self.bodies]

    def describe(self, raw: bytes) -> str:
        try:
            envelope = parse(raw)
        except ComityError:
            return "something malformed"
        return f"{self._names.get(envelope.sender, 'somebody')} {envelope.type.upper()}"

    @property
    def figure(self) -> str:
        """The log as a figure: a line a message."""
        return "\n".join(self.describe(e.raw) for e in self.log())


def show(command: Command) -> str:
    match command:
        case Post(raw):
            return f"post {parse(raw).type.upper()}"
        case Opened(opened):
            return f"opened by {opened.name}"
        case Joined(name):
            return f"{name} joined"
        case Left(name, reason):
            return f"{name} left: {reason}"
        case Refused(name, holder, _):
            return f"{name} refused for {holder}"
        case Frozen(number, names, _):
            return f"I am {number} of {' '.join(names)}"
        case Compare(people=people, ask=ask):
            return f"{'compare' if ask else 'do not compare'} with {' '.join(people)}"
        case Confirmed(name):
            return f"{name} confirmed"
        case Finished(_, number):
            return f"a session, I am {number}"


def figure(text: str) -> str:
    return dedent(text).strip()


def meet(*names: str, session: int = 0, **options: str) -> tuple[Room, list[Party]]:
    """A room with all of them in it, the first one the host, nothing read yet."""
    room = Room(session)
    parties = [room.host(names[0], len(names), **options)]
    parties += [room.join(name, **options) for name in names[1:]]
    return room, parties


def in_order(log: list[Envelope], *kinds: str) -> bool:
    """Whether every message of one kind stands before every message of the next."""
    places = [[i for i, e in enumerate(log) if e.type == kind] for kind in kinds]
    return all(max(a) < min(b) for a, b in pairwise(places))


def other(program: Program = SANTA, **changes: object) -> Program:
    return replace(program, **changes)
