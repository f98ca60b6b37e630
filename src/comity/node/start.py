"""Before the room: what this party would run, what it warns of, and what it can offer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from comity import transports
from comity.core.messages import Open
from comity.core.program import Program
from comity.errors import UsageError
from comity.interfaces import Transport
from comity.node.meeting import count
from comity.node.options import Options
from comity.node.person import Person, warn
from comity.reach.tcp import bind


@contextmanager
def usable_transports(options: Options) -> Iterator[dict[str, Transport]]:
    """What this party offers, made and ready to enter. Raises UsageError for what cannot be used here.

    A port that was asked for is taken from here on: a busy one is no reason to call others together.
    """
    with ExitStack() as stack:
        settings = options.settings
        if settings.listen and options.m > 1:
            settings = replace(settings, server=stack.enter_context(bind(settings.listen)))
        made = {name: transports.make(name, settings) for name in options.transports}
        for name, transport in made.items():
            if transport.traits.layer == "process":
                raise UsageError(
                    f"{name} connects parties inside one process", hint="name another: comity doctor lists them"
                )
        yield made


def expect_questions(options: Options, person: Person, *, opens: bool) -> None:
    """Raises UsageError where nobody could answer what will be asked once others have come. `opens`: for a host."""
    if options.m > 1 and options.verify == "words":
        secrecy = opens and options.threshold == 0 and not options.allow_no_secrecy
        also = " and --allow-no-secrecy" if secrecy else ""
        person.expect("did you hear these words from the others?", option=f"--verify link{also}")


def promise(names: tuple[str, ...], t: int) -> str:
    """What the threshold means, in words."""
    if t == 0:
        return f"{', '.join(names)}; no secrecy: each of them can learn what the others put in"
    if t == 1:
        return f"{', '.join(names)}; any one of them learns nothing more than the result"
    return f"{', '.join(names)}; any {count(t)} of them together learn nothing more than the result"


async def check_secrecy(m: int, t: int, options: Options, person: Person) -> None:
    """With a threshold of 0 every party could learn every input: ask. Raises UsageError when the person says no."""
    if t > 0 or m == 1:
        return
    why = "with two parties" if m == 2 else "with a threshold of 0"
    warning = f"no secrecy: {why} each party can learn what the others put in"
    if options.allow_no_secrecy:
        warn(person, warning)
        return
    if not await person.ask("Warning", warning, "go on all the same?", option="--allow-no-secrecy", text=warning):
        raise UsageError("not without secrecy", hint="take three parties or more: --parties 3")


def show_program(program: Program, builtin: bool, person: Person) -> None:
    kind = "built in" if builtin else "yours"
    text = f"{program.command}, {kind}, {program.short}"
    person.line("Program", text, *_private(program), event="program", **_fields(program))


def show_session(opened: Open, program: Program, builtin: bool, person: Person) -> None:
    """To a joiner: what it was invited to, and what it would run itself."""
    same = program.digest == opened.program.digest
    kind = "the built-in" if builtin else "yours"
    what = f"from {opened.name}: {opened.program.command} with {count(opened.m)} parties; {kind} is "
    what += f"the same ({program.short})" if same else f"another one ({program.short}, not {opened.program.short})"
    fields = _fields(program)
    private = _private(opened.program)
    person.line("Session", what, *private, event="session", host=opened.name, parties=opened.m, same=same, **fields)
    if opened.verify == "link":
        warn(person, f"{opened.name} accepts whoever holds the invitation")


def _private(program: Program) -> tuple[str, ...]:
    """A line that says which arguments each party fills for itself, if there are any."""
    return (program.private,) if program.private else ()


def _fields(program: Program) -> dict[str, object]:
    return {"name": program.name, "arguments": list(program.arguments), "digest": program.digest}
