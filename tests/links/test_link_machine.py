"""Two links, and a link with writers that overlap, against models that are strings of bytes.

Longer: COMITY_EFFORT=20 pytest tests/links/test_link_machine.py
"""

from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as search
from tests.compiled import interpreted
from tests.effort import examples, patient
from tests.links.parties import ALICE, BOB, Rogue, link, rogue_and_victim

from comity.core.encoding import Malformed
from comity.core.frames import ACK, DATA, FIN, GOODBYE, GOODBYE_REASONS, pack_goodbye, pack_header
from comity.errors import ComityError
from comity.links import link as links
from comity.links.link import Goodbye

SIDES = st.sampled_from([ALICE, BOB])
SIZES = st.integers(1, 300) | st.integers(1, 40_000)


def setting(usual: int) -> settings:
    return settings(
        max_examples=examples(usual),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class TwoLinks(RuleBasedStateMachine):
    """Honest ends of a channel that cuts the bytes as it likes, and may be lost at any byte."""

    ended: set[str] = set()  # noqa: RUF012  # over all examples

    def __init__(self) -> None:
        super().__init__()
        self.links = {ALICE: link(ALICE, BOB), BOB: link(BOB, ALICE)}
        self.flight = {ALICE: bytearray(), BOB: bytearray()}  # on the way to each
        self.written = {ALICE: bytearray(), BOB: bytearray()}  # by the program of each
        self.delivered = {ALICE: bytearray(), BOB: bytearray()}  # to the program of each
        self.said: dict[int, tuple[str, str]] = {}  # goodbyes
        self.lost = self.calm = False
        for side in self.links:
            self.links[side].start()
            self.send(side, self.links[side].tls.output())

    @initialize(calm=st.booleans(), handshake=st.booleans())
    def begin(self, calm: bool, handshake: bool) -> None:
        """`calm`: no goodbye, and the channel is never lost."""
        self.calm = calm
        if handshake:
            self.everything_arrives()

    def send(self, side: int, data: bytes) -> None:
        if not self.lost:
            self.flight[1 - side] += data

    def speaks(self, side: int) -> bool:
        return self.links[side].open and not self.links[side].over

    def arrive(self, side: int, size: int) -> None:
        data, self.flight[side] = bytes(self.flight[side][:size]), self.flight[side][size:]
        end = self.links[side]
        over = end.over
        self.delivered[side] += b"".join(end.receive(data))
        if not over:
            self.send(side, end.farewell() if end.over else end.tls.output())

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(side=SIDES, size=SIZES)
    def some_bytes_arrive(self, side: int, size: int) -> None:
        self.arrive(side, size)

    @rule()
    def everything_arrives(self) -> None:
        while any(self.flight.values()):
            for side in self.links:
                self.arrive(side, len(self.flight[side]))

    @rule(side=SIDES, size=SIZES, fill=st.integers(0, 255), pieces=st.integers(1, 3))
    def program_writes(self, side: int, size: int, fill: int, pieces: int) -> None:
        if self.speaks(side) and not self.links[side].finished:
            body = bytes((fill + i) % 256 for i in range(size))
            self.written[side] += body
            step = -(-size // pieces)
            parts = [memoryview(body)[at : at + step] for at in range(0, size, step)]
            self.send(side, self.links[side].frame(parts, size))

    @rule(side=SIDES)
    def acknowledges(self, side: int) -> None:
        if self.speaks(side):
            self.send(side, self.links[side].acknowledgement())

    @rule(side=SIDES)
    def finishes(self, side: int) -> None:
        if self.speaks(side) and not self.links[side].finished:
            self.send(side, self.links[side].fin())

    @precondition(lambda self: not self.calm)
    @rule(side=SIDES, reason=st.sampled_from(GOODBYE_REASONS), detail=st.text("ab é", max_size=5))
    def says_goodbye(self, side: int, reason: str, detail: str) -> None:
        if self.links[side].greeted and not self.links[side].over:
            self.said[side] = reason, detail
            self.send(side, self.links[side].goodbye(reason, detail))

    @precondition(lambda self: not self.calm and not self.lost)
    @rule(left=st.integers(0, 2000))
    def channel_is_lost(self, left: int) -> None:
        """What is on its way may still arrive, in part."""
        for side in self.flight:
            del self.flight[side][left:]
        self.lost = True

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def what_arrives_is_what_was_written(self) -> None:
        for side, end in self.links.items():
            written, delivered = self.written[1 - side], self.delivered[side]
            assert written.startswith(delivered)
            assert (end.received, end.sent) == (len(delivered), len(self.written[side]))

    @invariant()
    def nobody_is_told_of_more_than_there_is(self) -> None:
        for side, end in self.links.items():
            other = self.links[1 - side]
            assert end.acknowledged <= other.told <= other.received + other.peer_finished <= end.sent + end.finished
            assert end.peer_finished <= other.finished
            assert not end.complete or (other.peer_finished and end.acknowledged == end.sent + 1)

    @invariant()
    def nobody_is_blamed(self) -> None:
        for side, end in self.links.items():
            if end.verdict is not None:
                assert isinstance(end.verdict, Goodbye)
                assert (end.verdict.reason, end.verdict.detail) == self.said[1 - side]

    def teardown(self) -> None:
        self.everything_arrives()
        for side in self.links if self.calm else ():
            self.finishes(side)
        if not self.lost and not self.said:
            for side in (ALICE, BOB, ALICE, BOB):  # the last of them acknowledges all that was said before
                self.acknowledges(side)
                self.everything_arrives()
            for side, end in self.links.items():
                other = self.links[1 - side]
                assert end.open and bytes(self.delivered[side]) == bytes(self.written[1 - side])
                assert end.acknowledged == end.sent + end.finished and end.untold == 0
                assert end.complete == (end.finished and other.finished)
        self.what_arrives_is_what_was_written()
        self.nobody_is_told_of_more_than_there_is()
        self.nobody_is_blamed()
        done = all(end.complete for end in self.links.values())
        happened = {"lost": self.lost, "goodbye": self.said, "complete": done, "data": any(self.written.values())}
        self.ended |= {what for what, whether in happened.items() if whether}


ENDS = {
    "open",
    "said goodbye",
    "left",
    "acknowledges what was never sent",
    "data after its end",
    "ended before what it has sent",
    "frames that say nothing",
}
IDLE = 12
"""Frames in a row that may say nothing, here."""


class Writers(RuleBasedStateMachine):
    """A verified peer in which several writers hold one string, each at a place of its own: some are late, some lie.

    An offset means the same bytes for ever: what is delivered is a prefix of the string, whatever comes twice.
    """

    ended: set[str] = set()  # noqa: RUF012  # over all examples

    @initialize(text=st.binary(min_size=50, max_size=400))
    def meet(self, text: bytes) -> None:
        self.text = text
        self.rogue: Rogue
        self.rogue, self.victim = rogue_and_victim()
        self.delivered = b""
        self.received = self.sent = self.acknowledged = self.idle = 0
        self.idle = self.victim._idle  # of the acknowledgement that opened the link
        self.finished = False
        self.verdict: type[ComityError] | None = None
        self.why = ""

    # -- the model: what the protocol says of a frame ----------------------------------------------------------------

    def expect(self, kind: int, offset: int, body: bytes, acknowledged: int) -> bytes:
        """What it delivers; `verdict` and `why` where it ends the link."""
        if acknowledged > self.sent:
            return self.ends(Malformed, "acknowledges what was never sent")
        if acknowledged > self.acknowledged:
            self.acknowledged, self.idle = acknowledged, 0
        new = body[self.received - offset :] if kind == DATA and offset <= self.received else b""
        if not new or offset < self.received or self.finished:  # one that overlaps counts before it is looked at
            self.idle += 1
            if self.idle > IDLE:
                return self.ends(Malformed, "frames that say nothing")
        if offset > self.received:
            return self.ends(Malformed, f"left out {offset - self.received} bytes")
        if new and self.finished:
            return self.ends(Malformed, "data after its end")
        if new:
            self.received, self.idle = self.received + len(new), 0
        elif kind == FIN:
            if offset < self.received:
                return self.ends(Malformed, "ended before what it has sent")
            self.finished = True
        elif kind == GOODBYE:
            return self.ends(Goodbye, "said goodbye")
        return new

    def ends(self, verdict: type[ComityError], why: str) -> bytes:
        self.verdict, self.why = verdict, why
        return b""

    def say(self, kind: int, offset: int, body: bytes = b"", acknowledged: int | None = None, cut: int = 0) -> None:
        """One frame in one TLS record, which arrives in two pieces."""
        told = self.acknowledged if acknowledged is None else acknowledged
        if self.verdict is None:
            self.delivered += self.expect(kind, offset, body, told)
        self.rogue.tls.write(pack_header(kind, 0, offset, told, 0, len(body)) + body)
        data = self.rogue.tls.output()
        for part in (data[: cut % len(data)], data[cut % len(data) :]):
            self.got += b"".join(self.victim.receive(part))

    got = b""

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(back=st.integers(0, 60), size=st.integers(1, 60), cut=st.integers(0, 200))
    def writer_goes_on(self, back: int, size: int, cut: int) -> None:
        """At the place where the newest byte was, or somewhat before."""
        at = max(0, self.received - back * (back % 3 > 0))
        if body := self.text[at : at + size]:
            self.say(DATA, at, body, cut=cut if at == self.received else 0)  # each part of an old frame counts as idle

    @rule(at=st.integers(0, 400), size=st.integers(1, 60))
    def late_writer_wakes_up(self, at: int, size: int) -> None:
        at %= self.received + 1
        if body := self.text[at : at + size]:
            self.say(DATA, at, body)

    @rule(at=st.integers(0, 400), size=st.integers(1, 60))
    def liar_says_something_else_of_what_is_known(self, at: int, size: int) -> None:
        size = min(size, self.received)
        if size:
            at %= self.received - size + 1
            self.say(DATA, at, bytes(byte ^ 1 for byte in self.text[at : at + size]))

    @rule(ahead=st.integers(1, 5))
    def writer_leaves_something_out(self, ahead: int) -> None:
        if body := self.text[self.received + ahead : self.received + ahead + 9]:
            self.say(DATA, self.received + ahead, body)

    @rule(size=st.integers(1, 50))
    def victim_writes(self, size: int) -> None:
        if not self.victim.over:
            self.rogue.tls.feed(self.victim.frame([bytes(size)], size))
            self.sent += size

    @rule(of=st.integers(0, 200), kind=st.sampled_from([ACK, ACK, ACK, DATA]), more=st.sampled_from([0, 0, 0, 0, 1]))
    def acknowledges(self, of: int, kind: int, more: int) -> None:
        told = self.sent + 1 if more else of % (self.sent + 1)
        body = self.text[self.received : self.received + 5] if kind == DATA else b""
        if body or kind == ACK:
            self.say(kind, self.received, body, told)

    @rule(short=st.sampled_from([0, 1]))
    def finishes(self, short: int) -> None:
        self.say(FIN, max(0, self.received - short))

    @rule(reason=st.sampled_from(GOODBYE_REASONS))
    def says_goodbye(self, reason: str) -> None:
        self.say(GOODBYE, self.received, pack_goodbye(reason, ""))

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def it_is_as_the_protocol_says(self) -> None:
        if not hasattr(self, "victim"):
            return
        assert self.got == self.delivered == self.text[: self.received]
        victim = self.victim
        assert (victim.received, victim.acknowledged) == (self.received, self.acknowledged)
        assert (victim.peer_finished, victim.over) == (self.finished, self.verdict is not None)
        assert type(victim.verdict) is (self.verdict or type(None))
        assert victim.verdict is None or self.why in victim.verdict.message

    def teardown(self) -> None:
        if not hasattr(self, "victim"):
            return
        self.it_is_as_the_protocol_says()
        self.ended.add(self.why.split(" out")[0] or "open")
        self.rogue.tls.feed(self.victim.farewell())
        heard = b"".join(self.rogue.tls.read())
        assert (b'"reason":"protocol"' in heard) == (self.verdict is Malformed)


def run(machine: Any, usual: int) -> set[str]:
    machine.ended.clear()
    search(machine, settings=setting(usual))
    ended: set[str] = machine.ended
    return ended


@patient
def test_two_ends_of_any_channel_agree() -> None:
    ends = run(TwoLinks, 100)
    assert ends <= {"lost", "goodbye", "complete", "data"} and len(ends) > 2  # which are found is luck, as below


@interpreted
@patient
def test_an_offset_means_the_same_bytes_for_ever_whoever_writes() -> None:
    with mock.patch.object(links, "MAX_IDLE_FRAMES", IDLE):
        ends = run(Writers, 250)
    assert ends <= ENDS and len(ends) > 4  # which are found is luck; most of them always are
