"""comity host: open a session and invite the others."""

from __future__ import annotations

from typing import Any

import click

from comity.cli import options as shared
from comity.cli.party import take_part
from comity.cli.running import run
from comity.cli.talk import Talk


@click.command(short_help="Open a session and invite the others.", context_settings=shared.PROGRAM_LAST)
@shared.sized
@click.option(
    "--rendezvous",
    multiple=True,
    metavar="URL",
    help="Where to meet; repeat it for more addresses of the same server.  [default: in this process]",
)
@click.option("--certificate", metavar="SHA256", default="", help="Of the rendezvous, as comity serve prints it.")
@shared.taking_part
@shared.filled
@shared.module
@shared.program()
@shared.arguments
def host(program: str, arguments: tuple[str, ...], module: bool, **values: Any) -> None:
    """Open a session for PROGRAM and invite the others.

    PROGRAM is a .py file, a module with -m, or a built-in demo. Options stand before it; everything after it belongs
    to the program.
    """
    talking = shared.take_talking(values)

    async def work(talk: Talk) -> None:
        texts = values.pop("private")
        found = shared.find_program(talk, program, arguments, module, texts, values["include"])
        options = shared.take_options(values, verbose=talking.verbose)
        found = shared.fill(found, await shared.take_private(talk, texts))
        await take_part(talk, options, lambda party: party.host(found))

    run("host", talking, work)
