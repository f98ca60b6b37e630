from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import Malformed, decode, encode
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PART, MAX_PARTS
from comity.core.program import Program

A = Program("sum", ("8",), {"mpyc": "0.11", "file sum.py": "00ff"}, "3.11.7")
DIGEST = "2629ea941af836226e6e13bfd8daeb8ddab83c2d603f26ea260b60b9befac2d9"
LABELS = st.text(max_size=5) | st.sampled_from(["absent", "mpyc"])
PROGRAMS = st.builds(
    Program,
    st.sampled_from(["sum", "sort"]),
    st.lists(st.text(max_size=3) | st.none(), max_size=2).map(tuple),
    st.dictionaries(LABELS, LABELS, max_size=3),
    st.sampled_from(["3.11.7", "3.13.0"]),
)


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (Program("sort", ("8",), A.parts, "3"), "the program is sum here and sort at bob"),
        (Program("sum", ("9",), A.parts, "3"), "argument 1 is 8 here and 9 at bob"),
        (Program("sum", (None,), A.parts, "3"), "argument 1 is 8 here and ? (private) at bob"),
        (Program("sum", (), A.parts, "3"), "1 argument here and 0 at bob"),
        (Program("sum", ("8", "9"), A.parts, "3"), "1 argument here and 2 at bob"),
        (Program("sum", ("8",), {**A.parts, "mpyc": "0.10"}, "3"), "mpyc is 0.11 here and 0.10 at bob"),
        (Program("sum", ("8",), {"mpyc": "0.11"}, "3"), "file sum.py is 00ff here and absent at bob"),
        (Program("sum", ("8",), {**A.parts, "numpy": "2"}, "3"), "numpy is absent here and 2 at bob"),
        (Program("sum", ("8",), {**A.parts, "numpy": "absent"}, "3"), "numpy is absent here and absent at bob"),
        (Program("sum", ("8",), A.parts, "3.13.0"), ""),
        (
            Program("sum", ("8",), {**A.parts, "file sum.py": DIGEST}, "3"),
            "file sum.py is 00ff here and 2629 ea94 at bob",
        ),
    ],
)
def test_a_difference_is_named(other: Program, phrase: str) -> None:
    assert A.difference(other, "bob") == phrase
    assert (A.digest == other.digest) == (phrase == "")


def test_digests_are_shown_in_short_unless_they_look_alike() -> None:
    one, other = (Program("sum", (), {"file sum.py": DIGEST[:8] + c * 56}, "3") for c in "0f")
    here, there = one.parts["file sum.py"], other.parts["file sum.py"]
    assert one.difference(other, "bob") == f"file sum.py is {here} here and {there} at bob"


@given(PROGRAMS, PROGRAMS)
def test_digests_differ_exactly_when_a_difference_can_be_named(one: Program, other: Program) -> None:
    assert (one.digest == other.digest) == (one.difference(other, "bob") == "")
    assert bool(one.difference(other, "bob")) == bool(other.difference(one, "alice"))


@given(PROGRAMS)
def test_a_program_comes_back_from_its_text(program: Program) -> None:
    assert Program.from_dict(decode(encode(program.to_dict()), 10_000)) == program


def test_the_digest_is_shown_in_two_groups() -> None:
    assert A.short.replace(" ", "") == A.digest[:8] and len(A.short) == 9 and len(A.digest) == 64


def test_private_arguments_are_holes_that_are_shown_as_such() -> None:
    for arguments, command, private in (
        ((), "sum", ""),
        (("8", "?"), "sum 8 '?'", ""),
        (("8", None), "sum 8 ?", "argument 2 is private at everyone"),
        ((None, "8", None), "sum ? 8 ?", "arguments 1, 3 are private at everyone"),
    ):
        program = Program("sum", arguments, {}, "3")
        assert (program.command, program.private) == (command, private)
    digests = {Program("sum", (a,), {}, "3").digest for a in (None, "", "?", "null", "None", "? (private)")}
    assert len(digests) == 6


def test_an_argument_cannot_go_on_with_our_words() -> None:
    spoof = "8 with two parties; the built-in is the same (4f9c 21d0)"
    assert Program("sum", (spoof, "a'b", ""), {}, "3").command == f"""sum '{spoof}' 'a'"'"'b' ''"""
    assert Program(spoof, (), {}, "3").command == f"'{spoof}'"
    here = Program("sum", ("8 here and 8 at bob",), {}, "3")
    assert (
        here.difference(Program("sum", ("8",), {}, "3"), "bob")
        == "argument 1 is '8 here and 8 at bob' here and 8 at bob"
    )


def test_what_is_at_the_limits_is_accepted() -> None:
    parts = {f"{i:0{MAX_PART}}": "x" * MAX_PART for i in range(MAX_PARTS)}
    large = Program("n" * MAX_PART, ("a" * MAX_ARGUMENT,) * MAX_ARGUMENTS, parts, "3" * 32)
    assert Program.from_dict(large.to_dict()) == large


@pytest.mark.parametrize(
    "change",
    [
        {"name": "n" * (MAX_PART + 1)},
        {"name": "a\nb"},
        {"name": None},
        {"arguments": ["a"] * (MAX_ARGUMENTS + 1)},
        {"arguments": ["a" * (MAX_ARGUMENT + 1)]},
        {"arguments": [8]},
        {"arguments": [None] * (MAX_ARGUMENTS + 1)},
        {"arguments": [False]},
        {"arguments": "8"},
        {"parts": {str(i): "" for i in range(MAX_PARTS + 1)}},
        {"parts": {"x" * (MAX_PART + 1): ""}},
        {"parts": {"x": "x" * (MAX_PART + 1)}},
        {"parts": {"x": 1}},
        {"parts": {"x": None}},
        {"parts": []},
        {"python": "3" * 33},
        {"python": 3},
        {"more": "x"},
    ],
)
def test_what_is_beyond_the_limits_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Program.from_dict({**A.to_dict(), **change})
    missing = {k: v for k, v in A.to_dict().items() if k not in change}
    if len(missing) < 4:
        with pytest.raises(Malformed):
            Program.from_dict(missing)
