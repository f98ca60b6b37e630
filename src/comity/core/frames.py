"""Frames: what a link sends inside TLS.

First each side's hello, once:

    magic 2 | version 1 | T 32 | from 2 | to 2 | kind 1 | epoch 4 | incarnation 16 | channel number 4 | expected 8

then frames, of which the hello's version fixes the form; numbers are big endian:

    kind 1 | epoch 4 | offset 8 | acknowledged 8 | depth 4 | length 4 | length bytes

An offset counts the program's bytes of one direction and one epoch from 0 and means the same bytes for ever: a frame
that comes twice, or late on another channel, is harmless. `acknowledged` is the next offset that the sender expects.
FIN stands at the final offset and takes one place of its own there, so that it can be acknowledged.
`depth` is the sender's causal depth: how many messages in a row, each sent after the one before had arrived, led to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from comity.core.encoding import Fields, Malformed, decode, encode
from comity.core.limits import MAX_DETAIL, MAX_FRAME, MAX_GOODBYE
from comity.core.messages import REASONS

_HELLO: Final = struct.Struct("!2sB32sHHBI16sIQ")
HELLO_SIZE: Final = _HELLO.size
MAGIC: Final = b"cl"
VERSION: Final = 1

_HEADER: Final = struct.Struct("!BIQQII")
HEADER_SIZE: Final = 29
pack_header: Final = _HEADER.pack
"""The first bytes of a frame from kind, epoch, offset, acknowledged, depth and length, without a call between."""
unpack_header: Final = _HEADER.unpack_from
"""Those six from bytes that begin with a header."""

Header = tuple[int, int, int, int, int, int]
"""Kind, epoch, offset, acknowledged, depth and length."""

DATA: Final = 0
GOODBYE: Final = 1
FIN: Final = 2
ACK: Final = 3
DEEPEST: Final = 2**32 - 1
"""Depth counts no further: a peer that claims this much must not make ours overflow."""

GOODBYE_REASONS: Final = (*REASONS, "done")

Piece = tuple[int, int, int, int, bytes]
"""Kind, offset, acknowledged, depth, and bytes: of a data frame as much as has arrived, of a goodbye all."""


@dataclass(frozen=True)
class Hello:
    """Who is at this end of the channel, and what it takes the channel for."""

    transcript: bytes  # T, 32 bytes
    sender: int
    to: int
    kind: int  # preface.CONTROL or preface.DATA
    epoch: int
    incarnation: bytes  # of the sender's process, 16 bytes
    number: int  # of the channel
    expected: int  # next offset that the sender expects

    def pack(self) -> bytes:
        return _HELLO.pack(
            MAGIC,
            VERSION,
            self.transcript,
            self.sender,
            self.to,
            self.kind,
            self.epoch,
            self.incarnation,
            self.number,
            self.expected,
        )


def parse_hello(data: bytes, sender: str = "the peer") -> Hello:
    """The hello in HELLO_SIZE bytes; `sender` is its name for messages. Raises Malformed."""
    magic, version, *fields = _HELLO.unpack(data)
    if magic != MAGIC:
        raise Malformed(f"{sender} sent something else in place of a hello")
    if version != VERSION:
        raise Malformed(f"{sender} speaks version {version} of links, not {VERSION}", hint="use the same comity")
    return Hello(*fields)


def pack_goodbye(reason: str, detail: str) -> bytes:
    """The bytes of a goodbye frame; of `detail` what is printable, cut to MAX_DETAIL. ValueError: unknown reason."""
    if reason not in GOODBYE_REASONS:
        raise ValueError(f"{reason!r} is no reason for a goodbye")
    printable = "".join(c if c.isprintable() else " " for c in detail[:MAX_DETAIL])
    return encode({"reason": reason, "detail": printable})


def parse_goodbye(body: bytes, sender: str = "the peer") -> tuple[str, str]:
    """Reason and detail. Raises Malformed, also for a detail that could move the cursor of a terminal."""
    what = f"the goodbye of {sender}"
    fields = Fields(decode(body, MAX_GOODBYE, what), what)
    reason, detail = fields.choice("reason", GOODBYE_REASONS), fields.text("detail", MAX_DETAIL)
    fields.end()
    if not detail.isprintable():
        raise Malformed(f"the goodbye of {sender}: detail is not printable")
    return reason, detail


class FrameReader:
    """Cuts the bytes of one channel into frames. After Malformed it is of no more use.

    A data frame is passed on as its bytes arrive, in pieces that are frames in their own right: nothing is held but
    an incomplete header or goodbye.
    """

    def __init__(self, epoch: int, sender: str = "the peer") -> None:
        self._epoch, self._sender = epoch, sender
        self._held = b""
        self._left = 0  # bytes that the data frame under way still owes, and what its next piece is
        self._offset = self._acknowledged = self._depth = 0

    @property
    def between(self) -> bool:
        """Whether the next byte begins a frame."""
        return not (self._left or self._held)

    def feed(self, data: bytes) -> list[Piece]:
        """What `data` completes, in order. Raises Malformed."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[Piece] = []
        at, size = 0, len(data)
        if self._left:
            at = self._continue(data, pieces)
        while at < size:
            start = at + HEADER_SIZE
            if start > size:
                self._held = data[at:]
                break
            kind, epoch, offset, acknowledged, depth, length = _HEADER.unpack_from(data, at)
            if epoch != self._epoch:
                raise Malformed(f"{self._sender} sent a frame of epoch {epoch}, not {self._epoch}")
            end = start + length
            if kind == DATA:
                if not 0 < length <= MAX_FRAME:
                    raise Malformed(f"{self._sender} sent a frame of {length} bytes, from 1 to {MAX_FRAME} are allowed")
                if end > size:
                    self._offset, self._acknowledged, self._depth = offset, acknowledged, depth
                    self._left = length
                    at = start
                    if at < size:
                        at += self._continue(data[at:], pieces)
                    break
            elif kind > ACK:
                raise Malformed(f"{self._sender} sent a frame of the unknown kind {kind}")
            elif length > (MAX_GOODBYE if kind == GOODBYE else 0):
                raise Malformed(f"{self._sender} sent a frame of kind {kind} with {length} bytes")
            elif end > size:
                self._held = data[at:]
                break
            pieces.append((kind, offset, acknowledged, depth, data[start:end]))
            at = end
        return pieces

    def _continue(self, data: bytes, pieces: list[Piece]) -> int:
        """The next piece of the data frame under way; returns its size."""
        body = data if len(data) <= self._left else data[: self._left]
        pieces.append((DATA, self._offset, self._acknowledged, self._depth, body))
        self._left -= len(body)
        self._offset += len(body)
        return len(body)
