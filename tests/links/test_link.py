"""Attack stories and the order of things on one link, without a socket."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.links.parties import ALICE, BOB, CAROL, NUMBER, Rogue, join, joined, link, pairing, rogue_and_victim

from comity.core import frames, preface
from comity.core.encoding import Malformed
from comity.core.frames import ACK, DATA, FIN, GOODBYE, pack_goodbye, pack_header
from comity.core.limits import MAX_FRAME, MAX_IDLE_FRAMES
from comity.errors import PeerError, VerificationError
from comity.links.link import Depth, Goodbye, Link

few = settings(max_examples=40, deadline=None)  # each example is a handshake


def pass_on(data: bytes, to: Link) -> bytes:
    return b"".join(to.receive(data))


# The order of things


def test_two_parties_meet_and_each_learns_which_process_the_other_is() -> None:
    alice, bob = joined()
    assert alice.peer_incarnation == bytes([BOB]) * 16 and bob.peer_incarnation == bytes([ALICE]) * 16


def test_the_lower_number_is_tls_client_whoever_dialled() -> None:
    carol, bob = link(CAROL, BOB), link(BOB, CAROL)
    carol.start()
    assert carol.tls.output() == b""
    bob.start()
    assert bob.tls.output() != b""


def test_a_server_is_open_only_when_its_client_has_accepted_it() -> None:
    alice, bob = link(ALICE, BOB), link(BOB, ALICE)
    alice.start()
    bob.receive(alice.tls.output())
    alice.receive(bob.tls.output())
    assert not alice.open, "bob has not checked alice yet"
    bob.receive(alice.tls.output())
    assert bob.greeted and not bob.open, "alice has not said that bob's hello was right"
    alice.receive(bob.tls.output())
    assert alice.open
    bob.receive(alice.tls.output())
    assert bob.open


def test_data_fin_and_acknowledgements_both_ways() -> None:
    alice, bob = joined()
    assert pass_on(alice.frame([b"ab", b"c"], 3), bob) == b"abc"
    assert (alice.sent, bob.received, bob.untold, alice.acknowledged) == (3, 3, 3, 0)
    assert pass_on(bob.frame([b"x"], 1), alice) == b"x"
    assert alice.acknowledged == 3, "data carries acknowledgements"
    bob.receive(alice.fin())
    assert bob.peer_finished and not bob.complete
    alice.receive(bob.fin())
    assert not alice.complete, "bob's fin is not acknowledged yet"
    bob.receive(alice.acknowledgement())
    assert alice.complete and bob.complete and not alice.over


@few
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40_000)), max_size=5), st.integers(20, 5000))
def test_every_byte_arrives_once_in_order_however_the_channel_cuts(sent: list[tuple[bool, int]], cut: int) -> None:
    alice, bob = joined()
    expected = {alice: b"", bob: b""}
    got = {alice: b"", bob: b""}
    for i, (from_alice, size) in enumerate(sent):
        sender, to = (alice, bob) if from_alice else (bob, alice)
        body = bytes([i]) * size
        expected[to] += body
        data = sender.frame([body], size)
        for at in range(0, len(data), cut):
            got[to] += pass_on(data[at : at + cut], to)
    assert got == expected
    assert (alice.received, bob.received) == (bob.sent, alice.sent)


def test_depth_counts_messages_that_follow_from_each_other() -> None:
    depths = [Depth(), Depth(), Depth()]
    alice, bob = link(ALICE, BOB, depth=depths[0]), link(BOB, ALICE, depth=depths[1])
    bob_too, carol = link(BOB, CAROL, depth=depths[1]), link(CAROL, BOB, depth=depths[2])
    join(alice, bob)
    join(bob_too, carol)
    assert [d.value for d in depths] == [0, 0, 0], "hellos and acknowledgements are not the program's messages"
    bob.receive(alice.frame([b"1"], 1))
    carol.receive(bob_too.frame([b"2"], 1))
    assert [d.value for d in depths] == [0, 1, 2]
    bob.receive(alice.frame([b"3"], 1))
    alice.receive(bob.acknowledgement())
    assert [d.value for d in depths] == [0, 1, 2]


# Who is at the other end


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"transcript": b"S" * 32}, "session"),
        ({"sender": CAROL}, "sender"),
        ({"to": CAROL}, "receiver"),
        ({"sender": BOB, "to": ALICE}, "sender"),
        ({"kind": preface.CONTROL}, "kind"),
        ({"epoch": 1}, "epoch"),
        ({"number": NUMBER + 1}, "channel"),
    ],
)
@pytest.mark.parametrize("rogue", [ALICE, BOB])
def test_a_hello_for_something_else_is_refused_before_a_program_byte(
    changes: dict[str, Any], what: str, rogue: int
) -> None:
    if rogue == BOB and "sender" in changes and "to" in changes:
        changes = {"sender": ALICE, "to": BOB}  # alice's own hello comes back to her
    bad, victim = Rogue(pairing(rogue, 1 - rogue)), link(1 - rogue, rogue)
    delivered = bad.meet(victim, bad.hello(**changes), bad.frame(DATA, b"evil"))
    assert delivered == b"" and not victim.open
    assert isinstance(victim.verdict, VerificationError)
    assert victim.verdict.message == f"{victim.pairing.name}'s hello is for another {what}"


def test_both_sides_notice_that_they_are_of_different_sessions() -> None:
    alice, bob = link(ALICE, BOB), link(BOB, ALICE, transcript=b"U" * 32)
    assert join(alice, bob) == (b"", b"")
    assert isinstance(alice.verdict, VerificationError) and isinstance(bob.verdict, VerificationError)


def test_both_sides_notice_that_they_are_of_different_epochs() -> None:
    alice, bob = link(ALICE, BOB, epoch=1), link(BOB, ALICE)
    join(alice, bob)
    assert isinstance(alice.verdict, VerificationError) and isinstance(bob.verdict, VerificationError)


def test_a_channel_of_alice_and_bob_given_to_carol_ends_at_both() -> None:
    alice, carol = link(ALICE, BOB), link(CAROL, ALICE)
    join(alice, carol)
    assert isinstance(alice.verdict, VerificationError) and "has not bob's key" in alice.verdict.message
    assert isinstance(carol.verdict, VerificationError)


@pytest.mark.parametrize("rogue", [ALICE, BOB])
def test_something_else_in_place_of_a_hello_is_refused(rogue: int) -> None:
    bad, victim = Rogue(pairing(rogue, 1 - rogue)), link(1 - rogue, rogue)
    assert bad.meet(victim, bad.frame(DATA, b"x" * 100)) == b""
    assert isinstance(victim.verdict, Malformed) and not victim.open


def test_a_hello_that_expects_bytes_never_sent_is_refused() -> None:
    bad, bob = Rogue(pairing(ALICE, BOB)), link(BOB, ALICE)
    bad.meet(bob, bad.hello(expected=1), bad.frame(ACK))
    assert isinstance(bob.verdict, PeerError) and "goes on" in bob.verdict.message


def test_a_second_hello_is_no_frame() -> None:
    """Replayed inside the very same connection."""
    bad, bob = rogue_and_victim()
    assert bad.say(bob, bad.hello()) == b""
    assert isinstance(bob.verdict, Malformed)


def test_a_hello_recorded_on_another_channel_is_refused() -> None:
    """Even alice herself cannot use what she said on channel 7 for channel 8."""
    bad = Rogue(pairing(ALICE, BOB))
    recorded, bob = bad.hello(), link(BOB, ALICE, number=NUMBER + 1)
    bad.meet(bob, recorded, bad.frame(ACK))
    assert isinstance(bob.verdict, VerificationError)


def test_a_hello_may_come_in_pieces() -> None:
    bad, bob = Rogue(pairing(ALICE, BOB)), link(BOB, ALICE)
    hello = bad.hello()
    bad.meet(bob, *(hello[i : i + 1] for i in range(len(hello))), bad.frame(ACK))
    assert bob.open


# What comes in frames


def test_a_gap_is_refused() -> None:
    bad, bob = rogue_and_victim()
    assert bad.say(bob, bad.frame(DATA, b"abc", 0), bad.frame(DATA, b"e", 4)) == b"abc"
    assert isinstance(bob.verdict, Malformed) and bob.verdict.message == "alice left out 1 bytes"


def test_data_that_comes_twice_or_overlaps_is_delivered_once() -> None:
    bad, bob = rogue_and_victim()
    said = [bad.frame(DATA, b"abc", 0), bad.frame(DATA, b"abc", 0), bad.frame(DATA, b"bcde", 1)]
    assert bad.say(bob, *said) == b"abcde"
    assert bob.received == 5 and not bob.over


@few
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=30))
def test_an_offset_means_the_same_bytes_for_ever(ranges: list[tuple[int, int]]) -> None:
    """Any mixture of repeated and overlapping frames gives a prefix of the one stream, or ends at a gap."""
    stream = bytes(range(60))
    bad, bob = rogue_and_victim()
    got, expected = b"", 0
    for offset, size in ranges:
        got += bad.say(bob, bad.frame(DATA, stream[offset : offset + size], offset))
        if offset > expected:
            assert isinstance(bob.verdict, Malformed)
            break
        expected = max(expected, offset + size)
    assert got == stream[:expected]


def test_an_acknowledgement_of_bytes_never_sent_is_refused() -> None:
    bad, bob = rogue_and_victim()
    bob.frame([b"abc"], 3)
    bad.say(bob, bad.frame(ACK, acknowledged=3))
    assert not bob.over
    bad.say(bob, bad.frame(ACK, acknowledged=4))
    assert isinstance(bob.verdict, Malformed) and bob.verdict.message == "alice acknowledges what was never sent"


def test_an_acknowledgement_that_goes_back_changes_nothing() -> None:
    bad, bob = rogue_and_victim()
    bob.frame([b"abc"], 3)
    bad.say(bob, bad.frame(ACK, acknowledged=3), bad.frame(ACK, acknowledged=1))
    assert bob.acknowledged == 3 and not bob.over


def test_an_oversize_frame_is_refused_at_its_header() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, pack_header(DATA, 0, 0, 0, 0, MAX_FRAME + 1))
    assert isinstance(bob.verdict, Malformed) and str(MAX_FRAME + 1) in bob.verdict.message


def test_a_frame_of_another_epoch_is_refused() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, pack_header(DATA, 1, 0, 0, 0, 1) + b"x")
    assert isinstance(bob.verdict, Malformed) and "epoch 1" in bob.verdict.message


@pytest.mark.parametrize("kind", [ACK, DATA])
def test_endless_frames_that_say_nothing_end_it(kind: int) -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(DATA, b"x"))
    idle = bad.frame(kind, b"x" if kind == DATA else b"")
    bad.say(bob, *[idle] * MAX_IDLE_FRAMES)
    assert not bob.over
    bad.say(bob, idle)
    assert isinstance(bob.verdict, Malformed) and bob.verdict.message == "alice sends frames that say nothing"


def test_progress_between_idle_frames_keeps_a_link() -> None:
    bad, bob = rogue_and_victim()
    for i in range(4):
        bad.say(bob, *[bad.frame(ACK)] * (MAX_IDLE_FRAMES - 1), bad.frame(DATA, b"x", i))
    assert not bob.over


def test_data_after_a_fin_is_refused() -> None:
    bad, bob = rogue_and_victim()
    assert bad.say(bob, bad.frame(DATA, b"ab"), bad.frame(FIN, offset=2), bad.frame(DATA, b"c", 2)) == b"ab"
    assert isinstance(bob.verdict, Malformed) and bob.verdict.message == "alice sent data after its end"


@pytest.mark.parametrize("offset", [1, 3])
def test_a_fin_at_another_place_than_the_data_is_refused(offset: int) -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(DATA, b"ab"), bad.frame(FIN, offset=offset))
    assert isinstance(bob.verdict, Malformed) and not bob.peer_finished


def test_a_fin_that_comes_twice_is_harmless() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(FIN), bad.frame(FIN))
    assert bob.peer_finished and not bob.over


def test_a_fin_that_was_never_sent_cannot_be_acknowledged() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(ACK, acknowledged=1))
    assert isinstance(bob.verdict, Malformed)


def test_a_peer_cannot_make_our_depth_overflow() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(DATA, b"x", depth=2**32 - 1))
    bob.frame([b"y"], 1)
    assert bob._depth.value == frames.DEEPEST and not bob.over


# Goodbyes


@pytest.mark.parametrize("reason", frames.GOODBYE_REASONS)
def test_a_goodbye_carries_its_reason_and_what_came_before_it(reason: str) -> None:
    alice, bob = joined()
    assert pass_on(alice.frame([b"last"], 4) + alice.goodbye(reason, "line 7"), bob) == b"last"
    assert isinstance(bob.verdict, Goodbye) and (bob.verdict.reason, bob.verdict.detail) == (reason, "line 7")
    assert bob.verdict.message == f"alice said goodbye: {reason} (line 7)"
    assert bob.farewell() == b"", "a goodbye has no answer"


def test_nothing_counts_after_a_goodbye() -> None:
    alice, bob = joined()
    said = alice.goodbye("error", "")
    assert pass_on(said + alice.frame([b"more"], 4), bob) == b""
    assert pass_on(alice.frame([b"more"], 4), bob) == b""


def test_a_goodbye_with_an_unknown_reason_is_refused() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(GOODBYE, pack_goodbye("error", "").replace(b"error", b"bored")))
    assert isinstance(bob.verdict, Malformed) and not isinstance(bob.verdict, Goodbye)


def test_control_characters_in_a_goodbye_are_refused() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(GOODBYE, '{"detail":"\x9b2J","reason":"error"}'.encode()))
    assert isinstance(bob.verdict, Malformed) and bob.verdict.message.isprintable()


def test_whoever_breaks_the_protocol_is_told() -> None:
    bad, bob = rogue_and_victim()
    bad.say(bob, bad.frame(DATA, b"x", 9))
    bad.tls.feed(bob.farewell())
    bad.heard += b"".join(bad.tls.read())
    (goodbye,) = bad.frames_heard()
    assert frames.parse_goodbye(goodbye[4]) == ("protocol", "alice left out 9 bytes")


def test_a_party_that_could_not_be_verified_is_told_by_tls_only() -> None:
    alice, carol = link(ALICE, BOB), link(CAROL, ALICE)
    join(alice, carol)
    assert alice.farewell() == carol.farewell() == b"" and not alice.greeted


def test_a_goodbye_before_anybody_is_verified_says_nothing() -> None:
    bob = link(BOB, ALICE)
    assert bob.goodbye("error", "secret") == b"" and bob.over


def test_a_changed_byte_ends_the_link() -> None:
    alice, bob = joined()
    data = bytearray(alice.frame([b"abc"], 3))
    data[8] ^= 1
    assert pass_on(bytes(data), bob) == b""
    assert isinstance(bob.verdict, PeerError) and "changed on the way" in bob.verdict.message
    assert bob.farewell() != b"", "TLS's own alert"


def test_the_end_of_tls_alone_is_a_lost_channel() -> None:
    bad, bob = rogue_and_victim()
    with pytest.raises(OSError, match="read"):
        bad.tls._machine.unwrap()
    bad.say(bob)
    assert bob.verdict is not None and bob.verdict.message == "the channel to alice was lost"


@few
@given(st.binary(min_size=1, max_size=300))
def test_whatever_a_verified_peer_says_ends_in_order_or_in_a_verdict(said: bytes) -> None:
    bad, bob = rogue_and_victim()
    delivered = bad.say(bob, said)
    assert len(delivered) <= len(said)
    assert bob.over == (bob.verdict is not None)
