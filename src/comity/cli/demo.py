"""comity demo: all parties on this machine, through the very commands that people run."""

from __future__ import annotations

from typing import Any

import click

from comity.cli import options as shared
from comity.cli.running import run
from comity.cli.talk import Talk
from comity.cli.troupe import Troupe


@click.command(short_help="Try a program with all parties on this machine.", context_settings=shared.PROGRAM_LAST)
@shared.sized
@click.option("--transport", "transports", multiple=True, metavar="NAME", help="As in comity host.")
@shared.filled
@shared.talking
@shared.module
@shared.program()
@shared.arguments
def demo(program: str, arguments: tuple[str, ...], module: bool, **values: Any) -> None:
    """Try PROGRAM with all parties on this machine.

    Each party is a process of its own with an identity of its own; they meet at a rendezvous on this machine and go
    through the same steps as people would. The words are compared for you.
    """
    talking = shared.take_talking(values)

    async def work(talk: Talk) -> int:
        places = shared.private_places(values["private"])
        found = shared.find_program(talk, program, arguments, module, values["private"], values["include"])
        named = ("-m", program) if module else (found.target if found.kind == "file" else program,)
        options = [option for pattern in found.include for option in ("--include", pattern)]
        for place, source in places.items():
            options += ["--private", f"{place}={source}"]
        asked = [place for place, source in places.items() if source == "-"]
        troupe = Troupe(talk, values["m"], values["threshold"], values["transports"], (*named, *arguments))
        return await troupe.perform(tuple(options), asked)

    run("demo", talking, work)
