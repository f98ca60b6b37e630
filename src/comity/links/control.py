"""The control link: what two nodes say to each other while their programs compute.

    length 2 | canonical JSON of that length: {"message": {...}} of the caller's, or {"ping": n} and {"pong": n} of ours

Each side asks every BEAT seconds and the other answers; a node answers whatever its program is doing. Silence is
only measured here: the node judges it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socket
from typing import Any

from comity.core.encoding import MAX_INTEGER, Fields, Malformed, decode, encode
from comity.core.limits import MAX_NODE_MESSAGE, MAX_NODE_MESSAGES, MAX_NODE_UNSENT, MAX_PINGS
from comity.errors import ComityError, PeerError
from comity.links.link import Goodbye
from comity.links.pairing import Pairing
from comity.links.stream import HANDSHAKE_TIMEOUT, Depth, Stream, attach

BEAT = 2.0
"""Seconds between heartbeats: a vanished node is noticed within a few of them."""

PREFIX = 2


class ControlLink:
    """Enter `over`, await `ready`, then `send` and read `messages`; the last two methods raise the link's error."""

    def __init__(self, pairing: Pairing, number: int, timeout: float | None) -> None:
        self.name = pairing.name
        self._pairing = pairing
        self.round_trip: float | None = None  # seconds, at the last answer
        self._stream = Stream(
            pairing,
            number,
            Depth(),
            ready=self._opened,
            data=self._received,
            ended=self._closed,
            limit=MAX_NODE_UNSENT,
            timeout=timeout,
        )
        self._settled, self._ended = asyncio.Event(), asyncio.Event()
        self._error: ComityError | None = None
        self._leaving = False
        self._buffer = bytearray()
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._heard = time.monotonic()
        self._beat: asyncio.TimerHandle | None = None
        self._pings = 0  # of the peer, since my last one
        self._what = f"a message of {self.name}'s node"
        self._asked, self._asked_at = 0, 0.0  # the last ping's number, and when it first went; 0.0 once answered

    @classmethod
    @asynccontextmanager
    async def over(
        cls, channel: socket, pairing: Pairing, number: int = 0, timeout: float | None = HANDSHAKE_TIMEOUT
    ) -> AsyncIterator[ControlLink]:
        """A link on this channel, which it then holds. Leaving cuts it, once a goodbye that was said is out."""
        link = cls(pairing, number, timeout)
        try:
            await attach(link._stream, channel)
            yield link
        finally:
            try:
                if link._leaving:
                    await link._ended.wait()
            finally:
                link._stream.abort()
                link._end(None)

    @property
    def silence(self) -> float:
        """Seconds since the peer's node was last heard."""
        return time.monotonic() - self._heard

    @property
    def peer_incarnation(self) -> bytes:
        return self._stream.peer_incarnation

    async def ready(self) -> None:
        """Until the peer is verified."""
        await self._settled.wait()
        if self._error is not None or not self.peer_incarnation:
            raise self._error or self._pairing.lost()

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message. ValueError: above MAX_NODE_MESSAGE."""
        self._put({"message": message})

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Each message in order; ends after my goodbye or the peer's "done", else raises why the link ended."""
        while (message := await self._inbox.get()) is not None:
            yield message
        self._inbox.put_nowait(None)  # for the next reader
        if self._error is not None:
            raise self._error

    def goodbye(self, reason: str, detail: str = "") -> None:
        self._leaving = True
        self._stream.goodbye(reason, detail)

    def _put(self, value: dict[str, Any]) -> None:
        body = encode(value)
        if len(body) > MAX_NODE_MESSAGE:
            raise ValueError(f"a message of {len(body)} bytes, {MAX_NODE_MESSAGE} are allowed")
        self._stream.write(len(body).to_bytes(PREFIX, "big") + body)

    def _opened(self) -> None:
        self.round_trip = self._stream.round_trip
        self._heard = time.monotonic()
        self._settled.set()
        self._ask()

    def _ask(self) -> None:
        """The next ping, or the last one again while it has no answer."""
        if not self._asked_at:
            self._asked, self._asked_at = self._asked + 1, time.perf_counter()
        self._put({"ping": self._asked})
        self._pings = 0
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._ask)

    def _received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        buffer = self._buffer
        buffer += data
        try:
            while len(buffer) >= PREFIX:
                end = PREFIX + int.from_bytes(buffer[:PREFIX], "big")
                if end > PREFIX + MAX_NODE_MESSAGE:
                    raise Malformed(f"{self.name} announces a message of {end - PREFIX} bytes")
                if len(buffer) < end:
                    break
                body = bytes(buffer[PREFIX:end])
                del buffer[:end]
                self._take(decode(body, MAX_NODE_MESSAGE, self._what))
        except PeerError as exc:
            self._end(exc)
            self.goodbye("protocol", exc.message)

    def _take(self, value: Any) -> None:
        fields = Fields(value, self._what)
        if "ping" in value:
            number = fields.number("ping", 0, MAX_INTEGER - 1)
            fields.end()
            self._pings += 1
            if self._pings > MAX_PINGS:
                raise PeerError(f"{self.name}'s node asks again and again, more than {MAX_PINGS} times in {BEAT:g} s")
            self._put({"pong": number})
        elif "pong" in value:
            number = fields.number("pong", 0, self._asked)
            fields.end()
            if number == self._asked and self._asked_at:
                self.round_trip, self._asked_at = time.perf_counter() - self._asked_at, 0.0
        else:
            message = dict(fields.mapping("message"))
            fields.end()
            if self._inbox.qsize() >= MAX_NODE_MESSAGES:
                raise PeerError(f"{self.name}'s node sends more than {MAX_NODE_MESSAGES} messages at once")
            self._inbox.put_nowait(message)

    def _closed(self, error: ComityError | None) -> None:
        self._ended.set()
        self._end(None if isinstance(error, Goodbye) and error.reason == "done" else error)

    def _end(self, error: ComityError | None) -> None:
        if self._error is None:
            self._error = error
        self._stop()
        self._settled.set()
        self._inbox.put_nowait(None)

    def _stop(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
