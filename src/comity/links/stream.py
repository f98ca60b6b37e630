"""A link as a protocol of asyncio's and uvloop's transports: one channel, MPyC's bytes both ways.

What is written within one turn of the loop leaves as few frames in one send. A peer that does not read pauses the
transport; what waits then stays unencrypted in the queue, so that a goodbye passes it, and is counted against `limit`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from socket import socket
from typing import Final, cast

from comity.core.limits import MAX_UNSENT
from comity.errors import ComityError, PeerError
from comity.links.link import Depth, Link
from comity.links.pairing import Pairing

__all__ = ["Depth", "Stream", "attach"]

ACKNOWLEDGE_EVERY: Final = 256 * 1024
"""Received bytes after which an acknowledgement goes by itself; most travel on data."""

FRAME: Final = 64 * 1024
"""Bytes of data in the frames of a large write: more gains nothing, and an answer waits for less."""

HANDSHAKE_TIMEOUT: Final = 20.0
"""Seconds from the channel to a verified peer, of loop time: a turn that takes longer is counted as a part of it."""

TICKS: Final = 8
"""The handshake's time is counted in parts, so that one long turn of this loop cannot use up the peer's time."""

LINGER: Final = 2.0
"""Seconds that a farewell may take to leave; then the channel is cut."""


class Outbox:
    """The streams of one loop that have something to send: they are flushed together, in the loop's next turn."""

    __slots__ = ("_flushing", "_streams")

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._flushing = self._flush

    def add(self, stream: Stream, loop: asyncio.AbstractEventLoop) -> None:
        if not self._streams:
            loop.call_soon(self._flushing)
        self._streams.append(stream)

    def _flush(self) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.flush()


class Stream(asyncio.Protocol):
    """One link on one channel.

    `ready` is called when the peer is verified; `finished` when all that it will send has been given to `data`; `ended`
    once: with None when both sides have finished or this side has said goodbye, else with the error.
    """

    def __init__(
        self,
        pairing: Pairing,
        number: int,
        depth: Depth,
        *,
        ready: Callable[[], None],
        data: Callable[[bytes], None],
        ended: Callable[[ComityError | None], None],
        finished: Callable[[], None] = lambda: None,
        limit: int = MAX_UNSENT,
        timeout: float | None = HANDSHAKE_TIMEOUT,
        outbox: Outbox | None = None,
    ) -> None:
        self.name = pairing.name
        self.round_trip: float | None = None  # seconds, from my hello to the peer's answer to it
        self._link = Link(pairing, number, depth)
        self._ready, self._data, self._ended = ready, data, ended
        self._finished = finished
        self._limit, self._timeout = limit, timeout
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox() if outbox is None else outbox
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._greeted = 0.0
        self._fresh: list[bytes | memoryview] = []  # written in this turn of the loop
        self._queue: deque[bytes | memoryview] = deque()  # what a peer that does not read has left over
        self._waiting = 0  # bytes in both
        self._free: Callable[[bytes], None] | None = None  # the transport's `write`, while only data has to be sent
        self._scheduled = self._paused = self._finishing = self._peer_finished = False
        self._closing = self._told = False
        self._verdict: ComityError | None = None

    # For the program's side

    @property
    def sent(self) -> int:
        """The program's bytes that have left."""
        return self._link.sent

    @property
    def unsent(self) -> int:
        """The program's bytes that wait here, because the peer does not take them."""
        return self._waiting

    @property
    def received(self) -> int:
        return self._link.received

    @property
    def peer_incarnation(self) -> bytes:
        """Which process answers there, 16 bytes: another one is a party that started again. Empty before `ready`."""
        return self._link.peer_incarnation

    def write(self, data: bytes) -> None:
        """Queue; what is written before `ready` waits for it. Ignored once the link has ended."""
        self._fresh.append(data)
        self._waiting += len(data)
        if not self._scheduled:
            self._schedule()

    def finish(self) -> None:
        """Nothing follows what has been written. `ended(None)` comes when the peer has finished too."""
        self._finishing, self._free = True, None
        self._schedule()

    def goodbye(self, reason: str, detail: str = "") -> None:
        """Say why this side ends, past what the peer does not take, and close; `ended(None)` once it has left."""
        self.flush()
        if not self._closing:
            self._write(self._link.goodbye(reason, detail))
            self._close(None)

    def abort(self) -> None:
        """Cut the channel; nothing is called any more."""
        self._told = self._closing = True
        self._free = None
        if self._transport is not None:
            self._transport.abort()

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._closing:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=0)  # uvloop then writes at once, not at the end of its turn
        if self._timeout is not None:
            self._tick(self._timeout, TICKS)
        self._link.start()
        self._write(self._link.tls.output())

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        link = self._link
        link.feed(data)
        usual = link.usual(len(data))
        if usual is not None:
            self._data(usual)
            if not link.more and link.received - link.told < ACKNOWLEDGE_EVERY:
                return
        self._take_others(link)

    def eof_received(self) -> bool:
        return False  # the transport closes, and connection_lost judges

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._close(self._link.pairing.lost())
        self._stop_timer()
        self._tell()

    def pause_writing(self) -> None:
        self._paused, self._free = True, None

    def resume_writing(self) -> None:
        self._paused = False
        self._schedule()

    # Inside

    def _take_others(self, link: Link) -> None:
        greeted, open_ = link.greeted, link.open
        pieces = link.others()
        if link.greeted and not greeted:
            self._greeted = time.perf_counter()
        if link.open and not open_:
            if link.over:
                self._judge()  # it was never ready
                return
            self.round_trip = time.perf_counter() - self._greeted
            self._stop_timer()
            self._ready()
        for piece in pieces:
            if not self._closing:
                self._data(piece)
        if link.open or link.over:
            self._after(link)
        else:
            self._write(link.tls.output())

    def _after(self, link: Link) -> None:
        """What may follow from bytes of the peer, beside data."""
        if link.peer_finished and not self._peer_finished and not self._closing:
            self._peer_finished, self._free = True, None
            self._finished()
        if link.over:
            self._judge()
        elif not self._closing:
            self._write(link.tls.output())  # TLS may answer by itself
            self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        self._outbox.add(self, self._loop)

    def flush(self) -> None:
        """For the outbox. What waits is nearly always a frame that a free channel takes at once."""
        self._scheduled = False
        link, waiting = self._link, self._waiting
        if self._free is None or not 0 < waiting <= FRAME or link.sent - link.acknowledged + waiting > self._limit:
            self._flush_otherwise(link, waiting)
        else:
            self._waiting = 0
            self._free(link.frame(self._fresh, waiting))
            self._fresh.clear()

    def _flush_otherwise(self, link: Link, waiting: int) -> None:
        self._free = None
        self._queue += self._fresh
        self._fresh.clear()
        transport = self._transport
        if self._closing:
            self._queue.clear()
            self._waiting = 0
        elif link.sent - link.acknowledged + waiting > self._limit:
            self._fail(self._full())
        elif transport is not None and link.open and not self._paused:
            self._send_parts(transport)
            if self._finishing or link.peer_finished or link.received - link.told >= ACKNOWLEDGE_EVERY:
                self._send_ends(transport)
            if not (self._finishing or link.peer_finished or self._paused or self._closing):
                self._free = transport.write

    def _send_parts(self, transport: asyncio.Transport) -> None:
        """As much of the queue as the transport takes, in frames of at most FRAME bytes."""
        queue = self._queue
        while self._waiting and not self._paused:
            pieces: list[bytes | memoryview] = []
            size = 0
            while queue and size + len(queue[0]) <= FRAME:
                size += len(queue[0])
                pieces.append(queue.popleft())
            if not size:
                pieces, size, rest = [memoryview(queue[0])[:FRAME]], FRAME, memoryview(queue[0])[FRAME:]
                queue[0] = rest
            self._waiting -= size
            transport.write(self._link.frame(pieces, size))

    def _send_ends(self, transport: asyncio.Transport) -> None:
        """What is due when nothing of the program's waits: a FIN, an acknowledgement, the end."""
        link = self._link
        if self._paused or self._waiting:
            return
        if self._finishing and not link.finished:
            transport.write(link.fin())
        elif link.untold >= ACKNOWLEDGE_EVERY or (link.peer_finished and link.untold):
            transport.write(link.acknowledgement())
        if link.complete:
            self._close(None)

    def _write(self, data: bytes) -> None:
        """Send what is no data of the program's; never pile it up for a peer that makes us answer and does not read."""
        if data and self._transport is not None:
            self._transport.write(data)
            if self._paused and self._transport.get_write_buffer_size() > self._limit:
                self._fail(self._full())

    def _full(self) -> PeerError:
        return PeerError(f"{self.name} does not take its bytes: more than {self._limit} wait")

    def _fail(self, error: ComityError) -> None:
        self._link.over, self._link.verdict = True, error
        self._judge()

    def _judge(self) -> None:
        """The link is over: say so to the peer, where that can be said, and end."""
        link, transport = self._link, self._transport
        farewell = link.farewell()
        if farewell and transport is not None and not self._closing:
            transport.write(farewell)
        self._close(link.verdict)

    def _tick(self, timeout: float, left: int) -> None:
        if left:
            self._timer = self._loop.call_later(timeout / TICKS, self._tick, timeout, left - 1)
        else:
            self._fail(PeerError(f"{self.name} did not answer the handshake within {timeout:g} s"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self, verdict: ComityError | None) -> None:
        """End with this verdict, unless there is one; the channel closes when what was sent has left."""
        if self._closing:
            return
        self._closing, self._free, self._verdict = True, None, verdict
        self._stop_timer()
        transport = self._transport
        if transport is None:
            self._loop.call_soon(self._tell)
        elif not transport.is_closing():
            if transport.can_write_eof():
                transport.write_eof()
            self._timer = self._loop.call_later(LINGER, transport.abort)
        if verdict is not None:
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._ended(self._verdict)


async def attach(stream: Stream, channel: socket) -> None:
    """Give the stream its channel: a connected stream socket, of which the stream then is the holder."""
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, channel)
    except OSError as exc:
        channel.close()
        stream.connection_lost(exc)
    except BaseException:
        channel.close()
        raise
