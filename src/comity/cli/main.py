"""The `comity` command."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

from comity.errors import UsageError

NAMES = ("host", "join", "demo", "digest", "doctor", "serve", "lab", "completion")
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in NAMES and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, NAMES, n=1)
            there = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(NAMES)}"
            ctx.fail(f"There is no command {name[:40]!r}. {there}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Secure sessions for strangers who compute together with MPyC.

    To try it: comity demo secretsanta 8
    """
    if ctx.invoked_subcommand is None:  # a question, to which this is the answer: nothing has failed
        click.echo(ctx.get_help())


def main() -> None:
    """The entry point: click's errors look like ours."""
    try:
        sys.exit(commands.main(prog_name="comity", standalone_mode=False))
    except click.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        from comity.cli.talk import Talk

        command = _command(exc)
        lacks = isinstance(exc, click.MissingParameter) and exc.param is not None and exc.param.name == "program"
        said = _our_way(
            exc.format_message(), *([f"for example: {command} secretsanta 8"] if lacks else []), f"{command} --help"
        )
        Talk(as_json="--json" in sys.argv).error(said)
        sys.exit(said.exit_code)


def _command(exc: click.ClickException) -> str:
    """What was called; click does not always say so."""
    context = getattr(exc, "ctx", None)
    if context is not None:
        return str(context.command_path)
    return f"comity {sys.argv[1]}" if sys.argv[1:] and sys.argv[1] in NAMES else "comity"


def _our_way(text: str, *hints: str) -> UsageError:
    """Click's words as one of our errors: lower case, no full stop, a second sentence as a hint."""
    first, *more = (_lower(part.strip(" .")) for part in text.replace("\n", " ").split(". "))
    return UsageError(first, hint=(*more, *hints))


def _lower(text: str) -> str:
    """A sentence of its own in parentheses stands better without them."""
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip(" .")
    return text[:1].lower() + text[1:]
