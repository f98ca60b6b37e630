"""STUN binding messages of RFC 8489 with the attributes of RFC 5780, as bytes: what behaviour tests need."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

COOKIE = 0x2112A442
REQUEST, SUCCESS = 0x0001, 0x0101
TRANSACTION = 12
"""Bytes of a transaction's identifier."""

MAX_SIZE = 1500
"""Bytes of a message: what one packet takes."""

_CHANGE_REQUEST, _XOR_MAPPED_ADDRESS, _RESPONSE_ORIGIN, _OTHER_ADDRESS = 0x0003, 0x0020, 0x802B, 0x802C
_CHANGE_ADDRESS, _CHANGE_PORT = 4, 2
_HEADER = struct.Struct("!HHI12s")

Address = tuple[str, int]


@dataclass(frozen=True)
class Request:
    """Answer me; `change`: from the server's other address, from its other port."""

    transaction: bytes
    change: tuple[bool, bool] = (False, False)

    def pack(self) -> bytes:
        attributes = b""
        if any(self.change):
            flags = _CHANGE_ADDRESS * self.change[0] | _CHANGE_PORT * self.change[1]
            attributes = _attribute(_CHANGE_REQUEST, flags.to_bytes(4, "big"))
        return _message(REQUEST, self.transaction, attributes)


@dataclass(frozen=True)
class Response:
    """You are seen as `mapped`; I answer from `origin`; `other`: the address and the port that are both not that."""

    transaction: bytes
    mapped: Address
    origin: Address | None = None
    other: Address | None = None

    def pack(self) -> bytes:
        attributes = _attribute(_XOR_MAPPED_ADDRESS, _address(self.mapped, self.transaction))
        for kind, address in ((_RESPONSE_ORIGIN, self.origin), (_OTHER_ADDRESS, self.other)):
            if address is not None:
                attributes += _attribute(kind, _address(address))
        return _message(SUCCESS, self.transaction, attributes)


def parse(data: bytes) -> Request | Response | None:
    """A binding request or its success; None: anything else."""
    if not _HEADER.size <= len(data) <= MAX_SIZE:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if cookie != COOKIE or length != len(data) - _HEADER.size or length % 4:
        return None
    attributes: dict[int, bytes] = {}
    at = _HEADER.size
    while at < len(data):
        number, size = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + size]
        if len(value) < size:
            return None
        attributes.setdefault(number, value)  # the first of a kind counts
        at += 4 + size + -size % 4
    if kind == REQUEST:
        flags = int.from_bytes(attributes.get(_CHANGE_REQUEST, b""), "big")
        return Request(transaction, (bool(flags & _CHANGE_ADDRESS), bool(flags & _CHANGE_PORT)))
    mapped = _read(attributes.get(_XOR_MAPPED_ADDRESS, b""), transaction)
    if kind != SUCCESS or mapped is None:
        return None
    return Response(
        transaction, mapped, _read(attributes.get(_RESPONSE_ORIGIN, b"")), _read(attributes.get(_OTHER_ADDRESS, b""))
    )


def _message(kind: int, transaction: bytes, attributes: bytes) -> bytes:
    return _HEADER.pack(kind, len(attributes), COOKIE, transaction) + attributes


def _attribute(number: int, value: bytes) -> bytes:
    return struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)


def _address(address: Address, transaction: bytes | None = None) -> bytes:
    """With a transaction: in its XORed form, which NATs that rewrite addresses in packets do not find."""
    packed = ipaddress.ip_address(address[0]).packed
    port = address[1]
    if transaction is not None:
        packed = _xor(packed, transaction)
        port ^= COOKIE >> 16
    return struct.pack("!xBH", 1 if len(packed) == 4 else 2, port) + packed


def _read(value: bytes, transaction: bytes | None = None) -> Address | None:
    if (len(value), value[1:2]) not in ((8, b"\x01"), (20, b"\x02")):
        return None
    port, packed = int.from_bytes(value[2:4], "big"), value[4:]
    if transaction is not None:
        packed = _xor(packed, transaction)
        port ^= COOKIE >> 16
    return str(ipaddress.ip_address(packed)), port


def _xor(packed: bytes, transaction: bytes) -> bytes:
    mask = COOKIE.to_bytes(4, "big") + transaction
    return bytes(a ^ b for a, b in zip(packed, mask, strict=False))
