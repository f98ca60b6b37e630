from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import digest
from comity.core.words import BITS, COUNT, WORDS, check_words


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
