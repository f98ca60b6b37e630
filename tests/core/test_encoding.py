import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import encoding
from comity.core.encoding import Fields, Malformed, decode, digest, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(1 - 2**53, 2**53 - 1),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
    max_leaves=8,
)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


# Texts


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    assert decode(encode(value), 100_000) == value


@given(st.binary(max_size=40) | VALUES.map(encode), st.integers(0, 39), st.integers(0, 255))
def test_a_text_is_refused_or_is_the_one_text_of_its_value(text: bytes, at: int, byte: int) -> None:
    mangled = text[:at] + bytes([byte]) + text[at + 1 :]
    try:
        value = decode(mangled, 1000)
    except Malformed:
        return
    assert encode(value) == mangled


def test_keys_stand_in_the_order_of_their_code_points_and_letters_as_they_are() -> None:
    assert encode({"\U0001f642": 1, "\uffff": 2, "b": 3, "B": 4, "": 5}) == (
        '{"":5,"B":4,"b":3,"\uffff":2,"\U0001f642":1}'.encode()
    )
    assert encode('/é\u2028"\\\n\x1f\x7f') == '"/é\u2028\\"\\\\\\n\\u001f\x7f"'.encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b"[1, 2]",
        b"[1,2]\n",
        b" 1",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"\xff",
        b"\xef\xbb\xbf1",
        b'"\\ud800"',
        b'"\\ud83d\\ude42"',
        b'"\\u0041"',
        b'"\\/"',
        b"'a'",
        b"[1,]",
        b"[1] [2]",
        b"[" * 5000,
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 5000,
        b"9" * 4000,
        b"9" * 9000,
        b"9007199254740992",
        b"-9007199254740992",
        b"undefined",
    ],
)
def test_a_text_that_is_not_its_values_encoding_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        decode(text, 20_000)


def test_the_limit_counts_bytes_and_comes_first() -> None:
    assert decode('"éé"'.encode(), 6) == "éé"
    with pytest.raises(Malformed, match="has 6 bytes, 5 are allowed"):
        decode('"éé"'.encode(), 5)
    with pytest.raises(Malformed, match="has 9000 bytes, 10 are allowed"):
        decode(b"[" * 9000, 10)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (2**53, "number that is too large"),
        (-(2**53), "number that is too large"),
        (1.0, "cannot hold float"),
        (b"", "cannot hold bytes"),
        ((1,), "cannot hold tuple"),
        ({1: 2}, "key that is no text"),
        ("\ud800", "half a character"),
        ({"\udfff": 1}, "half a character"),
        ([{"a": ["\ud800"]}], "half a character"),
        (nested(13), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
    ],
)
def test_what_no_message_may_hold_is_named(value: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        encode(value)


def test_twelve_levels_are_allowed() -> None:
    assert decode(encode(nested(12)), 100) == nested(12)


# Digests


def test_a_digest_separates_its_parts() -> None:
    inputs: list[tuple[str, tuple[bytes, ...]]] = [
        ("a", (b"bc",)),
        ("a", (b"b", b"c")),
        ("a", (b"bc", b"")),
        ("a", (b"", b"bc")),
        ("ab", (b"c",)),
        ("a", ()),
        ("a", (b"",)),
    ]
    assert len({digest(label, *parts) for label, parts in inputs}) == len(inputs)


def test_a_digest_is_sha256_over_prefixed_parts() -> None:
    expected = hashlib.sha256(b"\0\0\0\0\0\0\0\x0acomity/1 a" + b"\0\0\0\0\0\0\0\x02bc").digest()
    assert digest("a", b"bc") == expected


# Fields


def read(method: str, value: Any, *limits: Any) -> Any:
    return getattr(Fields({"it": value}, "TEST"), method)("it", *limits)


@pytest.mark.parametrize(
    ("method", "value", "limits", "result"),
    [
        ("text", "abc", (3,), "abc"),
        ("text", "", (0,), ""),
        ("choice", "b", (("a", "b"),), "b"),
        ("number", 3, (3, 5), 3),
        ("number", 5, (3, 5), 5),
        ("flag", True, (), True),
        ("flag", False, (), False),
        ("data", "00ff", (2,), b"\x00\xff"),
        ("data", "", (0, 2), b""),
        ("data", "00ff", (1, 2), b"\x00\xff"),
        ("texts", ["a", "bc"], (2, 2), ("a", "bc")),
        ("texts", [], (0, 0), ()),
        ("items", [1, "a"], (2,), [1, "a"]),
        ("mapping", {"a": 1}, (), {"a": 1}),
    ],
)
def test_a_proper_field_is_read(method: str, value: Any, limits: tuple[Any, ...], result: Any) -> None:
    assert read(method, value, *limits) == result


@pytest.mark.parametrize(
    ("method", "value", "limits"),
    [
        ("text", "abcd", (3,)),
        ("text", "a\nb", (9,)),
        ("text", "\x00", (9,)),
        ("text", "\x7f", (9,)),
        ("text", 1, (9,)),
        ("text", None, (9,)),
        ("text", ["a"], (9,)),
        ("choice", "c", (("a", "b"),)),
        ("choice", 1, (("a", "b"),)),
        ("number", 2, (3, 5)),
        ("number", 6, (3, 5)),
        ("number", True, (0, 5)),
        ("number", "3", (3, 5)),
        ("number", 3.0, (3, 5)),
        ("flag", 1, ()),
        ("flag", 0, ()),
        ("flag", "true", ()),
        ("data", "00f", (2,)),
        ("data", "00", (2,)),
        ("data", "00ff00", (2,)),
        ("data", "00FF", (2,)),
        ("data", "0 0f", (2,)),
        ("data", "00 ff", (3,)),
        ("data", "0\u0660", (1,)),
        ("data", "zz", (1,)),
        ("data", b"\x00", (1,)),
        ("data", "", (1, 2)),
        ("texts", ["a", "b", "c"], (2, 2)),
        ("texts", ["abc"], (2, 2)),
        ("texts", [1], (2, 2)),
        ("texts", "ab", (2, 2)),
        ("texts", [["a"]], (2, 2)),
        ("items", [1, 2, 3], (2,)),
        ("items", {"0": 1}, (2,)),
        ("mapping", [], ()),
        ("mapping", None, ()),
    ],
)
def test_an_improper_field_is_refused(method: str, value: Any, limits: tuple[Any, ...]) -> None:
    with pytest.raises(Malformed, match="TEST"):
        read(method, value, *limits)


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_what_is_no_object_has_no_fields(value: Any) -> None:
    with pytest.raises(Malformed, match="TEST is not an object"):
        Fields(value, "TEST")


def test_every_field_is_read_once_and_none_is_left_over() -> None:
    source = {"a": 1, "b": 2, "x" * 99: 3}
    fields = Fields(source, "TEST")
    assert (fields.number("a", 0, 9), fields.number("b", 0, 9)) == (1, 2)
    with pytest.raises(Malformed, match="no proper a"):
        fields.number("a", 0, 9)
    with pytest.raises(Malformed, match=r"unknown field 'x{40}'$"):
        fields.end()
    assert len(source) == 3
    Fields({}, "TEST").end()


def test_malformed_is_the_peers_error() -> None:
    assert Malformed().exit_code == 4 and encoding.MAX_INTEGER == 2**53
