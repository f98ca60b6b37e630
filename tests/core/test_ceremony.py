"""How honest people become a session, and how they part. Cheats: tests/attacks/test_ceremony_attacks.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.log import (
    SANTA,
    TRANSPORTS,
    Party,
    Room,
    certificate,
    figure,
    hello_of,
    in_order,
    meet,
    other,
    remake,
    secrets_of,
)

from comity.core import messages
from comity.core.ceremony import TABLE, Ceremony, Departed, Ended, State, left
from comity.core.commands import Frozen, Joined, Post
from comity.core.encoding import Malformed, digest
from comity.core.limits import MAX_ENVELOPES, MAX_HELLO, MAX_PARTIES
from comity.core.messages import REASONS, Open
from comity.core.roster import CHEAT
from comity.core.words import check_words
from comity.errors import (
    ComityError,
    PeerError,
    ProgramDiffers,
    UnreachableError,
    UsageError,
    VerificationError,
    WordsDiffer,
)


def ended(party: Party, kind: type[ComityError], *pieces: str) -> None:
    assert isinstance(party.error, kind) and party.ceremony.state is State.ENDED and party.session is None
    assert all(piece in party.error.message for piece in pieces), party.error.message


# -- how it goes well ------------------------------------------------------------------------------------------------


def test_three_strangers_become_a_session() -> None:
    room, parties = meet("alice", "bob", "carol")
    room.run()
    room.compare()
    room.run()
    assert room.figure == figure("""
        alice OPEN
        alice HELLO
        bob HELLO
        carol HELLO
        alice ROSTER
        alice REVEAL
        bob REVEAL
        carol REVEAL
        alice AGREE
        bob AGREE
        carol AGREE
        alice CONFIRM
        bob CONFIRM
        carol CONFIRM
    """)
    assert all(party.done for party in parties)


def test_what_one_of_them_hears_and_does() -> None:
    room, (_, bob, _) = meet("alice", "bob", "carol")
    room.run()
    room.compare()
    room.run()
    assert "\n".join(bob.story) == figure("""
        alice OPEN     opened by alice, post HELLO
        alice HELLO    alice joined
        bob HELLO
        carol HELLO    carol joined
        alice ROSTER   I am 1 of alice bob carol, post REVEAL
        alice REVEAL
        bob REVEAL
        carol REVEAL   post AGREE
        alice AGREE
        bob AGREE
        carol AGREE    compare with alice carol
        alice CONFIRM  alice confirmed
        bob CONFIRM
        carol CONFIRM  carol confirmed, a session, I am 1
    """)


def test_the_host_hears_what_it_opened_and_makes_the_roster() -> None:
    room, (alice, _) = meet("alice", "bob")
    room.run()
    assert "\n".join(alice.story[:4]) == figure("""
        alice OPEN     post HELLO
        alice HELLO
        bob HELLO      bob joined, post ROSTER
        alice ROSTER   I am 0 of alice bob, post REVEAL
    """)


@settings(max_examples=25)
@given(st.integers(2, 4), st.integers(0, 2**32))
def test_at_any_speeds_they_hold_one_session_and_saw_the_same_words(m: int, seed: int) -> None:
    room, parties = meet(*"abcde"[:m])
    room.run(seed)
    assert len({p.words for p in parties}) == 1 and not any(p.done for p in parties)
    room.compare()
    room.run(seed)
    assert all(p.done for p in parties)
    assert len({(p.session.transcript, p.session.members) for p in parties if p.session}) == 1
    assert in_order(room.log(), "open", "hello", "roster", "reveal", "agree", "confirm")


def test_a_session_is_what_opening_hellos_and_nonces_say() -> None:
    room, parties = meet("alice", "bob", "carol")
    room.run(3)
    room.compare()
    room.run(3)
    log = room.log()
    said = {kind: [e for e in log if e.type == kind] for kind in TABLE[State.GATHERING] | {"open": 0, "reveal": 0}}
    hellos = [messages.read_hello(e) for e in said["hello"]]
    nonces = {e.sender: messages.read_reveal(e)[1] for e in said["reveal"]}
    t = digest("transcript", said["open"][0].raw, said["roster"][0].raw, *(nonces[h.member.identity] for h in hellos))
    for party in parties:
        assert party.session and party.session.transcript == t and party.words == check_words(t)
        assert party.session.members == tuple(h.member for h in hellos)
        assert (party.session.threshold, party.session.transport) == (1, "direct")
        assert party.session.program_digest == SANTA.digest and len(party.session.tag) == 16
        assert [h.member.identity for h in hellos].index(party.key) == next(
            c.number for c in party.told if isinstance(c, Frozen)
        )


def test_fresh_keys_give_another_session_to_the_same_people() -> None:
    sessions = []
    for number in (0, 1):
        room, (alice, bob) = meet("alice", "bob", session=number)
        room.run()
        room.compare()
        room.run()
        sessions.append(alice.session)
        assert bob.session == alice.session
    assert sessions[0] and sessions[1]
    assert sessions[0].transcript != sessions[1].transcript and sessions[0].tag != sessions[1].tag


def test_whoever_accepts_the_invitation_is_not_asked() -> None:
    room, parties = meet("alice", "bob", "carol", verify="link")
    room.run()
    assert all(p.done for p in parties)
    assert "carol AGREE    do not compare with alice carol, post CONFIRM" in parties[1].story


def test_each_demands_for_itself_how_to_verify() -> None:
    room = Room()
    alice, bob = room.host("alice", 2, verify="link"), room.join("bob")
    room.run()
    assert not alice.done and alice.ceremony.waiting == ("bob",) and bob.ceremony.waiting == ("bob",)
    bob.answer(True)
    room.flush(bob)
    room.run()
    assert alice.done and bob.done and alice.session
    assert [m.verify for m in alice.session.members] == ["link", "words"]


def test_who_knows_the_others_keys_confirms_so() -> None:
    room, (alice, bob) = meet("alice", "bob", verify="contacts")
    room.run()
    assert bob.compare and not bob.compare.ask
    for party in (alice, bob):
        party.answer(True)
        room.flush(party)
    room.run()
    assert alice.done and bob.done and messages.read_confirm(bob.said("confirm"))[1:] == ("contacts", (0,))


def test_a_joiner_may_take_another_name() -> None:
    room = Room()
    alice, bob = room.host("alice", 2), room.join("alice", secrets=secrets_of("bob"))
    bob.choose = lambda _: (SANTA, "alice too")
    room.run()
    assert bob.compare and alice.compare and alice.compare.people == ("alice too",)


def test_the_transport_is_the_hosts_first_that_all_can_use() -> None:
    room = Room()
    alice, bob = room.host("alice", 2), room.join("bob", transports=("webrtc", "relay"))
    room.run()
    room.compare()
    room.run()
    assert alice.session and alice.session.transport == "relay" and bob.session == alice.session


# -- whom one waits for, and when the invitation is spent --------------------------------------------------------------


def test_one_waits_for_those_whose_message_is_missing() -> None:
    room, (alice, bob, carol) = meet("alice", "bob", "carol")
    carol.instead = {"reveal": lambda _: []}
    room.run()
    assert alice.ceremony.waiting == bob.ceremony.waiting == ("carol",)
    room.post(carol.said("reveal").raw)
    room.run()
    assert alice.ceremony.waiting == ("alice", "bob", "carol")
    room.compare()
    room.run()
    assert all(p.done and p.ceremony.waiting == () for p in (alice, bob, carol))


def test_an_invitation_is_spent_once_a_nonce_is_out() -> None:
    room, (alice, bob) = meet("alice", "bob")
    for party in (alice, bob):
        party.read()
        room.flush(party)
    assert bob.ceremony.waiting == () and not bob.ceremony.spent and not alice.ceremony.spent
    room.run()
    assert bob.ceremony.spent and alice.ceremony.spent


# -- how people part ---------------------------------------------------------------------------------------------------


def test_who_leaves_before_the_roster_makes_place_for_another() -> None:
    room = Room()
    alice, bob = room.host("alice", 3), room.join("bob")
    room.run()
    bob.leave("interrupted")
    room.flush(bob)
    room.run()
    assert alice.story[-1] == "bob LEAVE      bob left: interrupted"
    carol, dave = room.join("carol"), room.join("dave")
    room.run()
    room.compare(alice, carol, dave)
    room.run()
    assert alice.done and alice.session and [m.name for m in alice.session.members] == ["alice", "carol", "dave"]
    assert bob.ceremony.state is State.ENDED


@pytest.mark.parametrize("seed", range(8))
def test_who_left_before_the_roster_may_come_back(seed: int) -> None:
    room = Room()
    alice, bob = room.host("alice", 3), room.join("bob")
    room.run(seed)
    bob.leave("interrupted")
    room.flush(bob)
    again = room.join("bob", secrets=secrets_of("bob", 7))  # the same identity, a new process
    carol = room.join("carol")
    room.run(seed)
    room.compare(alice, again, carol)
    room.run(seed)
    assert alice.done and again.done and carol.done and again.session == alice.session
    assert Joined("bob") not in again.told


def test_who_is_still_in_the_room_cannot_come_a_second_time() -> None:
    room, (alice, bob, _) = meet("alice", "bob", "carol")
    bob.instead = {"leave": lambda _: []}
    for party in (alice, bob) * 3:
        party.read()
        room.flush(party)
    again = room.join("bob", secrets=secrets_of("bob", 7))
    again.choose = None  # her person is still thinking
    while again.inbox:
        again.read()
    with pytest.raises(VerificationError, match="your identity is in this room already"):
        again.ceremony.choose(SANTA)
    assert again.ceremony.state is State.CHOOSING
    assert again.ceremony.leave("protocol") == [] and not again.posts  # a LEAVE would be the first process's


def test_the_host_does_not_join_its_own_room() -> None:
    room = Room()
    alice = room.host("alice", 2)
    again = room.join("alice", secrets=secrets_of("alice", 7))
    again.choose = None
    again.read()
    with pytest.raises(VerificationError, match="your identity is in this room already"):
        again.ceremony.choose(SANTA)
    again.leave("protocol")
    assert not again.posts and alice.error is None


def test_a_leave_while_the_roster_is_on_its_way_is_nobodys_cheat() -> None:
    room, (alice, bob, carol) = meet("alice", "bob", "carol")
    for party in (alice, bob, carol):
        party.read()
        room.flush(party)
    carol.leave("interrupted")
    room.flush(carol)
    room.run()
    assert [e.type for e in room.log()][:6] == ["open", "hello", "hello", "hello", "leave", "roster"]
    ended(alice, PeerError, "carol left: interrupted")
    ended(bob, PeerError, "carol left as the roster was made")


@pytest.mark.parametrize("reason", REASONS)
def test_who_leaves_after_the_roster_ends_it_for_all(reason: str) -> None:
    room, (alice, bob, carol) = meet("alice", "bob", "carol")
    room.run()
    carol.leave(reason)
    room.flush(carol)
    room.run()
    kind = {"words": WordsDiffer, "program": ProgramDiffers}.get(reason, PeerError)
    for party in (alice, bob):
        ended(party, kind, "carol")
        assert party.error and party.error.exit_code == (4 if kind is PeerError else 3)
        assert "this invitation is spent: start again with a new one" in party.error.hints
        assert ("the terminal there shows which" in party.error.hints) == (reason == "error")
        assert not isinstance(party.error, Departed) or (party.error.sender, party.error.reason) == (carol.key, reason)
        assert isinstance(party.error, Departed) == (reason not in ("words", "program"))
        assert ("the terminal there shows what was tried" in party.error.hints) == (reason == "path")


def test_the_host_who_leaves_ends_it_for_all_at_any_time() -> None:
    room, (alice, bob, carol) = meet("alice", "bob", "carol")
    alice.read()
    room.flush(alice)
    alice.leave("interrupted")
    room.flush(alice)
    room.run()
    for party in (bob, carol):
        ended(party, PeerError, "alice left: interrupted")
        assert party.error and party.error.hints == ("start again",)


def test_the_host_may_leave_before_it_has_heard_itself() -> None:
    room, (alice, bob) = meet("alice", "bob")
    alice.leave("interrupted")
    room.flush(alice)
    room.run()
    ended(bob, PeerError, "alice left: interrupted")


def test_who_never_was_a_party_leaves_unheard() -> None:
    room, parties = meet("alice", "bob")
    eve = room.join("eve")
    eve.choose = None
    eve.read()
    eve.leave("declined")
    assert not eve.posts  # what was not said needs no end
    room.post(
        messages.make(
            "leave", eve.secrets.identity, {"open": room.log()[0].digest.hex(), "hello": "", "reason": "words"}
        ).raw
    )
    room.run()
    room.compare(*parties)
    room.run()
    assert all(p.done for p in parties)


def test_who_stood_outside_the_roster_leaves_unheard() -> None:
    room, parties = meet("alice", "bob")
    eve = room.join("eve")
    for party in (*parties, eve):
        party.read()
        room.flush(party)
    room.run()
    ended(eve, PeerError, "the session is full: it began without you")
    assert room.describe(room.log()[-1].raw) == "bob AGREE" and eve.left
    room.compare(*parties)
    room.run()
    assert all(p.done for p in parties)


def test_a_leave_before_the_opening_says_nothing() -> None:
    room = Room()
    alice = room.host("alice", 2)
    bob = room.join("bob")
    bob.leave("interrupted")
    assert bob.outbox == [] and bob.ceremony.state is State.ENDED
    room.run()
    assert alice.error is None


def test_a_leave_after_the_session_stands_names_who_left_and_the_session_stays_what_it_was() -> None:
    room, (alice, bob) = meet("alice", "bob", verify="link")
    room.run()
    (post,) = bob.ceremony.leave("interrupted")
    assert isinstance(post, Post)
    with pytest.raises(PeerError, match="bob left: interrupted"):
        alice.ceremony.receive(post.body)
    assert alice.done


def test_who_comes_too_late_is_told_that_it_is_full() -> None:
    room, _ = meet("alice", "bob")
    room.run()
    carol = room.join("carol")
    carol.choose = None  # her person is still thinking
    while carol.inbox and carol.error is None:
        carol.read()
    ended(carol, PeerError, "the session is full: it began without you")
    assert carol.error and carol.error.hints == ("ask the host for a new invitation",)


def test_a_fourth_whose_hello_crosses_the_roster_disturbs_nobody() -> None:
    room, (alice, bob, carol) = meet("alice", "bob", "carol")
    dave = room.join("dave")
    dave.read()  # OPEN, and says HELLO
    (late,) = dave.outbox
    dave.outbox.clear()
    while "roster" not in [e.type for e in room.log()]:
        for party in (alice, bob, carol):
            party.read()
            room.flush(party)
    room.post(late)
    room.post(late)
    room.run()
    ended(dave, PeerError, "the session is full: it began without you")
    room.compare(alice, bob, carol)
    room.run()
    for party in (alice, bob, carol):
        assert party.done
        party.ceremony.receive(late)  # nor while the links are made


def test_without_a_common_transport_everyone_is_told_what_each_party_has() -> None:
    room = Room()
    alice, bob, carol = room.host("alice", 3), room.join("bob", transports=("relay",)), room.join("carol")
    dave = room.join("dave")  # comes too late, and is disturbed by nothing
    carol.ceremony._transports = ("direct",)
    for party in (bob, carol, dave):
        party.read()
        room.flush(party)
    room.run()
    for party in (alice, bob, carol):
        ended(party, UnreachableError, "there is no transport that all have")
        assert party.error and party.error.hints[0] == "bob by relay; carol by direct; alice by direct or relay"
        assert not party.ceremony.spent
    assert "roster" not in [e.type for e in room.log()]


def test_who_has_no_transport_of_the_hosts_does_not_join() -> None:
    room = Room()
    alice, bob = room.host("alice", 2), room.join("bob", transports=("webrtc",))
    room.run()
    ended(bob, UsageError, "alice can be reached by direct or relay, you by webrtc")
    assert bob.error and bob.error.hints == ("join with --transport direct",) and not bob.posts
    carol = room.join("carol")
    room.run()
    assert alice.compare and carol.compare


@pytest.mark.parametrize(
    ("name", "text"), [("bob", "the name bob is taken"), ("B.0b", "the name B.0b looks like bob, who is here already")]
)
def test_who_sees_that_a_name_is_taken_does_not_join(name: str, text: str) -> None:
    room = Room()
    alice, bob = room.host("alice", 3), room.join("bob")
    room.run()
    dave = room.join("dave")
    dave.choose = None
    while dave.inbox:
        dave.read()
    with pytest.raises(UsageError, match=text) as caught:
        dave.ceremony.choose(SANTA, name)
    assert caught.value.hints == ("join again with another one: --name NAME",)
    assert dave.ceremony.state is State.CHOOSING and not dave.posts
    dave.obey(dave.ceremony.choose(SANTA, "dave"))
    room.run()
    assert alice.compare and bob.compare and dave.compare


@pytest.mark.parametrize("name", ["bob", "b0b"])
@pytest.mark.parametrize("seed", range(5))
def test_of_two_who_take_one_name_at_the_same_time_the_first_stays(name: str, seed: int) -> None:
    room = Room()
    alice, bob, eve = room.host("alice", 3), room.join("bob"), room.join(name, secrets=secrets_of("eve"))
    for party in (bob, eve):
        party.read()
        room.flush(party)
    room.run(seed)
    ended(eve, UsageError, "is taken" if name == "bob" else "looks like bob")
    assert f"{name} refused for bob" in "".join(map(str, alice.story)) and eve.left == "error"
    carol = room.join("carol")
    room.run(seed)
    room.compare(alice, bob, carol)
    room.run(seed)
    assert alice.done and bob.done and carol.done
    assert alice.session and {m.name for m in alice.session.members} == {"alice", "bob", "carol"}


@pytest.mark.parametrize("seed", range(5))
def test_who_was_too_late_for_a_name_goes_on_under_another(seed: int) -> None:
    """Its first HELLO is taken back, so nobody can make trouble with it."""
    room = Room()
    alice, bob, eve = room.host("alice", 3), room.join("bob"), room.join("bob", secrets=secrets_of("eve"))
    eve.second_name = "bob-2"
    for party in (bob, eve):
        party.read()
        room.flush(party)
    room.run(seed)
    first, leave, _ = (e for e in map(messages.parse, eve.posts) if e.type in ("hello", "leave"))
    assert leave.body["hello"] == first.digest.hex()
    room.post(first.raw)
    room.compare(alice, bob, eve)
    room.run(seed)
    assert alice.done and bob.done and eve.done
    assert alice.session and {m.name for m in alice.session.members} == {"alice", "bob", "bob-2"}


def test_nobody_takes_the_hosts_name_before_the_host_has_said_hello() -> None:
    room, (alice, bob, eve) = meet("alice", "bob", "eve")
    eve.choose = lambda _: (SANTA, "eve")
    eve.instead = {"hello": lambda e: [renamed(eve, e, "A1ice")]}
    eve.read()
    room.flush(eve)
    room.run()
    assert "A1ice refused for alice" in "".join(alice.story) + "".join(bob.story)
    assert alice.error is None and bob.error is None


def test_who_was_refused_for_a_name_may_come_under_another() -> None:
    room = Room()
    alice, bob = room.host("alice", 3), room.join("bob")
    room.run()
    eve = room.join("eve")
    eve.instead = {"hello": lambda e: [renamed(eve, e, "bob"), e.raw]}
    room.run()
    room.compare()
    room.run()
    assert alice.done and bob.done and alice.session
    assert [m.name for m in alice.session.members] == ["alice", "bob", "eve"]


def renamed(party: Party, hello: messages.Envelope, name: str) -> bytes:
    """A HELLO under another name, with a proper commitment and signature."""
    secrets, body = party.secrets, hello.body
    made = messages.make_hello(
        secrets,
        open_digest=bytes.fromhex(body["open"]),
        name=name,
        program=SANTA,
        transports=tuple(body["transports"]),
        verify=body["verify"],
        certificate=bytes.fromhex(body["certificate"]),
    )
    return made.envelope.raw


def test_different_programs_are_named_at_every_party() -> None:
    room = Room()
    alice, bob, carol = room.host("alice", 3), room.join("bob"), room.join("carol", program=other(arguments=("9",)))
    room.run()
    theirs = "secretsanta 9 ("
    ended(alice, ProgramDiffers, "carol has a different program", theirs, "yours is secretsanta 8 (")
    ended(bob, ProgramDiffers, "carol has a different program", theirs, "yours is secretsanta 8 (")
    ended(carol, ProgramDiffers, "alice has a different program: secretsanta 8 (", "yours is secretsanta 9 (")
    assert carol.error and carol.error.hints == ("argument 1 is 9 here and 8 at alice; agree on one, then start again",)


def test_two_who_differ_from_the_host_hear_of_the_host() -> None:
    nine = other(arguments=("9",))
    room = Room()
    room.host("alice", 3)
    carol, bob = room.join("carol", program=nine), room.join("bob", program=nine)
    room.run()
    for party in (bob, carol):
        ended(party, ProgramDiffers, "alice has a different program: secretsanta 8", "yours is secretsanta 9")


@pytest.mark.parametrize(("reason", "kind"), [("words", WordsDiffer), ("program", ProgramDiffers)])
def test_a_leave_is_the_error_that_it_means(reason: str, kind: type[ComityError]) -> None:
    assert isinstance(left(b"", "bob", reason, spent=False), kind)
    assert type(left(b"", "bob", "error", spent=True)) is Departed


# -- calls at the wrong time -----------------------------------------------------------------------------------------


def test_what_has_ended_stays_ended() -> None:
    room, (alice, bob) = meet("alice", "bob")
    room.run()
    bob.leave("interrupted")
    for call in (
        lambda: bob.ceremony.receive(alice.said("open").raw),
        lambda: bob.ceremony.choose(SANTA),
        lambda: bob.ceremony.answer(),
    ):
        with pytest.raises(Ended, match="the ceremony has ended"):
            call()
        assert bob.ceremony.state is State.ENDED


def test_one_chooses_and_answers_once_and_in_time() -> None:
    room, (_, bob) = meet("alice", "bob")
    with pytest.raises(Ended):
        bob.ceremony.choose(SANTA)  # nothing is opened yet
    with pytest.raises(Ended):
        bob.ceremony.rename("bobby")  # nor said
    room.run()
    with pytest.raises(Ended):
        bob.ceremony.choose(SANTA)
    bob.ceremony.answer()
    with pytest.raises(Ended):
        bob.ceremony.answer()
    assert bob.ceremony.state is State.COMPARING
    with pytest.raises(Ended):
        meet("alice", "bob")[1][0].ceremony.answer()


def test_a_name_that_cannot_be_leaves_the_choice_open() -> None:
    room = Room()
    room.host("alice", 2)
    bob = room.join("bob")
    bob.choose = None
    bob.read()
    with pytest.raises(UsageError, match="cannot be a name"):
        bob.ceremony.choose(SANTA, " bob")
    assert bob.ceremony.state is State.CHOOSING
    bob.obey(bob.ceremony.choose(SANTA, "bob"))
    room.flush(bob)
    room.run()
    assert bob.compare


def test_a_joiner_starts_by_reading() -> None:
    secrets = secrets_of("bob")
    bob = Ceremony(secrets, certificate(secrets.session), "bob", (), "words", b"h" * 16)
    assert bob.start() == [] and bob.state is State.OPENING and bob.leave("interrupted") == []


def test_every_state_says_what_it_waits_for_and_leads_to_an_end() -> None:
    assert set(TABLE) == set(State) and all(state.value for state in State)
    reached = {State.OPENING}
    for _ in State:
        reached |= {after for state in reached for after in TABLE[state].values()}
    assert reached == set(State) - {State.ENDED}


# -- what a party does not take ----------------------------------------------------------------------------------------


def until(state: State, *, verify: str = "words") -> tuple[Room, Party, Party, Party]:
    """A room of alice, bob and carol, where bob has just come to a state."""
    room, (alice, bob, carol) = meet("alice", "bob", "carol", verify=verify)
    if state is State.CHOOSING:
        bob.choose = None
    while bob.ceremony.state is not state:
        for party in (alice, carol, bob):
            if party.inbox and bob.ceremony.state is not state:
                party.read()
                room.flush(party)
    bob.inbox.clear()
    return room, alice, bob, carol


BY_EVE = {
    kind: messages.make(kind, secrets_of("eve").identity, {}).raw
    for kind in ("open", "hello", "roster", "reveal", "agree", "confirm")
}


@pytest.mark.parametrize(
    ("state", "kind"), [(s, k) for s in State if s is not State.ENDED for k in BY_EVE if k not in TABLE[s]]
)
def test_a_message_counts_only_where_the_table_has_it(state: State, kind: str) -> None:
    *_, bob, _ = until(state, verify="link" if state is State.DONE else "words")
    if kind == "hello" and bob.ceremony.spent:  # of somebody who is too late
        assert bob.ceremony.receive(BY_EVE[kind]) == [] and bob.ceremony.state is state
        return
    with pytest.raises((PeerError, VerificationError)) as caught:
        bob.ceremony.receive(BY_EVE[kind])
    assert not isinstance(caught.value, Malformed)  # its contents are not even looked at
    assert bob.ceremony.state is (State.DONE if state is State.DONE else State.ENDED)


@pytest.mark.parametrize(
    ("state", "kind", "error", "piece"),
    [
        (State.OPENING, "open", VerificationError, "opened by somebody else than the host who invited you"),
        (State.OPENING, "agree", PeerError, "somebody sent AGREE too early or too late"),
        (State.OPENING, "hello", PeerError, "somebody sent HELLO too early or too late"),
        (State.CHOOSING, "roster", PeerError, "the session is full: it began without you"),
        (State.CHOOSING, "open", VerificationError, "somebody sent OPEN where none may be"),
        (State.GATHERING, "roster", VerificationError, "somebody, who is not the host, sent a roster"),
        (State.GATHERING, "reveal", PeerError, "somebody sent REVEAL too early or too late"),
        (State.REVEALING, "reveal", VerificationError, "a stranger sent REVEAL in this room"),
        (State.REVEALING, "roster", VerificationError, "somebody sent ROSTER where none may be"),
        (State.AGREEING, "agree", VerificationError, "a stranger sent AGREE in this room"),
        (State.COMPARING, "confirm", VerificationError, "a stranger sent CONFIRM in this room"),
    ],
)
def test_a_stranger_in_the_room_is_named_for_what_it_does(
    state: State, kind: str, error: type[ComityError], piece: str
) -> None:
    *_, bob, _ = until(state)
    with pytest.raises(error, match=piece):
        bob.ceremony.receive(BY_EVE[kind])


@pytest.mark.parametrize(
    ("state", "kind", "fields", "error", "piece"),
    [
        (
            State.GATHERING,
            "hello",
            {"open": "00" * 32},
            VerificationError,
            "carol answers another opening than this one",
        ),
        (State.REVEALING, "reveal", {"roster": "00" * 32}, VerificationError, "carol saw another roster"),
        (
            State.REVEALING,
            "reveal",
            {"nonce": "00" * 32},
            VerificationError,
            "carol revealed something else than it committed to",
        ),
        (State.AGREEING, "agree", {"transcript": "00" * 32}, VerificationError, "carol agreed to another session"),
        (State.COMPARING, "confirm", {"transcript": "00" * 32}, VerificationError, "carol confirmed another session"),
        (
            State.COMPARING,
            "confirm",
            {"how": "link", "verified": []},
            PeerError,
            "carol confirmed otherwise than it had said",
        ),
        (State.COMPARING, "confirm", {"verified": [0]}, PeerError, "carol confirmed otherwise than it had said"),
    ],
)
def test_a_message_says_what_its_place_demands(
    state: State, kind: str, fields: dict[str, object], error: type[ComityError], piece: str
) -> None:
    *_, bob, carol = until(state)
    if kind == "confirm":
        carol.answer(True)
    with pytest.raises(error, match=piece):
        bob.ceremony.receive(remake(carol.secrets, carol.said(kind), **fields))
    assert bob.ceremony.state is State.ENDED


@pytest.mark.parametrize("seed", range(3))
def test_the_same_message_again_ends_it(seed: int) -> None:
    room, (alice, bob, _) = meet("alice", "bob", "carol")
    room.run(seed)
    room.compare()
    hello = alice.said("hello").raw
    with pytest.raises(PeerError, match="alice sent HELLO twice"):
        bob.ceremony.receive(hello)
    with pytest.raises(VerificationError, match="somebody sent HELLO in your name"):
        alice.ceremony.receive(hello)


def test_nobody_confirms_or_leaves_in_ones_name() -> None:
    *_, bob, _ = until(State.COMPARING)
    body = {"transcript": bob.said("agree").body["transcript"], "how": "words", "verified": [0, 1]}
    with pytest.raises(VerificationError, match="somebody sent CONFIRM in your name"):
        bob.ceremony.receive(messages.make("confirm", bob.secrets.identity, body).raw)
    for state in (State.AGREEING, State.COMPARING):
        *_, alice, bob, _ = until(state)
        for party in (alice, bob):
            hello = party.said("hello")
            body = {"open": hello.body["open"], "hello": hello.digest.hex(), "reason": "declined"}
            with pytest.raises(VerificationError, match="somebody sent LEAVE in your name"):
                party.ceremony.receive(messages.make("leave", party.secrets.identity, body).raw)
    *_, bob, _ = until(State.GATHERING)
    bob.ceremony.receive(bob.said("hello").raw)
    with pytest.raises(VerificationError, match="somebody sent LEAVE in your name"):
        bob.ceremony.receive(messages.make("leave", bob.secrets.identity, body).raw)


def test_the_host_recognises_its_own_opening() -> None:
    _, (alice, _) = meet("alice", "bob")
    changed = remake(alice.secrets, alice.said("open"), t=0, session_key="00" * 32)
    with pytest.raises(VerificationError, match="the rendezvous changed what you opened"):
        alice.ceremony.receive(changed)


def test_more_messages_than_a_ceremony_has_are_a_flood() -> None:
    *_, bob, _ = until(State.GATHERING)
    leave = messages.make(
        "leave", secrets_of("eve").identity, {"open": "00" * 32, "hello": "", "reason": "declined"}
    ).raw
    with pytest.raises(PeerError, match="the room is flooded with messages"):
        for _ in range(MAX_ENVELOPES):
            assert bob.ceremony.receive(leave) == []
    assert bob.ceremony.state is State.ENDED


def test_what_is_no_message_ends_it_and_says_what_to_do() -> None:
    *_, bob, _ = until(State.GATHERING)
    with pytest.raises(Malformed, match="a message is not JSON") as caught:
        bob.ceremony.receive(b"{")
    assert caught.value.hints == (CHEAT,) and bob.ceremony.state is State.ENDED
    _, alice, bob, _ = until(State.OPENING)
    with pytest.raises(Malformed, match="version 2 of the protocol") as caught:
        bob.ceremony.receive(remake(alice.secrets, alice.said("open"), version=2))
    assert caught.value.hints == ("use the same comity",)


def test_as_many_as_may_come_with_as_much_as_they_may_say_fit_one_roster() -> None:
    """Made by hand: 64 parties in one process would take half a minute."""
    parts = {f"file {i:02}": "f" * 90 for i in range(96)}
    program = other(arguments=("",), parts=parts)
    opening = Open(MAX_PARTIES, 31, program, TRANSPORTS, "p0", "words", b"k" * 32)
    hellos = [hello_of(secrets_of(f"p{i}"), b"o" * 32, f"p{i}", program) for i in range(MAX_PARTIES)]
    assert MAX_HELLO * 0.9 < len(hellos[0].envelope.raw) <= MAX_HELLO
    roster = messages.make_roster(secrets_of("p0").identity, b"o" * 32, opening, tuple(hellos))
    assert len(messages.read_roster(messages.parse(roster.raw))[1]) == MAX_PARTIES
