"""The socket between a node and its program's process: whole messages, some with a descriptor.

    to the program's process    Task     what to run, and as whom; the agreed files come with the message
                                Keys     the session: the program may start
                                Given    a channel to a peer; its descriptor comes with the message
    to the node                 Ready    MPyC is imported, these are its effective options
                                Wants    the program starts its runtime again, and has no channel to these peers
                                Linked   a link stands
                                Running  all links of an epoch stand, the program goes on
                                Stalled  for whom the program waits, once a second while it does
                                Unagreed a local file is read that is not agreed on
                                Fault    why the program's process ends, if not by itself
                                Closed   a channel is of no more use
                                Totals   what the run took

A SOCK_SEQPACKET pair keeps messages apart and in order; its end of stream says that the other process is gone.
Canonical JSON as everywhere; times travel as whole microseconds.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, get_args

from comity.core.encoding import Fields, Malformed, decode, encode
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_CONTROL, MAX_NAME, MAX_PARTIES, MAX_PRIVATE
from comity.core.manifest import Member
from comity.core.messages import MAX_CERTIFICATE
from comity.core.program import Argument
from comity.errors import (
    ComityError,
    PeerError,
    ProgramError,
    UnreachableError,
    UsageError,
    VerificationError,
)
from comity.mpyc_bridge.stalls import REASONS

MAX_TEXT = 2000  # characters of one error message, hint or option
MAX_TARGET = 4096  # characters of a program's path
MAX_EPOCH = 2**31
HIGH = 2**52  # numbers that only count something

_DESCRIPTOR = struct.Struct("@i")

_ERRORS: dict[str, type[ComityError]] = {
    kind.kind: kind for kind in (ComityError, UsageError, VerificationError, PeerError, UnreachableError, ProgramError)
}


def _plain(text: str) -> str:
    """What may stand in one line of a message: control characters become spaces."""
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])


@dataclass(frozen=True)
class Task:
    """What to run, and as whom."""

    type: ClassVar[str] = "task"
    kind: str  # builtin, file or module
    target: str  # path of the file, or the module's name
    arguments: tuple[Argument, ...]  # None for each private one
    number: int
    m: int
    threshold: int
    names: tuple[str, ...]  # of all parties
    verbose: bool
    pickle: bool
    private: tuple[str, ...] = field(default=(), repr=False)  # what fills these, in order

    def body(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("arguments", "names", "private")}
        return {**vars(self), **lists}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        arguments = fields.items("arguments", MAX_ARGUMENTS)
        if any(a is not None and (type(a) is not str or len(a) > MAX_ARGUMENT) for a in arguments):
            raise Malformed("a task has an argument that is no text")
        return cls(
            fields.choice("kind", ("builtin", "file", "module")),
            fields.text("target", MAX_TARGET),
            tuple(arguments),
            fields.number("number", 0, MAX_PARTIES - 1),
            fields.number("m", 1, MAX_PARTIES),
            fields.number("threshold", 0, MAX_PARTIES),
            fields.texts("names", MAX_PARTIES, MAX_NAME),
            fields.flag("verbose"),
            fields.flag("pickle"),
            fields.texts("private", arguments.count(None), MAX_PRIVATE),
        )


@dataclass(frozen=True)
class Keys:
    """The session, as far as links need it."""

    type: ClassVar[str] = "keys"
    transcript: bytes  # T
    seed: bytes = field(repr=False)  # of this party's session key
    certificate: bytes  # this party's
    members: tuple[tuple[bytes, bytes], ...]  # session key and certificate of each party

    @classmethod
    def of(cls, transcript: bytes, seed: bytes, certificate: bytes, members: tuple[Member, ...]) -> Self:
        return cls(transcript, seed, certificate, tuple((member.session_key, member.certificate) for member in members))

    def body(self) -> dict[str, Any]:
        return {
            "transcript": self.transcript.hex(),
            "seed": self.seed.hex(),
            "certificate": self.certificate.hex(),
            "members": [{"key": key.hex(), "certificate": certificate.hex()} for key, certificate in self.members],
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        members = []
        for value in fields.items("members", MAX_PARTIES):
            member = Fields(value, "a member")
            members.append((member.data("key", 0, 32), member.data("certificate", 0, MAX_CERTIFICATE)))
            member.end()
        return cls(
            fields.data("transcript", 0, 32),
            fields.data("seed", 0, 32),
            fields.data("certificate", 0, MAX_CERTIFICATE),
            tuple(members),
        )


@dataclass(frozen=True)
class Given:
    """A channel to a peer, for one epoch. `number` is its dialler's, so a pair may have it twice; `serial` is ours."""

    type: ClassVar[str] = "given"
    peer: int
    epoch: int
    number: int
    serial: int

    def body(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            fields.number("peer", 0, MAX_PARTIES - 1),
            fields.number("epoch", 0, MAX_EPOCH),
            fields.number("number", 0, 2**32 - 1),
            fields.number("serial", 0, HIGH),
        )


@dataclass(frozen=True)
class Ready:
    """MPyC is imported; its effective options, as text."""

    type: ClassVar[str] = "ready"
    options: dict[str, str]

    def body(self) -> dict[str, Any]:
        return {"options": {_plain(k): _plain(v) for k, v in self.options.items()}}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls({str(k): str(v) for k, v in fields.mapping("options").items()})


@dataclass(frozen=True)
class Wants:
    """The program starts its runtime for the epoch-th time (from 0), and has no channel to these peers.

    Said again for a peer whose channels all ended before a link stood.
    """

    type: ClassVar[str] = "wants"
    epoch: int
    peers: tuple[int, ...]

    def body(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "peers": list(self.peers)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        peers = fields.items("peers", MAX_PARTIES)
        if any(type(peer) is not int or not 0 <= peer < MAX_PARTIES for peer in peers):
            raise Malformed("the program wants a channel to nobody")
        return cls(fields.number("epoch", 0, MAX_EPOCH), tuple(peers))


@dataclass(frozen=True)
class Linked:
    """A link stands."""

    type: ClassVar[str] = "linked"
    peer: int
    epoch: int
    round_trip: float | None  # seconds, of the hello

    def body(self) -> dict[str, Any]:
        microseconds = -1 if self.round_trip is None else round(self.round_trip * 1e6)
        return {"peer": self.peer, "epoch": self.epoch, "round_trip": microseconds}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        peer, epoch = fields.number("peer", 0, MAX_PARTIES - 1), fields.number("epoch", 0, MAX_EPOCH)
        microseconds = fields.number("round_trip", -1, HIGH)
        return cls(peer, epoch, None if microseconds < 0 else microseconds / 1e6)


@dataclass(frozen=True)
class Running:
    """All links of an epoch stand, and the program goes on."""

    type: ClassVar[str] = "running"
    epoch: int

    def body(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.number("epoch", 0, MAX_EPOCH))


@dataclass(frozen=True)
class Stalled:
    """For whom the program waits, why, and how many seconds already; nobody: it goes on."""

    type: ClassVar[str] = "stalled"
    waits: tuple[tuple[int, str, float], ...]

    @classmethod
    def of(cls, waits: Mapping[int, tuple[str, float]]) -> Self:
        return cls(tuple((peer, reason, seconds) for peer, (reason, seconds) in waits.items()))

    def body(self) -> dict[str, Any]:
        waits = [{"peer": peer, "reason": why, "seconds": round(seconds * 1e6)} for peer, why, seconds in self.waits]
        return {"waits": waits}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        waits = []
        for value in fields.items("waits", MAX_PARTIES):
            wait = Fields(value, "a wait")
            peer, reason = wait.number("peer", 0, MAX_PARTIES - 1), wait.choice("reason", REASONS)
            waits.append((peer, reason, wait.number("seconds", 0, HIGH) / 1e6))
            wait.end()
        return cls(tuple(waits))


@dataclass(frozen=True)
class Unagreed:
    """The program reads a local file that is not among the agreed ones."""

    type: ClassVar[str] = "unagreed"
    label: str  # its path from the program's folder

    def body(self) -> dict[str, Any]:
        return {"label": _plain(self.label)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.text("label", MAX_TEXT))


@dataclass(frozen=True)
class Fault:
    """Why the program's process ends, if neither by itself nor because it was told to."""

    type: ClassVar[str] = "fault"
    error: ComityError
    peer: int | None = None  # whose doing it is, when it is a peer's

    def body(self) -> dict[str, Any]:
        return {
            "kind": self.error.kind,
            "message": _plain(self.error.message),
            "hints": [_plain(hint) for hint in self.error.hints],
            "peer": -1 if self.peer is None else self.peer,
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        kind = _ERRORS[fields.choice("kind", tuple(_ERRORS))]
        error = kind(fields.text("message", MAX_TEXT), hint=fields.texts("hints", 8, MAX_TEXT))
        peer = fields.number("peer", -1, MAX_PARTIES - 1)
        return cls(error, None if peer < 0 else peer)


@dataclass(frozen=True)
class Closed:
    """The child is done with a channel: the node closes its own descriptor, or the other end would wait on."""

    type: ClassVar[str] = "closed"
    serial: int

    def body(self) -> dict[str, Any]:
        return {"serial": self.serial}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.number("serial", 0, HIGH))


@dataclass(frozen=True)
class Totals:
    """What the run took; the names are those of core.record."""

    type: ClassVar[str] = "totals"
    rounds: int
    epochs: int
    program_seconds: float
    cpu_seconds: float
    peak_memory: int  # bytes
    peers: tuple[dict[str, int], ...]  # party, bytes_sent, bytes_received, messages_sent, messages_received

    PEER: ClassVar[tuple[str, ...]] = ("party", "bytes_sent", "bytes_received", "messages_sent", "messages_received")

    def body(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "epochs": self.epochs,
            "program_seconds": round(self.program_seconds * 1e6),
            "cpu_seconds": round(self.cpu_seconds * 1e6),
            "peak_memory": self.peak_memory,
            "peers": list(self.peers),
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        rounds, epochs = fields.number("rounds", 0, HIGH), fields.number("epochs", 0, MAX_EPOCH)
        program, cpu = fields.number("program_seconds", 0, HIGH) / 1e6, fields.number("cpu_seconds", 0, HIGH) / 1e6
        memory = fields.number("peak_memory", 0, HIGH)
        peers = []
        for value in fields.items("peers", MAX_PARTIES):
            peer = Fields(value, "a peer's totals")
            peers.append({name: peer.number(name, 0, HIGH) for name in cls.PEER})
            peer.end()
        return cls(rounds, epochs, program, cpu, memory, tuple(peers))


Message = Task | Keys | Given | Ready | Wants | Linked | Running | Stalled | Unagreed | Fault | Closed | Totals
_TYPES: dict[str, type[Message]] = {kind.type: kind for kind in get_args(Message)}


def pack(message: Message) -> bytes:
    return encode({"type": message.type, **message.body()})


def parse(data: bytes) -> Message:
    """Raises Malformed."""
    fields = Fields(decode(data, MAX_CONTROL), "a message of the program's process")
    message = _TYPES[fields.choice("type", tuple(_TYPES))].read(fields)
    fields.end()
    return message


def send(sock: socket.socket, data: bytes, descriptor: int | None = None) -> None:
    """One message, whole. Raises OSError, of a non-blocking socket also BlockingIOError."""
    rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(descriptor))]
    sock.sendmsg([data], rights)


def receive(sock: socket.socket) -> tuple[bytes, int | None]:
    """The next message and its descriptor; empty at the end of the stream. Raises OSError."""
    room = socket.CMSG_LEN(_DESCRIPTOR.size)
    data, rights, _, _ = sock.recvmsg(MAX_CONTROL + 1, room, socket.MSG_CMSG_CLOEXEC)
    return data, _DESCRIPTOR.unpack(rights[0][2])[0] if rights else None
