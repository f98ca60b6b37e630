"""Check words: a short authentication string of the transcript, to be read aloud; and each party's own word.

All see the same check words. The own word is shown to its party alone, and typed by the others: who types it has
listened, which a yes does not show.
"""

from __future__ import annotations

from comity.core.encoding import digest
from comity.core.wordlist import WORDS

__all__ = ["WORDS", "check_words", "meant", "own_word"]

COUNT = 3
BITS = 11  # each word is one of 2 048
"""33 bits in all: one try of an attacker who must commit first succeeds with 2**-33 (ZRTP, RFC 6189, uses 16 or 20)."""

FIRST = 4
"""Letters by which every word differs from all others."""


def check_words(transcript: bytes) -> tuple[str, ...]:
    """The words for a transcript T of 32 bytes."""
    number = int.from_bytes(digest("words", transcript), "big") >> (256 - COUNT * BITS)
    return tuple(WORDS[(number >> BITS * (COUNT - 1 - i)) % len(WORDS)] for i in range(COUNT))


def own_word(transcript: bytes, number: int) -> str:
    """The word that only party `number` is shown. It is no secret: it says that somebody spoke with that party."""
    return WORDS[int.from_bytes(digest("own word", transcript, bytes([number])), "big") >> (256 - BITS)]


def meant(typed: str) -> str:
    """The word of the list that somebody typed, whole or at least its first FIRST letters; empty if none."""
    text = typed.strip().lower()
    found = [word for word in WORDS if word.startswith(text)] if len(text) >= FIRST else []
    return found[0] if len(found) == 1 or text in found else ""
