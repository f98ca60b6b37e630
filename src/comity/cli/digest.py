"""comity digest: what a party would agree on, without a session."""

from __future__ import annotations

import json
from typing import Any

import click

from comity.cli import options as shared
from comity.cli.running import run
from comity.cli.talk import Talk
from comity.core.display import harmless
from comity.mpyc_bridge.probe import Examined, probe


@click.command(short_help="Print what the parties would agree on.", context_settings=shared.PROGRAM_LAST)
@shared.sized
@shared.filled
@shared.json
@shared.module
@shared.program()
@shared.arguments
def digest(program: str, arguments: tuple[str, ...], module: bool, **values: Any) -> None:
    """Print the digest of PROGRAM with its arguments, and all that goes into it.

    Nothing of the program runs, and private arguments are neither read nor asked for.
    """
    talking = shared.take_talking(values)

    async def work(talk: Talk) -> None:
        m, threshold = values["m"], shared.check_threshold(values["m"], values["threshold"])
        found = shared.find_program(talk, program, arguments, module, values["private"], values["include"])
        examined = await probe(found, m=m, threshold=threshold)
        click.echo(as_json(examined) if talk.json else as_text(examined))

    run("digest", talking, work)


def as_json(examined: Examined) -> str:
    program = examined.program
    return json.dumps({**program.to_dict(), "digest": program.digest, "parts": dict(examined.parts)})


def as_text(examined: Examined) -> str:
    """Lines of two columns; the parts in the order of their kinds."""
    program = examined.program
    rows = [
        ("digest", program.digest),
        ("short", program.short),
        ("program", program.name),
        *(
            (f"argument {i}", "private" if argument is None else argument)
            for i, argument in enumerate(program.arguments, 1)
        ),
        *examined.parts,
        ("not compared: python", program.python),
    ]
    width = max(len(harmless(label)) for label, _ in rows)
    return "\n".join(f"{harmless(label):{width}}  {harmless(value)}" for label, value in rows)
