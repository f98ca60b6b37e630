"""One link on one channel, as a machine over memory: handshake, hello, frames, acknowledgements, fin and goodbye.

Order of events, each side for itself:

    handshake   TLS; then the certificate is compared and my hello sent
    hello       theirs is compared field by field with what this end takes the channel for
    open        the client at their hello; the server at the client's first frame, which says that my hello was right
    complete    both FINs are acknowledged
    over        the peer said goodbye or broke the protocol, as `verdict` says, or this side said goodbye

Whatever arrives after `over` is ignored, and nothing is sent but a farewell.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

from comity.core import frames
from comity.core.encoding import Malformed
from comity.core.frames import (
    ACK,
    DATA,
    DEEPEST,
    FIN,
    GOODBYE,
    HEADER_SIZE,
    HELLO_SIZE,
    FrameReader,
    Header,
    Hello,
    Piece,
    pack_header,
    unpack_header,
)
from comity.core.limits import MAX_IDLE_FRAMES
from comity.errors import ComityError, PeerError, VerificationError
from comity.links.pairing import Pairing
from comity.links.tls import AROUND, RECORD, Tls

ONE_RECORD: Final = RECORD - HEADER_SIZE
"""Bytes of data that leave as one frame in one TLS record."""


class Depth:
    """The process's causal depth, shared by all its links."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Goodbye(PeerError):
    """another party said goodbye"""

    def __init__(self, name: str, reason: str, detail: str) -> None:
        super().__init__(f"{name} said goodbye: {reason}" + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail


class Link:
    def __init__(self, pairing: Pairing, number: int, depth: Depth) -> None:
        self.pairing, self.number = pairing, number
        self.tls = Tls(pairing)
        self.feed = self.tls.feed  # bytes from the channel, for `usual`
        self.greeted = False  # my hello is out
        self.open = False
        self.over = False
        self.verdict: ComityError | None = None
        self.peer_incarnation = b""
        self.sent = 0  # the program's bytes of either direction: the next offset
        self.received = 0
        self.acknowledged = 0  # of mine, by the peer; one more than `sent` once it has my FIN
        self.finished = False  # my FIN is out
        self.peer_finished = False
        self.told = 0  # the last acknowledgement that went out
        self._depth = depth
        self._epoch = pairing.epoch
        self._idle = 0
        self._regular = False  # open, nothing half read, no FIN: what comes should be a record of one frame
        self._unread: bytes | None = None  # a record that was none
        self.more = False  # behind the usual record there is more
        self._hello = b""
        self._reader = FrameReader(pairing.epoch, pairing.name)
        self._cut: Callable[[bytes], list[Piece]] = self._cut_hello

    @property
    def untold(self) -> int:
        """What has been received and not yet been acknowledged, a FIN counting one."""
        return self.received + self.peer_finished - self.told

    @property
    def complete(self) -> bool:
        """Both directions are at their end and both sides know it."""
        return self.peer_finished and self.finished and self.acknowledged > self.sent and self.untold == 0

    def start(self) -> None:
        """The first bytes, if this end speaks first."""
        self._advance()

    def receive(self, data: bytes | memoryview) -> list[bytes]:
        """Bytes from the channel; returns those for the program. Look at `over` afterwards."""
        self.feed(data)
        usual = self.usual(len(data))
        return [*([] if usual is None else [usual]), *self.others()]

    def usual(self, size: int) -> bytes | None:
        """What the next of `size` bytes in `feed` say to the program, if they are a record of one frame, the next one.

        So is nearly everything that comes, and each step between the channel and the program costs as much as the
        encryption: hence few steps. None, or `more`: go on with `others`.
        """
        if not (self._regular and size):
            return None
        tls = self.tls
        try:
            chunk = tls.take(min(size, RECORD))
        except ssl.SSLWantReadError:
            tls.between = self._regular = False
            return None
        except ssl.SSLError as exc:
            self._end(tls.translate(exc))
            return None
        body = len(chunk) - HEADER_SIZE
        if body > 0:
            fields: Header = unpack_header(chunk)
            kind, epoch, offset, acknowledged, depth, length = fields
            if (
                kind == DATA
                and offset == self.received
                and length == body
                and self.acknowledged <= acknowledged <= self.sent
                and epoch == self._epoch
            ):
                self.received = offset + length
                self.acknowledged = acknowledged
                self._idle = 0
                if depth >= self._depth.value:
                    self._depth.value = min(depth + 1, DEEPEST)
                if body != size - AROUND - HEADER_SIZE:
                    self.more = True
                return chunk[HEADER_SIZE:]
        self._regular, self._unread = False, chunk
        return None

    def others(self) -> list[bytes]:
        """What else has come, for the program."""
        deliver: list[bytes] = []
        self.more = False
        while self._regular and (size := self.tls.waiting()):
            usual = self.usual(size)
            if usual is not None:
                deliver.append(usual)
        unread, self._unread = self._unread, None
        if self._regular or self.over:
            return deliver
        try:
            if unread is not None:
                if not unread:
                    raise self.pairing.lost()  # the end of TLS
                self._take(unread, deliver)
            if self.greeted or self._advance():
                for chunk in self.tls.read():
                    self._take(chunk, deliver)
                if not self.tls.between:
                    self.tls.check()
            self._regular = self.open and self._reader.between and not self.peer_finished and self.tls.between
        except ComityError as exc:
            self._end(exc)
        return deliver

    def frame(self, pieces: list[bytes | memoryview], size: int) -> bytes:
        """For the channel: one data frame of the `size` bytes in `pieces`, at most MAX_FRAME."""
        tls = self.tls
        self.told = told = self.received + self.peer_finished
        header = pack_header(DATA, self._epoch, self.sent, told, self._depth.value, size)
        self.sent += size
        if size <= ONE_RECORD or len(pieces) > 1:
            tls.write(b"".join([header, *pieces]))
        else:
            tls.write(header)  # a record of its own costs less than a copy
            tls.write(pieces[0])
        return tls.output()

    def acknowledgement(self) -> bytes:
        """For the channel: a frame that only acknowledges."""
        self.tls.write(self._header(ACK, 0))
        return self.tls.output()

    def fin(self) -> bytes:
        """For the channel: nothing follows from this side."""
        self.tls.write(self._header(FIN, 0))
        self.finished = True
        return self.tls.output()

    def goodbye(self, reason: str, detail: str) -> bytes:
        """For the channel: the end, and why. Without a word while the peer is not known to be the peer."""
        if self.greeted:
            body = frames.pack_goodbye(reason, detail)
            self.tls.write(self._header(GOODBYE, len(body)) + body)
        self._end(self.verdict)
        return self.tls.output()

    def farewell(self) -> bytes:
        """For the channel: what the peer should hear of a verdict of this side."""
        if self.verdict is None or self.tls.broken or isinstance(self.verdict, Goodbye):
            return self.tls.output()
        return self.goodbye("protocol", self.verdict.message)

    def _end(self, verdict: ComityError | None) -> None:
        self.over, self.verdict, self._regular = True, verdict, False

    def _header(self, kind: int, length: int) -> bytes:
        self.told = told = self.received + self.peer_finished
        return pack_header(kind, self._epoch, self.sent, told, self._depth.value, length)

    def _advance(self) -> bool:
        """The handshake; at its end my hello. True once that is out."""
        if self.tls.handshake():
            p = self.pairing
            hello = Hello(p.transcript, p.me, p.peer, p.kind, p.epoch, p.incarnation, self.number, 0)
            self.tls.write(hello.pack())
            self.greeted = True
        return self.greeted

    def _take(self, chunk: bytes, deliver: list[bytes]) -> None:
        """Whatever a record may say."""
        for kind, offset, acknowledged, depth, body in self._cut(chunk):
            if acknowledged != self.acknowledged:
                self._take_acknowledgement(acknowledged)
            if kind == DATA and offset == self.received and not self.peer_finished:
                self.received = offset + len(body)
                self._idle = 0
                deliver.append(body)
            else:
                self._take_other(kind, offset, body, deliver)
            if depth >= self._depth.value and kind == DATA:
                self._depth.value = min(depth + 1, DEEPEST)

    def _take_other(self, kind: int, offset: int, body: bytes, deliver: list[bytes]) -> None:
        name = self.pairing.name
        self._idle += 1
        if self._idle > MAX_IDLE_FRAMES:
            raise Malformed(f"{name} sends frames that say nothing")
        if offset > self.received:
            raise Malformed(f"{name} left out {offset - self.received} bytes")
        if kind == DATA:
            body = body[self.received - offset :]  # it was sent twice, in part at least
            if body and self.peer_finished:
                raise Malformed(f"{name} sent data after its end")
            if body:
                self._idle = 0
                self.received += len(body)
                deliver.append(body)
        elif kind == FIN:
            if offset != self.received:
                raise Malformed(f"{name} ended before what it has sent")
            self.peer_finished = True
        elif kind == GOODBYE:
            raise Goodbye(name, *frames.parse_goodbye(body, name))

    def _take_acknowledgement(self, acknowledged: int) -> None:
        if acknowledged > self.sent + self.finished:
            raise Malformed(f"{self.pairing.name} acknowledges what was never sent")
        if acknowledged > self.acknowledged:
            self.acknowledged = acknowledged
            self._idle = 0

    def _cut_hello(self, chunk: bytes) -> list[Piece]:
        """Collects the hello; then frames follow."""
        missing = HELLO_SIZE - len(self._hello)
        self._hello += chunk[:missing]
        if len(self._hello) < HELLO_SIZE:
            return []
        self._compare(frames.parse_hello(self._hello, self.pairing.name))
        if self.pairing.client:
            self.open = True
            self.tls.write(self._header(ACK, 0))
            self._cut = self._reader.feed
        else:
            self._cut = self._cut_first
        return self._cut(chunk[missing:])

    def _cut_first(self, chunk: bytes) -> list[Piece]:
        """The client's first frame says that it has accepted my hello."""
        pieces = self._reader.feed(chunk)
        if pieces:
            self.open = True
            self._cut = self._reader.feed
        return pieces

    def _compare(self, hello: Hello) -> None:
        p, name = self.pairing, self.pairing.name
        for what, theirs, ours in (
            ("session", hello.transcript, p.transcript),
            ("sender", hello.sender, p.peer),
            ("receiver", hello.to, p.me),
            ("kind", hello.kind, p.kind),
            ("epoch", hello.epoch, p.epoch),
            ("channel", hello.number, self.number),
        ):
            if theirs != ours:
                raise VerificationError(
                    f"{name}'s hello is for another {what}", hint="a channel led to the wrong place"
                )
        if hello.expected != 0:
            raise Malformed(f"{name} expects a link that goes on, and this one begins")
        self.peer_incarnation = hello.incarnation
