"""Packets as a TUN device hands them over: made by hand, from the RFCs."""

import socket
import struct


def ipv4(source: str, target: str, payload: bytes = b"", *, protocol: int = 17, header: bytes = bytes(10)) -> bytes:
    length = 20 + len(payload)
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    return header + struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, 0) + addresses + payload


def ipv6(source: str, target: str, payload: bytes = b"", *, protocol: int = 17) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return bytes(10) + struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload
