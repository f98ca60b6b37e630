"""Options that several commands share; each has the same name, meaning and help everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from comity.cli.misplaced import remark
from comity.core.identity import check_name
from comity.core.invitation import check_address
from comity.core.limits import MAX_PARTIES, MAX_PRIVATE
from comity.core.messages import VERIFY
from comity.errors import UsageError
from comity.interfaces import Settings
from comity.mpyc_bridge.private import check_private
from comity.mpyc_bridge.program import FoundProgram, builtin_names, find
from comity.node.home import default_name
from comity.node.options import DEFAULT_TRANSPORTS, GIVE_UP_SECONDS, Options

if TYPE_CHECKING:
    from comity.cli.talk import Talk

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_PARTIES = 3

PROGRAM_LAST = {"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}
"""Everything after PROGRAM belongs to the program."""


@dataclass(frozen=True)
class Talking:
    """How a command talks and asks: the arguments of cli.talk.Talk."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_input: bool = False
    answers: int | None = None


class Number(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A number within bounds, which the option's help gives in words: click would show 1<=x<=64."""

    name = "number"

    def __init__(self, low: float, high: float, kind: type[int] | type[float] = int) -> None:
        self.low, self.high, self.kind = low, high, kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self.kind(value)
        except ValueError:
            number = self.low - 1
        if not self.low <= number <= self.high:
            self.fail(
                f"{str(value)[:40]!r} is no {'whole ' * (self.kind is int)}number from {self.low:g} to {self.high:g}",
                param,
                ctx,
            )
        return number


def _all(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stderr instead of text.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Only errors and questions.")

talking = _all(
    json,
    click.option("--answers", type=int, metavar="FD", help="Read answers from this descriptor, a line each."),
    click.option("--no-input", is_flag=True, help="Never ask: a question becomes an error."),
    quiet,
    click.option("-v", "--verbose", is_flag=True, help="More detail, and MPyC's own log, on stderr."),
)

sized = _all(
    click.option(
        "-n",
        "--parties",
        "m",
        type=Number(1, MAX_PARTIES),
        default=DEFAULT_PARTIES,
        metavar="N",
        help=f"How many parties there are, 1 to {MAX_PARTIES}.  [default: {DEFAULT_PARTIES}]",
    ),
    click.option(
        "-t",
        "--threshold",
        type=Number(0, MAX_PARTIES),
        metavar="T",
        help="Any T of them together learn nothing but the result.  [default: the most, just under N/2]",
    ),
)

secrecy = click.option("--allow-no-secrecy", is_flag=True, help="Go on with two parties or a threshold of 0.")

taking_part = _all(
    click.option("--name", help="How the others see you.  [default: your login name]"),
    click.option(
        "--verify",
        type=click.Choice(VERIFY),
        default="words",
        show_default=True,
        help="words: compare with the others; link: accept whoever holds the invitation.",
    ),
    click.option(
        "--transport", "transports", multiple=True, metavar="NAME", help="How to reach the others.  [default: direct]"
    ),
    click.option(
        "--listen", type=Number(0, 65535), default=0, metavar="PORT", help="Listen on this TCP port.  [default: any]"
    ),
    click.option(
        "--advertise",
        multiple=True,
        metavar="ADDRESS[:PORT]",
        help="An address or name where others reach you; repeat it.",
    ),
    secrecy,
    click.option(
        "--give-up",
        type=Number(1, 86400, float),
        default=GIVE_UP_SECONDS,
        metavar="SECONDS",
        help=f"How long to try to reach a party.  [default: {GIVE_UP_SECONDS:g}]",
    ),
    click.option(
        "--record",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        metavar="FILE",
        help="Append what was measured, one JSON line.",
    ),
    talking,
)

filled = _all(
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Also agree on these files of the program's folder; repeat it.",
    ),
    click.option(
        "--private",
        multiple=True,
        metavar="N=FILE",
        help="Argument N is private: taken from FILE, or asked for with N=-; repeat it.",
    ),
)

module = click.option("-m", "--module", is_flag=True, help="PROGRAM is the name of a module.")
arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)


def _programs(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """What a shell offers in place of PROGRAM."""
    names = [CompletionItem(name) for name in builtin_names() if name.startswith(begun)]
    return [*names, CompletionItem(begun, type="file")]


def program(*, required: bool = True) -> Callable[[Command], Command]:
    return click.argument("program", required=required, shell_complete=_programs)


def private_places(texts: Iterable[str]) -> dict[int, str]:
    """Where each private argument comes from, by its place. Raises UsageError."""
    found: dict[int, str] = {}
    for text in texts:
        place, _, source = text.partition("=")
        if not (place.isdecimal() and place.isascii() and len(place) < 5 and int(place)) or not source:
            raise UsageError(
                f"--private {text[:80]} is not N=FILE", hint="N counts the program's arguments from 1; - asks for it"
            )
        if int(place) in found:
            raise UsageError(f"--private names argument {place} twice")
        found[int(place)] = source
    return found


def find_program(
    talk: Talk, program: str, arguments: tuple[str, ...], module: bool, private: Iterable[str], include: tuple[str, ...]
) -> FoundProgram:
    """What is to be run, before anything is asked: its private arguments are still empty. Raises UsageError.

    Remarks on arguments that may have been meant for us.
    """
    holes = dict.fromkeys(private_places(private), "")
    found = find(program, arguments, module=module, private=holes, include=include)
    text = remark(click.get_current_context(), found, arguments)
    if text:
        talk.line("Note", text, event="note", text=text)
    return found


def fill(found: FoundProgram, private: dict[int, str]) -> FoundProgram:
    """The program with its private arguments. Raises UsageError."""
    return replace(found, private=check_private(private))


async def take_private(talk: Talk, texts: Iterable[str]) -> dict[int, str]:
    """Private arguments by their places, read or asked for. Raises UsageError."""
    return {
        place: await _ask_private(talk, place) if source == "-" else _read_private(place, source)
        for place, source in private_places(texts).items()
    }


async def _ask_private(talk: Talk, place: int) -> str:
    return await talk.ask_hidden(f"your argument {place} of the program", option=f"--private {place}=FILE")


def _read_private(place: int, source: str) -> str:
    """The file's text without the end of its last line."""
    try:
        with Path(source).open(encoding="utf-8", newline="") as file:
            text = file.read(MAX_PRIVATE + 2)
    except OSError as exc:
        raise UsageError(f"argument {place} cannot be read from {source}: {exc.strerror}") from exc
    except ValueError as exc:
        raise UsageError(f"argument {place} cannot be read from {source}: it is no text in UTF-8") from exc
    return text.removesuffix("\n").removesuffix("\r")


def take_talking(values: dict[str, Any]) -> Talking:
    """From a command's values: what the command has no option for stays as it is."""
    return Talking(**{field.name: values.pop(field.name) for field in fields(Talking) if field.name in values})


def take_options(values: dict[str, Any], *, verbose: bool, private: dict[int, str] | None = None) -> Options:
    """Options from a command's values; what is left in `values` is the command's own. Raises UsageError."""
    name, m = values.pop("name"), values.pop("m", 3)
    threshold = check_threshold(m, values.pop("threshold", None))
    verify = values.pop("verify")
    if verify == "contacts":
        raise UsageError("contacts are not kept yet", hint="compare words: --verify words")
    return Options(
        name=check_name(name) if name else default_name(),
        name_chosen=bool(name),
        m=m,
        threshold=threshold,
        verify=verify,
        transports=values.pop("transports") or DEFAULT_TRANSPORTS,
        settings=Settings(listen=values.pop("listen"), advertise=values.pop("advertise")),
        rendezvous=tuple(check_address(a) for a in values.pop("rendezvous", ())),
        certificate=_certificate(values.pop("certificate", "")),
        give_up=values.pop("give_up"),
        record=values.pop("record"),
        verbose=verbose,
        allow_no_secrecy=values.pop("allow_no_secrecy"),
        include=values.pop("include", ()),
        private=private or {},
    )


def check_threshold(m: int, threshold: int | None) -> int:
    """The threshold, by default the most possible. Raises UsageError."""
    most = (m - 1) // 2
    if threshold is not None and threshold > most:
        raise UsageError(
            f"a threshold of {threshold} is too high for {m} parties", hint=f"at most {most}: less than half"
        )
    return most if threshold is None else threshold


def _certificate(text: str) -> bytes:
    """32 bytes, or none. Colons as openssl writes them are fine."""
    try:
        digest = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        digest = b"?"
    if len(digest) not in (0, 32):
        raise UsageError(
            f"{text[:80]!r} is no SHA-256 of a certificate", hint="64 hexadecimal digits, as comity serve prints them"
        )
    return digest
