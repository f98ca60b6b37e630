"""docs/threat-model.md and docs/known-weaknesses.md against tests and code: names, numbers, limits."""

import ast
import re
from functools import cache

import pytest
from tests.docs.pages import ROOT, named, page, section, tables

from comity.core import limits

MODEL = page("docs/threat-model.md")
WEAKNESSES = page("docs/known-weaknesses.md")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", MODEL)
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@cache
def collected(path: str) -> frozenset[str]:
    """What pytest would collect of a file: the functions at its top that are called tests."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
    assert {name for where, name in NAMED if where == path} <= collected(path)


def test_no_test_is_named_in_another_way() -> None:
    """What has another form is checked by nobody."""
    assert re.findall(r"\btest_\w+", re.sub(r"`tests/[\w/]+\.py(::\w+)?`", "", MODEL)) == []
    assert len(NAMED) == len(set(NAMED))


def test_every_file_of_attacks_is_named() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/attacks").glob("*.py")}
    assert there <= set(re.findall(r"tests/attacks/\w+\.py", MODEL))


def test_every_attack_story_is_named() -> None:
    stories = {(path, name) for path, name in NAMED if path.startswith("tests/attacks/")}
    told = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/attacks").glob("test_*.py")}
    assert stories == {(path, name) for path in told for name in collected(path)}
    assert len(stories) >= 40


def test_attacks_and_weaknesses_are_counted_and_refer_to_each_other() -> None:
    attacks = [int(number) for number in re.findall(r"^### A(\d+)\. ", MODEL, re.MULTILINE)]
    weaknesses = [int(number) for number in re.findall(r"^## W(\d+)\. ", WEAKNESSES, re.MULTILINE)]
    assert attacks == list(range(1, len(attacks) + 1))
    assert weaknesses == list(range(1, len(weaknesses) + 1))
    mentioned = {int(number) for number in re.findall(r"\bW(\d+)\b", MODEL)}
    assert mentioned == set(weaknesses)  # each is left by something, and whatever is left is described
    assert {int(number) for number in re.findall(r"\bA(\d+)\b", WEAKNESSES)} <= set(attacks)


def test_the_limits_that_are_named_are_the_codes() -> None:
    for name in re.findall(r"\b(?:MAX|ROOM|POST)_[A-Z_]+\b", MODEL + WEAKNESSES):
        assert hasattr(limits, name), name


def test_the_memory_that_is_stated_is_what_the_limits_give() -> None:
    rows = tables(section(WEAKNESSES, "## W22. Memory that others can take"))[0]
    assert len(rows) >= 5
    for _, formula, stated in rows:
        (terms,) = named(formula)
        total = 0
        for term in terms.split(" + "):
            factors = term.split(" * ")
            value = 1
            for factor in factors:
                value *= int(factor) if factor.isdigit() else getattr(limits, factor)
            total += value
        number, unit = stated.split()
        assert float(number) * _UNITS[unit] == total, formula


def test_the_chances_that_are_stated_follow_from_33_bits() -> None:
    rows = tables(section(WEAKNESSES, "## W1. Equal words by chance"))[0]
    assert len(rows) >= 4
    for honest, pairs, *chances in rows:
        h = int(honest)
        assert int(pairs) == h * (h - 1) // 2
        for q, stated in zip((1, 1000), chances, strict=True):
            assert stated == f"{q * int(pairs) / 2**33:.1e}"
