"""Check words: a short authentication string of the transcript, to be read aloud."""

from __future__ import annotations

from comity.core.encoding import digest
from comity.core.wordlist import WORDS

COUNT = 3
BITS = 11  # each word is one of 2 048
"""33 bits in all: one try of an attacker who must commit first succeeds with 2**-33 (ZRTP, RFC 6189, uses 16 or 20)."""


def check_words(transcript: bytes) -> tuple[str, ...]:
    """The words for a transcript T of 32 bytes."""
    number = int.from_bytes(digest("words", transcript), "big") >> (256 - COUNT * BITS)
    return tuple(WORDS[(number >> BITS * (COUNT - 1 - i)) % len(WORDS)] for i in range(COUNT))
