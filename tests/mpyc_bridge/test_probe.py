import asyncio
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import pytest

from comity.core.encoding import encode
from comity.core.limits import MAX_PART, MAX_PARTS, MAX_PROGRAM
from comity.core.program import Program
from comity.errors import ComityError, ProgramError, UsageError
from comity.mpyc_bridge import probe as module
from comity.mpyc_bridge.probe import probe as examine
from comity.mpyc_bridge.program import FoundProgram, find


async def probe(found: FoundProgram, *, m: int, threshold: int) -> Program:
    return (await examine(found, m=m, threshold=threshold)).program


async def test_a_built_in_demo_is_what_its_file_mpyc_and_options_are() -> None:
    program = await probe(find("sum", ("8", "-L64", "--no-prss")), m=3, threshold=1)
    assert (program.name, program.arguments) == ("sum", ("8", "-L64", "--no-prss"))
    assert program.python == ".".join(map(str, sys.version_info[:3]))
    parts = program.parts
    assert parts["option bit_length"] == "64" and parts["option no_prss"] == "True"
    assert parts["option sec_param"] == "30" and parts["option mix32_64bit"] == "False"
    assert parts["mpyc"] == importlib.metadata.version("mpyc") and len(parts["mpyc source"]) == 64
    assert parts["numpy"] == importlib.metadata.version("numpy").split(".")[0] and parts["word size"] == "64"
    assert len(parts["file sum.py"]) == 64
    assert [label for label in parts if "index" in label or "threshold" in label or "log" in label] == []


async def test_the_parties_number_threshold_and_environment_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find("sum", ("8",))
    here = await probe(found, m=3, threshold=1)
    monkeypatch.setenv("MPYC_NOPRSS", "1")
    monkeypatch.setenv("MPYC_NONUMPY", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mpyc.py").write_text("raise SystemExit(1)")
    others = await asyncio.gather(
        probe(found, m=5, threshold=2), probe(found, m=64, threshold=31), probe(found, m=1, threshold=0)
    )
    assert {other.digest for other in others} == {here.digest}


async def test_two_copies_are_the_same_program_and_a_changed_one_is_named(tmp_path: Path) -> None:
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "game.py").write_text("import rules, hypothesis, pytest_not_there\n")
        (tmp_path / folder / "rules.py").write_text("LIMIT = 3\n")
    one = await probe(find(str(tmp_path / "a" / "game.py")), m=3, threshold=1)
    other = await probe(find(str(tmp_path / "b" / "c" / "game.py")), m=3, threshold=1)
    assert one.digest == other.digest and one.difference(other, "bob") == ""
    assert one.parts["package hypothesis"] == importlib.metadata.version("hypothesis")
    assert one.parts["module pytest_not_there"] == "absent"
    (tmp_path / "b" / "c" / "rules.py").write_text("LIMIT = 4\n")
    other = await probe(find(str(tmp_path / "b" / "c" / "game.py")), m=3, threshold=1)
    assert one.difference(other, "bob").startswith("file rules.py is ")


async def test_a_package_is_a_program_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "game").mkdir()
    (tmp_path / "game" / "__main__.py").write_text("import json\n")
    program = await probe(find("game", ("1",), module=True), m=1, threshold=0)
    assert program.name == "game" and "file game/__main__.py" in program.parts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-I0",), "option -I numbers this party"),
        (("-I", "2"), "option -I numbers this party"),
        (("--inde", "2"), "option -I numbers this party"),
        (("-M4",), "option -M differs from the session's 3 parties"),
        (("-T0",), "option -T differs from the session's threshold 1"),
        (("--thr=0",), "option -T differs from the session's threshold 1"),
        (("-T", "2"), "MPyC cannot be set up: threshold 2 too large for 3 parties"),
        (("--ss",), "option --ssl is not for a session"),
        (("-P", "localhost", "-P", "localhost:9", "-P", ""), "option -P names parties"),
        (("--config=nothing.ini",), "nothing.ini"),
        (("-h",), "option -h asks for help only"),
        (("-V",), "-V and -H have MPyC print and end"),
        (("--HE",), "-V and -H have MPyC print and end"),
        (("-L", "many"), "argument -L/--bit-length: invalid int value: 'many'"),
        (("--no",), "ambiguous option: --no could match"),
    ],
)
async def test_what_the_session_sets_the_program_may_not(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        await probe(find("sum", ("8", *arguments)), m=3, threshold=1)
    assert message in caught.value.message


async def test_what_agrees_with_the_session_may_stand() -> None:
    program = await probe(find("sum", ("-M3", "-T1", "8", "-B4000", "--index-of=2")), m=3, threshold=1)
    assert program.arguments == ("-M3", "-T1", "8", "-B4000", "--index-of=2")


async def test_source_that_is_no_python_is_named_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text("import rules\n")
    (tmp_path / "rules.py").write_text("\nLIMIT = = 3\n")
    with pytest.raises(ProgramError, match=r"^rules.py, line 2: invalid syntax$"):
        await probe(find(str(tmp_path / "game.py")), m=3, threshold=1)


async def test_the_program_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(9)\n")
    await probe(find(str(tmp_path / "game.py")), m=3, threshold=1)
    assert not (tmp_path / "ran").exists()


async def test_many_files_are_folded_into_what_a_message_takes(tmp_path: Path) -> None:
    names = [f"m{i:03}" for i in range(300)]
    names.append("n" * MAX_PART)  # its label would be too long
    for name in names:
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "game.py").write_text("".join(f"import {name}\n" for name in names))
    program = await probe(find(str(tmp_path / "game.py"), ("é" * 250,) * 4), m=3, threshold=1)
    assert len(program.parts) <= MAX_PARTS and len(encode(program.to_dict())) <= MAX_PROGRAM
    assert Program.from_dict(program.to_dict()) == program
    folded = [label for label in program.parts if label.endswith(" more parts")]
    assert folded and int(folded[0].split()[0]) + len(program.parts) - 1 > 300
    (tmp_path / "m299.py").write_text("x = 1\n")
    other = await probe(find(str(tmp_path / "game.py"), ("é" * 250,) * 4), m=3, threshold=1)
    assert program.difference(other, "bob").startswith(folded[0])


async def test_arguments_that_leave_no_room_are_refused() -> None:
    with pytest.raises(UsageError, match="arguments are too long together"):
        await probe(find("sum", ("é" * 256,) * 20), m=3, threshold=1)


async def test_a_probe_that_hangs_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    (tmp_path / "game.py").touch()
    found = find(str(tmp_path / "game.py"))
    (tmp_path / "game.py").unlink()
    (tmp_path / "game.py").symlink_to(tmp_path / "slow")  # reading it waits for a writer
    with pytest.raises(UsageError, match=r"game could not be examined within 1.5 s"):
        await examine(found, m=3, threshold=1, timeout=1.5)
    task = asyncio.create_task(probe(found, m=3, threshold=1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 1)
    with pytest.raises(OSError, match="No such device or address"):  # nobody reads it any more
        os.open(tmp_path / "slow", os.O_WRONLY | os.O_NONBLOCK)


async def test_a_probe_that_breaks_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "child_command", lambda name: [sys.executable, "-c", "raise OSError('no memory')"])
    with pytest.raises(ComityError, match=r"the probe of sum ended with 1: OSError: no memory") as caught:
        await probe(find("sum"), m=3, threshold=1)
    assert caught.value.exit_code == 1


async def test_a_probe_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "child_command", lambda name: [str(tmp_path / "python")])
    with pytest.raises(UsageError, match=r"the probe of sum does not start: .*No such file"):
        await probe(find("sum"), m=3, threshold=1)


async def test_mpyc_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(module.__file__).parents[1], tmp_path / "comity")
    (tmp_path / "mpyc").mkdir()
    (tmp_path / "mpyc" / "__init__.py").write_text("raise ImportError('mpyc is broken here')")
    run = "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), None, '__main__')"
    monkeypatch.setattr(module, "child_command", lambda name: [sys.executable, "-c", run, str(tmp_path), name])
    with pytest.raises(UsageError, match="MPyC cannot be set up: mpyc is broken here"):
        await probe(find("sum"), m=3, threshold=1)
