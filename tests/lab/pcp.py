"""A PCP client of our own, from the text of RFC 6887: one MAP request."""

import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from comity.lab.inside import inside

VERSION, MAP, RESPONSE = 2, 1, 0x80


@dataclass(frozen=True)
class Mapped:
    result: int
    lifetime: int
    address: str
    port: int


def mapped(address: str) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address)


def request(client: str, nonce: bytes, protocol: int, port: int, lifetime: int) -> bytes:
    head = struct.pack("!BBHI", VERSION, MAP, 0, lifetime) + mapped(client)
    return head + nonce + struct.pack("!B3xHH", protocol, port, 0) + mapped("0.0.0.0")  # noqa: S104 - no wish


def read(data: bytes, nonce: bytes) -> Mapped:
    version, kind, result, lifetime, _ = struct.unpack_from("!BBxBII", data)
    assert (version, kind, len(data), data[24:36]) == (VERSION, MAP | RESPONSE, 60, nonce)
    (port,) = struct.unpack_from("!H", data, 42)
    address = IPv6Address(data[44:60]).ipv4_mapped
    assert address is not None
    return Mapped(result, lifetime, str(address), port)


def ask(client: str, server: str, protocol: int, port: int, lifetime: int = 300) -> Mapped:
    """Map a port of one's own. Raises TimeoutError when nobody answers."""
    nonce = os.urandom(12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((server, 5351))
        sock.send(request(client, nonce, protocol, port, lifetime))
        return read(sock.recv(1100), nonce)


def map_port(pid: int, client: str, server: str, protocol: int, port: int) -> Mapped:
    """The same on the machine of a process."""
    return inside(pid, lambda: ask(client, server, protocol, port))
