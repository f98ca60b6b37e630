"""A host who cheats, alone and together with the rendezvous."""

from collections.abc import Callable, Iterable

import pytest
from tests.attacks.story import (
    CHEAT,
    PEER,
    STOP,
    ends,
    goes_on,
    hello_with,
    hellos_of,
    hosted_by_mallory,
    puppet,
    roster_with,
    sealed,
    waits,
)
from tests.core.log import Party, Room, other, remake, secrets_of

from comity.core import messages
from comity.core.ceremony import State
from comity.core.messages import Envelope, Hello


def test_another_host_opens_the_room() -> None:
    room = Room()
    alice = room.host("alice", 2)
    bob = room.join("bob", host=alice)
    room.bodies.clear()
    bob.inbox.clear()
    mallory = Room().host("alice", 2)
    opened = mallory.posts[0]
    room.post(remake(secrets_of("mallory"), messages.parse(opened)))
    room.run()
    ends(bob, STOP, "the room was opened by somebody else than the host who invited you", "over another channel")


def test_mallory_sends_two_rosters() -> None:
    room, mallory, alice, bob = hosted_by_mallory()
    mallory.instead = {"roster": lambda e: [e.raw, roster_with(mallory, e, hellos_of(e)[::-1])]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, PEER, "mallory sent ROSTER twice", CHEAT)
        assert not party.words


def altered(change: Callable[[list[Hello]], list[Hello]]) -> tuple[Party, Party]:
    """What alice and bob make of a roster whose HELLOs, mallory's, alice's and bob's, she changed."""
    room, mallory, alice, bob = hosted_by_mallory()
    mallory.instead = {"roster": lambda e: [roster_with(mallory, e, change(hellos_of(e)))]}
    goes_on(room)
    return alice, bob


def test_mallory_swaps_bobs_key() -> None:
    alice, bob = altered(lambda hellos: [*hellos[:2], puppet("bob", hellos[0].open)])
    ends(alice, STOP, "the roster holds a HELLO that bob did not say here")
    ends(bob, PEER, "the session is full: it began without you")


def test_mallory_adds_a_party() -> None:
    alice, bob = altered(lambda hellos: [*hellos, puppet("dave", hellos[0].open)])
    ends(alice, STOP, "the roster has 4 parties, not 3")
    ends(bob, STOP, "the roster has 4 parties, not 3")


def test_mallory_drops_a_party() -> None:
    alice, bob = altered(lambda hellos: hellos[:2])
    ends(alice, STOP, "the roster has 2 parties, not 3")
    ends(bob, STOP, "the roster has 2 parties, not 3")


def test_mallory_seats_herself_twice() -> None:
    alice, bob = altered(lambda hellos: [*hellos[:2], hellos[0]])
    ends(alice, STOP, "two parties have names that look alike: mallory and mallory")
    ends(bob, PEER, "the session is full: it began without you")


def test_mallory_seats_somebody_else_for_herself() -> None:
    def cheat(roster: Envelope) -> Iterable[bytes]:
        dave = puppet("dave", mallory.said("open").digest)
        return [dave.envelope.raw, roster_with(mallory, roster, [dave, *hellos_of(roster)[1:]])]

    room, mallory, alice, bob = hosted_by_mallory(roster=cheat)
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "the roster does not hold the host")


def test_the_order_of_the_parties_is_the_hosts_to_choose() -> None:
    alice, bob = altered(lambda hellos: hellos[::-1])
    assert alice.session and alice.session == bob.session
    assert [m.name for m in alice.session.members] == ["bob", "alice", "mallory"]


@pytest.mark.parametrize(
    "change", [{"threshold": 0}, {"threshold": True}, {"transport": "relay"}, {"extra": 1}, {"members": []}]
)
def test_mallory_says_something_else_in_the_manifest(change: dict[str, object]) -> None:
    room, mallory, alice, bob = hosted_by_mallory()
    mallory.instead = {"roster": lambda e: [remake(mallory.secrets, e, manifest={**e.body["manifest"], **change})]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "the host's manifest is not what was said")


@pytest.mark.parametrize("change", [{"verify": "link"}, {"name": "alicia"}])
def test_mallory_joins_as_another_than_she_opened_the_room_as(change: dict[str, object]) -> None:
    """She shows that she demands words, and then demands nothing."""
    room, mallory, alice, bob = hosted_by_mallory()
    mallory.instead = {"hello": lambda e: [hello_with(mallory.secrets, e, **change)]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory opened the room as another than it joined as")


def test_mallory_runs_something_else_than_she_opened() -> None:
    room, mallory, alice, bob = hosted_by_mallory()
    nine = other(arguments=("9",)).to_dict()
    mallory.instead = {"hello": lambda e: [hello_with(mallory.secrets, e, program=nine)]}
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "mallory has a different program: secretsanta 9")


def test_mallory_seats_bob_who_has_left() -> None:
    """The same as an honest host's roster that crossed his LEAVE, so it is no accusation."""
    room, mallory, alice, bob = hosted_by_mallory()
    for party in (mallory, alice, bob):
        party.read()
        room.flush(party)
    bob.leave("interrupted")
    room.flush(bob)
    goes_on(room)
    ends(alice, PEER, "bob left as the roster was made", "start again")


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        ({"t": 2}, "OPEN: t must be from 0 to 1"),
        ({"t": -1}, "OPEN: t must be from 0 to 1"),
        ({"t": True}, "OPEN has no proper t"),
        ({"m": 1}, "OPEN: m must be from 2 to"),
        ({"m": 10**6}, "OPEN: m must be from 2 to"),
        ({"version": 2}, "the host speaks version 2 of the protocol, not 1"),
        ({"name": "mal\u200blory"}, "OPEN: "),
        ({"verify": "nothing"}, "OPEN: verify is none of words, contacts, link"),
        ({"session_key": ""}, "OPEN: session_key is not 32 bytes"),
        ({"transports": ["direct"] * 17}, "OPEN: transports is not a list of at most 16"),
    ],
)
def test_mallory_opens_what_cannot_be(change: dict[str, object], piece: str) -> None:
    room, mallory, alice, bob = hosted_by_mallory()
    for party in (alice, bob):
        party.inbox.clear()
    room.post(remake(mallory.secrets, mallory.said("open"), **change))
    room.run()
    for party in (alice, bob):
        ends(party, PEER, piece)
        assert not party.posts


# -- with eve: a room for each -----------------------------------------------------------------------------------------


def two_rooms(verify: str = "words") -> tuple[Room, Party, Room, Party]:
    """Mallory hosts both: in one bob sits with a carol of hers, in the other carol with a bob of hers."""
    one, two = Room(), Room()
    for room in (one, two):
        room.host("mallory", 3, verify=verify)
    bob = one.join("bob", verify=verify)
    one.join("carol", secrets=secrets_of("mallory as carol"), verify=verify)
    two.join("bob", secrets=secrets_of("mallory as bob"), verify=verify)
    carol = two.join("carol", verify=verify)
    return one, bob, two, carol


def test_different_rosters_for_bob_and_carol_give_different_words() -> None:
    one, bob, two, carol = two_rooms()
    assert one.key == two.key and one.bodies[0] == two.bodies[0]  # one invitation, one opening
    one.run()
    two.run()
    assert bob.compare and carol.compare
    assert bob.compare.people == ("mallory", "carol") and carol.compare.people == ("mallory", "bob")
    assert bob.words != carol.words
    for puppet_ in (*one.parties, *two.parties):
        if puppet_ not in (bob, carol):
            puppet_.answer(True)  # mallory has all that she can get
    one.run()
    two.run()
    waits(bob, State.COMPARING, "bob")
    waits(carol, State.COMPARING, "carol")
    one.compare(bob, carol)  # the true bob and the true carol, on the phone
    one.run()
    two.run()
    for party in (bob, carol):
        ends(party, STOP, "the words did not match")


def test_what_the_true_people_say_is_not_what_the_puppets_own_words_are() -> None:
    """Bob and carol compare nothing, and type what they hear: each other's own word is another one in their rooms."""
    one, bob, two, carol = two_rooms()
    one.run()
    two.run()
    assert bob.compare and carol.compare
    carols = bob.compare.theirs[bob.compare.people.index("carol")]
    bobs = carol.compare.theirs[carol.compare.people.index("bob")]
    assert carols != carol.compare.own and bobs != bob.compare.own


def test_bobs_no_reaches_carol_only_by_phone() -> None:
    """Mallory keeps his LEAVE from her room: but while carol does not say yes, nothing happens there."""
    one, bob, two, carol = two_rooms()
    one.run()
    two.run()
    bob.answer(False)
    one.run()
    ends(bob, STOP, "the words did not match")
    for party in two.parties:
        if party is not carol:
            party.answer(True)
    two.run()
    waits(carol, State.COMPARING, "carol")


def test_mallory_and_eve_show_bob_a_different_threshold() -> None:
    """In one room: what bob says answers his opening, which alice has never seen, so there is no session at all."""

    def eve(body: bytes, to: Party) -> Iterable[bytes]:
        return [sealed(lower.raw)] if to.name == "bob" and body == room.bodies[0] else [body]

    room = Room(rendezvous=eve)
    mallory = room.host("mallory", 3)
    lower = messages.make("open", mallory.secrets.identity, {**mallory.said("open").body, "t": 0})
    alice, bob = room.join("alice"), room.join("bob")
    goes_on(room)
    for party in (alice, bob):
        ends(party, STOP, "answers another opening than this one")
        assert not party.words


def test_different_openings_for_bob_and_carol_give_different_words() -> None:
    """All the same but the threshold, which protects bob and not carol."""
    one, two = Room(), Room()
    for room, t in ((one, 1), (two, 0)):
        for party in (room.host("mallory", 3, threshold=t), room.join("bob"), room.join("carol")):
            assert party.secrets == secrets_of(party.name)
        room.run()
    bob, carol = one.parties[1], two.parties[2]
    assert bob.words and carol.words and bob.words != carol.words
    one.compare(bob, carol)
    ends(bob, STOP, "the words did not match")
    ends(carol, STOP, "the words did not match")


def test_a_message_of_one_room_does_not_fit_into_the_other() -> None:
    """Bob's own AGREE is carried over to carol's room, where a bob of mallory's stands in the roster."""
    one, bob, two, carol = two_rooms()
    one.run()
    two.parties[1].instead = {"agree": lambda _: [bob.said("agree").raw]}
    two.run()
    ends(carol, STOP, "a stranger sent AGREE in this room")


def test_the_true_bob_is_in_both_rooms_and_signs_only_one_transcript() -> None:
    """Mallory plays only carol; bob's messages are carried to the room where carol sits with him."""
    one, two = Room(), Room()
    one.host("mallory", 3)
    bob = one.join("bob")
    two.host("mallory", 3)
    carol = two.join("carol")
    one.run()
    two.run()
    two.post(bob.said("hello").raw)  # the true bob's HELLO completes carol's room
    two.run()
    one.join("carol", secrets=secrets_of("mallory as carol"))
    one.run()
    two.post(bob.said("reveal").raw)
    two.run()
    ends(carol, STOP, "bob saw another roster")
    assert not carol.words and bob.words


def test_link_trusts_whoever_holds_the_invitation() -> None:
    """The weaker promise, as said at the start: what words would have shown goes unseen."""
    one, bob, two, carol = two_rooms(verify="link")
    one.run()
    two.run()
    assert bob.session and carol.session and bob.session.transcript != carol.session.transcript
    assert [m.verify for m in bob.session.members] == ["link"] * 3
