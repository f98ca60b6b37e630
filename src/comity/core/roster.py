"""The roster: whether these people may hold this session together. Each party asks for itself."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core import messages
from comity.core.encoding import encode
from comity.core.identity import fingerprint, fold
from comity.core.messages import Envelope, Hello, Open
from comity.core.program import Program
from comity.errors import PeerError, ProgramDiffers, UnreachableError, UsageError, VerificationError

CHEAT = "a party or the rendezvous does not keep to the protocol; start again with a new invitation"


@dataclass(frozen=True)
class Opening:
    """The host's OPEN, as it stands in the log."""

    envelope: Envelope
    open: Open


def show(program: Program) -> str:
    """A program as people read it: name, arguments, digest."""
    return f"{program.command} ({program.short})"


def check_program(mine: Program, theirs: Program, whose: str) -> None:
    """Raises ProgramDiffers that names the first difference."""
    if theirs.digest != mine.digest:
        difference = mine.difference(theirs, whose)
        raise ProgramDiffers(
            f"{whose} has a different program: {show(theirs)}, yours is {show(mine)}",
            hint=(f"{difference}; agree on one, then start again", *_how_to_include(difference)),
        )


def _how_to_include(difference: str) -> tuple[str, ...]:
    """A file that one has and the other has not may only have been left out."""
    label = difference.removeprefix("file ").partition(" is ")[0]
    if not difference.startswith("file ") or " absent " not in difference:
        return ()
    return (f"whoever lacks {label} adds it with --include {label}",)


def check_distinct(hellos: tuple[Hello, ...]) -> None:
    """Raises VerificationError when two parties share a key, a commitment or a name that a person could confuse."""
    for i, one in enumerate(hellos):
        for other in hellos[:i]:
            a, b = one.member, other.member
            if fold(a.name) == fold(b.name):
                raise VerificationError(
                    f"two parties have names that look alike: {b.name} and {a.name}",
                    hint="start again, one of them with another --name",
                )
            if a.identity == b.identity or a.session_key == b.session_key or a.exchange_key == b.exchange_key:
                raise VerificationError(f"{b.name} and {a.name} use the same key", hint=CHEAT)
            if one.commitment == other.commitment:
                raise VerificationError(f"{b.name} and {a.name} made the same commitment", hint=CHEAT)


def check_host(opening: Opening, hello: Hello) -> None:
    """Raises VerificationError when the host joins as another than people were shown when it opened the room."""
    said, member = opening.open, hello.member
    if (said.name, said.verify, said.session_key) != (member.name, member.verify, member.session_key):
        raise VerificationError(f"{said.name} opened the room as another than it joined as", hint=CHEAT)


def check_offer(opened: Open, mine: tuple[str, ...]) -> None:
    """Raises UsageError when a joiner has no transport in common with the host: nobody else needs to hear of it."""
    if not set(opened.transports) & set(mine):
        raise UsageError(
            f"{opened.name} can be reached by {_or(opened.transports)}, you by {_or(mine)}",
            hint=f"join with --transport {next(iter(opened.transports), 'NAME')}",
        )


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(names) or "nothing"


def check_transport(opening: Opening, hellos: tuple[Hello, ...]) -> None:
    """Raises UnreachableError that says to everyone what each party has."""
    if not messages.manifest_of(opening.open, hellos).transport:
        offers = "; ".join(f"{h.member.name} by {_or(h.transports)}" for h in hellos)
        raise UnreachableError(
            "there is no transport that all have",
            hint=(offers, "start again, everyone with the same --transport"),
        )


def check_roster(
    envelope: Envelope, opening: Opening, said: dict[bytes, Hello], gone: set[bytes], me: bytes, program: Program
) -> tuple[Hello, ...]:
    """The parties of a ROSTER, in the order of their numbers.

    `said`: the HELLOs that stand in the log before it, by identity; `gone`: the identities that left before it.
    Raises ComityError.
    """
    digest, hellos, manifest = messages.read_roster(envelope)
    m = opening.open.m
    if digest != opening.envelope.digest:
        raise VerificationError("the roster belongs to another opening", hint=CHEAT)
    if len(hellos) != m:
        raise VerificationError(f"the roster has {len(hellos)} parties, not {m}", hint=CHEAT)
    if me not in (h.member.identity for h in hellos):
        raise PeerError("the session is full: it began without you", hint="ask the host for a new invitation")
    for hello in hellos:
        seen = said.get(hello.member.identity)
        if seen is None or seen.envelope.raw != hello.envelope.raw:
            if hello.member.identity in gone:  # LEAVE and ROSTER crossed on their way: nobody cheats
                raise PeerError(f"{hello.member.name} left as the roster was made", hint="start again")
            whose = "you" if hello.member.identity == me else hello.member.name
            raise VerificationError(f"the roster holds a HELLO that {whose} did not say here", hint=CHEAT)
        check_program(program, hello.program, hello.member.name)
    check_distinct(hellos)
    host = fingerprint(opening.envelope.sender)
    if not any(fingerprint(h.member.identity) == host for h in hellos):
        raise VerificationError("the roster does not hold the host", hint=CHEAT)
    if encode(manifest) != encode(messages.manifest_of(opening.open, hellos).to_dict()):  # 1 is not True
        raise VerificationError("the host's manifest is not what was said", hint=CHEAT)
    check_transport(opening, hellos)
    return hellos
