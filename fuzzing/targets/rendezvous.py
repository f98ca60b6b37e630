"""The mailbox protocol, both ways."""

from __future__ import annotations

from collections.abc import Iterator

from comity.core.encoding import Malformed
from comity.rendezvous import wire
from fuzzing.target import target, text


def _from_server() -> Iterator[bytes]:
    yield wire.Welcome(bytes(range(16)), 7).pack()
    yield from (wire.Entry(position, body).pack() for position, body in ((1, b"body"), (2**32 - 1, b"")))
    yield wire.Refusal(bytes(32)).pack()
    yield b"\x09"


@target(_from_server, size=64, share=3, fresh=15_000)
def from_a_server(data: bytes) -> None:
    """rendezvous.wire.from_server"""
    try:
        said = wire.from_server(data)
    except Malformed:
        return
    assert said.pack() == data


def _from_member() -> Iterator[bytes]:
    yield from (b"\0" + wire.post(body) for body in (b"", b"body"))
    yield b"\0\x01"
    yield b"\1" + b"0123456789abcdef" * 2 + b"17"
    yield b"\1" + b"0123456789abcdef" * 2 + b"01"
    yield b"\1"


@target(_from_member, size=64, share=2, fresh=15_000)
def from_a_member(data: bytes) -> None:
    """rendezvous.wire.from_member, parse_query"""
    if data[:1] == b"\1":
        known, after = text(data[1:33]), text(data[33:])
        try:
            said = wire.parse_query({"incarnation": known, "after": after})
        except Malformed:
            return
        assert wire.query(*said) == {"incarnation": known, "after": after}
        return
    try:
        body = wire.from_member(data[1:])
    except Malformed:
        return
    assert wire.post(body) == data[1:]
