"""Everything about a program that one party may have otherwise than the others: each stops the session before a byte of
the program has run, or changes nothing.

Mutations are generated: of each file of the closure, of the included files, of the arguments, of MPyC's options, of
versions, and of the environment. What a probe finds is compared as the ceremony compares it (core.roster).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.mpyc_bridge.parties import run as run_program
from tests.mpyc_bridge.parties import session

from comity.core.roster import check_program
from comity.errors import ComityError, ProgramDiffers, UsageError
from comity.mpyc_bridge import probe as module
from comity.mpyc_bridge.closure import closure_of
from comity.mpyc_bridge.probe import Examined, assemble, probe
from comity.mpyc_bridge.program import FoundProgram, find

FILES = {
    "game.py": "import sys\nimport rules, tools.first\nprint(rules.LIMIT, tools.first.WORD, sys.argv[1:])\n"
    "print(open(__file__[:-7] + 'data.csv').read())\n",
    "rules.py": "LIMIT = 3\n",
    "tools/__init__.py": "# a package\n",
    "tools/first.py": "from . import second\nWORD = second.WORD\n",
    "tools/second.py": "WORD = 'first'\n",
    "data.csv": "1,2\n3,4\n",
}
ARGUMENTS = ("8", "--fast", "EUR")
Change = Callable[[Path], None]


def write(folder: Path) -> FoundProgram:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return found(folder, ARGUMENTS)


def found(
    folder: Path, arguments: tuple[str, ...], include: tuple[str, ...] = ("*.csv",), **private: int
) -> FoundProgram:
    holes = dict.fromkeys(private.values(), "1000")
    return find(str(folder / "game.py"), arguments, include=include, private=holes)


def of_bytes() -> dict[str, Callable[[bytes], bytes]]:
    """What may happen to a file's bytes."""
    return {
        "its first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
        "its last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        "a byte in its middle": lambda data: data[: len(data) // 2] + b"#" + data[len(data) // 2 :],
        "a line end more": lambda data: data + b"\n",
        "its last line end": lambda data: data[:-1],
        "other line ends": lambda data: data.replace(b"\n", b"\r\n"),
        "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
        "nothing in it": lambda data: b"",
        "a comment more": lambda data: b"# harmless\n" + data,
    }


def mutations_of_files() -> Iterator[tuple[str, Change]]:
    for name in FILES:
        for what, change in of_bytes().items():

            def changed(folder: Path, name: str = name, change: Callable[[bytes], bytes] = change) -> None:
                path = folder / name
                path.write_bytes(change(path.read_bytes()))

            yield f"{name}: {what}", changed
    yield "rules.py is a package", lambda folder: _move(folder, "rules.py", "rules/__init__.py")
    yield "a package is a module", lambda folder: _add(folder, "tools.py", "")  # beside the folder: changes nothing
    yield "two files change places", lambda folder: _swap(folder, "rules.py", "tools/second.py")
    yield "an included file is gone and another there", lambda folder: _move(folder, "data.csv", "other.csv")
    yield "an included file more", lambda folder: _add(folder, "more.csv", "")
    yield "a module in place of Python's", lambda folder: _import(folder, "rules.py", "colorsys")
    yield "one import more", lambda folder: _import(folder, "tools/second.py", "unused")


def _move(folder: Path, name: str, to: str) -> None:
    (folder / to).parent.mkdir(exist_ok=True)
    (folder / name).rename(folder / to)


def _add(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def _swap(folder: Path, one: str, other: str) -> None:
    a, b = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(b)
    (folder / other).write_bytes(a)


def _import(folder: Path, name: str, what: str) -> None:
    _add(folder, f"{what}.py", "")
    _add(folder, name, f"import {what}\n{FILES[name]}")


OF_FILES = dict(mutations_of_files())
HARMLESS = "a package is a module"
"""Python takes the package, and so do we."""

OF_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "one less": ("8", "--fast"),
    "one more": (*ARGUMENTS, "x"),
    "an empty one more": (*ARGUMENTS, ""),
    "none": (),
    "another order": ("--fast", "8", "EUR"),
    "another number": ("9", "--fast", "EUR"),
    "a number written otherwise": ("08", "--fast", "EUR"),
    "a space more": ("8 ", "--fast", "EUR"),
    "another case": ("8", "--fast", "eur"),
    "another flag": ("8", "--fas", "EUR"),
    "two joined": ("8 --fast", "EUR"),
    "one of look-alikes": ("8", "--fast", "ЕUR"),
    "one twice": ("8", "8", "--fast", "EUR"),
}
OF_HOLES: dict[str, tuple[tuple[str, ...], int]] = {
    "a public one is private": (("8", "--fast"), 3),
    "another one is private": (("--fast", "EUR"), 1),
    "a private one more": (ARGUMENTS, 4),
}
OF_OPTIONS: dict[str, tuple[str, ...]] = {
    "another bit length": ("-L64",),
    "another security parameter": ("--sec-param", "40"),
    "no PRSS": ("--no-prss",),
    "64 bits of a mix": ("--mix32-64bit",),
    "no barrier": ("--no-barrier",),
    "not asynchronous": ("--no-async",),
    "no NumPy": ("--no-numpy",),
    "no gmpy2": ("--no-gmpy2",),
    "no uvloop": ("--no-uvloop",),
}
NO_EFFECT = "not asynchronous"
"""MPyC heeds this one for a single party only."""

REFUSED: dict[str, tuple[str, ...]] = {
    "other addresses": ("-P", "a:1", "-P", "b:1"),
    "a configuration": ("-Cparty.ini",),
    "another number": ("-I0",),
    "another number of parties": ("-M4",),
    "another threshold": ("-T0",),
    "links of its own": ("--ssl",),
    "the same by an abbreviation": ("--ss",),
}
OF_PARTS = {
    "mpyc": "0.10",
    "mpyc source": "00" * 32,
    "numpy": "1",
    "word size": "32",
    "package hypothesis": "1.0",
    "option bit_length": "31",
}
OF_ENVIRONMENT = {
    "MPYC_NOPRSS": "1",
    "MPYC_MIX32_64BIT": "1",
    "MPYC_NONUMPY": "1",
    "MPYC_NOGMPY": "1",
    "MPYC_MAXWORKERS": "1",
    "PYTHONPATH": "EVIL",
    "PYTHONHOME": "EVIL",
    "PYTHONSTARTUP": "EVIL/rules.py",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "1",
    "PYTHONSAFEPATH": "",
    "PYTHONPYCACHEPREFIX": "EVIL",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONWARNINGS": "error",
    "READTHEDOCS": "1",
}


def stopped(mine: Examined, theirs: Examined) -> str:
    """The difference that both people are told; it never is only a digest."""
    with pytest.raises(ProgramDiffers) as caught:
        check_program(mine.program, theirs.program, "bob")
    with pytest.raises(ProgramDiffers):
        check_program(theirs.program, mine.program, "alice")
    hint = "; ".join(caught.value.hints)
    assert " here and " in hint and " at bob; " in hint
    return hint


@pytest.fixture
async def honest(tmp_path: Path) -> tuple[FoundProgram, Examined]:
    program = write(tmp_path)
    return program, await probe(program, m=3, threshold=1)


def closed(program: FoundProgram, honest: Examined) -> Examined:
    """What a probe finds, with MPyC's parts as they are: these cost a process each."""
    others = [(label, value) for label, value in honest.parts if not label.startswith("file ")]
    return assemble(program, others, closure_of(program).files, honest.program.python)


def test_there_are_at_least_sixty_mutations() -> None:
    kinds = (OF_FILES, OF_ARGUMENTS, OF_HOLES, OF_OPTIONS, REFUSED, OF_PARTS, OF_ENVIRONMENT)
    assert sum(map(len, kinds)) >= 100
    assert len(OF_FILES) >= 60


async def test_each_other_byte_in_any_file_stops_the_session(
    honest: tuple[FoundProgram, Examined], tmp_path: Path
) -> None:
    program, mine = honest
    assert closed(program, mine).program == mine.program
    digests = {mine.program.digest}
    for what, change in OF_FILES.items():
        folder = tmp_path / "other"
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
        change(folder)
        try:
            theirs = closed(found(folder, ARGUMENTS), mine)
        except ComityError as exc:
            assert exc.exit_code in (2, 6), what  # it is no Python any more: this party does not even join
            continue
        if what == HARMLESS:
            assert theirs.program == mine.program
            continue
        assert "file " in stopped(mine, theirs), what
        assert theirs.program.digest not in digests, what
        digests.add(theirs.program.digest)
    assert len(digests) > 45


async def test_other_arguments_and_other_patterns_stop_the_session(honest: tuple[FoundProgram, Examined]) -> None:
    program, mine = honest
    folder, digests = Path(program.target).parent, {mine.program.digest}
    theirs = [closed(found(folder, arguments), mine) for arguments in OF_ARGUMENTS.values()]
    theirs += [closed(found(folder, arguments, hole=hole), mine) for arguments, hole in OF_HOLES.values()]
    for other in theirs:
        assert "argument" in stopped(mine, other)
    (folder / "more.txt").write_text("")
    for include in ((), ("*.csv", "more.txt"), ("more.txt",)):
        theirs.append(closed(found(folder, ARGUMENTS, include), mine))
        assert "file " in stopped(mine, theirs[-1])
    digests |= {other.program.digest for other in theirs}
    assert len(digests) == len(theirs) + 1
    same = closed(found(folder, ARGUMENTS, ("data.csv", "*.csv", "game.py")), mine)
    assert same.program == mine.program  # other patterns, the same files


async def test_other_versions_stop_the_session(honest: tuple[FoundProgram, Examined]) -> None:
    _, mine = honest
    for label, value in OF_PARTS.items():
        program = replace(mine.program, parts={**mine.program.parts, label: value})
        assert f"{label} is " in stopped(mine, replace(mine, program=program))
        without = {k: v for k, v in mine.program.parts.items() if k != label}
        if label in mine.program.parts:
            assert "absent at bob" in stopped(mine, replace(mine, program=replace(mine.program, parts=without)))


@pytest.mark.parametrize("half", [0, 1])
async def test_other_options_stop_the_session(tmp_path: Path, half: int) -> None:
    program = write(tmp_path)
    mine = await probe(program, m=3, threshold=1)
    digests = {mine.program.digest}
    for what in list(OF_OPTIONS)[half::2]:
        theirs = await probe(found(tmp_path, (*ARGUMENTS, *OF_OPTIONS[what])), m=3, threshold=1)
        stopped(mine, theirs)
        effect = dict(mine.parts).items() - dict(theirs.parts).items()
        assert bool(effect) == (what != NO_EFFECT), what  # the option itself is a part, too
        digests.add(theirs.program.digest)
    assert len(digests) == 1 + len(list(OF_OPTIONS)[half::2])


async def test_options_that_name_parties_do_not_even_join(tmp_path: Path) -> None:
    write(tmp_path)
    for what, options in REFUSED.items():
        with pytest.raises(UsageError) as caught:
            await probe(found(tmp_path, (*ARGUMENTS, *options)), m=3, threshold=1)
        assert "option" in caught.value.message or "party.ini" in caught.value.message, what


async def test_another_mpyc_under_the_same_version_stops_the_session(
    honest: tuple[FoundProgram, Examined], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of MPyC with one comment more, in front of the installed one."""
    program, mine = honest
    package = importlib.metadata.distribution("mpyc").locate_file("mpyc")
    shutil.copytree(str(package), tmp_path / "evil" / "mpyc")
    with (tmp_path / "evil" / "mpyc" / "sectypes.py").open("a") as file:
        file.write("# harmless\n")
    command = module.child_command("comity.mpyc_bridge.probe")
    run = "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), None, '__main__')"
    start = [command[0], "-P", "-c", run, str(tmp_path / "evil")]
    monkeypatch.setattr(module, "child_command", lambda name: [*start, name])
    theirs = await probe(program, m=3, threshold=1)
    assert "mpyc source is " in stopped(mine, theirs)
    assert mine.program.parts["mpyc"] == theirs.program.parts["mpyc"]


async def test_the_environment_changes_nothing(
    honest: tuple[FoundProgram, Examined], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, mine = honest
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("rules.py", "mpyc.py", "sitecustomize.py", "usercustomize.py", "json.py"):
        (evil / name).write_text("raise SystemExit('another')\n")
    for name, value in OF_ENVIRONMENT.items():
        monkeypatch.setenv(name, value.replace("EVIL", str(evil)))
    monkeypatch.chdir(evil)
    theirs = await probe(program, m=3, threshold=1)
    assert theirs == mine
    (party,) = await run_program(program, 1)
    assert (party.err, party.code, party.out) == ("", 0, f"3 first {list(ARGUMENTS)}\n{FILES['data.csv']}\n")


async def test_what_changes_after_the_probe_changes_nothing_or_ends_the_run(tmp_path: Path) -> None:
    """Each file in turn, between the agreement and the program's start."""
    for name in FILES:
        folder = tmp_path / name.replace("/", "-")
        program = write(folder)
        mine = await probe(program, m=1, threshold=0)
        (folder / name).write_text("raise SystemExit('another')\n")
        os.utime(folder / name, (1, 1))
        async with session(program, 1, agreed=mine.files) as running:
            running.start()
            (party,) = await running.over()
        if name.endswith(".py"):
            assert (party.err, party.code, party.out) == ("", 0, f"3 first {list(ARGUMENTS)}\n{FILES['data.csv']}\n")
        else:
            assert party.code == 3 and party.error is not None and "data.csv is not the file" in party.error.message


async def test_probes_of_one_program_agree_wherever_and_whenever(tmp_path: Path) -> None:
    copies = [write(tmp_path / name) for name in ("a", "b/c")]
    first, *others = await asyncio.gather(*(probe(copy, m=m, threshold=1) for copy in copies for m in (3, 5)))
    assert {other.program.digest for other in others} == {first.program.digest}
