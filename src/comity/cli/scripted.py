"""Faults from a file, beside what runs in a lab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TextIO

import click

from comity.cli.talk import Talk
from comity.core.faults import Fault, parse
from comity.core.topology import Topology
from comity.errors import UsageError
from comity.lab.namespaces import Lab
from comity.lab.script import SIGNALS, Script

MAX_SCRIPT = 1 << 20
"""Characters of a file of faults: far more than anybody writes."""
MOST_SHOWN = 5
"""Faults that did not happen, by name."""

faults_option: Callable[..., Any] = click.option(
    "--faults", type=click.File(encoding="utf-8"), metavar="FILE", help="What goes wrong, and when: see comity lab."
)


def read_script(file: TextIO | None, topology: Topology, hosts: Sequence[str]) -> tuple[Fault, ...]:
    """`hosts`: where something runs. Raises UsageError that says which line is wrong."""
    if file is None:
        return ()
    try:
        text = file.read(MAX_SCRIPT + 1)
    except ValueError as exc:
        raise UsageError(f"{file.name} is no text in UTF-8") from exc
    if len(text) > MAX_SCRIPT:
        raise UsageError(f"{file.name} is too large", hint=f"at most {MAX_SCRIPT} characters")
    script = parse(text, file.name, topology)
    for fault in script:
        suffering = fault.names[0] if fault.action in (*SIGNALS, "restart") else ()
        for name in (fault.host, *suffering):
            if name and name not in hosts:
                raise UsageError(f"{file.name}, line {fault.line}: nothing runs on {name}")
    return script


def scripted(talk: Talk, made: Lab, faults: Sequence[Fault]) -> Script:
    """Says of each fault that it is done."""
    return Script(made, faults, lambda fault: talk.line("Fault", str(fault), event="fault", text=str(fault)))


async def beside(talk: Talk, script: Script, commands: Coroutine[Any, Any, int]) -> int:
    """The commands' code; what is left of the script is told. A fault that cannot be done ends both."""
    running, faults = asyncio.create_task(commands), asyncio.create_task(script.run())
    try:
        await asyncio.wait((running, faults), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await faults  # raises what went wrong
        code = await running
        _tell(talk, [f"line {fault.line}, {fault}" for fault in script.left])
        return code
    finally:
        for task in (running, faults):
            task.cancel()
        await asyncio.gather(running, faults, return_exceptions=True)  # what came first is raised


def _tell(talk: Talk, left: list[str]) -> None:
    if left:
        more = [f"and {len(left) - MOST_SHOWN} more"] if left[MOST_SHOWN:] else []
        talk.line("Undone", "did not happen before the end:", *left[:MOST_SHOWN], *more, event="undone", faults=left)
