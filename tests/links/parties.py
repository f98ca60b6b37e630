"""Parties for the tests of links: pairings, links joined in memory, and a peer that says whatever a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from typing import Any

from comity.core import preface
from comity.core.frames import ACK, HELLO_SIZE, FrameReader, Hello, Piece, pack_header
from comity.core.identity import public_key
from comity.links.certificate import make_certificate
from comity.links.link import Depth, Link
from comity.links.pairing import Pairing
from comity.links.tls import Tls

NAMES = ("alice", "bob", "carol", "dave")
ALICE, BOB, CAROL, DAVE = range(4)
NUMBER = 7  # of the channel


def seed(party: int) -> bytes:
    return bytes([party + 1]) * 32


certificate_of = cache(make_certificate)


def pairing(me: int, peer: int, **changes: Any) -> Pairing:
    """What `me` knows of its pair with `peer`; a test changes what its story needs."""
    fair = Pairing(
        transcript=b"T" * 32,
        me=me,
        peer=peer,
        name=NAMES[peer],
        kind=preface.DATA,
        epoch=0,
        incarnation=bytes([me]) * 16,
        seed=seed(me),
        certificate=certificate_of(seed(me)),
        peer_certificate=certificate_of(seed(peer)),
        peer_key=public_key(seed(peer)),
    )
    return replace(fair, **changes)


def link(me: int, peer: int, *, number: int = NUMBER, depth: Depth | None = None, **changes: Any) -> Link:
    return Link(pairing(me, peer, **changes), number, depth or Depth())


def join(a: Link, b: Link) -> tuple[bytes, bytes]:
    """Pass bytes both ways until both are quiet; returns what each delivers."""
    got_a, got_b = bytearray(), bytearray()
    a.start()
    b.start()
    while (to_b := a.tls.output()) + (to_a := b.tls.output()):
        if to_b:
            got_b += b"".join(b.receive(to_b))
        if to_a:
            got_a += b"".join(a.receive(to_a))
    return bytes(got_a), bytes(got_b)


def joined(a: int = ALICE, b: int = BOB) -> tuple[Link, Link]:
    """Two open links, one of each party."""
    first, second = link(a, b), link(b, a)
    join(first, second)
    assert first.open and second.open
    return first, second


class Channel(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Whoever tests a channel that does not take everything pauses it by hand."""

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Rogue:
    """Holds a pair's keys and says what it likes. TLS client or server as `pairing` has it."""

    def __init__(self, pairing: Pairing) -> None:
        self.pairing = pairing
        self.tls = Tls(pairing)
        self.heard = b""

    def hello(self, **changes: Any) -> bytes:
        p = self.pairing
        return replace(Hello(p.transcript, p.me, p.peer, p.kind, p.epoch, p.incarnation, NUMBER, 0), **changes).pack()

    def frame(self, kind: int, body: bytes = b"", offset: int = 0, acknowledged: int = 0, depth: int = 0) -> bytes:
        return pack_header(kind, self.pairing.epoch, offset, acknowledged, depth, len(body)) + body

    def meet(self, victim: Link, *said: bytes) -> bytes:
        """Handshake with the victim, then say that; returns what the victim delivers."""
        victim.start()
        delivered = b""
        while True:
            if not self.tls.verified and self.tls.handshake():
                for data in said:
                    self.tls.write(data)
            delivered += b"".join(victim.receive(self.tls.output()))
            back = victim.tls.output()
            if not back:
                return delivered
            self.tls.feed(back)
            if self.tls.verified:
                self.heard += b"".join(self.tls.read())

    def say(self, victim: Link, *said: bytes) -> bytes:
        """Go on after `meet`; returns what the victim delivers."""
        for data in said:
            self.tls.write(data)
        return b"".join(victim.receive(self.tls.output()))

    def frames_heard(self) -> list[Piece]:
        return FrameReader(self.pairing.epoch).feed(self.heard[HELLO_SIZE:])


def rogue_and_victim(rogue: int = ALICE, victim: int = BOB) -> tuple[Rogue, Link]:
    """A rogue whose hello was right, and the open link that met it."""
    bad, good = Rogue(pairing(rogue, victim)), link(victim, rogue)
    bad.meet(good, bad.hello(), bad.frame(ACK))
    assert good.open and not good.over
    return bad, good


__all__ = [name for name in dir() if not name.startswith("_")]
