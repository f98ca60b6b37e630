"""docs/cli.md against the command line as it is: nothing undocumented, and nothing documented that is not there."""

import ast
from collections.abc import Iterator
from dataclasses import fields

import click
from tests.docs.pages import ROOT, named, page, section, tables

from comity import errors
from comity.cli.main import commands
from comity.cli.running import INTERRUPTED
from comity.core.record import PHASES, PeerRecord, Record, StallRecord
from comity.errors import ComityError

TEXT = page("docs/cli.md")


def all_commands() -> dict[str, click.Command]:
    """A group's by both their names: `lab run`."""
    return dict(_below(commands, ""))


def _below(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _below(command, f"{name} ")
        elif command is not None:
            yield f"{prefix}{name}", command


def test_every_command_is_described_with_its_usage() -> None:
    described = section(TEXT, "## Commands")
    for name, command in all_commands().items():
        usage = command.collect_usage_pieces(click.Context(command))
        assert " ".join(["comity", name, *usage]) in section(described, f"### comity {name}"), name
    headings = [line.removeprefix("### comity ") for line in described.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(all_commands())


def test_every_option_is_described_for_every_command_that_has_it() -> None:
    documented = set()
    for first, where, _ in tables(section(TEXT, "## Options"))[0]:
        documented |= {(command, option) for command in where.split(", ") for option in named(first)}
    there = {
        (name, option)
        for name, command in all_commands().items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert documented == there


def test_every_exit_code_is_described_with_its_kind() -> None:
    rows = {int(code): named(kind) for code, kind, _ in tables(section(TEXT, "## Exit codes"))[0]}
    kinds = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ComityError)}
    there = {cls.exit_code: [cls.kind] for cls in kinds}
    assert rows == {0: [], INTERRUPTED: [], **there}


class Said:
    """An event of the sources: its name, and those of its fields that stand at the call."""

    def __init__(self, event: str, known: set[str], file: str) -> None:
        self.event, self.known, self.file = event, known, file


def _events() -> Iterator[Said]:
    """Calls with event="..." or _event("..."), and the default of a parameter that is called event."""
    for path in sorted((ROOT / "src/comity").rglob("*.py")):
        file = path.relative_to(ROOT / "src/comity").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                value = keywords.pop("event", None)
                if isinstance(node.func, ast.Attribute) and node.func.attr == "_event":
                    value = node.args[0]
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield Said(value.value, set(keywords), file)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                for argument, default in arguments:
                    if argument.arg == "event" and isinstance(default, ast.Constant):
                        yield Said(default.value, set(), file)


def _listed(heading: str) -> dict[str, set[str]]:
    rows = tables(section(section(TEXT, "## Events"), heading))[0]
    return {name: set(named(fields)) for cell, _, fields in rows for name in named(cell)}


def test_every_event_is_listed_with_its_fields() -> None:
    party, demo = _listed("### Of host, join, digest, doctor, serve and lab"), _listed("### Of demo")
    said: dict[str, set[str]] = {"party": set(), "demo": set()}
    for event in _events():
        whose, listed = ("demo", demo) if event.file in ("cli/demo.py", "cli/troupe.py") else ("party", party)
        said[whose].add(event.event)
        assert event.event in listed, f"{event.file} says {event.event}, which docs/cli.md does not list"
        assert event.known <= listed[event.event], f"{event.file}: fields of {event.event}"
    assert said == {"party": set(party), "demo": set(demo)}


def test_every_field_of_the_record_is_described() -> None:
    record, phases, peer, stall = tables(section(TEXT, "## The record"))
    assert [name for cell, _ in record for name in named(cell)] == ["version", *(f.name for f in fields(Record))]
    assert [name for cell, _ in peer for name in named(cell)] == [f.name for f in fields(PeerRecord)]
    assert [name for cell, _ in stall for name in named(cell)] == [f.name for f in fields(StallRecord)]
    assert tuple(name for cell, _ in phases for name in named(cell)) == PHASES
