"""One peer in one epoch: MPyC's messages between a link and MPyC's own exchanger.

What a peer sends, byte by byte: the lower party of a pair begins with its number (2 bytes) and its PRSS keys (16 each);
then both send messages, `counter 8 | length 4 | payload`, little endian, the counter signed.

MPyC would take any number, wait for 4 GiB and fail deep inside on a counter that comes twice. So the number and the
keys are checked and then shown to MPyC; messages it never parses: their payloads go where it looks for them, the public
`buffers` of its exchanger, as bytes that know their sender. Its exchanger's `send` is in our place too.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from comity.core.encoding import Malformed
from comity.core.limits import LARGE, MAX_HELD, MAX_MESSAGE, MAX_UNCLAIMED, MESSAGE_COST
from comity.errors import ComityError, PeerError, ProgramError
from comity.mpyc_bridge.codec import received_from

PATIENCE: Final = 1.0
"""Seconds that a peer's goodbye may come after its last byte."""

_HEADER: Final = struct.Struct("<qI")
_pack: Final = _HEADER.pack
_unpack: Final = _HEADER.unpack_from
_KEY: Final = 16  # bytes of a PRSS key


class Link(Protocol):
    """What an exchange needs of links.stream.Stream."""

    def write(self, data: bytes, /) -> None: ...
    def finish(self) -> None: ...


class Exchange:
    """From the link's bytes to MPyC, and MPyC's to the link.

    `fault` is told of what the peer did wrong, and returns; nothing is ever raised into the link. `greeted` is
    called when MPyC has taken the lower party's greeting, `stopped` when it has no more use for the peer.
    """

    def __init__(
        self,
        peer: int,
        name: str,
        fault: Callable[[ComityError], None],
        greeted: Callable[[], None] = lambda: None,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._peer, self._name = peer, name
        self._fault, self._greeted, self._stopped = fault, greeted, stopped
        self._kind = received_from(peer)
        self._large = type(self._kind.__name__, (self._kind,), {"__slots__": (), "__del__": self._dropped()})
        self._exchanger: Any = None  # MPyC's MessageExchanger
        self._link: Link | None = None
        self._greeting = 0  # bytes that the peer's number and keys still take
        self._rest = bytearray()  # the beginning of a message or greeting
        self._needed = 0  # bytes without which the rest is of no use
        self._between = False  # the next byte begins a message
        self._stored = 0  # what small messages cost that nobody had asked for when they came
        self._held = 0  # bytes of large messages that something holds
        self.write: Callable[[bytes], None]  # to the link, since MPyC has its end
        self.messages_sent = self.messages_received = 0
        self._bytes_sent = 0  # as MPyC counts them
        self.peer_finished = False
        self.closed = False
        self.settled = False  # closed when all parties were at the end of the runtime's shutdown

    @property
    def attached(self) -> bool:
        """Whether MPyC has its end of this connection."""
        return self._exchanger is not None

    @property
    def registered(self) -> bool:
        """Whether MPyC counts this peer as connected."""
        return self.attached and not self._greeting

    @property
    def awaited(self) -> bool:
        """Whether the program has asked for a message that has not come."""
        slots = () if self._exchanger is None else self._exchanger.buffers.values()
        return any(not isinstance(slot, bytes) and not slot.done() for slot in slots)

    def attach(self, exchanger: Any, link: Link) -> MessageTransport:
        """Give MPyC its connection; from now on the peer's bytes may come."""
        self._exchanger, self._link, self.write = exchanger, link, link.write
        if exchanger.peer_pid is None:
            self._greeting = 2 + _KEY * keys_from(exchanger.runtime, self._peer)
        exchanger.__class__ = self._sending(type(exchanger))
        transport = MessageTransport(self, self._peer)
        exchanger.connection_made(transport)
        return transport

    def feed(self, data: bytes) -> None:
        """Bytes of the peer, in order: nearly always one message, which takes the short way."""
        try:
            size = len(data) - 12
            if self._between and 0 <= size < LARGE:
                header: tuple[int, int] = _unpack(data)
                counter, length = header
                if length == size:
                    self._give(counter, self._kind(data[12:]), length + MESSAGE_COST)
                    return
            self._feed_others(data)
        except ComityError as exc:
            self._fault(exc)
        except Exception as exc:
            self._fault(ComityError(f"MPyC's messages from {self._name} could not be read: {exc!r}"))

    def _feed_others(self, data: bytes | bytearray) -> None:
        """The greeting, several messages, parts of messages, large ones."""
        if self._greeting or self._exchanger is None:
            data = self._greet(data)
            if self._greeting:
                return
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data, self._rest = rest, bytearray()
        at, size, self._needed = 0, len(data), 12
        while size - at >= 12:
            counter, length = _unpack(data, at)
            if length >= LARGE:
                self._make_room(length)
            end = at + 12 + length
            if end > size:
                self._needed = 12 + length
                break
            if length < LARGE:
                self._give(counter, self._kind(data[at + 12 : end]), length + MESSAGE_COST)
            else:
                self._give(counter, self._hold_large(data, at + 12, end), 0)
            at = end
        if at < size:
            self._rest += data[at:]
        self._between = not (self._rest or self._greeting)

    def _give(self, counter: int, payload: bytes, cost: int) -> None:
        """A message for MPyC, which may wait for it; `cost`: what it takes to keep it till then, if counted here."""
        self.messages_received += 1
        buffers = self._exchanger.buffers
        slot = buffers.pop(counter, None)
        if slot is None:
            buffers[counter] = payload
            self._stored += cost
            if self._stored > 2 * MAX_UNCLAIMED:
                self._recount()
        elif isinstance(slot, bytes):
            raise Malformed(f"{self._name} used the counter of a message twice")
        else:
            try:
                slot.set_result(payload)
            except asyncio.InvalidStateError:
                return  # the program waits for it no more

    def finish(self, running: bool) -> None:
        """The peer has finished: everything that it sent is here. `running`: the runtime's start was complete.

        That is usual in one place only: the lower party of a pair closes at the end of MPyC's shutdown. Anywhere else
        the peer left early, which matters as soon as the program needs it, and not before.
        """
        self.peer_finished = True
        if self._exchanger is None or self.closed:
            return
        if self._rest:
            self._fault(Malformed(f"{self._name} ended in the middle of a message"))
        elif running and shutting_down(self._exchanger.runtime):
            self.close()
        else:
            self._hold()

    def end(self, error: ComityError | None) -> None:
        """The link has ended. A lost channel is harmless once the peer has finished."""
        if error is not None and not (self.peer_finished and type(error) is PeerError):
            self._fault(error)

    def close(self) -> None:
        """What MPyC wrote still leaves; then MPyC is told, as by any transport, that the connection is no more."""
        if not self.closed and self._link is not None:
            self.closed, self.settled = True, shutting_down(self._exchanger.runtime)
            self._link.finish()
            self._stopped()
            asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        runtime = self._exchanger.runtime
        self._exchanger.buffers.clear()  # nobody will ask any more
        if runtime.parties[self._peer].protocol is not self._exchanger:
            return  # the program has started its runtime again: MPyC would take this for the end of the new connection
        try:
            self._exchanger.connection_lost(None)
        except asyncio.InvalidStateError:
            # `async with mpc` left by an exception: MPyC resolves the future of its start a second time.
            return

    def _greet(self, data: bytes | bytearray) -> bytes:
        """The peer's number and keys; returns what follows them."""
        if self._exchanger is None:
            raise Malformed(f"{self._name} sent messages before its turn")
        rest = self._rest
        rest += data
        if len(rest) >= 2:
            claimed = int.from_bytes(rest[:2], "little")
            if claimed != self._peer:
                raise Malformed(f"{self._name} is party {self._peer} and calls itself party {claimed}")
        if len(rest) < self._greeting:
            return b""
        greeting, follows = bytes(rest[: self._greeting]), bytes(rest[self._greeting :])
        self._rest, self._greeting = bytearray(), 0
        self._exchanger.data_received(greeting)
        if self._exchanger.peer_pid != self._peer:
            raise ComityError(f"MPyC took {len(greeting)} bytes of {self._name}'s keys for too few")
        self._greeted()
        return follows

    def _recount(self) -> None:
        """What has come and the program has not asked for. MPyC does not say what it claims: look again, seldom."""
        small = [len(slot) for slot in self._exchanger.buffers.values() if slot.__class__ is self._kind]
        self._stored = sum(small) + MESSAGE_COST * len(small)
        if self._stored > MAX_UNCLAIMED:
            raise PeerError(f"{self._name} sent {len(small)} messages that the program did not ask for")

    def _make_room(self, length: int) -> None:
        """For a large message, of which only the beginning is here."""
        if length > MAX_MESSAGE:
            raise Malformed(f"{self._name} announced a message of {length} bytes, {MAX_MESSAGE} are allowed")
        if self._held + length > MAX_HELD:
            held = f"{self._held + length} bytes at once, {MAX_HELD} are allowed"
            raise PeerError(f"{self._name} sent more than the program takes: {held}")

    def _hold_large(self, data: bytes | bytearray, start: int, end: int) -> bytes:
        """A message out of these bytes; counted until nothing holds it any more."""
        self._held += end - start
        payload: bytes = self._large(memoryview(data)[start:end])
        return payload

    def _dropped(self) -> Callable[[bytes], None]:
        def dropped(payload: bytes) -> None:
            self._held -= len(payload)

        return dropped

    def _sending(self, base: type[Any]) -> type[Any]:
        """MPyC's exchanger, but that its messages go to the link in one step."""

        def send(exchanger: Any, counter: Any, payload: Any) -> None:
            size = len(payload)
            if size > MAX_MESSAGE:
                error = f"the program sends {size} bytes at once, {MAX_MESSAGE} are allowed"
                self._fault(ProgramError(error, hint="send them in parts"))
            self.messages_sent += 1
            self._bytes_sent += 12 + size
            self.write(_pack(counter, size) + payload)

        sent = property(lambda _: self._bytes_sent)
        return type(base.__name__, (base,), {"__slots__": (), "send": send, "nbytes_sent": sent})

    def _hold(self) -> None:
        """Go on without the peer, until the program needs it."""
        if self.awaited:
            self._missed()
            return
        self._exchanger.buffers = _Closed(self._exchanger.buffers, self._missed)
        self.write = lambda _: self._missed()  # it reads nothing any more

    def _missed(self) -> None:
        """The program needs a peer that has finished. If that peer failed, its goodbye is on its way and says more."""
        hint = f"ask {self._name} what happened"
        error = PeerError(f"{self._name} left while the program here still needs it", hint=hint)
        asyncio.get_running_loop().call_later(PATIENCE, self._fault, error)


class _Closed(dict[int, Any]):
    """The buffers of a peer that has finished: asking for what did not come is a fault."""

    def __init__(self, left: dict[int, Any], missed: Callable[[], None]) -> None:
        super().__init__(left)
        self._missed = missed

    def __setitem__(self, counter: int, slot: Any) -> None:
        super().__setitem__(counter, slot)
        self._missed()


class MessageTransport(asyncio.Transport):
    """What MPyC's exchanger takes for its connection: it writes its greeting, and closes."""

    def __init__(self, exchange: Exchange, peer: int) -> None:
        super().__init__({"peername": (f"party{peer}", 0)})
        self._exchange = exchange

    def write(self, data: Any) -> None:
        self._exchange.write(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._exchange.close()

    def abort(self) -> None:
        self._exchange.close()

    def is_closing(self) -> bool:
        return self._exchange.closed


def keys_from(runtime: Any, peer: int) -> int:
    """How many PRSS keys a lower party sends to this one: one for each subset of m - t parties that begins with it and
    holds this party."""
    if runtime.options.no_prss:
        return 0
    m, me = len(runtime.parties), runtime.pid
    others = m - runtime.threshold - 2  # of those above the peer, without this party
    return math.comb(m - peer - 2, others) if me > peer and others >= 0 else 0


def shutting_down(runtime: Any) -> bool:
    """Whether MPyC has synchronised all parties and waits for its connections to close.

    Its own place among the parties then holds a future that the last closed connection resolves. The same is so while
    it starts.
    """
    own = runtime.parties[runtime.pid].protocol
    return isinstance(own, asyncio.Future) and not own.done()
