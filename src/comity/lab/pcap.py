"""Captures in the pcap format (draft-ietf-opsawg-pcap), with nanoseconds, of raw IP packets."""

from __future__ import annotations

import struct

from comity.lab.internet import HEADER

LINKTYPE_RAW = 101
SNAPLEN = 1 << 16

NEEDS_CHECKSUM = 1
"""Flag of a virtio_net_hdr: the checksum field holds the pseudo header's sum, and the rest is to be added."""

FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW)


def checksum(data: bytes) -> int:
    """The Internet checksum's sum of RFC 1071, complemented: 16-bit words added modulo 2**16 - 1."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def whole(packet: bytes) -> bytes:
    """The packet behind its virtio_net_hdr, with the checksum that a network card would have put in."""
    flags, _, _, _, start, offset = struct.unpack_from("=BBHHHH", packet)
    data = packet[HEADER:]
    at = start + offset
    if not flags & NEEDS_CHECKSUM or at + 2 > len(data):
        return data
    total = checksum(data[start:]) or 0xFFFF  # UDP sends all ones for zero, and no other protocol minds
    return data[:at] + total.to_bytes(2, "big") + data[at + 2 :]


def record(packet: bytes, time_ns: int) -> bytes:
    """One packet as it stands in a file. `packet`: with its virtio_net_hdr."""
    data = whole(packet)
    kept = data[:SNAPLEN]
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return struct.pack("=IIII", seconds, nanoseconds, len(kept), len(data)) + kept
