"""Offers: what the parties tell one another by signals so that they can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from comity.core.limits import MAX_SIGNAL
from comity.core.manifest import Session
from comity.errors import ComityError, PeerError, UnreachableError
from comity.interfaces import PartyId, Signals

T = TypeVar("T")

ATTEMPT = 5.0
"""Seconds that one attempt to reach a peer may take before it has failed; the node tries again. TCP asks thrice."""


class Offers(Generic[T]):
    """Mine goes to every other party, again after each change; of each of them the newest that can be read is kept."""

    def __init__(
        self,
        session: Session,
        me: PartyId,
        signals: Signals,
        report: Callable[[str], None],
        mine: Callable[[], bytes],
        read: Callable[[bytes], T],
    ) -> None:
        self._session = session
        self._others = [party for party in range(session.m) if party != me]
        self._signals = signals
        self._report = report
        self._mine = mine
        self._read = read
        self._newest: dict[PartyId, T] = {}
        self._unreadable: set[PartyId] = set()
        self._news = asyncio.Event()
        self._stale = asyncio.Event()
        self._stale.set()
        self._ended = ""

    def refresh(self) -> None:
        """Mine has changed: tell the others."""
        self._stale.set()

    async def of(self, peer: PartyId, timeout: float | None = None) -> T:
        """The newest offer of a peer; waits for its first one. Raises UnreachableError when none comes."""
        try:
            async with asyncio.timeout(ATTEMPT if timeout is None else timeout):
                while peer not in self._newest:
                    if self._ended:
                        raise UnreachableError(f"no path to {self._session.name(peer)}: {self._ended}")
                    await self._news.wait()
        except TimeoutError:
            why = "what it offers cannot be read" if peer in self._unreadable else "it has not said where it is"
            raise UnreachableError(f"no path to {self._session.name(peer)}: {why}") from None
        return self._newest[peer]

    async def receive(self) -> None:
        try:
            async for sender, body in self._signals.receive():
                if sender in self._others:
                    self._take(sender, body)
            self._end("signals have ended")
        except ComityError as exc:
            self._end(exc.message)

    def _take(self, sender: PartyId, body: bytes) -> None:
        try:
            if len(body) > MAX_SIGNAL:
                raise PeerError(f"{len(body)} bytes are too many")
            self._newest[sender] = self._read(body)
        except PeerError as exc:  # what it offered before still stands
            if sender not in self._unreadable:
                self._unreadable.add(sender)
                self._report(f"{self._session.name(sender)} offers what cannot be read: {exc.message}")
        self._wake()

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._wake()

    def _wake(self) -> None:
        """Wake all who wait, each of whom looks for itself."""
        self._news.set()
        self._news = asyncio.Event()

    async def send(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            body = self._mine()
            async with asyncio.TaskGroup() as group:
                for party in self._others:
                    group.create_task(self._tell(party, body))

    async def _tell(self, party: PartyId, body: bytes) -> None:
        try:
            await self._signals.send(party, body)
        except ComityError as exc:
            self._report(f"{self._session.name(party)} could not be told where I am: {exc.message}")


@asynccontextmanager
async def exchanging(
    session: Session,
    me: PartyId,
    signals: Signals,
    report: Callable[[str], None],
    mine: Callable[[], bytes],
    read: Callable[[bytes], T],
) -> AsyncIterator[Offers[T]]:
    """Exchange offers until it is left. `mine` makes my offer when it is to be sent; `read` raises PeerError."""
    offers = Offers(session, me, signals, report, mine, read)
    tasks = [asyncio.create_task(offers.receive()), asyncio.create_task(offers.send())]
    try:
        yield offers
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome  # a bug of ours: errors of the network were handled
