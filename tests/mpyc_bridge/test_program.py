from pathlib import Path

import pytest

from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS
from comity.errors import UsageError
from comity.mpyc_bridge.program import builtin_names, find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "auction.py").write_text("print(1)\n")
    return tmp_path


def test_the_demos_are_built_in() -> None:
    assert builtin_names() == ("secretsanta", "sort", "sum")
    found = find("secretsanta", ("8",))
    assert (found.kind, found.name, found.arguments) == ("builtin", "secretsanta", ("8",))
    assert Path(found.target).is_file()


def test_a_file_is_found_by_its_path_and_called_by_its_stem(here: Path) -> None:
    for target in ("auction.py", "./auction.py", str(here / "auction.py")):
        found = find(target, ("-x", "1"))
        assert (found.kind, found.target, found.name) == ("file", str(here / "auction.py"), "auction")


def test_a_module_is_named_as_it_stands() -> None:
    assert find("auctions.vickrey", module=True).target == find("auctions.vickrey", module=True).name


@pytest.mark.parametrize(
    ("target", "module", "message", "hint"),
    [
        ("secretsants", False, "there is no program 'secretsants'", "did you mean secretsanta?"),
        ("sums.py", False, "there is no file 'sums.py'", "did you mean sum?"),
        ("auction", False, "there is no program 'auction'", "the file here is auction.py"),
        ("zzz", False, "there is no program 'zzz'", "built in: secretsanta, sort, sum;"),
        (".", False, "'.' is a folder", "name the .py file in it"),
        ("folder.py", False, "'folder.py' is a folder", "name the .py file in it"),
        ("package", False, "'package' is a folder", "to run it as a module, from the folder above: -m package"),
        ("notes.txt", False, "'notes.txt' is no .py file", "a program's file ends in .py"),
        ("a-b", True, "'a-b' is no module name", "a file is named without -m"),
        ("a..b", True, "'a..b' is no module name", "a file is named without -m"),
        ("a.py", False, "there is no file", "built in"),
        ("bad\x1b[31m.py", False, "cannot be shown", "rename"),
        ("b" * 100 + ".py", False, "cannot be shown", "rename"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    here: Path, target: str, module: bool, message: str, hint: str
) -> None:
    (here / "folder.py").mkdir()
    (here / "package").mkdir()
    (here / "package/__main__.py").touch()
    (here / "notes.txt").touch()
    for name in ("bad\x1b[31m.py", "b" * 100 + ".py"):
        (here / name).touch()
    with pytest.raises(UsageError) as caught:
        find(target, module=module)
    assert message in caught.value.message and caught.value.hints[0].startswith(hint)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "a\x1b[2Jb"), "argument 2 cannot be shown"),
        (("a\nb",), "argument 1 cannot be shown"),
        (("\udcff",), "argument 1 cannot be shown"),  # a byte of the command line that is no text
        (("x" * (MAX_ARGUMENT + 1),), "argument 1 cannot be shown"),
        (("1",) * (MAX_ARGUMENTS + 1), f"has {MAX_ARGUMENTS + 1} arguments"),
    ],
)
def test_arguments_that_others_could_not_read_are_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find("sum", arguments)
    assert message in caught.value.message and caught.value.hints
    find("sum", ("x" * MAX_ARGUMENT,) * MAX_ARGUMENTS)
