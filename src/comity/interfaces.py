"""Every interface between the parts: read this first.

A plug-in is something you *enter*; leaving it restores the machine, also on error and on cancellation.
Transports reach, links secure: nothing here is trusted to be who it says until a link has verified it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from comity.core.manifest import Session
from comity.core.topology import Topology

PartyId = int
"""A party's number in the session: 0 .. m-1, its place in the manifest."""


@dataclass(frozen=True)
class Path:
    """How a channel gets there."""

    kind: str  # "direct", "punched", "relayed", or the name of an overlay
    via: str = ""  # the relay or interface between, if any
    local: str = ""
    remote: str = ""


@dataclass(frozen=True)
class Channel:
    """A connected, non-blocking byte stream to one party. Whoever holds it closes it."""

    sock: socket.socket
    path: Path


class Mailbox(Protocol):
    """An append-only log of opaque bodies, the same for all members of a room.

    Both methods reconnect by themselves and raise UnreachableError when they give up.
    """

    async def post(self, body: bytes, /) -> int:
        """Append; returns the body's position once the server has acknowledged it.

        Raises UsageError for a body above core.limits.MAX_BODY and PeerError when the room is full.
        """
        ...

    def read(self, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Every body at a position > `after` (positions start at 1), in order, each once, for as long as it is read."""
        ...


class Rendezvous(Protocol):
    def open(self, room: str) -> AbstractAsyncContextManager[Mailbox]:
        """Enter a room, made by its first member. `room`: 32 lower-case hexadecimal digits."""
        ...


class Signals(Protocol):
    """Addressed messages between the nodes of two parties, sealed for that pair, scoped to one transport."""

    async def send(self, to: PartyId, body: bytes, /) -> None: ...

    def receive(self) -> AsyncIterator[tuple[PartyId, bytes]]: ...


class Reach(Protocol):
    """What entering a transport yields."""

    async def dial(self, peer: PartyId) -> Channel:
        """One attempt, which may be cancelled and repeated while the session lives. Raises UnreachableError."""
        ...

    def arrivals(self) -> AsyncIterator[Channel]:
        """Channels dialled by others; the node reads the preface to learn whose."""
        ...

    def refresh(self) -> None:
        """This machine's addresses have changed: tell the others again."""
        ...


@dataclass(frozen=True)
class Traits:
    """What a transport is, for the report's tables."""

    layer: str  # "process", "transport", "network"
    encryption: str  # what it encrypts by itself; links encrypt whatever it does
    key_distribution: str
    third_parties: str  # who else takes part, and what they can see
    privileges: str  # what it needs of the machine


@dataclass(frozen=True)
class Settings:
    """What the command line says about reaching others."""

    listen: int = 0  # TCP port; 0: a fresh one per session
    advertise: tuple[str, ...] = ()  # ADDRESS[:PORT], ports forwarded by hand
    server: socket.socket | None = None  # listens on that port already, for whoever would; entering takes it over


class Transport(Protocol):
    """A module of comity.transports offers its class as `transport`; it is made with one argument, Settings."""

    name: str
    traits: Traits

    def missing(self) -> str | None:
        """Why it cannot be used here and what to do about it; None: usable."""
        ...

    def connect(
        self, session: Session, me: PartyId, signals: Signals, report: Callable[[str], None]
    ) -> AbstractAsyncContextManager[Reach]:
        """Start to be reachable. `report` takes lines for people. The transport sees no private key."""
        ...


class Process(Protocol):
    """A command on a host."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def write(self, data: bytes) -> None:
        """To its stdin. What nobody reads any more is dropped."""
        ...

    def close(self) -> None:
        """The end of its stdin."""
        ...

    async def signal(self, number: int) -> None:
        """To it and what it has started; nothing when it has ended."""
        ...

    async def wait(self) -> int:
        """Its exit code; -N when signal N ended it."""
        ...


class Host(Protocol):
    """A machine of a testbed, to which commands can be given."""

    name: str
    home: str  # the folder of its own, empty at first, as its commands see it
    python: str  # an interpreter there that has comity
    addresses: tuple[str, ...]  # where other hosts reach it
    forwards: tuple[tuple[int, str], ...]  # its TCP ports that are reached elsewhere: port, ADDRESS:PORT

    async def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        """Runs a command, in the folder that was current here; ended with the testbed. `env`: besides its own.

        Raises UsageError when there is no such command.
        """
        ...

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file below its home, making folders."""
        ...

    async def get(self, path: str) -> bytes:
        """Reads a file below its home. Raises UsageError when there is none."""
        ...


class Testbed(Protocol):
    """A module of comity.testbeds offers its class as `testbed`; it is made without arguments."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot be used here and what to do about it; None: usable."""
        ...

    def provision(self, topology: Topology) -> AbstractAsyncContextManager[Mapping[str, Host]]:
        """The topology's hosts by their names. What a testbed cannot give (distances, NATs), it leaves out."""
        ...
