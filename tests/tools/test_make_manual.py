import re
import shutil
import subprocess

import click
import pytest
from tools.make_manual import EXIT_CODES, leaves, manual

from comity import errors
from comity.cli.main import commands
from comity.cli.running import INTERRUPTED


def test_every_command_and_every_option_stands_in_the_manual() -> None:
    text = manual().replace(r"\-", "-")
    for path, context in leaves(click.Context(commands, info_name="comity")):
        section = text.partition(rf".SS \fB{path}\fP")[2].partition("\n.S")[0]
        for option in context.command.params:
            if isinstance(option, click.Option):
                assert all(name in section for name in option.opts), (path, option.opts)


def test_every_exit_code_is_explained() -> None:
    kinds = {cls.exit_code for cls in vars(errors).values() if isinstance(cls, type) and hasattr(cls, "exit_code")}
    assert {code for code, _ in EXIT_CODES} == kinds | {0, INTERRUPTED}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_is_set_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-c"],
        input=manual(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    shown = re.sub(r".\x08", "", done.stdout)
    assert done.stderr == ""
    assert "COMITY(1)" in shown and "comity host [OPTIONS] PROGRAM" in shown
