"""The `comity` command."""

from __future__ import annotations

import importlib
import sys

import click

from comity.errors import UsageError

NAMES = ("host", "join", "demo", "digest", "doctor", "serve")
"""One module of this folder each, which offers a command of its name."""


class Commands(click.Group):
    """Imports a command's module when it is asked for: --version need not wait for the network's libraries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"comity.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
def commands() -> None:
    """Secure sessions for strangers who compute together with MPyC."""


def main() -> None:
    """The entry point: click's errors look like ours."""
    try:
        sys.exit(commands.main(prog_name="comity", standalone_mode=False))
    except click.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        from comity.cli.talk import Talk

        context = getattr(exc, "ctx", None)
        path = context.command_path if context is not None else "comity"
        said = _our_way(exc.format_message(), f"{path} --help")
        Talk(as_json="--json" in sys.argv).error(said)
        sys.exit(said.exit_code)


def _our_way(text: str, hint: str) -> UsageError:
    """Click's words as one of our errors: lower case, no full stop, a second sentence as a hint."""
    first, *more = (part.strip(" .()") for part in text.replace("\n", " ").split(". "))
    return UsageError(_lower(first), hint=(*map(_lower, more), hint))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
