"""The addresses of this machine, IPv4 and IPv6, without sending a packet."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

from comity.core.candidates import MACHINE_SIZE, Interface
from comity.core.encoding import digest

# rtnetlink(7): all of it in the machine's byte order
_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NEW_ADDRESS, _GET_ADDRESS, _ERROR, _DONE = 20, 22, 2, 3
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_UNFIT = 0x08 | 0x20 | 0x40
"""Duplicate detected, deprecated, tentative (IFA_F_*): not, no longer, or not yet to be used."""


def local_addresses() -> tuple[Interface, ...]:
    """Every address in use here, with the network that it is in, loopback and link-local ones too.

    Without rtnetlink (not Linux, or forbidden): loopback, and of each family the address that the default route uses.
    """
    try:
        found = tuple(_addresses(_dump()))
    except (AttributeError, OSError):
        found = tuple(_by_route())
    return tuple(dict.fromkeys(found))


def _dump() -> bytes:
    """The kernel's answer to RTM_GETADDR."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(1)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        sock.send(_MESSAGE.pack(_MESSAGE.size + len(body), _GET_ADDRESS, _REQUEST_DUMP, 1, 0) + body)
        answer = b""
        while True:
            part = sock.recv(1 << 16)
            answer += part
            kinds = [kind for kind, _ in _messages(part)]
            if _ERROR in kinds:
                raise OSError("rtnetlink refused")
            if _DONE in kinds or not part:
                return answer


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message."""
    while len(data) >= _MESSAGE.size:
        length, kind, *_ = _MESSAGE.unpack_from(data)
        yield kind, data[_MESSAGE.size : length]
        data = data[max(_MESSAGE.size, -(-length // 4) * 4) :]


def _addresses(data: bytes) -> Iterator[Interface]:
    for kind, body in _messages(data):
        if kind != _NEW_ADDRESS:
            continue
        _, prefix, flags, *_ = _ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body[_ADDRESS.size :]))
        if _IFA_FLAGS in attributes:
            flags = int.from_bytes(attributes[_IFA_FLAGS], sys.byteorder)
        # on a point-to-point interface IFA_ADDRESS is the other end's
        packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
        if packed and not flags & _UNFIT:
            yield ip_interface(f"{ip_address(packed)}/{prefix}")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[max(_ATTRIBUTE.size, -(-length // 4) * 4) :]


def _by_route() -> Iterator[Interface]:
    """What the routing table would send from; connecting a UDP socket sends nothing."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((elsewhere, 9))
                yield ip_interface(sock.getsockname()[0])
        except OSError:
            continue  # no route in this family
    yield ip_interface("127.0.0.1/8")
    yield ip_interface("::1/128")


def machine_mark(tag: bytes) -> bytes:
    """16 bytes that are equal for the parties of one session on one machine and network namespace, else different.

    Empty where the system does not tell. Only for this session (its `tag` is mixed in), so nobody is recognised by it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        namespace = Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return b""
    return digest("machine", tag, boot, namespace.to_bytes(8, "big"))[:MACHINE_SIZE]
