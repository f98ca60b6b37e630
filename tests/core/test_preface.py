from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import preface
from comity.core.preface import CONTROL, DATA, PROOF_SIZE, SIZE, Preface, authentic, parse, proof

KEY = b"k" * 32
SENT = Preface(b"t" * 16, 0, 2, DATA, 1, 3, b"n" * 16)
PREFACES = st.builds(
    Preface,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**16 - 1),
    st.sampled_from([CONTROL, DATA]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=16, max_size=16),
)


@given(PREFACES, st.binary(min_size=32, max_size=32))
def test_a_preface_comes_back_and_is_authentic_under_its_key(sent: Preface, key: bytes) -> None:
    data = sent.pack(key)
    assert len(data) == SIZE and parse(data) == sent and authentic(data, key)


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
def test_one_changed_byte_anywhere_is_noticed(at: int, change: int) -> None:
    data = bytearray(SENT.pack(KEY))
    data[at] ^= change
    assert not authentic(bytes(data), KEY)


def test_a_preface_is_authentic_under_the_pairs_key_alone() -> None:
    assert not authentic(SENT.pack(KEY), b"j" * 32)
    assert not authentic(SENT.pack(b"j" * 32), KEY)


@pytest.mark.parametrize("size", [0, 1, 34, SIZE - 16, SIZE - 1, SIZE + 1, 1000])
def test_another_size_is_no_preface(size: int) -> None:
    data = (SENT.pack(KEY) * 20)[:size]
    assert parse(data) is None and not authentic(data, KEY)


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, ord("C")), (1, ord("x")), (2, 0), (2, 1), (2, 255), (23, 2), (23, 255)],
)
def test_another_protocol_version_or_kind_is_no_preface(at: int, byte: int) -> None:
    data = bytearray(SENT.pack(KEY))
    assert parse(bytes(data)) is not None
    data[at] = byte
    assert parse(bytes(data)) is None


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: 127.0.0.1:11365\r\nAccept: */*\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20, bytes(99)]
)
def test_a_stranger_who_speaks_something_else_is_not_routed(data: bytes) -> None:
    assert parse(data[:SIZE]) is None and not authentic(data[:SIZE], KEY)


def test_the_layout_is_fixed() -> None:
    head = SENT.pack(KEY)[:-16]
    assert head == b"cy\x02" + b"t" * 16 + bytes.fromhex("0000 0002 01 00000001 00000003") + b"n" * 16
    assert preface.SIZE == len(head) + 16 == 64


def test_a_proof_is_for_this_question_and_this_answer_and_of_this_pair() -> None:
    """What somebody recorded of one channel opens no other."""
    question, answer = SENT.pack(KEY), replace(SENT, sender=2, to=0, nonce=b"m" * 16).pack(KEY)
    other = replace(SENT, nonce=b"o" * 16).pack(KEY)
    proofs = [proof(*said, KEY) for said in permutations((question, answer, other), 2)]
    assert len({*proofs, proof(question, answer, b"j" * 32)}) == 7
    assert {len(one) for one in proofs} == {PROOF_SIZE}
    assert proof(question, answer, KEY) not in (question[-16:], answer[-16:])
