"""comity join: take part in a session to which you were invited."""

from __future__ import annotations

from typing import Any

import click

from comity.cli import options as shared
from comity.cli.party import take_part
from comity.cli.running import run
from comity.cli.talk import Talk
from comity.core import invitation

ASK = "-"


@click.command(short_help="Take part in a session, by its invitation.", context_settings=shared.PROGRAM_LAST)
@shared.taking_part
@shared.filled
@shared.module
@click.argument("invited", metavar="[INVITATION]", default=ASK)
@shared.program(required=False)
@shared.arguments
def join(invited: str, program: str | None, arguments: tuple[str, ...], module: bool, **values: Any) -> None:
    """Join the session of INVITATION; without it, or with -, you are asked for it.

    Without PROGRAM you run the built-in demo that the host names, with the host's arguments. With PROGRAM your own
    copy must be the host's to the byte. A program is never taken from another party.
    """
    talking = shared.take_talking(values)

    async def work(talk: Talk) -> None:
        texts = values.pop("private")
        found = None
        if program is not None:
            found = shared.find_program(talk, program, arguments, module, texts, values["include"])
        if invited == ASK:
            link = await talk.ask_text("Invitation", option="the argument INVITATION", check=invitation.parse)
        else:
            link = invitation.parse(invited)
        private = await shared.take_private(talk, texts)
        options = shared.take_options(values, verbose=talking.verbose, private=private)
        filled = None if found is None else shared.fill(found, private)
        await take_part(talk, options, lambda party: party.join(link, filled))

    run("join", talking, work)
