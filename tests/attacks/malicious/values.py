"""What she sends where a value or a share is due: what cannot be, what costs more than it weighs, what is wrong."""

from __future__ import annotations

import os
import pickle
import struct

from tests.attacks.malicious.computing import (
    ARRAY_INPUT,
    ARRAY_OUTPUT,
    INPUT,
    OUTPUT,
    PRIME,
    VALUES,
    WIDTH,
    array,
    message,
)
from tests.attacks.malicious.messages import answers
from tests.attacks.malicious.table import PEER, Behaviour, Ends, Goes
from tests.independent.codec import dumps

from comity.core.limits import MAX_ITEMS

NO_VALUE = Ends(PEER, "mallory sent what is no value")
NO_SHARE = Ends(PEER, "mallory sent what is no share")
WRONG = Goes(right=False)
"""Well formed, and wrong: MPyC is passively secure, and nobody can see it."""

MANY = MAX_ITEMS + 1


def count(number: int) -> bytes:
    return bytes([number]) if number < 255 else b"\xff" + number.to_bytes(5, "little")


def instead(step: int, payload: bytes, name: str, ends: Ends | Goes, layer: str) -> Behaviour:
    def change(now: int, peer: int, counter: int, honest: bytes) -> bytes:
        return message(counter, payload if now == step else honest)

    return Behaviour(name, layer, ends, answers(change))


def shape(dims: tuple[int, ...], data: bytes, kind: bytes = b"<i8") -> bytes:
    """An array of machine numbers that may lie."""
    return b"x\0" + b"t\3" + b"s" + count(len(kind)) + kind + dumps(dims) + b"b" + count(len(data)) + data


def integers(dims: tuple[int, ...], width: int, data: bytes, kind: int = 2) -> bytes:
    return bytes([ord("x"), kind]) + b"t\3" + dumps(dims) + dumps(width) + b"b" + count(len(data)) + data


def _colliding() -> bytes:
    """Integers that all have one hash."""
    return b"e" + count(1000) + b"".join(dumps(i * (2**61 - 1)) for i in range(1, 1001))


class _Touch:
    def __reduce__(self) -> object:
        return os.getpid, ()


PLAIN = (
    ("nothing at all", b"", NO_VALUE),
    ("a pickle", pickle.dumps(_Touch()), NO_VALUE),
    ("a text of pickle's oldest form", b"cos\ngetpid\n(tR.", NO_VALUE),
    ("an unknown tag", b"?", NO_VALUE),
    ("a value and something after it", b"NN", NO_VALUE),
    ("lists nested 65 deep", b"l\1" * 65 + b"N", NO_VALUE),
    ("lists nested a million deep", b"l\1" * 1_000_000 + b"N", NO_VALUE),
    ("extensions nested a million deep", b"x\4" * 1_000_000, NO_VALUE),
    ("a list that claims 10^12 values", b"l" + count(2**40 - 1), NO_VALUE),
    ("a text that claims a terabyte", b"s" + count(2**40 - 1) + b"x", NO_VALUE),
    ("a count in the longer form", b"l\xff\1\0\0\0\0N", NO_VALUE),
    ("an integer in a longer form", b"i\2\1\0", NO_VALUE),
    ("more values than allowed", b"l" + count(MANY) + b"N" * MANY, NO_VALUE),
    ("400 000 empty dictionaries", b"l" + count(400_000) + b"d\0" * 400_000, WRONG),
    ("three million empty sets", b"l" + count(3_000_000) + b"e\0" * 3_000_000, NO_VALUE),
    ("a million short texts of another plane", b"l" + count(1_000_000) + b"s\4\xf0\x9f\x99\x82" * 1_000_000, WRONG),
    (
        "a text of 20 MB with one character of another plane",
        b"s" + count(20 << 20) + b"x" * ((20 << 20) - 4) + b"\xf0\x9f\x99\x82",
        WRONG,
    ),
    ("a text that is not UTF-8", b"s\2\xff\xfe", NO_VALUE),
    (
        "a set of half a million integers",
        b"e" + count(500_000) + b"".join(b"i\4" + struct.pack("<I", i + (1 << 24)) for i in range(500_000)),
        WRONG,
    ),
    ("a thousand keys of one hash", _colliding(), NO_VALUE),
    ("a list as a key", b"d\1l\0N", NO_VALUE),
    ("a key twice", b"d\2" + b"TNTN", NO_VALUE),
    ("a key that is there twice by another name", b"e\2T" + dumps(1), NO_VALUE),
    ("an array of 2^60 numbers in no bytes", shape((1 << 30, 1 << 30), b""), NO_VALUE),
    ("an array with a side of -1", shape((-1,), bytes(8)), NO_VALUE),
    ("an array of 33 dimensions", shape((1,) * 33, bytes(8)), NO_VALUE),
    ("an array of objects by their addresses", shape((1,), bytes(8), b"|O"), NO_VALUE),
    ("an array of texts of 2^31 letters", shape((0,), b"", b"<U2147483647"), NO_VALUE),
    ("an array whose bytes do not fit", shape((3,), bytes(23)), NO_VALUE),
    ("an array of booleans that are 2", shape((2,), b"\2\2", b"|b1"), NO_VALUE),
    ("an array of no numbers, a thousand wide", shape((0, 1 << 39), b""), WRONG),
    ("integers of width 0", integers((1 << 30,), 0, b""), NO_VALUE),
    ("integers of width -1, cut", integers((5,), -1, b"abc"), NO_VALUE),
    ("four million integers in as many bytes", integers((4_000_000,), 1, bytes(4_000_000)), WRONG),
    ("more integers than allowed, in as many bytes", integers((MANY,), 1, bytes(MANY)), NO_VALUE),
    ("polynomials of width -8", integers((1,), -8, bytes(8), 3), NO_VALUE),
    ("an array of arrays of arrays, 70 deep", b"x\4t\2t\1i\1\1l\1" * 70 + b"N", NO_VALUE),
    ("an element of a class that nobody made", b"x\6" + dumps((os.urandom(16), 5)), NO_VALUE),
    ("an element whose class is a number", b"x\6" + dumps((5, 5)), NO_VALUE),
    ("a group element of no class", b"x\x08" + dumps((b"", [])), NO_VALUE),
    ("an extension of the unknown kind 200", b"x\xc8N", NO_VALUE),
    ("an integer of 2 MB", b"i" + count(2 << 20) + b"\1" * (2 << 20), WRONG),
    ("another number than hers", dumps(77), WRONG),
    ("NaN", dumps(float("nan")), WRONG),
)

SHARES = (
    ("empty", b"", NO_SHARE),
    ("a byte short", bytes(WIDTH - 1), NO_SHARE),
    ("a byte long", bytes(WIDTH + 1), NO_SHARE),
    ("two of them", bytes(2 * WIDTH), NO_SHARE),
    ("a million of them", bytes(1_000_000 * WIDTH), NO_SHARE),
    ("the field's own size", PRIME.to_bytes(WIDTH, "little"), WRONG),
    ("the largest number of as many bytes", b"\xff" * WIDTH, WRONG),
    ("a pickle", pickle.dumps(_Touch()), NO_SHARE),
    ("another one", bytes(WIDTH), WRONG),
)

ARRAYS = (
    ("None", b"N", NO_SHARE),
    ("a number", dumps(5), NO_SHARE),
    ("a text", dumps("abc"), NO_SHARE),
    ("a list", dumps([1, 2]), NO_SHARE),
    ("a list of lists", dumps([[1], [2, 3]]), NO_SHARE),
    ("a dictionary", dumps({1: 2}), NO_SHARE),
    ("nested too deeply", b"l\1" * 65 + b"N", NO_VALUE),
    ("no array at all", b"", NO_VALUE),
    ("one element short", array([1]), NO_SHARE),
    ("one element long", array([1, 2, 3]), NO_SHARE),
    ("a million elements", array([0])[:0] + integers((1_000_000,), 1, bytes(1_000_000)), NO_SHARE),
    ("of no dimension", integers((), 1, b"\1"), NO_SHARE),
    ("of two dimensions", integers((1, 2), 1, b"\1\2"), NO_SHARE),
    ("of elements above the field", array([PRIME, 2**64 - 1]), NO_SHARE),
    ("of negative elements", integers((2,), -1, b"\xff\xfe"), NO_SHARE),
    ("of huge elements", integers((2,), 100_000, bytes([1]) * 200_000), NO_SHARE),
    ("of floats", shape((2,), bytes(16), b"<f8"), NO_SHARE),
    ("of booleans", shape((2,), b"\1\0", b"|b1"), NO_SHARE),
    ("of texts", b"x\4" + dumps(((2,), ["a", "b"])), NO_SHARE),
    ("of lists", b"x\4" + dumps(((2,), [[1], [2]])), NO_SHARE),
    ("of polynomials over GF(2)", integers((2,), 1, b"\1\2", 3), NO_SHARE),
    ("others", array([5, 6]), WRONG),
)

TABLE = [
    *(instead(VALUES, payload, f"value: {name}", ends, "values") for name, payload, ends in PLAIN),
    *(instead(INPUT, payload, f"share: {name}", ends, "shares") for name, payload, ends in SHARES),
    *(
        # one number, whatever its bytes, is a share of a result
        instead(OUTPUT, payload, f"share of a result: {name}", WRONG if name == "a byte short" else ends, "shares")
        for name, payload, ends in SHARES
    ),
    *(instead(ARRAY_INPUT, payload, f"shares in an array: {name}", ends, "shares") for name, payload, ends in ARRAYS),
    *(
        instead(ARRAY_OUTPUT, payload, f"shares of results: {name}", ends, "shares")
        for name, payload, ends in ARRAYS[-4:]
    ),
]
