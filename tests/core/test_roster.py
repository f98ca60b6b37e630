"""What each party asks of a roster before it reveals anything."""

from dataclasses import replace
from typing import Any

import pytest
from tests.core.log import SANTA, TRANSPORTS, hello_of, other, secrets_of

from comity.core import messages
from comity.core.commands import Opened
from comity.core.messages import Hello, Open
from comity.core.program import Program
from comity.core.roster import (
    Opening,
    check_distinct,
    check_host,
    check_program,
    check_roster,
    check_transport,
    show,
)
from comity.errors import ComityError, PeerError, ProgramDiffers, UnreachableError, VerificationError

ALICE, BOB, CAROL = (secrets_of(name) for name in ("alice", "bob", "carol"))
OPEN = Open(3, 1, SANTA, TRANSPORTS, "alice", "words", secrets_of("alice").session)
OPENING = Opening(messages.make("open", ALICE.identity, OPEN.body()), OPEN)


def hello(name: str, program: Program = SANTA, transports: tuple[str, ...] = TRANSPORTS, session: int = 0) -> Hello:
    return hello_of(secrets_of(name, session), OPENING.envelope.digest, name, program, transports)


HELLOS = tuple(hello(name) for name in ("alice", "bob", "carol"))
SAID = {h.member.identity: h for h in HELLOS}
ME = HELLOS[1].member.identity


def roster(
    hellos: tuple[Hello, ...] = HELLOS, opening: bytes = OPENING.envelope.digest, **body: object
) -> messages.Envelope:
    made = messages.make_roster(ALICE.identity, opening, OPEN, hellos)
    return messages.make("roster", ALICE.identity, {**made.body, **body})


def check(
    envelope: messages.Envelope, said: dict[bytes, Hello] = SAID, gone: frozenset[bytes] = frozenset()
) -> tuple[Hello, ...]:
    return check_roster(envelope, OPENING, said, set(gone), ME, SANTA)


def test_a_roster_of_what_was_said_stands_in_the_hosts_order() -> None:
    assert check(roster()) == HELLOS
    assert [h.member.name for h in check(roster(HELLOS[::-1]))] == ["carol", "bob", "alice"]


def with_threshold(value: object) -> messages.Envelope:
    return roster(manifest={**messages.manifest_of(OPEN, HELLOS).to_dict(), "threshold": value})


@pytest.mark.parametrize(
    ("envelope", "kind", "piece"),
    [
        (roster(opening=b"x" * 32), VerificationError, "the roster belongs to another opening"),
        (roster(HELLOS[:2]), VerificationError, "the roster has 2 parties, not 3"),
        (roster((*HELLOS, hello("dave"))), VerificationError, "the roster has 4 parties, not 3"),
        (roster((HELLOS[0], HELLOS[2], hello("dave"))), PeerError, "the session is full: it began without you"),
        (roster((*HELLOS[:2], hello("dave"))), VerificationError, "holds a HELLO that dave did not say here"),
        (roster((*HELLOS[:2], hello("carol", session=1))), VerificationError, "a HELLO that carol did not say here"),
        (
            roster((HELLOS[0], hello("bob", session=1), HELLOS[2])),
            VerificationError,
            "a HELLO that you did not say here",
        ),
        (roster((HELLOS[0], HELLOS[1], HELLOS[1])), VerificationError, "names that look alike: bob and bob"),
        (with_threshold(0), VerificationError, "the host's manifest is not what was said"),
        (with_threshold(True), VerificationError, "the host's manifest is not what was said"),
        (roster(manifest={}), VerificationError, "the host's manifest is not what was said"),
    ],
)
def test_a_roster_of_anything_else_is_refused(envelope: messages.Envelope, kind: type[ComityError], piece: str) -> None:
    with pytest.raises(kind, match=piece) as caught:
        check(envelope)
    assert type(caught.value) is kind


def test_who_left_as_the_roster_was_made_did_not_cheat() -> None:
    carol = HELLOS[2].member.identity
    without = {k: h for k, h in SAID.items() if k != carol}
    with pytest.raises(VerificationError, match="a HELLO that carol did not say here"):
        check(roster(), without)
    for said in (without, SAID | {carol: hello("carol", session=1)}):
        with pytest.raises(PeerError, match="carol left as the roster was made"):
            check(roster(), said, frozenset({carol}))


def test_a_roster_without_the_host_is_refused() -> None:
    hellos = (HELLOS[1], HELLOS[2], hello("dave"))
    with pytest.raises(VerificationError, match="the roster does not hold the host"):
        check(roster(hellos), {h.member.identity: h for h in hellos})


def test_a_roster_with_another_program_is_refused() -> None:
    hellos = (*HELLOS[:2], hello("carol", other(parts={**SANTA.parts, "mpyc": "0.10"})))
    with pytest.raises(ProgramDiffers, match="carol has a different program") as caught:
        check(roster(hellos), {h.member.identity: h for h in hellos})
    assert caught.value.hints == ("mpyc is 0.11 here and 0.10 at carol; agree on one, then start again",)


def test_a_roster_without_a_common_transport_is_refused() -> None:
    hellos = (*HELLOS[:2], hello("carol", transports=("webrtc",)))
    check_transport(OPENING, HELLOS)
    with pytest.raises(UnreachableError, match="there is no transport that all have") as caught:
        check(roster(hellos), {h.member.identity: h for h in hellos})
    assert caught.value.hints == (
        "alice by direct or relay; bob by direct or relay; carol by webrtc",
        "start again, everyone with the same --transport",
    )


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        ({"name": "B.0b"}, "two parties have names that look alike: bob and B.0b"),
        ({"identity": HELLOS[1].member.identity}, "bob and carol use the same key"),
        ({"session_key": HELLOS[1].member.session_key}, "bob and carol use the same key"),
        ({"exchange_key": HELLOS[1].member.exchange_key}, "bob and carol use the same key"),
    ],
)
def test_two_parties_share_no_name_and_no_key(change: dict[str, bytes], piece: str) -> None:
    carol = replace(HELLOS[2], member=replace(HELLOS[2].member, **change))
    check_distinct(HELLOS)
    with pytest.raises(VerificationError, match=piece):
        check_distinct((*HELLOS[:2], carol))


def test_two_parties_share_no_commitment() -> None:
    with pytest.raises(VerificationError, match="bob and carol made the same commitment"):
        check_distinct((*HELLOS[:2], replace(HELLOS[2], commitment=HELLOS[1].commitment)))


@pytest.mark.parametrize("change", [{"name": "bob"}, {"verify": "link"}, {"session_key": b"k" * 32}])
def test_the_host_joins_as_who_opened_the_room(change: dict[str, object]) -> None:
    said = replace(OPEN, session_key=HELLOS[0].member.session_key)
    check_host(replace(OPENING, open=said), HELLOS[0])
    with pytest.raises(VerificationError, match="opened the room as another than it joined as"):
        check_host(replace(OPENING, open=replace(said, **change)), HELLOS[0])


def test_a_program_is_shown_with_its_arguments_and_digest() -> None:
    assert show(SANTA) == f"secretsanta 8 ({SANTA.short})"
    assert show(replace(SANTA, arguments=("8", None))).startswith("secretsanta 8 ? (")
    check_program(SANTA, other(python="3.13.0"), "bob")
    assert Opened(OPEN).open.program == SANTA


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (
            {"parts": {**SANTA.parts, "file data.csv": "00"}},
            ("whoever lacks data.csv adds it with --include data.csv",),
        ),
        ({"parts": {**SANTA.parts, "file gift.py": "00"}}, ()),
        ({"parts": {**SANTA.parts, "package absent ": "00"}}, ()),
        ({"arguments": (None,)}, ()),
    ],
)
def test_a_file_that_only_one_has_may_have_been_left_out(change: dict[str, Any], more: tuple[str, ...]) -> None:
    for mine, theirs in ((SANTA, other(**change)), (other(**change), SANTA)):
        with pytest.raises(ProgramDiffers) as caught:
            check_program(mine, theirs, "bob")
        assert caught.value.hints[0].endswith("; agree on one, then start again") and caught.value.hints[1:] == more
