"""Agreed files between processes, and what is local where they run."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import Malformed
from comity.mpyc_bridge.agreed import Agreed, Files, Root, read_sealed, sealed

LABELS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8)


def files_at(folder: Path, *labels: str, only: str = "") -> Files:
    files = Files(roots=[Root(str(folder), only)])
    for label in labels:
        files.add(files.roots[0], label, label.encode())
    return files


@given(st.dictionaries(LABELS, st.binary(max_size=50), max_size=5))
def test_files_come_back_as_they_were_sent(contents: dict[str, bytes]) -> None:
    files = Files(roots=[Root("/a"), Root("/b", "b")])
    for i, (label, content) in enumerate(contents.items()):
        files.add(files.roots[i % 2], label, content)
    back = Files.unpack(files.pack())
    assert (back.contents, back.roots) == (contents, files.roots)
    assert [back.path(label) for label in contents] == [files.path(label) for label in contents]
    assert dict(back.digests()) == {label: hashlib.sha256(content).hexdigest() for label, content in contents.items()}


def test_a_name_that_is_no_text_comes_back_too(tmp_path: Path) -> None:
    label = os.fsdecode(b"caf\xe9.py")
    files = Files(roots=[Root(str(tmp_path))])
    files.add(files.roots[0], label, b"1")
    assert Files.unpack(files.pack()).contents == {label: b"1"}


def test_files_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    whole = files_at(tmp_path, "a.py", "b.py").pack()
    for size in range(len(whole)):
        with pytest.raises(Malformed):
            Files.unpack(whole[:size])
    with pytest.raises(Malformed):
        Files.unpack(whole + b"x")


@pytest.mark.parametrize(
    "table",
    [
        *("[]", "{}", "3", '{"roots":[]}', '{"roots":1,"files":[]}', '{"roots":[["/"]],"files":[]}'),
        *('{"roots":[],"files":[[0,"a",1]]}', '{"roots":[["/",""]],"files":[[0,1]]}', "[" * 100_000),
    ],
)
def test_a_table_of_files_of_another_form_is_refused(table: str) -> None:
    """It was a KeyError, a TypeError or an IndexError."""
    with pytest.raises(Malformed):
        Files.unpack(len(table).to_bytes(8, "big") + table.encode() + b"a")


def test_what_is_sealed_can_be_read_and_not_changed() -> None:
    descriptor = sealed(b"agreed")
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(descriptor, b"other!", 0)
    with pytest.raises(OSError, match="not permitted"):
        os.truncate(descriptor, 2)
    os.lseek(descriptor, 3, os.SEEK_SET)
    assert read_sealed(descriptor) == b"agreed"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_without_linux_a_file_without_a_name_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    descriptor = sealed(b"agreed")
    assert os.fstat(descriptor).st_nlink == 0
    assert read_sealed(descriptor) == b"agreed"


def test_what_lies_below_a_root_is_local_unless_something_is_installed_there(tmp_path: Path) -> None:
    root = tmp_path / "game"
    (root / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    installed = (str(tmp_path), str(root / "venv" / "lib"), str(tmp_path / "gamebox"))
    agreed = Agreed(files_at(root, "main.py", "tools/a.py"), installed)
    for path, label in {
        root / "main.py": "main.py",
        root / "other.csv": "other.csv",
        root / "tools" / ".." / "main.py": "main.py",
        tmp_path / "link" / "main.py": "main.py",
        root / "venv" / "lib" / "numpy.py": None,
        root / "venv" / "cfg": "venv/cfg",
        root: None,
        tmp_path / "gamebox" / "main.py": None,
        tmp_path / "other.py": None,
        Path("/"): None,
    }.items():
        expected = label if "link" not in str(path) else None  # below tmp_path, which is installed: not looked into
        assert agreed.label(str(path)) == expected, path
    assert Agreed(files_at(root, "main.py"), ()).label(str(tmp_path / "link" / "main.py")) == "main.py"
    assert agreed.folders == {str(root), str(root / "tools")}
    assert agreed.content(str(root / "tools" / "a.py")) == b"tools/a.py"
    assert agreed.content(str(root / "tools" / "b.py")) is None


def test_of_an_installed_package_only_its_own_folder_is_local(tmp_path: Path) -> None:
    agreed = Agreed(files_at(tmp_path, "pack/__main__.py", only="pack"), (str(tmp_path),))
    assert agreed.label(str(tmp_path / "pack" / "data.csv")) == "pack/data.csv"
    assert agreed.label(str(tmp_path / "pack.py")) == "pack.py"
    assert agreed.label(str(tmp_path / "package" / "data.csv")) is None
    assert agreed.label(str(tmp_path / "numpy.py")) is None


def test_a_link_to_an_agreed_file_is_another_name_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.py").symlink_to(tmp_path / "main.py")
    agreed = Agreed(files_at(tmp_path, "main.py"), ())
    assert agreed.content(str(tmp_path / "link.py")) == b"main.py"
    monkeypatch.chdir(tmp_path)
    assert agreed.content("main.py") == b"main.py"
    agreed.also("second.py", b"2")
    assert agreed.content(str(tmp_path / "second.py")) == b"2"
