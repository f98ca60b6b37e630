"""Signals: addressed messages between the nodes of two parties, over a room that only this session knows.

The room is found by the invitation's secret and its key comes from T, which whoever holds the invitation and read the
ceremony knows. What protects a signal is the seal of its pair: nobody else reads, changes or forges it. Its number
keeps others from repeating it: of what one party sends to another, each counts only if it is newer than all before.

    room body = seal(room key, {"from", "to", "transport", "box"})
    box       = seal(pair key, number 8 | signal; from, to, transport)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comity.core.encoding import Fields, Malformed, decode, digest, encode
from comity.core.identity import derive
from comity.core.limits import MAX_PARTIES, MAX_SIGNAL, MAX_SIGNALS
from comity.core.sealing import room_name, seal, unseal
from comity.errors import PeerError, UsageError, VerificationError
from comity.interfaces import Mailbox, PartyId, Rendezvous

NUMBER = 8
"""Bytes of a signal's number, counted from 1 for each receiver."""


def _context(sender: int, to: int, transport: str) -> bytes:
    return digest("signal", bytes([sender, to]), transport.encode())


def signal_room(secret: bytes) -> str:
    """The room's name, from an invitation's secret."""
    return room_name(derive(secret, b"", "signals", 16))


class Flood(PeerError):
    """a party sends signals without end"""

    def __init__(self, peer: PartyId) -> None:
        super().__init__(f"party {peer} floods the session with signals")
        self.peer = peer


class SignalRoom:
    """All signals of one party; `scoped` gives a transport its own."""

    def __init__(self, mailbox: Mailbox, key: bytes, me: PartyId, pair_keys: dict[PartyId, bytes]) -> None:
        self._mailbox, self._key, self._me, self._pair_keys = mailbox, key, me, pair_keys
        self._queues: dict[str, asyncio.Queue[tuple[PartyId, bytes]]] = {}
        self._counts = dict.fromkeys(pair_keys, 0)
        self._sent = dict.fromkeys(pair_keys, 0)  # the number of my last one to each
        self._heard = dict.fromkeys(pair_keys, 0)  # and of the newest one of each to me

    @classmethod
    @asynccontextmanager
    async def open(
        cls, rendezvous: Rendezvous, room: str, transcript: bytes, me: PartyId, pair_keys: dict[PartyId, bytes]
    ) -> AsyncIterator[SignalRoom]:
        async with rendezvous.open(room) as mailbox:
            yield cls(mailbox, derive(transcript, b"", "signals"), me, pair_keys)

    async def pump(self) -> None:
        """Read and hand out until cancelled. Raises Flood; UnreachableError without a rendezvous."""
        async for _, body in self._mailbox.read():
            try:
                self._take(decode(unseal(self._key, body), MAX_SIGNAL * 3))
            except (Malformed, VerificationError):
                continue  # whoever cannot seal or address a signal is not one of ours: no answer, no effect

    def _take(self, value: object) -> None:
        fields = Fields(value, "a signal")
        sender, to = fields.number("from", 0, MAX_PARTIES), fields.number("to", 0, MAX_PARTIES)
        transport, box = fields.text("transport", 32), fields.data("box", 1, MAX_SIGNAL + 64)
        fields.end()
        if to != self._me or sender not in self._pair_keys:
            return
        signal = unseal(self._pair_keys[sender], box, _context(sender, to, transport))
        number = int.from_bytes(signal[:NUMBER])
        if number <= self._heard[sender]:
            return  # repeated by somebody, who is not to be taken for its sender
        self._heard[sender] = number
        self._counts[sender] += 1
        if self._counts[sender] > MAX_SIGNALS:
            raise Flood(sender)
        self._queue(transport).put_nowait((sender, signal[NUMBER:]))

    def _queue(self, transport: str) -> asyncio.Queue[tuple[PartyId, bytes]]:
        return self._queues.setdefault(transport, asyncio.Queue())

    async def _send(self, transport: str, to: PartyId, body: bytes) -> None:
        if len(body) > MAX_SIGNAL:
            raise UsageError(f"a signal of {len(body)} bytes, {MAX_SIGNAL} are allowed")
        self._sent[to] += 1
        numbered = self._sent[to].to_bytes(NUMBER) + body
        box = seal(self._pair_keys[to], os.urandom(12), numbered, _context(self._me, to, transport))
        value = {"from": self._me, "to": to, "transport": transport, "box": box.hex()}
        await self._mailbox.post(seal(self._key, os.urandom(12), encode(value)))

    def scoped(self, transport: str) -> ScopedSignals:
        return ScopedSignals(self, transport)


class ScopedSignals:
    """interfaces.Signals for one transport."""

    def __init__(self, room: SignalRoom, transport: str) -> None:
        self._room, self._transport = room, transport

    async def send(self, to: PartyId, body: bytes, /) -> None:
        await self._room._send(self._transport, to, body)

    async def receive(self) -> AsyncIterator[tuple[PartyId, bytes]]:
        queue = self._room._queue(self._transport)
        while True:
            yield await queue.get()
