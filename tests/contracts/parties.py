"""What contract tests need to have parties: a session without a ceremony, and signals without a mailbox."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from comity.core.manifest import Member, Session
from comity.interfaces import PartyId

NAMES = ("alice", "bob", "carol", "dave", "erin")


def session(m: int, label: str = "") -> Session:
    def draw(what: str) -> bytes:
        return hashlib.sha256(f"{label} {what}".encode()).digest()

    members = tuple(Member(name, draw(name + "i"), draw(name + "s"), draw(name + "x")) for name in NAMES[:m])
    return Session(members, (m - 1) // 2, draw("transcript"), draw("tag")[:16], "", "")


class Wire:
    """One party's signals. Like those of a mailbox they are kept: who comes late reads all that was sent to it."""

    def __init__(self, exchange: "Exchange", me: PartyId) -> None:
        self._exchange = exchange
        self.me = me
        self.handled = 0

    async def send(self, to: PartyId, body: bytes, /) -> None:
        self._exchange.inject(self.me, to, body)

    async def receive(self) -> AsyncIterator[tuple[PartyId, bytes]]:
        log = self._exchange.logs[self.me]
        while True:
            while self.handled < len(log):
                yield log[self.handled]
                self.handled += 1
                self._exchange.wake()
            await self._exchange.wait()


class Exchange:
    def __init__(self, m: int) -> None:
        self.logs: list[list[tuple[PartyId, bytes]]] = [[] for _ in range(m)]
        self._wires: dict[PartyId, Wire] = {}
        self._news = asyncio.Event()

    def signals(self, party: PartyId) -> Wire:
        self._wires[party] = Wire(self, party)
        return self._wires[party]

    def inject(self, sender: PartyId, to: PartyId, body: bytes) -> None:
        """Deliver a signal, whoever it claims to be from."""
        self.logs[to].append((sender, body))
        self.wake()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self) -> None:
        await self._news.wait()

    async def settled(self, offers: int) -> None:
        """Wait until `offers` signals have been sent in all and every party has handled those that it got."""
        while sum(map(len, self.logs)) < offers or any(w.handled < len(self.logs[w.me]) for w in self._wires.values()):
            await self.wait()
