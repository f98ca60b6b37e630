"""A rendezvous that cheats: it sees sealed bodies only, unless somebody who was invited helps it."""

from collections.abc import Callable

import pytest
from tests.attacks.story import CHEAT, PEER, STOP, delaying, ends, goes_on, sealed, touching, waits, with_eve
from tests.core.log import Party, Room, honest, meet, secrets_of

from comity.core import messages
from comity.core.ceremony import State
from comity.core.identity import public_key
from comity.core.sealing import seal, unseal


@pytest.mark.parametrize("kind", ["OPEN", "HELLO", "ROSTER", "REVEAL", "AGREE", "CONFIRM"])
def test_eve_passes_a_message_twice(kind: str) -> None:
    room, alice, bob, carol = with_eve(touching(f"alice {kind}", lambda body: [body, body]))
    goes_on(room)
    ends(alice, STOP, f"somebody sent {kind} in your name", CHEAT)
    ends(bob, PEER, f"alice sent {kind} twice", CHEAT)
    ends(carol, PEER, f"alice sent {kind} twice", CHEAT)


@pytest.mark.parametrize(
    ("kind", "code", "piece"),
    [
        ("HELLO", STOP, "the roster holds a HELLO that alice did not say here"),
        ("ROSTER", PEER, "alice sent REVEAL too early or too late"),
        ("REVEAL", PEER, "alice sent AGREE too early or too late"),
    ],
)
def test_eve_keeps_a_message_from_bob(kind: str, code: int, piece: str) -> None:
    room, alice, bob, carol = with_eve(touching(f"alice {kind}", lambda _: [], "bob"))
    goes_on(room)
    ends(bob, code, piece)
    for party in (alice, carol):
        ends(party, PEER, "bob left: somebody broke the protocol")
        assert not party.words


def test_eve_keeps_an_agreement_from_bob() -> None:
    """Alice and carol see words, bob sees none: so they do not say yes."""
    room, alice, bob, carol = with_eve(touching("alice AGREE", lambda _: [], "bob"))
    room.run()
    assert alice.words == carol.words != bob.words == ()
    waits(bob, State.AGREEING, "alice")
    goes_on(room)
    ends(bob, STOP, "alice says that the words did not match")
    ends(alice, STOP, "the words did not match")
    ends(carol, STOP, "the words did not match")


def test_eve_keeps_the_opening_from_bob() -> None:
    room, alice, bob, carol = with_eve(touching("alice OPEN", lambda _: [], "bob"))
    goes_on(room)
    ends(bob, PEER, "somebody sent HELLO too early or too late")
    waits(alice, State.GATHERING)
    waits(carol, State.GATHERING)


def test_eve_keeps_a_confirmation_from_bob_who_then_dials_nobody() -> None:
    room, alice, bob, carol = with_eve(touching("carol CONFIRM", lambda _: [], "bob"))
    goes_on(room)
    waits(bob, State.COMPARING, "carol")
    assert alice.session and alice.session == carol.session  # they call bob, who does not answer
    assert alice.words == bob.words


@pytest.mark.parametrize(
    ("held", "after", "code", "piece"),
    [
        ("alice OPEN", "alice HELLO", PEER, "somebody sent HELLO too early or too late"),
        ("carol HELLO", "alice ROSTER", STOP, "the roster holds a HELLO that carol did not say here"),
        ("alice ROSTER", "carol REVEAL", PEER, "REVEAL too early or too late"),
        ("alice REVEAL", "carol AGREE", PEER, "AGREE too early or too late"),
    ],
)
def test_eve_turns_the_order_round(held: str, after: str, code: int, piece: str) -> None:
    room, alice, bob, carol = with_eve(delaying(held, after, "bob"))
    goes_on(room)
    ends(bob, code, piece)
    assert alice.session is None and carol.session is None


def test_the_order_among_equals_does_not_matter() -> None:
    room, *parties = with_eve(delaying("alice HELLO", "carol HELLO", "bob"))
    goes_on(room)
    assert all(p.session and p.session == parties[0].session for p in parties)


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"\0", lambda body: bytes(len(body))])
def test_eve_changes_a_body(change: Callable[[bytes], bytes]) -> None:
    room, alice, bob, carol = with_eve(touching("carol HELLO", lambda body: [change(body)]))
    goes_on(room)
    for party in (alice, bob, carol):
        ends(party, STOP, "was not sealed with this invitation", "with another rendezvous")


@pytest.mark.parametrize("body", [b"", b"hello", seal(b"k" * 32, b"n" * 12, b"{}", b"ceremony")])
def test_a_stranger_without_the_secret_posts(body: bytes) -> None:
    room, *parties = with_eve(honest)
    room.put(body)
    goes_on(room)
    for party in parties:
        ends(party, STOP, "was not sealed with this invitation")


def old_room() -> tuple[Room, list[Party]]:
    room, parties = meet("alice", "bob", "carol", session=1)
    goes_on(room)
    return room, parties


def old_message(sender: str, kind: str) -> bytes:
    return next(p.said(kind).raw for p in old_room()[1] if p.name == sender)


def test_eve_replays_an_old_room() -> None:
    old, _ = old_room()
    room, *parties = with_eve(honest)
    for body in old.bodies:
        room.put(body)
    goes_on(room)
    for party in parties:
        ends(party, STOP, "was not sealed with this invitation")


def test_eve_leads_bob_into_another_room() -> None:
    """No message says which room it is for: only whoever has that room's invitation can read or write it."""
    other, _ = old_room()
    room, alice, bob, carol = with_eve(touching("alice OPEN", lambda _: other.bodies, "bob"))
    goes_on(room)
    ends(bob, STOP, "was not sealed with this invitation", "with another rendezvous")
    waits(alice, State.GATHERING)
    waits(carol, State.GATHERING)


# -- with mallory, who was in an old room and is in this one -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "piece"),
    [
        ("hello", "bob answers another opening than this one"),
        ("reveal", "bob saw another roster"),
        ("agree", "bob agreed to another session"),
    ],
)
def test_a_message_of_an_old_room_takes_the_place_of_the_new_one(kind: str, piece: str) -> None:
    old = old_message("bob", kind)
    room, alice, bob, carol = with_eve(touching(f"bob {kind.upper()}", lambda _: [sealed(old)], "alice", "carol"))
    goes_on(room)
    ends(alice, STOP, piece)
    ends(carol, STOP, piece)
    ends(bob, PEER, "alice left: somebody broke the protocol")


def test_a_confirmation_of_an_old_room_takes_the_place_of_the_new_one() -> None:
    old = old_message("bob", "confirm")
    room, alice, bob, carol = with_eve(touching("bob CONFIRM", lambda _: [sealed(old)], "alice", "carol"))
    goes_on(room)
    ends(alice, STOP, "bob confirmed another session")
    ends(carol, STOP, "bob confirmed another session")
    assert bob.done and bob.words == alice.words  # he was shown the truth, and dials people who have left


def test_the_roster_of_an_old_room_takes_the_place_of_the_new_one() -> None:
    old = old_message("alice", "roster")
    room, alice, bob, carol = with_eve(touching("alice ROSTER", lambda _: [sealed(old)], "bob", "carol"))
    goes_on(room)
    ends(bob, STOP, "the roster belongs to another opening")
    ends(carol, STOP, "the roster belongs to another opening")
    ends(alice, PEER, "bob left: somebody broke the protocol")


def test_the_opening_of_an_old_room_is_shown_to_bob_first() -> None:
    old = old_message("alice", "open")
    room, alice, bob, carol = with_eve(touching("alice OPEN", lambda body: [sealed(old), body], "bob"))
    goes_on(room)
    ends(bob, PEER, "alice sent OPEN twice")
    ends(alice, STOP, "bob answers another opening than this one")
    ends(carol, STOP, "bob answers another opening than this one")


def test_the_host_is_shown_the_opening_of_its_old_room() -> None:
    old = old_message("alice", "open")
    room, alice, bob, _ = with_eve(touching("alice OPEN", lambda _: [sealed(old)]))
    goes_on(room)
    ends(alice, STOP, "the rendezvous changed what you opened")
    ends(bob, PEER, "alice left: somebody broke the protocol")


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("state", [State.GATHERING, State.REVEALING, State.COMPARING])
def test_the_leave_of_an_old_room_means_nothing_here(who: str, state: State) -> None:
    room, parties = meet("alice", "bob", session=1)
    room.run()
    leaver = next(p for p in parties if p.name == who)
    leaver.leave("words")
    (old,) = leaver.outbox
    room, parties = meet("alice", "bob")
    while parties[1].ceremony.state is not state:
        for party in parties:
            if party.inbox:
                party.read()
                room.flush(party)
    room.post(old)
    goes_on(room)
    assert all(p.done for p in parties)


# -- with mallory: somebody else under bob's name ----------------------------------------------------------------------


def with_a_false_bob(*deceived: str) -> tuple[Room, Party, Party, Party]:
    """The deceived never hear the true bob, but a bob of mallory's, whom nobody else hears."""
    true, false = (public_key(secrets_of(name).identity) for name in ("bob", "mallory as bob"))

    def passes(body: bytes, to: Party) -> list[bytes]:
        sender = messages.parse(unseal(to.room.key, body, b"ceremony")).sender
        hears_the_false_one = to.key == false or to.name in deceived
        return [] if sender == (true if hears_the_false_one else false) else [body]

    room = Room(rendezvous=passes)
    alice, bob, carol = room.host("alice", 3), room.join("bob"), room.join("carol")
    room.join("bob", secrets=secrets_of("mallory as bob"))
    return room, alice, bob, carol


def test_a_false_bob_at_the_host_is_found_by_carol() -> None:
    room, alice, bob, carol = with_a_false_bob("alice")
    goes_on(room)
    ends(carol, STOP, "the roster holds a HELLO that bob did not say here", CHEAT)
    ends(bob, PEER, "the session is full: it began without you")
    ends(alice, PEER, "carol left: somebody broke the protocol")


def test_a_false_bob_at_alice_and_carol_is_found_when_they_call_bob() -> None:
    """Everything is in order but that the bob they call sees no words."""
    room, alice, bob, carol = with_a_false_bob("alice", "carol")
    room.run()
    assert alice.words == carol.words and alice.compare and alice.compare.people == ("carol", "bob")
    ends(bob, PEER, "the session is full: it began without you")
    room.compare(alice, bob, carol)
    room.run()
    ends(alice, STOP, "the words did not match")
    ends(carol, STOP, "the words did not match")
