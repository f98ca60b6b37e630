"""The preface: what stands first on every channel, in clear, so that a node knows whose it is.

    magic 2 | version 1 | session tag 16 | from 2 | to 2 | kind 1 | epoch 4 | channel number 4 | nonce 16 | MAC 16

The dialler sends one, the other side answers with its own, and the dialler proves that it is there by a MAC over both:
a preface that somebody has recorded gets no further. All this only routes; the link inside authenticates.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from comity.core.identity import authenticate

_FORM = struct.Struct("!2sB16sHHBII16s")
SIZE = _FORM.size + 16
PROOF_SIZE = 16
MAGIC, VERSION = b"cy", 2
CONTROL, DATA = 0, 1


@dataclass(frozen=True)
class Preface:
    tag: bytes  # of the session, 16 bytes
    sender: int
    to: int
    kind: int
    epoch: int
    number: int  # of the channel, counted by its dialler
    nonce: bytes  # 16 fresh random bytes

    def pack(self, key: bytes) -> bytes:
        numbers = self.sender, self.to, self.kind, self.epoch, self.number
        head = _FORM.pack(MAGIC, VERSION, self.tag, *numbers, self.nonce)
        return head + authenticate(key, head)


def parse(data: bytes) -> Preface | None:
    """Fields that are not yet authentic; None for anything but a preface of this version."""
    if len(data) != SIZE:
        return None
    magic, version, tag, sender, to, kind, epoch, number, nonce = _FORM.unpack(data[: _FORM.size])
    if magic != MAGIC or version != VERSION or kind not in (CONTROL, DATA):
        return None
    return Preface(tag, sender, to, kind, epoch, number, nonce)


def authentic(data: bytes, key: bytes) -> bool:
    return hmac.compare_digest(authenticate(key, data[: _FORM.size]), data[_FORM.size :])


def proof(question: bytes, answer: bytes, key: bytes) -> bytes:
    """What the dialler says once it has the answer to its preface: PROOF_SIZE bytes."""
    return authenticate(key, b"proof" + question + answer)
