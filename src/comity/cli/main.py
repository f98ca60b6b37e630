"""The `comity` command."""

from __future__ import annotations

import sys

import click

from comity.cli.demo import demo
from comity.cli.doctor import doctor
from comity.cli.host import host
from comity.cli.join import join
from comity.cli.talk import Talk
from comity.errors import UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
def commands() -> None:
    """Secure sessions for strangers who compute together with MPyC."""


for _command in (host, join, demo, doctor):
    commands.add_command(_command)


def main() -> None:
    """The entry point: click's errors look like ours."""
    try:
        sys.exit(commands.main(prog_name="comity", standalone_mode=False))
    except click.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        context = getattr(exc, "ctx", None)
        path = context.command_path if context is not None else "comity"
        said = UsageError(exc.format_message().rstrip(".").replace("\n", " "), hint=f"{path} --help")
        Talk(as_json="--json" in sys.argv).error(said)
        sys.exit(said.exit_code)
