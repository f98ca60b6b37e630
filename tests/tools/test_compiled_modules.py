"""What holds of the modules that a build may compile."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "custom"
]["modules"]


@pytest.mark.parametrize("path", MODULES)
def test_constants_are_final_so_that_they_stand_in_the_code(path: str) -> None:
    for node in ast.parse((ROOT / path).read_text()).body:
        names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        assert not [name for name in names if name.strip("_").isupper()], f"{ast.unparse(node)}: annotate it with Final"


@pytest.mark.parametrize("path", MODULES)
def test_no_frame_is_asked_for_by_its_place_since_compiled_functions_have_none(path: str) -> None:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call) and "getframe" in ast.unparse(node.func):
            assert not node.args, ast.unparse(node)
