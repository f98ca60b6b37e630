"""comity completion: what a shell needs to complete commands, options and programs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from comity.errors import ComityError

VARIABLE = "_COMITY_COMPLETE"
"""In which click is asked for what could come next."""


@click.command(short_help="Print the completions for a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete comity's commands, options and programs.

    \b
    bash   comity completion bash > ~/.local/share/bash-completion/completions/comity
    zsh    comity completion zsh > a file _comity in a folder of $fpath
    fish   comity completion fish > ~/.config/fish/completions/comity.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ComityError(f"click knows no {shell}")
    click.echo(kind(ctx.find_root().command, {}, "comity", VARIABLE).source().strip())
