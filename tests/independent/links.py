"""Section 12 of docs/protocol.md: a link without input or output, over a channel, and over the channels of a pair."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.independent.notation import (
    ACK,
    CONTROL_LINK,
    DATA,
    FIN,
    FRAME_SIZE,
    GOODBYE,
    HELLO_SIZE,
    Fault,
    Frame,
    Hello,
    Malformed,
    Unverified,
    pack_goodbye,
    read_frame,
    read_goodbye,
    read_hello,
)

MAX_DATA = 1 << 20
ACK_AFTER = 256 << 10
MAX_IDLE = 1024
MAX_CHANNELS = 8
HANDSHAKE = 20  # seconds, of a control link


class Depth:
    """How many messages in a row stand behind what this process sends."""

    def __init__(self) -> None:
        self.value = 0

    def arrived(self, depth: int) -> None:
        self.value = max(self.value, min(depth + 1, 2**32 - 1))


@dataclass(frozen=True)
class Ends:
    """Whose link it is: T, the two numbers, this party's session key (seed) and certificate, the peer's certificate."""

    transcript: bytes
    me: int
    peer: int
    session: bytes
    certificate: bytes
    theirs: bytes
    incarnation: bytes

    @property
    def controls(self) -> bool:
        return self.me < self.peer

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if self.controls else ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_TICKET
        if not self.controls:
            context.num_tickets = 0
        key = Ed25519PrivateKey.from_private_bytes(self.session)
        with tempfile.NamedTemporaryFile() as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.write(x509.load_der_x509_certificate(self.certificate).public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        context.load_verify_locations(cadata=self.theirs)
        return context


Event = tuple[Any, ...]  # ("open",) ("data", bytes) ("fin",) ("complete",) ("goodbye", reason, detail) ("lost",)


class Link:
    """Bytes of the channel go in by `feed` and come out by `output`; what they mean is given as events."""

    def __init__(self, ends: Ends, kind: int, epoch: int, number: int, depth: Depth) -> None:
        self.ends, self.epoch, self._depth = ends, epoch, depth
        number = 0 if kind == CONTROL_LINK else number
        self._mine = Hello(ends.transcript, ends.me, ends.peer, kind, epoch, ends.incarnation, number, 0)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = ends.tls().wrap_bio(self._in, self._out, server_side=not ends.controls)
        self._buffer = bytearray()
        self._shaken = self._greeted = self.open = False
        self._sent = self._acknowledged = 0  # bytes sent, and what the peer has of them and of FIN
        self._arrived = self._told = 0  # bytes that have arrived, and what the peer knows of them
        self._fin_sent = self._fin_arrived = self._complete = False
        self.ended = self.heard = self._closed = False  # said the last word, heard the peer's, lost the channel
        self._idle = 0
        self._advance([])

    def feed(self, data: bytes) -> list[Event]:
        """`data`: empty at the end of the channel."""
        if not data:
            self._closed = True
            return [("lost",)]
        events: list[Event] = []
        self._in.write(data)
        self._advance(events)
        return events

    def output(self) -> bytes:
        return self._out.read()

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MAX_DATA):
            self._send(DATA, data[start : start + MAX_DATA])

    def fin(self) -> None:
        if not self._fin_sent:
            self._send(FIN)
            self._fin_sent = True

    def goodbye(self, reason: str, detail: str = "") -> None:
        self._send(GOODBYE, pack_goodbye(reason, detail))
        self.ended = True

    def _send(self, kind: int, body: bytes = b"") -> None:
        if self.ended or self._closed:
            return
        acknowledged = self._arrived + self._fin_arrived
        frame = Frame(kind, self.epoch, self._sent, acknowledged, self._depth.value, len(body))
        self._tls.write(frame.pack() + body)
        self._told = self._arrived
        if kind == DATA:
            self._sent += len(body)

    def _advance(self, events: list[Event]) -> None:
        try:
            if not self._shaken:
                self._tls.do_handshake()
                if self._tls.getpeercert(True) != self.ends.theirs:
                    raise Unverified("another certificate than the roster's")
                self._shaken = True
                self._tls.write(self._mine.pack())
            while data := self._tls.read(1 << 16):
                self._buffer += data
                self._read(events)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLCertVerificationError as error:
            raise Unverified("another certificate than the roster's") from error
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        except ssl.SSLError as error:
            if self.open:
                raise Unverified("the channel's bytes were changed") from error
        self._closed = True
        events.append(("lost",))

    def _read(self, events: list[Event]) -> None:
        if not self._greeted:
            if len(self._buffer) < HELLO_SIZE:
                return
            theirs, mine = read_hello(bytes(self._buffer[:HELLO_SIZE])), self._mine
            said = (theirs.transcript, theirs.sender, theirs.to, theirs.kind, theirs.epoch, theirs.number)
            if said != (mine.transcript, mine.to, mine.sender, mine.kind, mine.epoch, mine.number):
                raise Unverified("a hello of another link")
            del self._buffer[:HELLO_SIZE]
            self._greeted = True
            if self.ends.controls:
                self.open = True
                events.append(("open",))
                self._send(ACK)
        while len(self._buffer) >= FRAME_SIZE:
            frame = read_frame(bytes(self._buffer[:FRAME_SIZE]), self.epoch)
            if len(self._buffer) < FRAME_SIZE + frame.length:
                return
            body = bytes(self._buffer[FRAME_SIZE : FRAME_SIZE + frame.length])
            del self._buffer[: FRAME_SIZE + frame.length]
            if not self.open:
                self.open = True
                events.append(("open",))
            self._take(frame, body, events)

    def _take(self, frame: Frame, body: bytes, events: list[Event]) -> None:
        if frame.acknowledged > self._sent + self._fin_sent:
            raise Malformed("acknowledged what was not sent")
        self._idle = 0 if frame.kind in (DATA, FIN) or frame.acknowledged > self._acknowledged else self._idle + 1
        if self._idle > MAX_IDLE:
            raise Malformed("too many frames that say nothing")
        self._acknowledged = max(self._acknowledged, frame.acknowledged)
        if frame.offset > self._arrived:
            raise Malformed("a gap")
        if frame.kind == DATA:
            self._depth.arrived(frame.depth)
            fresh = body[max(0, self._arrived - frame.offset) :]
            if fresh and self._fin_arrived:
                raise Malformed("data behind the end")
            if fresh:
                self._arrived += len(fresh)
                events.append(("data", fresh))
            if self._arrived - self._told >= ACK_AFTER:
                self._send(ACK)
        elif frame.kind == FIN:
            if frame.offset != self._arrived:
                raise Malformed("an end at another offset")
            if not self._fin_arrived:
                self._fin_arrived = True
                events.append(("fin",))
            self._send(ACK)
        elif frame.kind == GOODBYE:
            self.heard = True
            events.append(("goodbye", *read_goodbye(body)))
        if self._fin_sent and self._fin_arrived and self._acknowledged > self._sent and not self._complete:
            self._complete = True
            events.append(("complete",))


Take = Callable[["Stream", Event], None]


class Stream:
    """A link over one channel. `run` ends with the channel, and tells `take` each event."""

    def __init__(self, link: Link, most: int) -> None:
        self.link, self._most = link, most
        self._writer: asyncio.StreamWriter | None = None
        self._ended = False
        self.closed = asyncio.Event()

    async def run(self, sock: socket.socket, take: Take) -> None:
        reader, self._writer = await asyncio.open_connection(sock=sock)
        try:
            self.flush()
            while True:
                try:
                    data = await reader.read(1 << 16)
                except OSError:
                    data = b""
                for event in self.link.feed(data):
                    take(self, event)
                self.flush()
                if not data:
                    return
        except Fault as fault:
            if self.link.open:
                self.goodbye(fault.told, str(fault))
            raise
        finally:
            self.close()
            self.closed.set()

    def flush(self) -> None:
        if self._writer is not None and not self._ended:
            self._writer.write(self.link.output())
            if self._writer.transport.get_write_buffer_size() > self._most:
                raise Fault("a peer does not take what is sent to it", culprit=self.link.ends.peer)

    def goodbye(self, reason: str, detail: str = "") -> None:
        self.link.goodbye(reason, detail)
        self.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def end(self) -> None:
        """Everything is sent, and nothing more will be."""
        if self._writer is not None and not self._ended:
            self._ended = True
            self._writer.write_eof()
            await self._writer.drain()


class Slot:
    """One link that is to be carried: tries the channels that it is offered until the link stands."""

    def __init__(
        self, ends: Ends, kind: int, epoch: int, depth: Depth, take: Take, blame: Callable[[Fault], None]
    ) -> None:
        self.ends, self._form, self._take, self._blame = ends, (kind, epoch), take, blame
        self._depth = depth
        self.failed: Callable[[], None] = lambda: None  # called when a channel was tried in vain
        self._trying: set[asyncio.Task[None]] = set()
        self.stands: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    @property
    def wants(self) -> bool:
        """Whether another channel is of use: who controls tries one at a time, the other side several."""
        return not self.stands.done() and len(self._trying) < (1 if self.ends.controls else MAX_CHANNELS)

    def offer(self, sock: socket.socket, number: int) -> None:
        if not self.wants:
            sock.close()
            return
        task = asyncio.create_task(self._try(sock, number))
        self._trying.add(task)
        task.add_done_callback(self._trying.discard)

    async def _try(self, sock: socket.socket, number: int) -> None:
        kind, epoch = self._form
        stream = Stream(Link(self.ends, kind, epoch, number, self._depth), (4 if kind == CONTROL_LINK else 512) << 20)
        limit = asyncio.timeout(HANDSHAKE if kind == CONTROL_LINK else None)

        def take(stream: Stream, event: Event) -> None:
            if event == ("open",):
                limit.reschedule(None)
                if not self.stands.done():
                    self.stands.set_result(stream)
            if self.stands.done() and self.stands.result() is stream:
                self._take(stream, event)

        try:
            async with limit:
                await stream.run(sock, take)
        except TimeoutError:
            pass  # as a channel that was lost: the next one may do
        except Fault as fault:
            fault.culprit = self.ends.peer
            self._blame(fault)
        if not self.stands.done():
            self.failed()
