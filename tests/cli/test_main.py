"""The command as a whole: help, mistakes in what is typed, options in the wrong place, completion."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from comity.cli.main import NAMES, commands
from comity.cli.misplaced import remark
from comity.mpyc_bridge.program import find


def comity(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "comity", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "COLUMNS": "80", **environ}
    )


def test_the_bare_command_is_a_question_which_help_answers() -> None:
    bare = comity()
    assert (bare.returncode, bare.stderr) == (0, "") and bare.stdout == comity("--help").stdout
    lines = bare.stdout.splitlines()
    for name in NAMES:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(".") and "..." not in line, "help is cut off"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("doctor", "x", "y"), ["got unexpected extra arguments (x y)", "comity doctor --help"]),
        (("host", "-n"), ["option '-n' requires an argument", "comity host --help"]),
        (("hosst",), ["there is no command 'hosst'", "did you mean host?", "comity --help"]),
        (("party",), ["there is no command 'party'", f"there are: {', '.join(NAMES)}", "comity --help"]),
        (
            ("host", "-n", "99", "sum"),
            ["invalid value for '-n' / '--parties': '99' is no whole number from 1 to 64", "comity host --help"],
        ),
        (
            ("join", "--give-up", "x"),
            ["invalid value for '--give-up': 'x' is no number from 1 to 86400", "comity join --help"],
        ),
        (("host",), ["missing argument 'PROGRAM'", "for example: comity host secretsanta 8", "comity host --help"]),
    ],
)
def test_mistakes_are_said_as_all_other_errors_are(typed: tuple[str, ...], said: list[str]) -> None:
    done = comity(*typed)
    error, *hints = said
    assert done.stderr.splitlines() == [f"error: {error}", *(f"hint: {hint}" for hint in hints)]
    assert (done.returncode, done.stdout) == (2, "")


def test_help_shows_no_option_that_does_nothing_and_no_range_in_symbols() -> None:
    context = click.Context(commands)
    for name in NAMES:
        command = commands.get_command(context, name)
        assert command is not None
        shown = command.get_help(click.Context(command, info_name=name))
        assert "<=" not in shown and ">=" not in shown and "60.0" not in shown
        asks = {"host", "join", "demo"}
        assert ("--answers" in shown) == ("--no-input" in shown) == (name in asks), name


def remarked(command: str, program: Path | str, *arguments: str) -> str:
    context = click.Context(commands, info_name="comity")
    found = commands.get_command(context, command)
    assert found is not None
    return remark(click.Context(found, parent=context, info_name=command), find(str(program), arguments), arguments)


@pytest.mark.parametrize(
    ("command", "arguments", "better"),
    [
        ("host", ("8", "-n", "3"), "comity host -n 3 sum 8"),
        ("host", ("-n", "3", "8", "--record=a file"), "comity host -n 3 '--record=a file' sum 8"),
        ("host", ("--no-input", "8"), "comity host --no-input sum 8"),
        ("join", ("8", "--transport", "direct"), "comity join --transport direct INVITATION sum 8"),
        ("demo", ("-t", "1"), "comity demo -t 1 sum"),
    ],
)
def test_our_options_after_the_program_are_remarked_on(command: str, arguments: tuple[str, ...], better: str) -> None:
    assert remarked(command, "sum", *arguments).endswith(
        f"goes to sum, like all that follows it; if it is meant for comity: {better}"
    )


@pytest.mark.parametrize(
    "arguments",
    [("8",), ("-n", "x"), ("-n",), ("--name", "bob"), ("-v", "--json"), ("--transport",), ("-3",), ("-x", "3")],
)
def test_what_a_program_may_well_want_is_not(arguments: tuple[str, ...]) -> None:
    assert remarked("host", "sum", *arguments) == ""


def test_nor_is_an_option_that_the_program_names(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("parser.add_argument('-n', \"--record\")\n")
    assert remarked("host", tmp_path / "own.py", "-n", "3", "--record", "x") == ""
    assert remarked("host", tmp_path / "own.py", "-n", "3", "--listen", "1").endswith(
        ": comity host --listen 1 own.py -n 3"
    )


def test_a_remark_is_one_line_and_refuses_nothing() -> None:
    done = comity("digest", "sum", "4", "-n", "3")
    assert done.returncode == 0 and "argument 3" in done.stdout
    assert done.stderr.startswith("Note       -n 3 goes to sum") and done.stderr.count("\n") == 1
    event = json.loads(comity("digest", "--json", "sum", "4", "-n", "3").stderr)
    assert event["event"] == "note" and event["text"].startswith("-n 3 goes to sum")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_takes(shell: str) -> None:
    script = comity("completion", shell).stdout
    assert "_COMITY_COMPLETE" in script
    if shutil.which(shell) is not None:
        assert subprocess.run([shell, "-n"], input=script, text=True, timeout=20, check=False).returncode == 0


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("comity ho", ["plain,host"]),
        ("comity host --trans", ["plain,--transport"]),
        ("comity demo secr", ["plain,secretsanta", "file,secr"]),
        ("comity join - su", ["plain,sum", "file,su"]),
    ],
)
def test_commands_options_and_programs_are_completed(line: str, offered: list[str]) -> None:
    done = comity(_COMITY_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))
    assert done.stdout.split() == offered


def test_mpycs_log_says_nothing_about_a_loop_that_we_bring(tmp_path: Path) -> None:
    folders = {f"XDG_{kind}_HOME": str(tmp_path) for kind in ("DATA", "CONFIG", "STATE")}
    done = comity("host", "-v", "-n", "1", "sum", "2", **folders)
    assert (done.returncode, done.stdout) == (0, "sum 3\n")
    assert "Start MPyC" in done.stderr and "uvloop" not in done.stderr
