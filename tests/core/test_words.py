from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import digest
from comity.core.words import BITS, COUNT, FIRST, WORDS, check_words, meant, own_word


def test_the_words_can_be_told_apart_by_ear_and_by_four_letters() -> None:
    assert len(WORDS) == 2**BITS == len(set(WORDS))
    assert len({word[:4] for word in WORDS}) == len(WORDS)
    assert all(word.isascii() and word.islower() and word.isalpha() and 4 <= len(word) <= 9 for word in WORDS)
    assert list(WORDS) == sorted(WORDS)


@given(st.binary(min_size=32, max_size=32))
def test_the_words_are_the_first_33_bits_of_the_transcripts_digest(transcript: bytes) -> None:
    words = check_words(transcript)
    bits = "".join(f"{byte:08b}" for byte in digest("words", transcript))
    assert words == tuple(WORDS[int(bits[i * BITS : (i + 1) * BITS], 2)] for i in range(COUNT))


def test_another_transcript_has_other_words() -> None:
    shown = [check_words(bytes([i]) * 32) for i in range(256)]
    assert len(set(shown)) == 256
    assert max(Counter(word for words in shown for word in words).values()) < 6  # no word is preferred


@given(st.binary(min_size=32, max_size=32), st.integers(0, 63))
def test_an_own_word_is_the_first_11_bits_of_another_digest(transcript: bytes, number: int) -> None:
    bits = "".join(f"{byte:08b}" for byte in digest("own word", transcript, bytes([number])))
    assert own_word(transcript, number) == WORDS[int(bits[:BITS], 2)]


def test_own_words_say_nothing_about_each_other() -> None:
    shown = Counter(own_word(bytes([i]) * 32, number) for i in range(64) for number in range(64))
    assert max(shown.values()) < 13  # 4 096 draws of 2 048
    pairs = [(own_word(bytes([i]) * 32, 0), own_word(bytes([i]) * 32, 1)) for i in range(256)]
    assert sum(a == b for a, b in pairs) < 4


@given(st.sampled_from(WORDS), st.integers(FIRST, 9))
def test_a_word_is_meant_by_its_first_letters(word: str, length: int) -> None:
    assert meant(f" {word[:length].upper()} ") == word


@pytest.mark.parametrize("typed", ["", "a", "aba", "abacuss", "yes", "no", "y", "abacus abdomen", "ábac"])
def test_what_is_no_word_means_none(typed: str) -> None:
    assert meant(typed) == ""
