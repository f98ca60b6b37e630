"""Programs as python itself would run them."""

import sys
import textwrap
from pathlib import Path

import pytest

from comity.errors import UsageError
from comity.mpyc_bridge.agreed import Agreed, Files, Root
from comity.mpyc_bridge.main_program import own_frames, run_as_main, show_exception
from comity.mpyc_bridge.shares import reading_input


@pytest.fixture(autouse=True)
def own_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a run changes is put back."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", ["program"])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("__main__", "seen"):
        monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.delitem(sys.modules, "seen")
    monkeypatch.chdir(tmp_path)


def written(folder: Path, name: str, source: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return str(path)


def start(kind: str, target: str) -> None:
    """With the file itself as what is agreed on; its neighbours are imported as ever: no finder of ours stands here."""
    files = Files()
    if kind == "file" and Path(target).is_file():
        path = Path(target).resolve()
        files.roots.append(Root(str(path.parent)))
        files.add(files.roots[0], path.name, path.read_bytes())
    run_as_main(kind, target, Agreed(files, ()))


def test_a_file_runs_as_main_beside_its_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "folder/neighbour_of_it.py", "WORD = 'hello'\n")
    path = written(tmp_path, "folder/it.py", "import neighbour_of_it as n, sys\nprint(n.WORD, __name__, __file__)\n")
    start("file", path)
    assert capsys.readouterr().out == f"hello __main__ {path}\n"
    assert sys.path[0] == str(tmp_path / "folder") and sys.modules["__main__"].__file__ == path


def test_a_link_to_a_file_has_the_files_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "real/it.py", "import sys; print(sys.path[0])\n")
    (tmp_path / "link.py").symlink_to(path)
    start("file", str(tmp_path / "link.py"))
    assert capsys.readouterr().out == f"{tmp_path}/real\n"


def test_a_future_statement_of_ours_is_not_the_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "it.py", "def f(x: 1 + 1): pass\nprint(f.__annotations__)\n")
    start("file", path)
    assert capsys.readouterr().out == "{'x': 2}\n"


@pytest.mark.parametrize("target", ["none_such", "none_such.inner", "hollow", "hollow.inner"])
def test_a_module_that_cannot_be_run_is_named(tmp_path: Path, target: str) -> None:
    written(tmp_path, "hollow/__init__.py", "")
    with pytest.raises(UsageError, match=target):
        start("module", target)


def test_what_a_package_fails_to_import_is_its_own_error(tmp_path: Path) -> None:
    written(tmp_path, "broken_package/__init__.py", "import quite_missing\n")
    with pytest.raises(ModuleNotFoundError, match="quite_missing") as caught:
        start("module", "broken_package.tool")
    frames = own_frames(caught.value.__traceback__)
    assert frames is not None and "test_main_program" in frames.tb_frame.f_code.co_filename  # a test's own frame
    while frames.tb_next is not None:
        frames = frames.tb_next
    assert frames.tb_frame.f_code.co_filename.endswith("broken_package/__init__.py")


def test_a_file_that_is_not_agreed_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not among the agreed files"):
        start("file", str(tmp_path / "none.py"))


def test_a_traceback_begins_with_the_program(tmp_path: Path) -> None:
    path = written(tmp_path, "it.py", "def f():\n    1 / 0\nf()\n")
    with pytest.raises(ZeroDivisionError) as caught:
        start("file", path)
    traceback = caught.value.__traceback__
    assert traceback is not None and traceback.tb_next is not None
    frames = own_frames(traceback.tb_next.tb_next)  # below the frames of this file
    assert frames is not None and frames.tb_frame.f_code.co_filename == path
    assert frames.tb_lineno == 3


def test_a_program_that_is_no_python_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        start("file", written(tmp_path, "it.py", "else:\n"))
    traceback = caught.value.__traceback__
    assert traceback is not None and traceback.tb_next is not None
    assert own_frames(traceback.tb_next.tb_next) is None


def test_a_traceback_shows_what_would_move_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another party sent may stand in the message of the program's exception."""
    with pytest.raises(ValueError) as caught:
        start("file", written(tmp_path, "it.py", "raise ValueError('\\x1b[2Jall is \\u202ewell\\n\\tbob')\n"))
    show_exception(caught.value)
    shown = capsys.readouterr().err
    assert shown.endswith("ValueError: \\x1b[2Jall is \\u202ewell\n    bob\n") and "\x1b" not in shown


def test_a_traceback_shows_no_frames_of_ours_compiled_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    """MPyC reads an input through a function of ours."""

    def distribute() -> None:
        raise ValueError("of the program")

    with pytest.raises(RuntimeError) as caught:
        try:
            reading_input(distribute)()
        except ValueError as exc:
            raise RuntimeError("because") from exc
    show_exception(caught.value)
    shown = capsys.readouterr().err
    assert shown.count("test_main_program.py") == 3 and "mpyc_bridge/shares.py" not in shown
