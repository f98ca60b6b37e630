"""comity lab: an emulated internet on this machine, and commands on its hosts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import click
from click.shell_completion import CompletionItem

from comity.cli import options as shared
from comity.cli.entered import entered
from comity.cli.options import Number, Talking
from comity.cli.running import run as run_command
from comity.cli.scripted import beside, faults_option, read_script, scripted
from comity.cli.talk import Talk
from comity.core.addressing import plan
from comity.core.topology import MOST_MACHINES, Topology
from comity.errors import UnreachableError, UsageError
from comity.lab import shipped
from comity.lab.drawing import draw
from comity.lab.namespaces import Lab
from comity.lab.picture import picture
from comity.lab.script import Script
from comity.lab.selftest import Finding
from comity.testbeds.pipes import read_line, read_pipe


class TopologyName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "topology"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = [CompletionItem(incomplete, type="file")]
        return [CompletionItem(name) for name in shipped.names() if name.startswith(incomplete)] or files


topology_argument = click.argument("topology", type=TopologyName())
parties_option = click.option(
    "-n",
    "--parties",
    "m",
    type=Number(1, MOST_MACHINES),
    metavar="N",
    help="How many parties a topology has that takes any number.  [default: 3]",
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def lab(ctx: click.Context) -> None:
    """Run commands in an emulated internet on this machine.

    TOPOLOGY is the name of one that comes with comity, or a file. Nothing of a lab is left when its command ends.
    """
    if ctx.invoked_subcommand is None:  # a question, to which this is the answer
        click.echo(ctx.get_help())


@lab.command()
@parties_option
@click.option("--on", metavar="HOST,...", help="Where to run it.  [default: every party's host]")
@faults_option
@click.option(
    "--capture",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each uplink's packets to a file there, HOST.pcap.",
)
@shared.json
@shared.quiet
@topology_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    topology: str,
    command: tuple[str, ...],
    m: int | None,
    on: str | None,
    faults: TextIO | None,
    capture: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run COMMAND on hosts of TOPOLOGY, in the current folder: comity lab run two-near -- ping -c 3 bob

    It finds its host's name in LAB_HOST and its number among them in LAB_NUMBER. On one host it has this terminal; on
    several, each line of output carries the host's name.
    """

    async def work(talk: Talk) -> int:
        found = shipped.find(topology, m)
        hosts = _hosts(found, on)
        script = read_script(faults, found, hosts)
        async with entered(talk, found) as made:
            for machine in made.plan.machines if capture else ():
                if capture and machine.region:
                    await made.capture(machine.name, capture / f"{machine.name}.pcap")
            work = scripted(talk, made, script)
            if len(hosts) == 1 and not any(fault.host for fault in script):
                return await beside(talk, work, _alone(made, hosts[0], command, work.started))
            return await beside(talk, work, _together(made, hosts, command, work))

    run_command("lab run", Talking(as_json=as_json, quiet=quiet), work)


@lab.command()
@parties_option
@shared.quiet
@topology_argument
@click.argument("host")
def shell(topology: str, host: str, m: int | None, quiet: bool) -> None:
    """Open a shell on HOST, which may also be a router."""

    async def work(talk: Talk) -> int:
        found = shipped.find(topology, m)
        _check_name(host, [machine.name for machine in plan(found).machines])
        async with entered(talk, found) as made:
            argv = [os.environ.get("SHELL") or "sh"]
            return await _alone(made, host, argv, lambda: None, kind="shell")

    run_command("lab shell", Talking(quiet=quiet), work)


@lab.command()
@parties_option
@shared.json
@topology_argument
def check(topology: str, m: int | None, as_json: bool) -> None:
    """Build TOPOLOGY, test it, and say what was found: each distance, each NAT."""

    async def work(talk: Talk) -> int:
        found = shipped.find(topology, m)
        async with entered(talk, found, strict=False) as made:
            if not as_json:
                _table(made.findings)
            for finding in made.findings if as_json else ():
                lines = (f"wanted {finding.wanted}", f"found {finding.found}")
                talk.line(finding.about, *lines, event="finding", about=finding.about, fine=finding.fine, lines=lines)
            return 0 if all(finding.fine for finding in made.findings) else UnreachableError.exit_code

    run_command("lab check", Talking(as_json=as_json), work)


def _table(findings: Sequence[Finding]) -> None:
    """On stdout. What was wanted is said where it differs, and for distances, which are never quite as wanted."""
    width = max((len(finding.about) for finding in findings), default=0)
    for finding in findings:
        wanted = f"   wanted {finding.wanted}" if finding.kind == "path" or not finding.fine else ""
        click.echo(
            f"{'ok ' if finding.fine else 'OFF'}  {finding.kind:4}  {finding.about:{width}}  {finding.found}{wanted}"
        )


@lab.command()
@parties_option
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Draw it into this file, as SVG.",
)
@topology_argument
def show(topology: str, m: int | None, svg: Path | None) -> None:
    """Draw TOPOLOGY: who is where, behind what, and how far from whom. Nothing is built."""

    async def work(_: Talk) -> None:
        found = shipped.find(topology, m)
        if svg is None:
            click.echo(draw(found), nl=False)
            return
        try:
            svg.write_text(picture(found), encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"the drawing cannot be written to {svg}: {exc.strerror}") from exc

    run_command("lab show", Talking(), work)


def _hosts(topology: Topology, on: str | None) -> list[str]:
    if on is None:
        return list(topology.parties)
    names = on.split(",")
    for name in names:
        _check_name(name, [host.name for host in topology.hosts])
    return names


def _check_name(name: str, there: list[str]) -> None:
    if name not in there:
        raise UsageError(f"there is no host {name[:40]!r}", hint=f"there are: {', '.join(there[:40])}")


def _environment(host: str, number: int) -> dict[str, str]:
    return {"LAB_HOST": host, "LAB_NUMBER": str(number)}


async def _alone(
    made: Lab, host: str, argv: Sequence[str], started: Callable[[], None], *, kind: str = "command"
) -> int:
    """With this terminal, which it gets and gives back."""
    terminal = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    try:
        job = await made.start(host, argv, env=_environment(host, 0), terminal=kind if terminal else "none")
        started()
        return _code(await job.wait())
    finally:
        if terminal:
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, before)


async def _together(made: Lab, hosts: list[str], argv: Sequence[str], script: Script) -> int:
    """Side by side, without a terminal. The first code that is not 0, in the hosts' order."""
    width = max(map(len, hosts))
    readers: list[asyncio.Task[None]] = []
    try:
        with open(os.devnull, "rb") as nowhere:  # noqa: PTH123, ASYNC230 - a device, which answers at once
            jobs = []
            for number, host in enumerate(hosts):
                label, hear = f"{host:{width}} | ".encode(), partial(script.heard, host)
                with (
                    _labelled(readers, label, sys.stdout, hear) as out,
                    _labelled(readers, label, sys.stderr, hear) as err,
                ):
                    files = nowhere.fileno(), out, err
                    jobs.append(await made.start(host, argv, files=files, env=_environment(host, number)))
        script.started()
        codes = [_code(await job.wait()) for job in jobs]
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
    return next((code for code in codes if code), 0)


@contextmanager
def _labelled(
    readers: list[asyncio.Task[None]], label: bytes, stream: TextIO, heard: Callable[[str], None]
) -> Iterator[int]:
    """A descriptor to give away: lines written there go to a stream, each with a label."""
    ours, theirs = os.pipe()
    readers.append(asyncio.create_task(_pass_on(ours, label, stream, heard)))
    try:
        yield theirs
    finally:
        os.close(theirs)


async def _pass_on(fd: int, label: bytes, stream: TextIO, heard: Callable[[str], None]) -> None:
    """Until every writer has gone. A line that is too long is cut."""
    reader, transport = await read_pipe(fd)
    with closing(transport):
        while line := await read_line(reader):
            stream.buffer.write(label + line.rstrip(b"\n") + b"\n")
            stream.flush()
            heard(line.decode(errors="replace"))


def _code(code: int) -> int:
    """As shells have it: 128 and the signal's number."""
    return 128 - code if code < 0 else code
