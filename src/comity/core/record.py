"""The record: what one party observed in one run, as one JSON line.

Plain results, append-only: publishing is a separate step. No secret, no address of a person's machine and no argument
stands in it; the session is named by a hash, so that the lines of its parties can be put together.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from comity.core.encoding import Malformed, digest

VERSION = 1
PHASES = ("start", "invite", "joined", "checked", "agreed", "connected", "run", "closed")
"""In order; each value is seconds since the command's start at which the phase was over.

start: the program is examined; invite: the invitation is shown (a joiner: the host's opening is read); joined: the
roster stands; checked: the person compared the words; agreed: everyone confirmed; connected: every link stands;
run: the program ended; closed: everything is cleaned up.
"""
MAX_LINE = 256 * 1024
"""Characters of one line: a record of 64 parties has some 20 KiB."""


@dataclass
class PeerRecord:
    """One peer, as this party saw it."""

    party: int
    path: str = ""  # direct, relayed, ...: the path's kind
    round_trip_ms: float | None = None
    bytes_sent: int = 0  # MPyC's, before encryption
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0


@dataclass
class StallRecord:
    """One time of waiting for a peer."""

    party: int
    why: str  # path, program, silence, start, message, unread
    seconds: float


@dataclass
class Record:
    party: int
    m: int
    t: int
    session: str = ""  # hash of T, hexadecimal
    transport: str = ""
    program: str = ""  # name
    digest: str = ""  # of the program, hexadecimal
    outcome: str = "error"  # done, or error
    error: str = ""  # its kind: usage, verification, peer, unreachable, program, interrupted, bug
    exit: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    peers: list[PeerRecord] = field(default_factory=list)
    stalls: list[StallRecord] = field(default_factory=list)
    rounds: int = 0  # causal depth over all parties
    epochs: int = 0
    resumptions: int = 0
    program_seconds: float = 0.0  # from the runtime's first start to its last stop
    cpu_seconds: float = 0.0  # of both processes
    peak_memory: int = 0  # bytes, of the program's process
    node_memory: int = 0  # bytes, of the node
    versions: dict[str, str] = field(default_factory=dict)

    def passed(self, phase: str, seconds: float) -> None:
        self.phases[phase] = round(seconds, 4)

    def line(self) -> str:
        """One line of JSON, with its line end."""
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"), allow_nan=False) + "\n"


def session_name(transcript: bytes) -> str:
    """What a record calls its session: the same at all its parties, and no help to anybody else."""
    return digest("record", transcript)[:8].hex()


def parse(line: str) -> Record:
    """Raises Malformed for what `Record.line` does not make: another version, unknown fields, values of other types."""
    if len(line) > MAX_LINE:
        raise Malformed("a record is too long")
    try:
        value: dict[str, Any] = json.loads(line)
        if value.pop("version") != VERSION:
            raise Malformed("a record of another version")
        value["peers"] = [_checked(PeerRecord(**peer)) for peer in value["peers"]]
        value["stalls"] = [_checked(StallRecord(**stall)) for stall in value.get("stalls", [])]
        made: Record = _checked(Record(**value))
        made.line()  # NaN and infinity, which Python's JSON reads and ours never holds
        return made
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise Malformed("this is not a record") from exc


def _checked(made: Any) -> Any:
    """Raises TypeError for a field that holds another type than its own: JSON says nothing of them."""
    record: Any = type(made)
    for name, kind in _types(record).items():
        if not _fits(getattr(made, name), kind):
            raise TypeError(f"{name} is no {kind}")
    return made


@cache
def _types(record: Any) -> dict[str, Any]:
    return get_type_hints(record)


def _fits(value: Any, kind: Any) -> bool:
    inner = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in inner)
    if get_origin(kind) is dict:
        return type(value) is dict and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if get_origin(kind) is list:
        return type(value) is list and all(_fits(item, inner[0]) for item in value)
    return type(value) is kind or (kind is float and type(value) is int)
