"""What arrives from the machines of a lab: packets, questions for names, STUN."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from comity.lab import names, pcap, stun
from comity.lab.internet import HEADER, Internet, Shape
from fuzzing.target import target


def _stun() -> Iterator[bytes]:
    yield from (stun.Request(bytes(12), change).pack() for change in ((False, False), (True, False), (True, True)))
    yield stun.Response(b"t" * 12, ("192.0.2.7", 7000), ("192.0.2.1", 3478), ("192.0.2.2", 3479)).pack()
    yield stun.Response(bytes(12), ("2001:db8::7", 7000)).pack()


@target(_stun, size=128, fresh=5000)
def a_stun_message(data: bytes) -> None:
    """lab.stun.parse"""
    said = stun.parse(data)
    if said is None:
        return
    again = stun.parse(said.pack())
    assert again == said and len(said.pack()) <= stun.MAX_SIZE


NAMES = {"bob.example": ("192.0.2.7", "2001:db8::7"), "carol": ()}


def _questions() -> Iterator[bytes]:
    for name in (b"\3bob\7example\0", b"\5carol\0", b"\5NOBOD\0", b"\0"):
        yield from (b"\0\7\1\0\0\1\0\0\0\0\0\0" + name + b"\0" + bytes([kind]) + b"\0\1" for kind in (1, 28, 255, 16))
    yield b"\0\7\x81\0" + bytes(8)
    yield b"\0\7\x08\0" + bytes(8)


@target(_questions, size=96, fresh=8000)
def a_question(data: bytes) -> None:
    """lab.names.answer"""
    said = names.answer(data, NAMES)
    if said is None:
        assert len(data) < 12 or data[2] & 0x80  # an answer gets none
        return
    assert said[:2] == data[:2] and said[2] & 0x80
    questions, answers = said[5], said[7]
    assert said[4] == said[6] == 0 and questions <= 1 and answers <= 2
    assert not answers or (questions == 1 and said[3] & 15 == 0)
    assert len(said) <= len(data) + 2 * 28


def _packets() -> Iterator[bytes]:
    four = b"\x45\0\0\x1c" + bytes(8) + ip_address("192.0.2.1").packed + ip_address("192.0.2.9").packed + bytes(8)
    six = b"\x60\0\0\0\0\x08\x11\x40" + ip_address("2001:db8::1").packed + ip_address("2001:db8::9").packed + bytes(8)
    yield from (bytes(HEADER) + packet for packet in (four, six, four[:19], six[:39], b""))
    yield b"\1\0\0\0\0\0\x14\0\6\0" + four
    yield b"\1\0\0\0\0\0\xff\xff\xff\xff" + six


@target(_packets, size=96, fresh=2000)
def a_packet(data: bytes) -> None:
    """lab.internet.Internet.send, lab.pcap.record"""
    if len(data) < HEADER:
        return  # what is read from an interface has it
    internet = Internet()
    here = internet.attach("here", "a", ("192.0.2.1/32", "2001:db8::1/128"))
    internet.attach("there", "b", ("192.0.2.8/29", "2001:db8::8/125"))
    internet.path("a", "b", Shape(delay=1.0))
    internet.send(here, data, 0.0)
    arrived = list(internet.deliver(5.0))
    assert all(packet == data and when <= 5 for when, _, packet in arrived) and len(arrived) <= 1
    assert here.held == 0 and internet.due is None
    kept = pcap.record(data, 1_000_000_007)
    assert len(kept) == 16 + len(data) - HEADER
