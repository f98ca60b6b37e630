import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.lab.names import AAAA, ANY, MAX_QUERY, A, answer

NAMES = {"meet": ("51.0.0.1", "51.0.0.2", "2a00:51::1"), "home-router": ("51.0.0.65",)}


def query(name: str, kind: int, *, flags: int = 0x0100, group: int = 1, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 77, flags, questions, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, group)


def code(reply: bytes | None) -> int:
    assert reply is not None
    assert reply[:2] == b"\0\x4d" and reply[2] & 0x80
    return reply[3] & 15


def addresses(reply: bytes | None, name: str) -> list[bytes]:
    assert reply is not None
    place = 12 + len(name) + 2 + 4
    found = []
    for _ in range(int.from_bytes(reply[6:8], "big")):
        pointer, _, _, seconds, size = struct.unpack_from("!HHHIH", reply, place)
        assert (pointer, seconds) == (0xC00C, 5)
        found.append(reply[place + 12 : place + 12 + size])
        place += 12 + size
    assert place == len(reply)
    return found


def test_a_known_name_has_its_addresses_by_kind() -> None:
    assert addresses(answer(query("meet", A), NAMES), "meet") == [bytes([51, 0, 0, 1]), bytes([51, 0, 0, 2])]
    assert [len(a) for a in addresses(answer(query("MEET", AAAA), NAMES), "meet")] == [16]
    assert len(addresses(answer(query("meet", ANY), NAMES), "meet")) == 3
    assert addresses(answer(query("home-router", AAAA), NAMES), "home-router") == []


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    assert code(answer(query("example.com", A), NAMES)) == 3
    assert code(answer(query("home-router", AAAA), NAMES)) == 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (query("meet", A, flags=0x0900), 4),
        (query("meet", A, group=3), 1),
        (query("meet", A, questions=2), 1),
        (query("meet", A)[:-1], 1),
        (query("meet", A)[:15], 1),
        (query("x" * 64, A), 1),
    ],
)
def test_what_it_does_not_know_it_says(data: bytes, expected: int) -> None:
    assert code(answer(data, NAMES)) == expected


def test_replies_and_scraps_are_not_answered() -> None:
    assert answer(b"\0" * 11, NAMES) is None
    assert answer(query("meet", A, flags=0x8000), NAMES) is None


@given(st.binary(max_size=MAX_QUERY))
def test_no_packet_breaks_it(data: bytes) -> None:
    reply = answer(data, NAMES)
    assert reply is None or len(reply) <= 2 * MAX_QUERY
