import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plain import run_plain

import comity.demos

FOLDER = Path(comity.demos.__path__[0])
NAMES = ("secretsanta", "sort", "sum")


def outputs(name: str, *arguments: str, m: int = 3) -> list[str]:
    """What the parties print: the same everywhere."""
    ended = run_plain(FOLDER / f"{name}.py", *arguments, m=m)
    assert [(process.returncode, process.stderr) for process in ended] == [(0, "")] * m
    assert len({process.stdout for process in ended}) == 1
    return ended[0].stdout.splitlines()


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_secret_santa_draws_derangements(m: int) -> None:
    lines = outputs("secretsanta", "6", m=m)
    assert [int(line.partition(" ")[0]) for line in lines] == [2, 3, 4, 5, 6]
    assert lines[0] == "2 [1, 0]"
    for line in lines:
        people, _, drawn = line.partition(" ")
        gives = ast.literal_eval(drawn)
        assert sorted(gives) == list(range(int(people))) and all(i != to for i, to in enumerate(gives))


def test_secret_santa_draws_anew_each_time() -> None:
    assert outputs("secretsanta", "medium") != outputs("secretsanta", "8")


@pytest.mark.parametrize(("size", "m", "total"), [("low", 3, 6), ("medium", 3, 30300), ("1000", 2, 1501500)])
def test_sum_adds_everyones_numbers(size: str, m: int, total: int) -> None:
    assert outputs("sum", size, m=m) == [f"sum {total}"]


@pytest.mark.parametrize(("size", "count"), [("low", 4), ("16", 16)])
def test_sort_orders_everyones_numbers(size: str, count: int) -> None:
    (line,) = outputs("sort", size)
    name, _, numbers = line.partition(" ")
    ordered = ast.literal_eval(numbers)
    assert name == "sorted" and len(ordered) == 3 * count and ordered == sorted(ordered)
    alone = ast.literal_eval(outputs("sort", size, m=1)[0].partition(" ")[2])
    assert set(alone) <= set(ordered)  # the first party's numbers do not depend on the others


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", ["huge", "0", "-3", "1.5", "8 ", "1000000", "٣"])
def test_a_wrong_size_is_a_usage_error_that_says_what_is_right(name: str, size: str) -> None:
    (ended,) = run_plain(FOLDER / f"{name}.py", "--", size, m=1)
    assert ended.returncode == 2 and ended.stdout == ""
    assert "low, medium, high and no number from" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_explains_itself(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "-h"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout
    assert f"usage: {name}.py [-h] [size]" in said and "low, medium, high, or N itself" in said


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_is_a_plain_mpyc_program(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"argparse", "mpyc.runtime"}
    sizes = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert list(ast.literal_eval(sizes)) == ["low", "medium", "high"]
