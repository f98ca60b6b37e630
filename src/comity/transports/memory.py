"""memory: socket pairs between parties of one process, for tests."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from comity.core.manifest import Session
from comity.errors import PeerError, UnreachableError
from comity.interfaces import Channel, PartyId, Path, Reach, Settings, Signals, Traits
from comity.reach.arrivals import Arrivals
from comity.reach.offers import Offers, exchanging

_present: dict[bytes, Arrivals] = {}
"""Who is reachable in this process; an offer is a key of it."""

_KEY_SIZE = 16


def _read(body: bytes) -> bytes:
    if len(body) != _KEY_SIZE:
        raise PeerError(f"{len(body)} bytes are no key of {_KEY_SIZE}")
    return body


class MemoryReach:
    def __init__(self, session: Session, arrivals: Arrivals, offers: Offers[bytes]) -> None:
        self._session = session
        self._arrivals = arrivals
        self._offers = offers

    async def dial(self, peer: PartyId) -> Channel:
        there = _present.get(await self._offers.of(peer))
        if there is None:
            raise UnreachableError(f"no path to {self._session.name(peer)}: not in this process")
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setblocking(False)
        there.put(Channel(far, Path("memory")))
        return Channel(near, Path("memory"))

    def arrivals(self) -> Arrivals:
        return self._arrivals

    def refresh(self) -> None:
        self._offers.refresh()


class Memory:
    name = "memory"
    traits = Traits(
        layer="process",
        encryption="none",
        key_distribution="none",
        third_parties="none",
        privileges="nothing; all parties in one process",
    )

    def __init__(self, settings: Settings) -> None:
        pass

    def missing(self) -> str | None:
        return None

    @asynccontextmanager
    async def connect(
        self, session: Session, me: PartyId, signals: Signals, report: Callable[[str], None]
    ) -> AsyncIterator[Reach]:
        key, arrivals = secrets.token_bytes(_KEY_SIZE), Arrivals()
        _present[key] = arrivals
        try:
            async with exchanging(session, me, signals, report, lambda: key, _read) as offers:
                yield MemoryReach(session, arrivals, offers)
        finally:
            del _present[key]
            arrivals.close()


transport = Memory
