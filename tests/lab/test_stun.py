"""STUN's bytes, against the RFCs' own samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.lab import stun
from comity.lab.stun import Request, Response, parse

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
"""Of the samples in RFC 5769."""


def test_an_ipv4_address_is_xored_as_in_rfc_5769() -> None:
    packed = Response(TRANSACTION, ("192.0.2.1", 32853)).pack()
    assert packed[20:] == bytes.fromhex("002000080001a147e112a643")


def test_an_ipv6_address_is_xored_as_in_rfc_5769() -> None:
    packed = Response(TRANSACTION, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)).pack()
    assert packed[20:] == bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


def test_a_sample_response_is_read() -> None:
    """RFC 5769, 2.2: with attributes of no interest here, one of them padded."""
    sample = bytes.fromhex(
        "0101003c2112a442b7e7a701bc34d686fa87dfae"
        "8022000b7465737420766563746f7220"
        "002000080001a147e112a643"
        "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
        "80280004c07d4c96"
    )
    assert parse(sample) == Response(TRANSACTION, ("192.0.2.1", 32853))


@pytest.mark.parametrize(
    "message",
    [
        Request(TRANSACTION),
        Request(TRANSACTION, (True, False)),
        Request(TRANSACTION, (True, True)),
        Response(TRANSACTION, ("51.0.0.1", 1), ("51.0.0.2", 2), ("51.0.0.3", 3)),
        Response(TRANSACTION, ("2a00::1", 1), ("2a00::2", 2)),
    ],
)
def test_what_is_packed_is_read(message: Request | Response) -> None:
    assert parse(message.pack()) == message


def test_what_is_no_binding_message_is_nothing() -> None:
    good = Response(TRANSACTION, ("51.0.0.1", 1)).pack()
    for bad in (
        b"",
        good[:19],
        good[:-1],
        good + b"\0\0\0\0",
        b"\x01\x11" + good[2:],  # an error
        good[:4] + bytes(4) + good[8:],  # no cookie: a message of RFC 3489
        good[:20] + b"\x00\x21" + good[22:],  # no address
        good[:22] + b"\x00\x09" + good[24:],  # an attribute that goes beyond the end
        good[:25] + b"\x03" + good[26:],  # of no known family
        bytes(stun.MAX_SIZE + 1),
    ):
        assert parse(bad) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    length = len(tail) - len(tail) % 4
    head = stun._HEADER.pack(stun.SUCCESS, length, stun.COOKIE, TRANSACTION)
    message = parse(head + tail[:length])
    assert message is None or isinstance(message, Response)
