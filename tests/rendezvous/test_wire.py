from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import Malformed
from comity.core.limits import MAX_BODY
from comity.rendezvous import wire

NUMBERS = st.integers(0, 2**32 - 1)


@given(
    st.builds(wire.Welcome, st.binary(min_size=16, max_size=16), NUMBERS)
    | st.builds(wire.Entry, NUMBERS, st.binary(max_size=9))
    | st.builds(wire.Refusal, st.binary(min_size=32, max_size=32))
)
def test_what_a_server_packs_a_member_reads(message: wire.Welcome | wire.Entry | wire.Refusal) -> None:
    assert wire.from_server(message.pack()) == message


@given(st.binary(max_size=40))
def test_any_bytes_are_malformed_or_the_one_form_of_a_message(data: bytes) -> None:
    with suppress(Malformed):
        assert wire.from_server(data).pack() == data


@given(st.binary(max_size=40))
def test_a_post_is_its_body_behind_one_byte(body: bytes) -> None:
    assert wire.from_member(wire.post(body)) == body


def test_messages_of_other_sizes_and_kinds_are_malformed() -> None:
    largest = bytes(MAX_BODY)
    assert wire.from_member(wire.post(largest)) == largest
    assert len(wire.Entry(1, largest).pack()) == wire.MAX_ENTRY
    for data in (b"", b"\2", wire.post(largest + b"x"), wire.Entry(1, b"x").pack()):
        with pytest.raises(Malformed):
            wire.from_member(data)
    for data in (
        b"",
        b"\1" + bytes(19),
        b"\1" + bytes(21),
        b"\2abc",
        b"\3" + bytes(31),
        b"\x10",
        b"\2" + bytes(4) + largest + b"x",
    ):
        with pytest.raises(Malformed):
            wire.from_server(data)


def test_a_query_comes_back_and_no_other_form_is_read() -> None:
    assert wire.parse_query(wire.query(b"i" * 16, 7)) == (b"i" * 16, 7)
    assert wire.parse_query(wire.query(b"", 7)) == (b"", 0)
    known = "0a" * 16
    for values in (
        {"incarnation": known},
        {"after": "0"},
        {"incarnation": known, "after": "-1"},
        {"incarnation": known, "after": "01"},
        {"incarnation": known, "after": "٣"},
        {"incarnation": known, "after": "9" * 10},
        {"incarnation": known.upper(), "after": "0"},
        {"incarnation": known, "after": "0", "more": ""},
    ):
        with pytest.raises(Malformed):
            wire.parse_query(values)
