import hashlib
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from comity.errors import ProgramError, UsageError
from comity.mpyc_bridge import closure as module_under_test
from comity.mpyc_bridge.closure import closure_of
from comity.mpyc_bridge.program import FoundProgram, find


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files by path; the first one's path is returned."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / next(iter(files))


def files(program: FoundProgram) -> list[str]:
    return sorted(closure_of(program).files.contents)


AUCTION = {
    "auction.py": "import os, bids\nfrom tools import first\nimport tools.deep.second as s\n",
    "bids.py": "def read():\n    import late, numpy.linalg\n",
    "late.py": "import auction\nfrom mpyc.runtime import mpc\n",
    "tools/__init__.py": "",
    "tools/first.py": "from . import third, not_a_module\nfrom .deep import second\n",
    "tools/third.py": "from .first import anything\n",
    "tools/deep/__init__.py": "from ..fourth import *\n",
    "tools/deep/second.py": "from ....beyond_the_top import x\n",
    "tools/fourth.py": "",
    "tools/unused.py": "",
    "unused.py": "",
}


def test_the_programs_file_and_the_local_ones_it_imports_are_found(tmp_path: Path) -> None:
    program = find(str(write(tmp_path, AUCTION)))
    closure = closure_of(program)
    assert sorted(closure.files.contents) == sorted(name for name in AUCTION if "unused" not in name)
    assert closure.files.contents["bids.py"] == AUCTION["bids.py"].encode()
    digests = dict(closure.files.digests())
    assert digests["bids.py"] == hashlib.sha256(AUCTION["bids.py"].encode()).hexdigest()
    assert closure.foreign == {"mpyc", "numpy"}


def test_it_is_the_same_wherever_the_folder_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = closure_of(find(str(write(tmp_path / "a", AUCTION))))
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    assert closure_of(find(str(tmp_path / "b" / "c" / "auction.py"))) == here
    monkeypatch.chdir(tmp_path / "b" / "c")
    assert closure_of(find("auction.py")) == here
    (tmp_path / "link.py").symlink_to(tmp_path / "a" / "auction.py")
    assert closure_of(find(str(tmp_path / "link.py"))) == here  # Python, too, goes by where the file really is
    (tmp_path / "a" / "unused.py").write_text("changed")
    assert closure_of(find(str(tmp_path / "a" / "auction.py"))) == here
    (tmp_path / "a" / "late.py").write_text("changed")
    assert closure_of(find(str(tmp_path / "a" / "auction.py"))) != here


def test_a_local_module_is_preferred_as_python_prefers_it(tmp_path: Path) -> None:
    compiled = f"fast{EXTENSION_SUFFIXES[0]}"
    path = write(
        tmp_path,
        {
            "main.py": "import fast, both, sectors.north, numpy, mpyc, colorsys",
            "fast.py": "",
            compiled: "no source",
            "both.py": "import never",
            "both/__init__.py": "",
            "sectors/north.py": "",  # a folder without __init__ is a package, too
            "numpy/data.txt": "",  # but not where a proper module has its name
            "mpyc/__init__.py": "",  # MPyC is imported before
            "colorsys.py": "",  # stands in for Python's own
        },
    )
    closure = closure_of(find(str(path)))
    there = ["main.py", compiled, "both/__init__.py", "sectors/north.py", "colorsys.py"]
    assert sorted(closure.files.contents) == sorted(there)
    assert closure.foreign == {"numpy", "mpyc"}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = (1,\n", "lines.py, line 1: '\\(' was never closed"),
        ("x = 1\n\n  y = 2\n", "lines.py, line 3: unexpected indent"),
        ("x = 1\0", "lines.py(, line 1|) ?.*null bytes"),
        ("# coding: nonsense\n", "lines.py, line 1: .*encoding"),
        ("-" * 100_000 + "1", "lines.py"),
    ],
)
def test_source_that_is_no_python_is_named_with_its_line(tmp_path: Path, source: str, complaint: str) -> None:
    path = write(tmp_path, {"main.py": "import lines", "lines.py": source})
    with pytest.raises(ProgramError, match=complaint) as caught:
        closure_of(find(str(path)))
    assert caught.value.exit_code == 6


def test_old_escapes_are_no_matter_of_ours(tmp_path: Path) -> None:
    assert files(find(str(write(tmp_path, {"main.py": 'x = "\\d"\n'})))) == ["main.py"]


def test_a_module_missing_from_the_programs_own_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"game/__main__.py": "\nfrom .rules import x\n", "game/__init__.py": ""})
    with pytest.raises(ProgramError, match=r"^game/__main__.py, line 2: there is no module game.rules$"):
        closure_of(find("game", module=True))
    guarded = "try:\n    from .rules import x\nexcept ImportError:\n    pass\ndef f():\n    from .rules import y\n"
    write(tmp_path, {"game/__main__.py": guarded})
    assert files(find("game", module=True)) == ["game/__init__.py", "game/__main__.py"]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    program = find(str(write(tmp_path, {"main.py": ""})))
    (tmp_path / "main.py").unlink()
    with pytest.raises(UsageError, match=r"main.py cannot be read: No such file"):
        closure_of(program)


def test_modules_are_found_here_and_among_the_installed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        {
            "single.py": "import beside",
            "beside.py": "",
            "package/__init__.py": "",
            "package/__main__.py": "from . import inner",
            "package/inner.py": "import beside",
            "package/tool.py": "from .inner import x\nimport package.inner",
            "bare/one.py": "from . import two",
            "bare/two.py": "",
        },
    )
    assert files(find("single", module=True)) == ["beside.py", "single.py"]
    assert files(find("package", module=True)) == [
        "beside.py",
        "package/__init__.py",
        "package/__main__.py",
        "package/inner.py",
    ]
    assert files(find("package.tool", module=True)) == [
        "beside.py",
        "package/__init__.py",
        "package/inner.py",
        "package/tool.py",
    ]
    assert files(find("bare.one", module=True)) == ["bare/one.py", "bare/two.py"]
    closure = closure_of(find("comity.demos.sum", module=True))
    assert sorted(closure.files.contents) == ["comity/__init__.py", "comity/demos/__init__.py", "comity/demos/sum.py"]
    assert closure.foreign == {"mpyc"}


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        ("nowhere", "there is no module nowhere"),
        ("nowhere.inner", "there is no module nowhere"),
        ("sys", "there is no module sys"),  # it has no file
        ("bare", "there is no module bare that can be run"),
        ("package", "there is no module package that can be run"),
        ("package.missing", "there is no module package.missing that can be run"),
        ("compiled", "there is no module compiled that can be run"),
    ],
)
def test_modules_that_cannot_be_run_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"package/__init__.py": "", "bare/x.py": "", f"compiled{EXTENSION_SUFFIXES[0]}": ""})
    with pytest.raises(UsageError, match=complaint) as caught:
        closure_of(find(module, module=True))
    assert str(tmp_path) in caught.value.hints[0]


@pytest.mark.parametrize(
    ("patterns", "more"),
    [
        (("data.csv",), ["data.csv"]),
        (("*.csv", "data.csv"), ["data.csv"]),
        (("cases/*",), ["cases/one.txt"]),
        (("cases/**",), ["cases/deep/two.txt", "cases/one.txt"]),
        (("tools/unused.py",), ["tools/unused.py"]),
        (("plugins/[ab].py",), ["plugins/__init__.py", "plugins/a.py", "plugins/base.py"]),
        (("bids.py",), []),
        (("odd-name.py",), ["odd-name.py", "unused.py"]),
    ],
)
def test_patterns_add_files_and_what_python_ones_import(
    tmp_path: Path, patterns: tuple[str, ...], more: list[str]
) -> None:
    others = {
        "data.csv": "1,2",
        "cases/one.txt": "1",
        "cases/deep/two.txt": "2",
        "plugins/__init__.py": "",
        "plugins/a.py": "from . import base",
        "plugins/base.py": "",
        "odd-name.py": "import unused",
    }
    path = write(tmp_path, AUCTION | others)
    found = files(find(str(path), include=patterns))
    assert sorted(set(found) - set(files(find(str(path))))) == more


@pytest.mark.parametrize("pattern", ["none.csv", "*.none", "cases", "**/nothing"])
def test_a_pattern_that_matches_no_file_is_named(tmp_path: Path, pattern: str) -> None:
    path = write(tmp_path, {"main.py": "", "cases/one.txt": ""})
    with pytest.raises(UsageError, match="matches no file") as caught:
        closure_of(find(str(path), include=(pattern,)))
    assert pattern in caught.value.message and str(tmp_path) in caught.value.hints[0]


def test_a_pattern_of_a_module_counts_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"game/__main__.py": "", "game/data.csv": "", "other.csv": ""})
    assert files(find("game", module=True, include=("game/*.csv", "*.csv"))) == [
        "game/__main__.py",
        "game/data.csv",
        "other.csv",
    ]


def test_more_than_a_node_keeps_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"main.py": "#234567", "a.csv": "12345678", "b.csv": "1"})
    monkeypatch.setattr(module_under_test, "MAX_FILES_BYTES", 16)
    assert len(files(find(str(path), include=("a.csv", "b.csv")))) == 3
    write(tmp_path, {"b.csv": "12"})
    with pytest.raises(UsageError, match="the program's files are more than") as caught:
        files(find(str(path), include=("a.csv", "b.csv")))
    assert "b.csv" in caught.value.hints[0]
    monkeypatch.setattr(module_under_test, "MAX_FILES", 1)
    with pytest.raises(UsageError, match="the program's files are more than 1,"):
        files(find(str(path), include=("a.csv",)))
