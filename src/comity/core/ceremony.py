"""The ceremony: from an invitation to a session, as a machine without input or output.

Everybody reads one log (the room's mailbox), so everybody sees the same messages in the same order, their own among
them. That makes the rules short:

1. One message of each type from each sender. A second one ends the ceremony, whatever it says; only who left before the
   roster, or was refused for its name, may come again.
2. A message counts only where the table below has it. Because each is a reply to what stands before it in the log, an
   honest party's never comes early; one that does shows a cheat, of a party or of the rendezvous.
3. Nobody reveals its nonce before the roster is frozen. Commitments stand in the HELLOs and the roster in front of all
   reveals, so whoever would steer the words must choose everything before knowing anything: one try, 2**-33.
4. Nothing is tried again after a reveal: the invitation is spent (`Ceremony.spent`), and people are told.
5. Words are shown only after everyone signed the same transcript T; no channel is dialled before everyone confirmed.
6. Nothing is taken from the host's word: each party derives the manifest from OPEN and the HELLOs by itself.
7. Nothing of another session counts: OPEN holds a fresh key of the host, HELLO, ROSTER and LEAVE the hash of OPEN.
8. Three HELLOs are passed over, as if they did not stand in the log: one whose name people could take for that of
   somebody who stands before it, and one of somebody who is not in the frozen roster, which are mistakes of innocent
   people (docs/adr/0011); and one that its sender has taken back, which somebody else repeats. What does not count can
   change neither the roster nor T. A LEAVE names the HELLO that it takes back: an old one means nothing to a new one.

    OPEN     host  what is to run, with how many, and what the host demands
    HELLO    each  keys, name, what I run, and a commitment to a nonce
    ROSTER   host  the HELLOs in the order of the party numbers; from here on nobody joins
    REVEAL   each  the nonce; all commitments must open
    AGREE    each  signature over T = H(OPEN, ROSTER, every nonce)
    CONFIRM  each  signature over T, after the person compared the words
    LEAVE    each  with a reason, at any time

A LEAVE counts also once the session stands: the node reads on until its links do.

After an exception from `receive` the ceremony has ended and stays so: every later call raises Ended. `choose` and
`answer` either do what they say or change nothing. What is to be done stands in the commands that each call returns, in
order. Built after ZRTP (RFC 6189) and SafeSlinger; docs/ceremony-diagram.md is made from TABLE.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from comity.core import messages
from comity.core.commands import Command, Compare, Confirmed, Finished, Frozen, Joined, Left, Opened, Post, Refused
from comity.core.encoding import Malformed, digest
from comity.core.identity import Secrets, derive, fingerprint, fold, public_key
from comity.core.limits import MAX_ENVELOPES
from comity.core.manifest import Session
from comity.core.messages import Envelope, Hello, Open
from comity.core.program import Program
from comity.core.roster import (
    CHEAT,
    Opening,
    check_distinct,
    check_host,
    check_offer,
    check_program,
    check_roster,
    check_transport,
)
from comity.core.words import check_words, own_word
from comity.errors import PeerError, ProgramDiffers, UsageError, VerificationError, WordsDiffer


class State(enum.Enum):
    OPENING = "waits for OPEN"
    CHOOSING = "knows OPEN, has not said HELLO"
    GATHERING = "waits for HELLOs and ROSTER"
    REVEALING = "roster frozen, waits for every REVEAL"
    AGREEING = "waits for every AGREE"
    COMPARING = "shows the words, waits for every CONFIRM"
    DONE = "is a session"
    ENDED = "has ended"


TABLE: dict[State, dict[str, State]] = {
    State.OPENING: {"open": State.CHOOSING},
    State.CHOOSING: {"hello": State.CHOOSING, "choose": State.GATHERING},
    State.GATHERING: {"hello": State.GATHERING, "refused": State.CHOOSING, "roster": State.REVEALING},
    State.REVEALING: {"reveal": State.AGREEING},
    State.AGREEING: {"agree": State.COMPARING},
    State.COMPARING: {"answer": State.COMPARING, "confirm": State.DONE},
    State.DONE: {},
    State.ENDED: {},
}
"""What counts in each state, and the state after the last of it; `choose` and `answer` are our own moves, `refused` is
that the name in my HELLO was taken."""

_REASONS = {
    "words": "the words did not match",
    "program": "another program",
    "declined": "declined",
    "interrupted": "interrupted",
    "protocol": "somebody broke the protocol",
    "error": "an error there",
    "path": "no path to another party",
}

SHOWN_THERE = {"error": "the terminal there shows which", "path": "the terminal there shows what was tried"}
"""What to do about a reason, where more is to be seen at who left."""


class Ended(PeerError):
    """the ceremony has ended"""


class Departed(PeerError):
    """another party left"""

    def __init__(self, sender: bytes, reason: str, message: str, hints: tuple[str, ...]) -> None:
        super().__init__(message, hint=hints)
        self.sender, self.reason = sender, reason  # its identity; one of messages.REASONS


class Ceremony:
    """One party's ceremony. `host`: the fingerprint from the invitation, or the OPEN to post for the host itself."""

    def __init__(
        self,
        secrets: Secrets,
        certificate: bytes,
        name: str,
        transports: tuple[str, ...],
        verify: str,
        host: bytes | Open,
    ) -> None:
        self.state = State.OPENING
        self._secrets, self._certificate, self._transports, self._verify = secrets, certificate, transports, verify
        self._name = name
        self._me = public_key(secrets.identity)
        fresh = public_key(secrets.session)
        self._mine = replace(host, session_key=fresh) if isinstance(host, Open) else None
        self._host = fingerprint(self._me) if isinstance(host, Open) else host
        self._program: Program | None = None
        self._opens = b""  # H(OPEN), as soon as I know it
        self._said = b""  # my HELLO
        self._seen: set[tuple[str, bytes]] = set()  # (type, sender): rule 1
        self._count = 0
        self._opening: Opening  # set by OPEN, so in every state after OPENING
        self._hellos: dict[bytes, Hello] = {}  # by identity, in order of arrival
        self._gone: set[bytes] = set()  # who left before the roster
        self._taken_back: set[tuple[bytes, bytes]] = set()  # (sender, H(HELLO)) of every LEAVE
        self._proposed: tuple[Hello, ...] = ()
        self._roster: tuple[Hello, ...] = ()
        self._frozen: Envelope | None = None
        self._transcript = b""
        self._nonces: dict[bytes, bytes] = {}
        self._voted: set[bytes] = set()  # who sent what the present state waits for
        self._answered = False

    # -- what a node calls -------------------------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """The host posts OPEN; a joiner only reads."""
        if self._mine is None:
            return []
        opening = messages.make("open", self._secrets.identity, self._mine.body())
        self._opens = opening.digest
        return [Post(opening.raw)]

    def choose(self, program: Program, name: str = "") -> list[Command]:
        """A joiner says what it runs, perhaps under another name. A difference is an error once all could see it.

        Raises UsageError for a name that is taken here.
        """
        after = self._after("choose")
        host = self._mine is None and self._opening.envelope.sender == self._me
        if (
            host or self._me in self._hellos
        ):  # of an earlier process of mine, or of a thief: a second one would end it for all
            raise VerificationError(
                "your identity is in this room already", hint="end the other comity, or wait until it has left"
            )
        mine = name or self._name
        if holder := self._holder(mine, self._me):
            raise _taken(mine, holder)
        hello = messages.make_hello(
            self._secrets,
            open_digest=self._opens,
            name=mine,
            program=program,
            transports=self._transports,
            verify=self._verify,
            certificate=self._certificate,
        )
        self.state, self._program, self._said = after, program, hello.envelope.raw
        return [Post(self._said)]

    def rename(self, name: str) -> list[Command]:
        """My HELLO was refused: take it back, so that nobody can repeat it, and say another.

        Raises UsageError, as `choose` does.
        """
        if self._program is None:
            raise Ended
        return [self._take_back("error"), *self.choose(self._program, name)]

    def receive(self, raw: bytes) -> list[Command]:
        """The next body of the log, unsealed. Raises ComityError, and has ended then."""
        try:
            if self.state is State.ENDED:
                raise Ended
            self._count += 1
            if self._count > MAX_ENVELOPES:
                raise PeerError("the room is flooded with messages", hint=CHEAT)
            envelope = messages.parse(raw)
            if envelope.type == "leave":
                return self._leave(envelope)
            if envelope.type == "hello" and self._is_void(envelope):
                return []  # rule 8
            if (envelope.type, envelope.sender) in self._seen:
                if envelope.sender == self._me:
                    raise self._usurped(envelope)
                raise PeerError(f"{self._who(envelope)} sent {envelope.type.upper()} twice", hint=CHEAT)
            self._seen.add((envelope.type, envelope.sender))
            if envelope.type not in TABLE[self.state]:
                raise self._misplaced(envelope)
            handle = {
                "open": self._on_open,
                "hello": self._on_hello,
                "roster": self._on_roster,
                "reveal": self._on_reveal,
                "agree": self._on_agree,
                "confirm": self._on_confirm,
            }[envelope.type]
            return handle(envelope)
        except BaseException as exc:
            if isinstance(exc, Malformed):
                exc.hints = exc.hints or (CHEAT,)
            if self.state is not State.DONE:
                self.state = State.ENDED
            raise

    def answer(self) -> list[Command]:
        """The person compared the words with everyone and they match."""
        self._after("answer")
        others = [i for i in range(len(self._roster)) if i != self._index(self._me)]
        return self._confirm(self._verify, others)

    def leave(self, reason: str) -> list[Command]:
        """End it, and tell the others why: one of messages.REASONS. Who has said nothing yet just goes."""
        told = self._said or (self._mine is not None and self._opens)
        self.state = State.ENDED
        return [self._take_back(reason)] if told else []

    @property
    def spent(self) -> bool:
        """Whether my nonce is out: this invitation must never be used again."""
        return bool(self._roster)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The names of those whose message is missing; empty before the roster stands and when all is done."""
        if self.state is State.DONE:
            return ()
        return tuple(h.member.name for h in self._roster if h.member.identity not in self._voted)

    # -- messages ----------------------------------------------------------------------------------------------------

    def _on_open(self, envelope: Envelope) -> list[Command]:
        if fingerprint(envelope.sender) != self._host:
            raise VerificationError(
                "the room was opened by somebody else than the host who invited you",
                hint="ask the host for a new invitation, over another channel",
            )
        opened = messages.read_open(envelope)
        changed = self._mine is not None and envelope.digest != self._opens
        self._opening, self._opens = Opening(envelope, opened), envelope.digest
        self.state = State.CHOOSING
        if self._mine is not None:
            if changed:
                raise VerificationError("the rendezvous changed what you opened", hint=CHEAT)
            return self.choose(self._mine.program)
        check_offer(opened, self._transports)
        return [Opened(opened)]

    def _on_hello(self, envelope: Envelope) -> list[Command]:
        opening = self._opening
        hello = messages.read_hello(envelope)
        name, own = hello.member.name, envelope.raw == self._said
        if hello.open != self._opens:
            raise VerificationError(f"{name} answers another opening than this one", hint=CHEAT)
        if envelope.sender == opening.envelope.sender:
            check_host(opening, hello)
        if holder := self._holder(name, envelope.sender):
            self._seen.discard(("hello", envelope.sender))
            if own:
                self.state = self._after("refused")
            return [Refused(name, holder, own)]
        differs = hello.program.digest != opening.open.program.digest
        if self._program is not None and (own or differs):  # my difference first, but once the others could see it too
            check_program(self._program, opening.open.program, opening.open.name)
        check_program(opening.open.program, hello.program, name)
        if len(self._hellos) < opening.open.m:
            check_distinct((*self._hellos.values(), hello))
        self._hellos[envelope.sender] = hello
        commands: list[Command] = [] if envelope.sender == self._me else [Joined(name)]
        seated = self._seated()
        if self._me in (h.member.identity for h in seated):  # else I come too late, which the roster will say
            check_transport(opening, seated)
        if self._mine is not None and not self._proposed and seated:
            self._proposed = seated
            seed = self._secrets.identity
            roster = messages.make_roster(seed, self._opens, opening.open, self._proposed)
            commands.append(Post(roster.raw))
        return commands

    def _on_roster(self, envelope: Envelope) -> list[Command]:
        if fingerprint(envelope.sender) != self._host:
            raise VerificationError(f"{self._who(envelope)}, who is not the host, sent a roster", hint=CHEAT)
        said = {k: h for k, h in self._hellos.items() if k != self._me or h.envelope.raw == self._said}
        program = self._program or self._opening.open.program
        self._roster = check_roster(envelope, self._opening, said, self._gone, self._me, program)
        self._frozen = envelope
        self._enter(State.REVEALING)
        names = tuple(h.member.name for h in self._roster)
        reveal = self._post("reveal", {"roster": envelope.digest.hex(), "nonce": self._secrets.nonce.hex()})
        return [Frozen(self._index(self._me), names, envelope.digest), reveal]

    def _on_reveal(self, envelope: Envelope) -> list[Command]:
        hello = self._member(envelope)
        roster, nonce = messages.read_reveal(envelope)
        if self._frozen is None or roster != self._frozen.digest:
            raise VerificationError(f"{hello.member.name} saw another roster", hint=CHEAT)
        if not messages.opens(hello, nonce):
            raise VerificationError(f"{hello.member.name} revealed something else than it committed to", hint=CHEAT)
        self._nonces[envelope.sender] = nonce
        if not self._complete(envelope):
            return []
        nonces = [self._nonces[h.member.identity] for h in self._roster]
        self._transcript = digest("transcript", self._opening.envelope.raw, self._frozen.raw, *nonces)
        self._enter(State.AGREEING)
        return [self._post("agree", {"transcript": self._transcript.hex()})]

    def _on_agree(self, envelope: Envelope) -> list[Command]:
        hello = self._member(envelope)
        if messages.read_agree(envelope) != self._transcript:
            raise VerificationError(f"{hello.member.name} agreed to another session", hint=CHEAT)
        if not self._complete(envelope):
            return []
        self._enter(State.COMPARING)
        words, me = check_words(self._transcript), self._index(self._me)
        own = [own_word(self._transcript, i) for i in range(len(self._roster))]
        theirs = tuple(own[:me] + own[me + 1 :])
        people = tuple(h.member.name for h in self._roster if h.member.identity != self._me)
        commands: list[Command] = [Compare(words, people, self._verify == "words", own[me], theirs)]
        if self._verify == "link":
            commands += self._confirm("link", [])
        return commands

    def _on_confirm(self, envelope: Envelope) -> list[Command]:
        hello = self._member(envelope)
        if envelope.sender == self._me and not self._answered:
            raise self._usurped(envelope)
        transcript, how, verified = messages.read_confirm(envelope)
        name = hello.member.name
        if transcript != self._transcript:
            raise VerificationError(f"{name} confirmed another session", hint=CHEAT)
        mine = self._index(envelope.sender)
        due = () if how == "link" else tuple(i for i in range(len(self._roster)) if i != mine)
        if how != hello.member.verify or verified != due:
            raise PeerError(f"{name} confirmed otherwise than it had said it would", hint=CHEAT)
        commands: list[Command] = [] if envelope.sender == self._me else [Confirmed(name)]
        if self._complete(envelope):
            self._enter(State.DONE)
            commands.append(Finished(self._session(), self._index(self._me)))
        return commands

    def _leave(self, envelope: Envelope) -> list[Command]:
        opening, taken_back, reason = messages.read_leave(envelope)
        if self.state is State.OPENING or opening != self._opens:
            return []
        name, own = self._who(envelope), envelope.sender == self._me
        host = envelope.sender == self._opening.envelope.sender
        hello = self._hellos.get(envelope.sender)
        if not host:
            self._taken_back.add((envelope.sender, taken_back))
            if hello is None or hello.envelope.digest != taken_back:
                return []  # nobody of ours, or said of an earlier HELLO
        bound = host or hello in (self._roster or self._proposed)
        if own and (bound or (hello is not None and hello.envelope.raw == self._said)):
            raise self._usurped(envelope)
        if bound:
            raise left(envelope.sender, name, reason, spent=self.spent)
        if self._roster:
            return []  # it stood outside
        del self._hellos[envelope.sender]
        self._seen.discard(("hello", envelope.sender))
        self._gone.add(envelope.sender)
        return [] if own else [Left(name, _REASONS[reason])]

    # -- parts -------------------------------------------------------------------------------------------------------

    def _post(self, kind: str, body: dict[str, object]) -> Post:
        return Post(messages.make(kind, self._secrets.identity, body).raw)

    def _take_back(self, reason: str) -> Post:
        hello = messages.parse(self._said).digest.hex() if self._said else ""
        return self._post("leave", {"open": self._opens.hex(), "hello": hello, "reason": reason})

    def _after(self, own: str) -> State:
        """The state after one of our own moves. Raises Ended when it comes too early or too late."""
        if own not in TABLE[self.state]:
            raise Ended
        return TABLE[self.state][own]

    def _usurped(self, envelope: Envelope) -> VerificationError:
        return VerificationError(f"somebody sent {envelope.type.upper()} in your name", hint=CHEAT)

    def _enter(self, state: State) -> None:
        self.state = state
        self._voted = set()

    def _complete(self, envelope: Envelope) -> bool:
        self._voted.add(envelope.sender)
        return len(self._voted) == len(self._roster)

    def _confirm(self, how: str, verified: list[int]) -> list[Command]:
        if self._answered:
            raise Ended
        self._answered = True
        body: dict[str, object] = {"transcript": self._transcript.hex(), "how": how, "verified": verified}
        return [self._post("confirm", body)]

    def _holder(self, name: str, identity: bytes) -> str:
        """Who of the others has a name that people could take for this one, the host from its opening on.

        Empty: nobody, or all seats are taken anyway.
        """
        opening = self._opening
        if len(self._hellos) >= opening.open.m:
            return ""
        names = {opening.envelope.sender: opening.open.name}
        names |= {other: hello.member.name for other, hello in self._hellos.items()}
        return next((known for other, known in names.items() if other != identity and fold(known) == fold(name)), "")

    def _seated(self) -> tuple[Hello, ...]:
        """Who will be in an honest host's roster: it and the first others, as they came; empty before all are there."""
        host, m = self._opening.envelope.sender, self._opening.open.m
        others = [identity for identity in self._hellos if identity != host][: m - 1]
        if host not in self._hellos or len(others) < m - 1:
            return ()
        return tuple(hello for identity, hello in self._hellos.items() if identity == host or identity in others)

    def _is_void(self, envelope: Envelope) -> bool:
        """Whether a HELLO is said again after it was taken back, or too late, as its sender finds out too."""
        if (envelope.sender, envelope.digest) in self._taken_back:
            return True
        return bool(self._roster) and not self._is_member(envelope.sender)

    def _is_member(self, identity: bytes) -> bool:
        return any(hello.member.identity == identity for hello in self._roster)

    def _index(self, identity: bytes) -> int:
        return next(i for i, h in enumerate(self._roster) if h.member.identity == identity)

    def _member(self, envelope: Envelope) -> Hello:
        for hello in self._roster:
            if hello.member.identity == envelope.sender:
                return hello
        raise VerificationError(f"a stranger sent {envelope.type.upper()} in this room", hint=CHEAT)

    def _who(self, envelope: Envelope) -> str:
        hello = self._hellos.get(envelope.sender)
        if hello is not None:
            return hello.member.name
        if self.state is not State.OPENING and envelope.sender == self._opening.envelope.sender:
            return self._opening.open.name
        return "somebody"

    def _misplaced(self, envelope: Envelope) -> PeerError | VerificationError:
        kind = envelope.type.upper()
        if self.state is State.CHOOSING and envelope.type == "roster":
            return PeerError("the session is full: it began without you", hint="ask the host for a new invitation")
        if envelope.type in ("open", "roster"):
            return VerificationError(f"{self._who(envelope)} sent {kind} where none may be", hint=CHEAT)
        return PeerError(f"{self._who(envelope)} sent {kind} too early or too late", hint=CHEAT)

    def _session(self) -> Session:
        manifest = messages.manifest_of(self._opening.open, self._roster)
        return Session(
            manifest.members,
            manifest.threshold,
            self._transcript,
            derive(self._transcript, b"", "tag", 16),
            manifest.transport,
            manifest.program_digest,
        )


def _taken(name: str, holder: str) -> UsageError:
    what = "is taken" if name == holder else f"looks like {holder}, who is here already"
    return UsageError(f"the name {name} {what}", hint="join again with another one: --name NAME")


def left(sender: bytes, name: str, reason: str, *, spent: bool) -> PeerError | VerificationError:
    """Somebody's LEAVE, as the error that it is to the others."""
    hints: tuple[str, ...] = ("this invitation is spent: start again with a new one",) if spent else ("start again",)
    if reason == "words":
        return WordsDiffer(f"{name} says that the words did not match", hint=("someone may be in the middle", *hints))
    if reason == "program":
        return ProgramDiffers(f"{name} left: the programs differ", hint=hints)
    if reason in SHOWN_THERE:
        hints = (SHOWN_THERE[reason], *hints)
    return Departed(sender, reason, f"{name} left: {_REASONS[reason]}", hints)
