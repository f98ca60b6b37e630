"""comity digest, and the options that say what a program is made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comity.cli.options import private_places, take_private
from comity.cli.talk import Talk
from comity.core.limits import MAX_PRIVATE
from comity.core.program import Program
from comity.errors import UsageError
from comity.mpyc_bridge.private import check_private
from comity.mpyc_bridge.probe import probe
from comity.mpyc_bridge.program import find


def comity(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "comity", "digest", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "game.py").write_text("import rules\nraise SystemExit('it runs')\n")
    (tmp_path / "rules.py").write_text("")
    (tmp_path / "data.csv").write_text("1,2\n")
    return tmp_path


OPTIONS = ("-n", "5", "-t", "1", "--include", "*.csv", "--private", "2=nothing.txt")


async def test_it_prints_the_digest_and_every_part_aligned(folder: Path) -> None:
    done = comity(folder, *OPTIONS, "game.py", "8", "EUR")
    assert (done.returncode, done.stderr) == (0, "")
    found = find(str(folder / "game.py"), ("8", "EUR"), private={2: ""}, include=("*.csv",))
    examined = await probe(found, m=3, threshold=1)
    rows = [line.split("  ", 1) for line in done.stdout.splitlines()]
    values = {label: value.strip() for label, value in rows}
    assert values["digest"] == examined.program.digest and values["short"] == examined.program.short
    assert [values[f"argument {i}"] for i in (1, 2, 3)] == ["8", "private", "EUR"]
    assert {label: value for label, value in values.items() if label in dict(examined.parts)} == dict(examined.parts)
    assert {"file game.py", "file rules.py", "file data.csv"} < set(values)
    column = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in done.stdout.splitlines()}
    assert len(column) == 1


def test_for_scripts_it_is_one_object(folder: Path) -> None:
    done = comity(folder, "--json", *OPTIONS, "game.py", "8", "EUR")
    said = json.loads(done.stdout)
    digest = said.pop("digest")
    assert said["arguments"] == ["8", None, "EUR"] and Program.from_dict(said).digest == digest


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--include", "*.txt", "game.py"), "--include *.txt matches no file", "looked in "),
        (("--include", "/etc/passwd", "game.py"), "--include /etc/passwd leads out of the program's folder", "it is "),
        (("--include", "a/../../x", "game.py"), "--include a/../../x leads out", "it is "),
        (("--private", "2=x", "game.py"), "argument 2 cannot be private: with it there are 1", "count"),
        (("--private", "0=x", "game.py"), "--private 0=x is not N=FILE", "N counts"),
        (("--private", "x", "game.py"), "--private x is not N=FILE", "N counts"),
        (("--private", "1=", "game.py"), "--private 1= is not N=FILE", "N counts"),
        (("--private", "1=a", "--private", "1=b", "game.py"), "--private names argument 1 twice", ""),
        (
            ("--private", "2=a", "game.py", "-L"),
            "argument 2 belongs to an option of MPyC and cannot be private",
            "MPyC",
        ),
        (("-n", "3", "-t", "2", "game.py"), "a threshold of 2 is too high for 3 parties", "at most 1"),
        (("game.py", "--ssl"), "MPyC's option --ssl is not for a session", "leave --ssl away"),
        (("game.py", "-Pa:1", "-Pb:2"), "MPyC's option -P names parties", "leave -P away"),
        (("game.py", "-C", "x.ini"), "x.ini", ""),
        (("game.py", "-M4"), "MPyC's option -M differs", "leave -M away"),
        (("game.py", "--index", "1"), "MPyC's option -I numbers this party", "leave -I away"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    folder: Path, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    done = comity(folder, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and f"hint: {hint}" in done.stderr + "hint: "


def test_places_are_told_from_sources() -> None:
    assert private_places(["2=a=b", "1=-", "3=./x"]) == {2: "a=b", 1: "-", 3: "./x"}


@pytest.mark.parametrize(
    ("content", "value"),
    [("1000\n", "1000"), ("1000", "1000"), ("1000\r\n", "1000"), ("a\nb\n\n", "a\nb\n"), (" a \n", " a "), ("", "")],
)
async def test_a_file_fills_an_argument_without_its_last_line_end(tmp_path: Path, content: str, value: str) -> None:
    (tmp_path / "salary.txt").write_bytes(content.encode())
    assert await take_private(Talk(), [f"3={tmp_path}/salary.txt"]) == {3: value}


async def test_a_file_that_is_no_text_or_too_long_or_missing_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "salary.txt"
    path.write_bytes(b"\xffgeheim")
    with pytest.raises(UsageError, match=r"argument 1 cannot be read from .*: it is no text in UTF-8") as caught:
        await take_private(Talk(), [f"1={path}"])
    assert "geheim" not in caught.value.message
    path.write_text("x" * MAX_PRIVATE + "\n")
    assert check_private(await take_private(Talk(), [f"1={path}"]))
    path.write_text("x" * (MAX_PRIVATE + 1))
    with pytest.raises(UsageError, match="too long"):
        check_private(await take_private(Talk(), [f"1={path}"]))
    with pytest.raises(UsageError, match=r"cannot be read from .*: No such file"):
        await take_private(Talk(), [f"1={tmp_path}/none.txt"])
