"""A joiner who cheats."""

from collections.abc import Iterable

import pytest
from tests.attacks.story import (
    CHEAT,
    PEER,
    STOP,
    ends,
    goes_on,
    hello_with,
    hosted_by_mallory,
    leave_of,
    signed_by_another,
    waits,
    with_mallory,
)
from tests.core.log import SANTA, Party, Room, other, remake, secrets_of

from comity.core import messages
from comity.core.ceremony import State
from comity.core.commands import Refused
from comity.core.encoding import decode
from comity.core.limits import MAX_ENVELOPES, MAX_HELLO
from comity.core.messages import Envelope
from comity.core.program import Program
from comity.errors import PeerError


def test_mallory_reveals_early() -> None:
    def early(hello: Envelope) -> Iterable[bytes]:
        nonce = mallory.secrets.nonce.hex()
        return [hello.raw, messages.make("reveal", mallory.secrets.identity, {"roster": "00" * 32, "nonce": nonce}).raw]

    room, alice, mallory, bob = with_mallory(hello=early)
    goes_on(room)
    ends(alice, PEER, "mallory sent REVEAL too early or too late")
    ends(bob, PEER, "mallory sent REVEAL too early or too late")
    assert not alice.ceremony.spent and not bob.ceremony.spent


def test_mallory_never_reveals() -> None:
    room, alice, _, bob = with_mallory(reveal=lambda _: [])
    goes_on(room)
    for party in (alice, bob):
        waits(party, State.REVEALING, "mallory")
        assert party.ceremony.spent and not party.words


def test_mallory_leaves_when_she_has_seen_the_nonces() -> None:
    """A late abort is a free try, so it is never repeated by itself."""
    room, alice, mallory, bob = with_mallory(reveal=lambda _: [])
    room.run()
    mallory.leave("interrupted")
    room.flush(mallory)
    room.run()
    for party in (alice, bob):
        ends(party, PEER, "mallory left: interrupted", "this invitation is spent: start again with a new one")


def test_mallory_reveals_twice() -> None:
    room, alice, _, bob = with_mallory(reveal=lambda e: [e.raw, e.raw])
    goes_on(room)
    for party in (alice, bob):
        ends(party, PEER, "mallory sent REVEAL twice")
        assert not party.words


def test_mallory_reveals_two_nonces() -> None:
    room, alice, mallory, bob = with_mallory(reveal=lambda e: [e.raw, remake(mallory.secrets, e, nonce="11" * 32)])
    goes_on(room)
    ends(alice, PEER, "mallory sent REVEAL twice")
    ends(bob, PEER, "mallory sent REVEAL twice")


def test_mallory_reveals_something_else() -> None:
    """What steering the words would need, once she knows everybody's nonces."""
    room, alice, mallory, bob = with_mallory(reveal=lambda e: [remake(mallory.secrets, e, nonce="11" * 32)])
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory revealed something else than it committed to")
        assert not party.words


def test_mallory_commits_to_what_bob_committed_to() -> None:
    """She waits for his HELLO, to reveal later what he reveals."""
    room, alice, mallory, bob = with_mallory(hello=lambda _: [])
    room.run()
    copied = remake(mallory.secrets, mallory.said("hello"), commitment=bob.said("hello").body["commitment"])
    room.post(copied)
    goes_on(room)
    ends(alice, STOP, "bob and mallory made the same commitment")
    ends(bob, STOP, "bob and mallory made the same commitment")


@pytest.mark.parametrize("field", ["session_key", "exchange_key"])
def test_mallory_uses_bobs_key(field: str) -> None:
    room, alice, mallory, bob = with_mallory(hello=lambda _: [])
    room.run()
    his = bob.said("hello").body
    copied = {name: his[name] for name in ("certificate", field) if field == "session_key" or name == field}
    room.post(hello_with(mallory.secrets, mallory.said("hello"), **copied))
    goes_on(room)
    ends(alice, STOP, "bob and mallory use the same key")
    ends(bob, STOP, "bob and mallory use the same key")


def test_mallory_repeats_bobs_hello() -> None:
    room, alice, _, bob = with_mallory(hello=lambda _: [])
    room.run()
    room.post(bob.said("hello").raw)
    goes_on(room)
    ends(alice, PEER, "bob sent HELLO twice")
    ends(bob, STOP, "somebody sent HELLO in your name")


@pytest.mark.parametrize("name", ["Bob", "b0b", "B.o.b", "bób", "ｂｏｂ", "вов", "ΒΟΒ"])
def test_mallory_takes_a_name_like_bobs(name: str) -> None:
    """She gets no seat, whoever asks; nobody else is disturbed, and who is meant to come still can."""
    room, alice, mallory, bob = with_mallory(hello=lambda _: [])
    room.run()
    room.post(hello_with(mallory.secrets, mallory.said("hello"), name=name))
    room.run()
    for party in (alice, bob):
        waits(party, State.GATHERING)
        assert Refused(name, "bob", False) in party.told
    carol = room.join("carol")
    room.run()
    assert alice.compare and alice.compare.people == ("bob", "carol")
    waits(carol, State.COMPARING, "alice", "bob", "carol")


def test_mallory_seats_a_name_like_bobs_as_the_host() -> None:
    """What was passed over cannot come back by the roster."""

    def roster(envelope: Envelope) -> Iterable[bytes]:
        puppet = hello_with(secrets_of("puppet"), bob.said("hello"), name="b0b")
        inner = [hello for hello in envelope.body["hellos"] if hello["body"]["name"] != "bob"]
        inner.append(decode(puppet, MAX_HELLO))
        return [remake(mallory.secrets, envelope, hellos=inner)]

    room, mallory, alice, bob = hosted_by_mallory(roster=roster)
    for party in (mallory, bob):
        party.read()
        room.flush(party)
    room.post(hello_with(secrets_of("puppet"), bob.said("hello"), name="b0b"))
    goes_on(room)
    assert Refused("b0b", "bob", False) in alice.told
    ends(alice, STOP, "the roster holds a HELLO that b0b did not say here")
    ends(bob, PEER, "the session is full: it began without you")


@pytest.mark.parametrize("name", ["bоb", "al\u0456ce", "bob\u202e", "bob\n", "", " bob", "b" * 33, "\x1b[2J"])
def test_mallory_takes_a_name_that_nobody_may_have(name: str) -> None:
    room, alice, mallory, bob = with_mallory()
    mallory.instead = {"hello": lambda e: [hello_with(mallory.secrets, e, name=name)]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, PEER, "HELLO: ")
        assert party.error and party.error.message.isprintable()


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        (other(name="sum"), "the program is secretsanta here and sum at mallory"),
        (other(arguments=("9",)), "argument 1 is 8 here and 9 at mallory"),
        (other(arguments=()), "1 argument here and 0 at mallory"),
        (other(parts={**SANTA.parts, "mpyc": "0.10"}), "mpyc is 0.11 here and 0.10 at mallory"),
        (other(parts={**SANTA.parts, "option threshold": "0"}), "option threshold is 1 here and 0 at mallory"),
        (other(parts={**SANTA.parts, "option no_prss": "1"}), "option no_prss is absent here and 1 at mallory"),
        (other(parts={**SANTA.parts, "file gift.py": "77ac"}), "file gift.py is 77ab here and 77ac at mallory"),
        (other(parts={k: v for k, v in SANTA.parts.items() if k != "mpyc"}), "mpyc is 0.11 here and absent at mallory"),
    ],
)
def test_mallory_runs_something_else(program: Program, hint: str) -> None:
    room = Room()
    alice, mallory, bob = room.host("alice", 3), room.join("mallory", program=program), room.join("bob")
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory has a different program: ", hint)
        assert party.left == "program"
    ends(mallory, STOP, "alice has a different program: ")


def test_mallory_says_hello_with_another_program_than_she_shows() -> None:
    """The digest is over all that is agreed; no part of the program travels beside it."""
    room, alice, mallory, bob = with_mallory()
    lie = {**SANTA.to_dict(), "arguments": ["9"]}
    mallory.instead = {"hello": lambda e: [hello_with(mallory.secrets, e, program=lie)]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory has a different program: secretsanta 9")


def test_mallory_agrees_to_something_else() -> None:
    room, alice, mallory, bob = with_mallory(agree=lambda e: [remake(mallory.secrets, e, transcript="11" * 32)])
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory agreed to another session")
        assert not party.words


def test_mallory_confirms_before_everyone_agreed() -> None:
    def early(agree: Envelope) -> Iterable[bytes]:
        body = {"transcript": agree.body["transcript"], "how": "words", "verified": [0, 2]}
        return [agree.raw, messages.make("confirm", mallory.secrets.identity, body).raw]

    room, alice, mallory, bob = with_mallory(agree=early)
    goes_on(room)
    for party in (alice, bob):
        ends(party, PEER, "mallory sent CONFIRM too early or too late")
        assert not party.words


@pytest.mark.parametrize(
    "lie",
    [
        {"how": "link"},
        {"how": "link", "verified": []},
        {"how": "contacts"},
        {"verified": []},
        {"verified": [0]},
        {"verified": [0, 1]},
        {"verified": [0, 1, 2]},
        {"verified": [2, 0]},
        {"verified": [0, 2, 2]},
        {"verified": [0, 2, 63]},
    ],
)
def test_mallory_confirms_otherwise_than_she_said_she_would(lie: dict[str, object]) -> None:
    room, alice, mallory, bob = with_mallory(confirm=lambda e: [remake(mallory.secrets, e, **lie)])
    goes_on(room)
    for party in (alice, bob):
        ends(party, PEER, "mallory confirmed otherwise than it had said it would")


def test_mallory_confirms_another_session() -> None:
    room, alice, mallory, bob = with_mallory(confirm=lambda e: [remake(mallory.secrets, e, transcript="11" * 32)])
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory confirmed another session")


def test_mallory_confirms_in_bobs_name_while_he_still_thinks() -> None:
    room, alice, mallory, bob = with_mallory()
    room.run()
    for party in (alice, mallory):
        party.answer(True)
        room.flush(party)
    body = {"transcript": bob.said("agree").body["transcript"], "how": "words", "verified": [0, 1]}
    room.post(signed_by_another(messages.make("confirm", mallory.secrets.identity, body).raw, bob.key))
    room.run()
    for party in (alice, bob):
        ends(party, PEER, "confirm is not signed by its sender")


def test_mallory_confirms_though_bob_has_not() -> None:
    room, alice, mallory, bob = with_mallory()
    room.run()
    for party in (alice, mallory):
        party.answer(True)
        room.flush(party)
    room.run()
    waits(alice, State.COMPARING, "bob")
    waits(bob, State.COMPARING, "bob")


def test_bob_hears_a_wrong_word() -> None:
    room, alice, mallory, bob = with_mallory()
    room.run()
    for party in (alice, mallory):
        party.answer(True)
    bob.answer(False)
    room.run()
    ends(alice, STOP, "bob says that the words did not match", "someone may be in the middle")
    ends(bob, STOP, "the words did not match")
    assert alice.left == bob.left == "words"


def test_mallory_says_that_bob_left() -> None:
    room, alice, mallory, bob = with_mallory()
    room.run()
    leave = messages.make("leave", mallory.secrets.identity, leave_of(bob, "words"))
    room.post(signed_by_another(leave.raw, bob.key))
    room.run()
    for party in (alice, bob):
        ends(party, PEER, "leave is not signed by its sender", CHEAT)


def comes_back(*, said_once_more: str) -> tuple[Room, list[Party], Party]:
    """Bob has joined and left; mallory, who holds the link, says one of the two messages once more; and he comes back
    in a new process, before carol."""
    room = Room()
    alice, old = room.host("alice", 3), room.join("bob")
    room.run()
    old.leave("interrupted")
    room.flush(old)
    room.post(old.said(said_once_more).raw)
    bob = room.join("bob", secrets=secrets_of("bob", 7))
    return room, [alice, bob, room.join("carol")], old


def agree(room: Room, parties: list[Party]) -> None:
    room.run()
    room.compare(*parties)
    room.run()


def test_mallory_says_the_hello_of_bob_who_has_left_once_more() -> None:
    """It would take his seat, with nobody in it."""
    room, parties, _ = comes_back(said_once_more="hello")
    agree(room, parties)
    assert all(party.done for party in parties)


def test_mallory_says_bobs_leave_once_more_when_he_has_come_back() -> None:
    """Signed by him, but of another HELLO than the one that counts: at no time does it mean anything."""
    for steps in (0, 2, 5, 9, 14, 20, 30, 60):
        room, parties, old = comes_back(said_once_more="leave")
        room.run(1, steps)
        room.post(old.said("leave").raw)
        agree(room, parties)
        room.post(old.said("leave").raw)
        room.run()
        assert all(party.done and party.error is None for party in parties)


def test_mallory_joins_once_more_when_the_roster_stands() -> None:
    """A HELLO that is too late is passed over: it can change nothing, and may be an innocent friend's."""
    room, alice, mallory, bob = with_mallory()
    room.run()
    puppet = secrets_of("puppet")
    room.post(hello_with(puppet, mallory.said("hello"), name="puppet"))
    room.post(hello_with(puppet, mallory.said("hello"), name="puppet the second"))
    goes_on(room)
    for party in (alice, bob):
        assert party.session and [m.name for m in party.session.members] == ["alice", "mallory", "bob"]
    with pytest.raises(PeerError, match="mallory sent HELLO twice"):
        alice.ceremony.receive(hello_with(mallory.secrets, mallory.said("hello"), name="mallory the second"))


@pytest.mark.parametrize("kind", ["reveal", "agree", "confirm"])
def test_a_stranger_to_the_roster_speaks(kind: str) -> None:
    """Mallory has a second identity, which knows the invitation and everything that was said."""
    puppet = secrets_of("puppet")

    def both(envelope: Envelope) -> Iterable[bytes]:
        return [remake(puppet, envelope), envelope.raw]

    room, alice, _, bob = with_mallory(**{kind: both})
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, f"a stranger sent {kind.upper()} in this room")


def test_mallory_fills_the_seats() -> None:
    """Whoever holds the invitation may: the question names the people, and bob is none of them."""
    room = Room()
    alice, mallory = room.host("alice", 3), room.join("mallory")
    puppet = room.join("dave", secrets=secrets_of("puppet"))
    room.run()
    bob = room.join("bob")
    bob.choose = None
    room.run()
    ends(bob, PEER, "the session is full: it began without you", "ask the host for a new invitation")
    assert alice.compare and alice.compare.people == ("mallory", "dave")
    assert puppet.compare and mallory.compare
    waits(alice, State.COMPARING, "alice", "mallory", "dave")


def test_mallory_floods_the_room() -> None:
    room, alice, _, bob = with_mallory()
    room.run()
    leave = messages.make(
        "leave", secrets_of("puppet").identity, {"open": "00" * 32, "hello": "", "reason": "declined"}
    ).raw
    for _ in range(MAX_ENVELOPES):
        room.post(leave)
    room.run()
    for party in (alice, bob):
        ends(party, PEER, "the room is flooded with messages")
