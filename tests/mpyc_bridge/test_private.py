"""Private arguments: filled for the program alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mpyc_bridge.parties import run
from tests.mpyc_bridge.test_imports import check

from comity.core.limits import MAX_ARGUMENTS, MAX_PRIVATE
from comity.errors import UsageError
from comity.mpyc_bridge.private import check_private, marks, placed, unplaced, with_holes
from comity.mpyc_bridge.probe import probe
from comity.mpyc_bridge.program import FoundProgram, find

PUBLIC = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=4), max_size=5).map(tuple)


@given(PUBLIC, st.sets(st.integers(1, 8), max_size=4))
def test_public_arguments_stand_around_the_holes_in_their_order(public: tuple[str, ...], holes: set[int]) -> None:
    total = len(public) + len(holes)
    if any(place > total for place in holes):
        with pytest.raises(UsageError, match="cannot be private: with it there are"):
            with_holes(public, holes)
        return
    arguments = with_holes(public, holes)
    assert tuple(a for a in arguments if a is not None) == public
    assert {i for i, a in enumerate(arguments, 1) if a is None} == holes == set(marks(arguments))
    shown = placed(arguments)
    assert unplaced(shown) == arguments and len(set(marks(arguments).values())) == len(holes)
    assert not any(mark.startswith("-") or mark in public or mark.isprintable() for mark in marks(arguments).values())


def test_too_many_and_too_long_ones_are_refused_without_being_shown() -> None:
    with pytest.raises(UsageError, match=f"has {MAX_ARGUMENTS + 1} arguments"):
        with_holes(("1",) * MAX_ARGUMENTS, {1})
    assert check_private({2: "b" * (MAX_PRIVATE - 1), 1: "a"}) == ("a", "b" * (MAX_PRIVATE - 1))
    with pytest.raises(UsageError) as caught:
        check_private({1: "secret" * MAX_PRIVATE})
    assert "secret" not in str((caught.value.message, caught.value.hints))
    for place in (0, -1):
        with pytest.raises(UsageError):
            with_holes((), {place})


def test_a_found_program_does_not_show_what_is_private() -> None:
    found = find("sum", ("8",), private={1: "geheim"})
    assert found.arguments == (None, "8") and found.private == ("geheim",)
    assert "geheim" not in repr(found)


SHOW = "import sys\nfrom mpyc.runtime import mpc\nprint(sys.argv[1:], mpc.options.bit_length, mpc.options.no_prss)\n"


def program(folder: Path, public: tuple[str, ...], private: dict[int, str]) -> FoundProgram:
    (folder / "show.py").write_text(SHOW)
    return find(str(folder / "show.py"), public, private=private)


async def test_the_program_has_them_in_their_places_whatever_they_are(tmp_path: Path) -> None:
    values = {2: "--no-prss", 4: "\x1aprivate 5", 5: "ü \n'-L64", 6: ""}
    found = program(tmp_path, ("8", "-L16", "x"), values)
    (party,) = await run(found, 1)
    check(party, f"{['8', '--no-prss', values[4], values[5], '', 'x']} 16 False\n")


@pytest.mark.parametrize(
    ("public", "place"),
    [(("-L",), 2), (("--log-level",), 2), (("-f",), 2), (("8", "-K"), 3), (("--sec-param", "9"), 2), (("-W",), 2)],
)
async def test_options_of_mpyc_cannot_be_private(tmp_path: Path, public: tuple[str, ...], place: int) -> None:
    found = program(tmp_path, public, {place: "64"})
    with pytest.raises(UsageError, match=f"argument {place} belongs to an option of MPyC and cannot be private"):
        await probe(found, m=1, threshold=0)
    (party,) = await run(found, 1)  # without a probe, too
    assert isinstance(party.error, UsageError) and party.out == ""


async def test_what_fills_them_changes_nothing_that_is_agreed_on(tmp_path: Path) -> None:
    one, other = (program(tmp_path, ("8",), {2: text}) for text in ("100", "--no-prss"))
    first, second = await probe(one, m=3, threshold=1), await probe(other, m=3, threshold=1)
    assert first.program == second.program and first.files == second.files
    assert first.program.arguments == ("8", None)
    assert first.program.command == "show 8 ?" and first.program.private == "argument 2 is private at everyone"
    public = await probe(program(tmp_path, ("8", "?"), {}), m=3, threshold=1)
    assert public.program.digest != first.program.digest
    assert first.program.difference(public.program, "bob") == "argument 2 is ? (private) here and '?' at bob"
