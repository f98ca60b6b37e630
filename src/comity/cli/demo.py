"""comity demo: all parties on this machine, through the very commands that people run."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from comity.cli import options as shared
from comity.cli.entered import entered
from comity.cli.running import run
from comity.cli.scripted import beside, faults_option, read_script, scripted
from comity.cli.stage import Stage, here, there
from comity.cli.talk import Talk
from comity.cli.troupe import Troupe
from comity.errors import UsageError
from comity.lab import shipped
from comity.lab.script import Script
from comity.testbeds.namespaces import hosts_of


@click.command(short_help="Try a program with all parties on this machine.", context_settings=shared.PROGRAM_LAST)
@shared.sized
@click.option("--on", metavar="TOPOLOGY", help="Each party on a host of its own, in a lab: see comity lab.")
@faults_option
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
        origin = {"builtin": "built in", "file": Path(found.target).name, "module": "a module"}[found.kind]
        kept = [Path(source) for source in places.values() if source != "-"]
        kept += [Path(found.target).resolve().parent] if found.kind == "file" else []
        async with _stage(talk, values["on"], values["m"], kept, values["faults"]) as (stage, script):
            troupe = Troupe(
                talk, stage, values["threshold"], values["transports"], (*named, *arguments), origin, script
            )
            performing = troupe.perform(tuple(options), asked)
            code = await (performing if script is None else beside(talk, script, performing))
        if code == 0 and values["m"] > 1:
            command = _for_others(program, arguments, module, values)
            talk.line(
                "Next", "with others, each at a machine of their own:", f"  {command}", event="next", command=command
            )
        return code

    run("demo", talking, work)


def _for_others(program: str, arguments: tuple[str, ...], module: bool, values: dict[str, Any]) -> str:
    """The command that does the same with people."""
    options = [] if values["m"] == shared.DEFAULT_PARTIES else ["-n", str(values["m"])]
    if values["threshold"] is not None:
        options += ["-t", str(values["threshold"])]
    for name, given in (("transport", "transports"), ("include", "include"), ("private", "private")):
        options += [word for value in values[given] for word in (f"--{name}", value)]
    return shlex.join(["comity", "host", *options, *(["-m"] if module else []), program, *arguments])


@asynccontextmanager
async def _stage(
    talk: Talk, on: str | None, m: int, kept: Sequence[Path], faults: TextIO | None
) -> AsyncIterator[tuple[Stage, Script | None]]:
    if on is None:
        if faults is not None:
            raise UsageError("faults need a lab", hint="say which: --on TOPOLOGY")
        async with here(m) as stage:
            yield stage, None
        return
    topology = shipped.find(on, m)
    script = read_script(faults, topology, (*topology.parties[:m], topology.rendezvous))
    async with (
        entered(talk, topology, kept=kept) as made,
        hosts_of(made) as hosts,
        there(topology, hosts, m) as stage,
    ):
        yield stage, scripted(talk, made, script)
