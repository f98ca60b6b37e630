"""Sections 6 to 8 of docs/protocol.md: messages, and the ceremony as a machine over the room's log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.independent.notation import (
    Check,
    Fault,
    Invitation,
    Keys,
    Left,
    Malformed,
    Unverified,
    certificate,
    check_certificate,
    check_name,
    check_signature,
    decode,
    digest,
    encode,
    fields,
    fingerprint,
    fold,
    integer,
    octets,
    of_small_order,
    one_of,
    text,
    texts,
)
from tests.independent.session import Session

SIZES = {"open": 12 << 10, "hello": 12 << 10, "roster": 1 << 20}  # of envelopes; 1024 for the others
TAKES = {
    "OPENING": {"open"},
    "CHOOSING": {"hello"},
    "GATHERING": {"hello", "roster"},
    "REVEALING": {"reveal"},
    "AGREEING": {"agree"},
    "COMPARING": {"confirm"},
    "DONE": set[str](),
}
LEAVES = ("words", "program", "declined", "interrupted", "protocol", "error", "path")


def check_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("no object")
    return value


def check_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed("no list")
    return value


def check_program(value: Any) -> dict[str, Any]:
    def parts(value: Any) -> dict[str, str]:
        if len(check_object(value)) > 96:
            raise Malformed("too many parts")
        return {text(96, inside=True)(label): text(96, inside=True)(part) for label, part in value.items()}

    def arguments(value: Any) -> list[str | None]:
        if len(check_list(value)) > 32:
            raise Malformed("too many arguments")
        return [None if each is None else text(256, inside=True)(each) for each in value]

    return fields(value, {"name": text(96), "arguments": arguments, "parts": parts, "python": text(32)})


def program_digest(program: dict[str, Any]) -> bytes:
    return digest("program", encode({key: value for key, value in program.items() if key != "python"}))


KEY = octets(32)
VERIFY = one_of("words", "contacts", "link")
FORMS: dict[str, dict[str, Check]] = {
    "open": {
        "from": KEY,
        "version": integer(1, 1),
        "m": integer(2, 64),
        "t": integer(0, 31),
        "program": check_program,
        "transports": texts(16, 32),
        "name": check_name,
        "verify": VERIFY,
        "session_key": KEY,
    },
    "hello": {
        "from": KEY,
        "open": KEY,
        "session_key": KEY,
        "exchange_key": KEY,
        "certificate": octets(0, 640),
        "name": check_name,
        "program": check_program,
        "transports": texts(16, 32),
        "verify": VERIFY,
        "commitment": KEY,
    },
    "roster": {"from": KEY, "open": KEY, "hellos": check_list, "manifest": check_object},
    "reveal": {"from": KEY, "roster": KEY, "nonce": KEY},
    "agree": {"from": KEY, "transcript": KEY},
    "confirm": {"from": KEY, "transcript": KEY, "how": VERIFY, "verified": check_list},
    "leave": {"from": KEY, "open": KEY, "hello": octets(0, 32), "reason": one_of(*LEAVES)},
}


@dataclass(frozen=True)
class Envelope:
    """A message whose form and signature hold. `body` holds the values, `plain` the same as JSON has them."""

    type: str
    text: bytes
    body: dict[str, Any]
    plain: dict[str, Any]

    @property
    def sender(self) -> bytes:
        sender: bytes = self.body["from"]
        return sender

    @property
    def hash(self) -> bytes:
        return digest("message", self.text)


def read_envelope(data: bytes) -> Envelope:
    if len(data) > 1 << 20:
        raise Malformed("a message above every limit")
    outer = fields(decode(data), {"body": check_object, "signature": octets(64), "type": one_of(*FORMS)})
    kind, plain = outer["type"], outer["body"]
    if len(data) > SIZES.get(kind, 1024):
        raise Malformed("more bytes than its type may have")
    body = fields(plain, FORMS[kind])
    check_signature(body["from"], outer["signature"], digest(kind, encode(plain)))
    if kind == "open" and body["t"] > (body["m"] - 1) // 2:
        raise Malformed("a threshold of half or more")
    if kind == "hello":
        check_certificate(body["certificate"], body["session_key"])
        Keys(*(bytes(32),) * 4).shared(body["exchange_key"])
    if kind == "open" and of_small_order(body["session_key"]):
        raise Unverified("a session key of small order")
    return Envelope(kind, data, body, plain)


def write_envelope(kind: str, identity: bytes, plain: dict[str, Any]) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(identity)
    body = {**plain, "from": key.public_key().public_bytes_raw().hex()}
    signature = key.sign(digest(kind, encode(body)))
    return encode({"body": body, "signature": signature.hex(), "type": kind})


@dataclass
class Ceremony:
    """Takes the envelopes of the log in their order; what is to be posted stands in `out`."""

    invitation: Invitation
    keys: Keys
    name: str
    transports: list[str]  # those that it can use
    verify: str = "words"
    m: int = 0  # of a host: parties, threshold, and the program
    t: int = 0
    program: dict[str, Any] = field(default_factory=dict)

    state: str = "OPENING"
    out: list[bytes] = field(default_factory=list)
    opening: Envelope | None = None
    session: Session | None = None
    left: list[str] = field(default_factory=list)  # reasons of LEAVEs that ended the ceremony
    _mine: str = ""  # hash of my HELLO
    _taken_back: set[tuple[bytes, bytes]] = field(default_factory=set)  # who, and the hash of which HELLO
    _count: int = 0
    _said: set[tuple[str, bytes]] = field(default_factory=set)
    _hellos: dict[bytes, Envelope] = field(default_factory=dict)  # by identity, in the order of the log
    _roster: Envelope | None = None
    _posted: list[bytes] | None = None  # of a host: the identities in the roster that it posted
    _members: list[Envelope] = field(default_factory=list)
    _nonces: dict[bytes, bytes] = field(default_factory=dict)
    _agreed: set[bytes] = field(default_factory=set)
    _confirmed: set[bytes] = field(default_factory=set)

    @property
    def me(self) -> bytes:
        return self.keys.public[0]

    @property
    def hosting(self) -> bool:
        return fingerprint(self.me) == self.invitation.host

    def _say(self, kind: str, **plain: Any) -> bytes:
        """The message's hash."""
        self.out.append(write_envelope(kind, self.keys.identity, plain))
        return digest("message", self.out[-1])

    # What this party says

    def open(self, transports: list[str]) -> None:
        """Of a host, first; `transports` in the order that it prefers."""
        self._say(
            "open",
            version=1,
            m=self.m,
            t=self.t,
            program=self.program,
            transports=transports,
            name=self.name,
            verify=self.verify,
            session_key=self.keys.public[1].hex(),
        )

    def choose(self, program: dict[str, Any]) -> None:
        """HELLO, with what this party runs."""
        assert self.opening is not None and self.state == "CHOOSING"
        if program_digest(program) != program_digest(self.opening.body["program"]):
            raise Unverified("this party runs another program than the host", told="program")
        identity, session_key, exchange_key = self.keys.public
        plain = {
            "from": identity.hex(),
            "open": self.opening.hash.hex(),
            "session_key": session_key.hex(),
            "exchange_key": exchange_key.hex(),
            "certificate": certificate(self.keys.session).hex(),
            "name": self.name,
            "program": program,
            "transports": self.transports,
            "verify": self.verify,
        }
        commitment = digest("commit", encode(plain), self.keys.nonce).hex()
        self._mine = self._say("hello", **{**plain, "commitment": commitment}).hex()
        self.state = "GATHERING"

    def confirm(self) -> None:
        """The person has compared the words with everyone."""
        assert self.session is not None and self.state == "COMPARING"
        others = [] if self.verify == "link" else self.session.others
        self._say("confirm", transcript=self.session.transcript.hex(), how=self.verify, verified=others)

    def leave(self, reason: str) -> None:
        """Nothing is said by who has said nothing."""
        said = self.state not in ("OPENING", "CHOOSING") or (self.hosting and self.opening is not None)
        if said and self.opening is not None:
            self._say("leave", open=self.opening.hash.hex(), hello=self._mine, reason=reason)

    # What the log says

    def take(self, data: bytes) -> None:
        self._count += 1
        if self._count > 512:
            raise Malformed("too many messages")
        message = read_envelope(data)
        if message.type == "leave":
            self._take_leave(message)
            return
        if message.type == "hello" and (message.sender, message.hash) in self._taken_back:
            return
        if message.type == "hello" and self._members and message.sender not in [m.sender for m in self._members]:
            return
        if (message.type, message.sender) in self._said:
            raise Malformed(f"a second {message.type}")
        if message.type not in TAKES[self.state]:
            raise Malformed(f"{message.type} while {self.state}")
        self._said.add((message.type, message.sender))
        getattr(self, f"_take_{message.type}")(message)

    def _take_leave(self, message: Envelope) -> None:
        if self.opening is None or message.body["open"] != self.opening.hash:
            return
        if message.sender != self.opening.sender:
            self._taken_back.add((message.sender, message.body["hello"]))
            said = self._hellos.get(message.sender)
            if said is None or said.hash != message.body["hello"]:
                return
        rostered = [member.sender for member in self._members] or (self._posted or [])
        if message.sender == self.opening.sender or message.sender in rostered:
            if message.sender != self.me:
                reason = message.body["reason"]
                code = 3 if reason in ("words", "program") else 4
                raise Left(f"a party left: {reason}", code)
        elif not self._members and message.sender in self._hellos:
            del self._hellos[message.sender]
            self._said.discard(("hello", message.sender))

    def _take_open(self, message: Envelope) -> None:
        if fingerprint(message.sender) != self.invitation.host:
            raise Unverified("an opening that is not the inviting host's")
        self.opening, self.state = message, "CHOOSING"
        if self.hosting:
            self.choose(self.program)

    def _take_hello(self, message: Envelope) -> None:
        assert self.opening is not None
        body, host = message.body, self.opening.body
        if body["open"] != self.opening.hash:
            raise Unverified("a HELLO to another opening")
        if len(self._hellos) < host["m"] and self._taken(message):
            if message.sender == self.me:
                raise Fault("the name is taken", 2, "error")
            self._said.discard(("hello", message.sender))
            return
        if program_digest(body["program"]) != program_digest(host["program"]):
            raise Unverified("a party runs another program", told="program")
        if message.sender == host["from"] and any(body[key] != host[key] for key in ("name", "verify", "session_key")):
            raise Unverified("the host's HELLO is not as its OPEN")
        if len(self._hellos) < host["m"]:
            _distinct([*self._hellos.values(), message])
        self._hellos[message.sender] = message
        others = [hello for hello in self._hellos.values() if hello.sender != host["from"]][: host["m"] - 1]
        if host["from"] not in self._hellos or len(others) < host["m"] - 1:
            return
        chosen = [hello for hello in self._hellos.values() if hello.sender == host["from"] or hello in others]
        if self.me in [hello.sender for hello in chosen]:
            self._manifest(chosen)
        if self.hosting and self._posted is None:
            self._posted = [hello.sender for hello in chosen]
            self._say(
                "roster",
                open=self.opening.hash.hex(),
                hellos=[decode(hello.text) for hello in chosen],
                manifest=self._manifest(chosen),
            )

    def _taken(self, message: Envelope) -> bool:
        assert self.opening is not None
        names = {self.opening.sender: self.opening.body["name"]}
        names |= {sender: hello.body["name"] for sender, hello in self._hellos.items()}
        mine = fold(message.body["name"])
        return any(fold(name) == mine for sender, name in names.items() if sender != message.sender)

    def _take_roster(self, message: Envelope) -> None:
        assert self.opening is not None
        host, body = self.opening.body, message.body
        if message.sender != host["from"] or body["open"] != self.opening.hash:
            raise Unverified("a roster that is not the host's")
        if len(body["hellos"]) != host["m"]:
            raise Malformed("a roster of another number")
        members = [read_envelope(encode(hello)) for hello in body["hellos"]]
        for member in members:
            said = self._hellos.get(member.sender)
            if member.type != "hello" or said is None or said.text != member.text:
                raise Unverified("a roster with a HELLO that was not said")
        _distinct(members)
        senders = [member.sender for member in members]
        if host["from"] not in senders:
            raise Unverified("a roster without its host")
        if self.me not in senders:
            raise Fault("others have taken the seats", 4)
        if encode(self._manifest(members)) != encode(body["manifest"]):
            raise Unverified("a manifest that does not follow from the HELLOs")
        self._roster, self._members, self.state = message, members, "REVEALING"
        self._say("reveal", roster=message.hash.hex(), nonce=self.keys.nonce.hex())

    def _manifest(self, members: list[Envelope]) -> dict[str, Any]:
        assert self.opening is not None
        host = self.opening.body
        common = [name for name in host["transports"] if all(name in hello.body["transports"] for hello in members)]
        if not common:
            raise Fault("no common transport", 5, "path")
        keys = ("name", "session_key", "exchange_key", "certificate", "verify")
        return {
            "members": [
                {"identity": hello.plain["from"], **{key: hello.plain[key] for key in keys}} for hello in members
            ],
            "threshold": host["t"],
            "transport": common[0],
            "program": {
                "name": host["program"]["name"],
                "arguments": host["program"]["arguments"],
                "digest": program_digest(host["program"]).hex(),
            },
        }

    def _member(self, message: Envelope) -> Envelope:
        for member in self._members:
            if member.sender == message.sender:
                return member
        raise Malformed(f"{message.type} of a stranger")

    def _take_reveal(self, message: Envelope) -> None:
        assert self._roster is not None and self.opening is not None
        hello = self._member(message)
        plain = {key: value for key, value in hello.plain.items() if key != "commitment"}
        if message.body["roster"] != self._roster.hash:
            raise Unverified("a REVEAL for another roster")
        if digest("commit", encode(plain), message.body["nonce"]) != hello.body["commitment"]:
            raise Unverified("a nonce that does not open its commitment")
        self._nonces[message.sender] = message.body["nonce"]
        if len(self._nonces) == len(self._members):
            nonces = [self._nonces[member.sender] for member in self._members]
            transcript = digest("transcript", self.opening.text, self._roster.text, *nonces)
            me = [member.sender for member in self._members].index(self.me)
            manifest = self._manifest(self._members)
            self.session = Session(manifest, transcript, self._roster.hash, me, self.keys)
            self.state = "AGREEING"
            self._say("agree", transcript=transcript.hex())

    def _take_agree(self, message: Envelope) -> None:
        assert self.session is not None
        self._member(message)
        if message.body["transcript"] != self.session.transcript:
            raise Unverified("a party agrees to another transcript")
        self._agreed.add(message.sender)
        if len(self._agreed) == len(self._members):
            self.state = "COMPARING"

    def _take_confirm(self, message: Envelope) -> None:
        assert self.session is not None
        member = self._member(message)
        number = self._members.index(member)
        others = [i for i in range(len(self._members)) if i != number]
        how, verified = message.body["how"], message.body["verified"]
        if message.body["transcript"] != self.session.transcript or how != member.body["verify"]:
            raise Unverified("a party confirms something else")
        if encode(verified) != encode([] if how == "link" else others):
            raise Malformed("a party has not verified everyone")
        self._confirmed.add(message.sender)
        if len(self._confirmed) == len(self._members):
            self.state = "DONE"


def _distinct(hellos: list[Envelope]) -> None:
    for key in ("from", "session_key", "exchange_key", "commitment"):
        if len({hello.body[key] for hello in hellos}) < len(hellos):
            raise Unverified(f"two parties with one {key}")
    if len({fold(hello.body["name"]) for hello in hellos}) < len(hellos):
        raise Unverified("two names that are alike")
