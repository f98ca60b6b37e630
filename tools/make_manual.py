"""Write the manual page from the commands' own help: python tools/make_manual.py > comity.1"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

import comity
from comity.cli.main import commands

EXIT_CODES = (
    (0, "Done."),
    (1, "A bug of comity; the message names a report file."),
    (2, "A wrong option, a missing tool or privilege, a question without an answer."),
    (3, "Not verified: stop. The words or the programs differ, or somebody does not keep to the protocol."),
    (4, "Another party declined, left, timed out, or broke the protocol."),
    (5, "The network: no rendezvous, no path to a party."),
    (6, "The program raised, or ended with another code than 0."),
    (130, "Interrupted."),
)


def manual() -> str:
    """The page in man(7) macros."""
    context = click.Context(commands, info_name="comity")
    about, *more = text_of(commands)
    lines = [f'.TH COMITY 1 "" "comity {comity.__version__}" "User Commands"', ".SH NAME"]
    lines += [rf"comity \- {plain(about[0].lower() + about[1:].rstrip('.'))}", ".SH SYNOPSIS"]
    lines += [r"\fBcomity\fP COMMAND [OPTIONS] ...", ".SH DESCRIPTION"]
    lines += paragraphs(more)
    lines += [".PP", "Options stand before PROGRAM. Everything after PROGRAM belongs to the program.", ".SH COMMANDS"]
    for path, command in leaves(context):
        usage = " ".join(command.command.collect_usage_pieces(command))
        lines += [rf".SS \fB{plain(path)}\fP {plain(usage)}", *paragraphs(text_of(command.command))]
        for option in command.command.params:
            record = option.get_help_record(command)
            if record is not None and isinstance(option, click.Option):
                lines += [".TP", rf"\fB{plain(record[0])}\fP", plain(record[1])]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES:
        lines += [".TP", str(code), plain(meaning)]
    lines += [".SH SEE ALSO", "docs/cli.md holds the questions, the events of \\-\\-json, the record, and all files."]
    return "\n".join([*lines, ""])


def leaves(context: click.Context) -> Iterator[tuple[str, click.Context]]:
    """Every command that does something, with what is typed for it."""
    group = context.command
    if not isinstance(group, click.Group):
        yield context.command_path, context
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield from leaves(click.Context(command, parent=context, info_name=name))


def text_of(command: click.Command) -> list[str]:
    """The paragraphs of its help."""
    return re.split(r"\n\s*\n", (command.help or "").strip())


def paragraphs(texts: list[str]) -> list[str]:
    lines = []
    for text in texts:
        if text.startswith("\b"):  # click's mark: as it stands
            lines += [".PP", ".nf", *map(plain, text.removeprefix("\b").strip("\n").splitlines()), ".fi"]
        else:
            lines += [".PP", plain(" ".join(text.split()))]
    return lines


def plain(text: str) -> str:
    """Text that roff does not take for requests or escapes."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    print(manual(), end="")
