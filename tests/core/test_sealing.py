import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.sealing import NONCE, room_key, room_name, seal, unseal
from comity.errors import VerificationError

KEY = room_key(b"s" * 16)


@given(st.binary(max_size=200), st.binary(max_size=20), st.binary(min_size=NONCE, max_size=NONCE))
def test_a_sealed_body_opens_with_its_key_and_context(body: bytes, context: bytes, nonce: bytes) -> None:
    sealed = seal(KEY, nonce, body, context)
    assert unseal(KEY, sealed, context) == body and len(sealed) == NONCE + len(body) + 16
    for key, other in ((room_key(b"t" * 16), context), (KEY, context + b"x")):
        with pytest.raises(VerificationError):
            unseal(key, sealed, other)


@given(st.integers(0), st.integers(1, 255))
def test_one_changed_byte_anywhere_is_noticed(at: int, change: int) -> None:
    sealed = bytearray(seal(KEY, b"n" * NONCE, b"a body of the ceremony"))
    sealed[at % len(sealed)] ^= change
    with pytest.raises(VerificationError, match="not sealed with this invitation") as caught:
        unseal(KEY, bytes(sealed))
    assert caught.value.exit_code == 3 and caught.value.hints


@given(st.binary(max_size=60))
def test_a_stranger_without_the_secret_writes_only_noise(noise: bytes) -> None:
    with pytest.raises(VerificationError):
        unseal(KEY, noise)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 11, 12, 13, 27, 28, 41])
def test_every_cut_is_noticed(size: int) -> None:
    sealed = seal(KEY, b"n" * NONCE, b"fourteen bytes")
    with pytest.raises(VerificationError):
        unseal(KEY, sealed[:size])


def test_room_and_key_come_from_the_secret_and_tell_nothing_of_each_other() -> None:
    assert re.fullmatch("[0-9a-f]{32}", room_name(b"s" * 16))
    assert room_name(b"s" * 16) != room_name(b"t" * 16) and room_key(b"s" * 16) != room_key(b"t" * 16)
    assert len(KEY) == 32 and not KEY.hex().startswith(room_name(b"s" * 16))
