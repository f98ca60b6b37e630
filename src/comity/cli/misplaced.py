"""Options of ours that stand after PROGRAM, where they are the program's: perhaps that was not meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from comity.mpyc_bridge.program import FoundProgram

COMMON = frozenset({"-h", "--help", "-q", "--quiet", "-v", "--verbose", "-m", "--module", "--json", "--name"})
"""What many programs have themselves."""


def remark(context: click.Context, found: FoundProgram, arguments: tuple[str, ...]) -> str:
    """One line about what looks like an option of this command; empty where nothing does."""
    ours = {name: param for param in context.command.params if isinstance(param, click.Option) for name in param.opts}
    moved: list[str] = []
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        option = ours.get(name)
        takes = option is not None and not option.is_flag and not equals
        value = rest[:1] if takes else []
        if option is None or name in COMMON or not _fits(name, value, takes) or _knows(found, name):
            kept.append(argument)
            continue
        moved += [argument, *value]
        del rest[: len(value)]
    if not moved:
        return ""
    target = {"builtin": [found.name], "file": [Path(found.target).name], "module": ["-m", found.target]}[found.kind]
    invitation = ["INVITATION"] if context.info_name == "join" else []
    better = f"{context.command_path} {shlex.join([*moved, *invitation, *target, *kept])}"
    return f"{shlex.join(moved)} goes to {found.name}, like all that follows it; if it is meant for comity: {better}"


def _knows(found: FoundProgram, name: str) -> bool:
    """Whether the program's text, if it is known yet, names this option; what cannot be read is told later."""
    if found.kind == "module":
        return False
    try:
        source = Path(found.target).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f"'{name}'" in source or f'"{name}"' in source


def _fits(name: str, value: list[str], takes: bool) -> bool:
    """Whether what follows could be the option's value; a single letter says little by itself."""
    if name.startswith("--"):
        return not takes or bool(value)
    return bool(value) and value[0].isdecimal()
