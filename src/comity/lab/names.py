"""The lab's name service: what each machine's resolver at 127.0.0.53 answers. As much of RFC 1035 as programs need."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comity.lab.inside import inside

ADDRESS = ("127.0.0.53", 53)
A, AAAA, ANY = 1, 28, 255
IN = 1
SECONDS = 5
"""How long an answer may be remembered: a machine that moves is found again soon."""
RESPONSE, RECURSION = 0x8400, 0x0080
FORMAT_ERROR, NO_NAME, NOT_IMPLEMENTED = 1, 3, 4
MAX_QUERY = 512


def answer(query: bytes, names: Mapping[str, Sequence[str]]) -> bytes | None:
    """The reply to one query; None for what is none."""
    if len(query) < 12:
        return None
    number, flags, questions = struct.unpack_from("!HHH", query)
    if flags & 0x8000:
        return None
    head = RESPONSE | RECURSION | flags & 0x7900
    if flags & 0x7800:
        return struct.pack("!6H", number, head | NOT_IMPLEMENTED, 0, 0, 0, 0)
    asked = _question(query) if questions == 1 else None
    if asked is None:
        return struct.pack("!6H", number, head | FORMAT_ERROR, 0, 0, 0, 0)
    name, kind, end = asked
    records = [_record(address) for address in names.get(name, ()) if kind in (_kind(address), ANY)]
    code = 0 if name in names else NO_NAME
    return struct.pack("!6H", number, head | code, 1, len(records), 0, 0) + query[12:end] + b"".join(records)


def _question(query: bytes) -> tuple[str, int, int] | None:
    """Name, kind, and where the question ends; None where it is no question."""
    labels, place = [], 12
    while place < len(query) and (size := query[place]):
        if size > 63 or place + 1 + size > len(query):
            return None
        labels.append(query[place + 1 : place + 1 + size])
        place += 1 + size
    if place + 5 > len(query):
        return None
    kind, group = struct.unpack_from("!HH", query, place + 1)
    if group != IN:
        return None
    return b".".join(labels).decode("latin-1").lower(), kind, place + 5


def _kind(address: str) -> int:
    return AAAA if ":" in address else A


def _record(address: str) -> bytes:
    """The name is that of the question, which starts at byte 12."""
    data = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return struct.pack("!HHHIH", 0xC00C, _kind(address), IN, SECONDS, len(data)) + data


@dataclass(eq=False)
class Resolver:
    """One machine's."""

    sock: socket.socket
    names: Mapping[str, Sequence[str]]

    @classmethod
    def start(cls, netns: str, names: Mapping[str, Sequence[str]]) -> Resolver:
        made = cls(inside(netns, _socket), names)
        asyncio.get_running_loop().add_reader(made.sock, made._read)
        return made

    def _read(self) -> None:
        try:
            query, caller = self.sock.recvfrom(MAX_QUERY)
            if reply := answer(query, self.names):
                self.sock.sendto(reply, caller)
        except OSError:  # a caller that has gone
            return


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(ADDRESS)
    return sock
