"""Whatever records a verified peer makes, and however the channel cuts them, say the same."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.compiled import interpreted
from tests.effort import examples
from tests.links.parties import ALICE, BOB, Channel
from tests.links.records import (
    ALERT,
    CLOSE_NOTIFY,
    HANDSHAKE,
    TICKET,
    UPDATE,
    USER_CANCELED,
    Records,
    records_and_victim,
)

from comity.core.encoding import Malformed
from comity.core.frames import ACK, DATA, FIN, GOODBYE, HEADER_SIZE, pack_goodbye
from comity.errors import PeerError
from comity.links import stream
from comity.links.link import Depth, Link
from comity.links.stream import Outbox, Stream
from comity.links.tls import AROUND, RECORD

SIDES = pytest.mark.parametrize("rogue", [ALICE, BOB])
UNENDED = "began a message of TLS and did not end it"


class Said(NamedTuple):
    """A part of what a peer says: `what`, and bytes or a size of it."""

    what: str
    size: int = 0
    padding: int = 0


SIZES = st.integers(1, 60) | st.integers(1, 500) | st.sampled_from([50, 700, RECORD - HEADER_SIZE, RECORD])
PARTS = (
    st.builds(Said, st.sampled_from(["data", "split"]), SIZES, st.sampled_from([0, 0, 1, 22, 300]))
    | st.builds(Said, st.sampled_from(["new keys", "new keys for both", "nothing", "acknowledgement"]))
    | st.builds(Said, st.sampled_from(["half a frame", "two frames", "frames and keys", "again", "canceled"]))
)
ENDS = st.sampled_from(["", "", "fin", "goodbye", "tls end", "fin, tls end", "goodbye, tls end", "changed", "left out"])


@dataclass
class Speaker:
    """Makes the records of a plan, with the keys of one channel."""

    bad: Records
    at: int = 0

    def say(self, part: Said) -> bytes:
        record, frame = self.bad.record, self.bad.frame
        match part.what:
            case "data":
                data = frame(DATA, self._body(part.size), self.at - part.size)
                room = RECORD - part.padding
                return b"".join(record(data[i : i + room], padding=part.padding) for i in range(0, len(data), room))
            case "split":  # a record for the header, as an honest peer does, and one for each part of the rest
                data = frame(DATA, self._body(part.size), self.at - part.size)
                cuts = [0, HEADER_SIZE, *range(HEADER_SIZE + 7000, len(data), 7000), len(data)]
                return b"".join(record(data[i:j], padding=part.padding) for i, j in itertools.pairwise(cuts))
            case "half a frame":
                data = frame(DATA, self._body(9), self.at - 9)
                return record(data[:20]) + self.bad.key_update() + record(data[20:])
            case "two frames":
                one = frame(DATA, self._body(5), self.at - 5)
                return record(one + frame(DATA, self._body(3), self.at - 3))
            case "frames and keys":
                one = record(frame(DATA, self._body(5), self.at - 5))
                return one + self.bad.key_update(both=True) + record(frame(DATA, self._body(4), self.at - 4))
            case "new keys" | "new keys for both":
                return self.bad.key_update(both=part.what != "new keys")
            case "nothing":
                return record(b"", padding=3)
            case "acknowledgement":
                return record(frame(ACK, offset=self.at, acknowledged=1))
            case "again":
                return record(frame(DATA, bytes(1), max(0, self.at - 1))) if self.at else b""
            case "canceled":
                return record(USER_CANCELED, ALERT) if self.at < 60 else b""  # OpenSSL takes a few of them
        raise ValueError(part)

    def end(self, how: str) -> bytes:
        said = b""
        for word in how.split(", ") if how else ():
            match word:
                case "fin":
                    said += self.bad.record(self.bad.frame(FIN, offset=self.at))
                case "goodbye":
                    said += self.bad.record(self.bad.frame(GOODBYE, pack_goodbye("error", ""), self.at))
                case "tls end":
                    said += self.bad.record(CLOSE_NOTIFY, ALERT)
                case "changed":
                    right = self.bad.record(b"x")
                    said += right[:-1] + bytes([right[-1] ^ 1])
                case "left out":
                    said += self.bad.record(self.bad.frame(DATA, b"x", self.at + 5))
        return said

    def _body(self, size: int) -> bytes:
        body = bytes((self.at + i) % 251 for i in range(size))
        self.at += size
        return body


class Seen(NamedTuple):
    delivered: bytes
    received: int
    acknowledged: int
    finished: bool
    verdict: str


def seen(rogue: int, plan: list[Said], end: str, cuts: list[int] | None) -> Seen:
    """What a link makes of the plan's records; `cuts`: sizes of what arrives, the last for all that follow."""
    bad, victim = records_and_victim(rogue)
    speaker = Speaker(bad)
    victim.frame([b"abc"], 3)
    said = b"".join(map(speaker.say, plan)) + speaker.end(end)
    delivered, at, sizes = b"", 0, iter(cuts or [1])
    size = 1
    while at < len(said):
        size = next(sizes, size)
        delivered += b"".join(victim.receive(said[at : at + size]))
        at += size
        if not victim.over and at % 7 == 0:
            check(victim)
    if not victim.over:
        victim.acknowledgement()
        assert victim._regular == (not victim.peer_finished and victim._reader.between and victim.tls.between)
    assert victim.tls.waiting() == 0 or victim.over
    verdict = "" if victim.verdict is None else victim.verdict.message
    return Seen(delivered, victim.received, victim.acknowledged, victim.peer_finished, verdict)


def check(victim: Link) -> None:
    """Nothing is left behind to wait for the next arrival, and writing works."""
    assert victim.tls.waiting() == 0 and victim._unread is None
    victim.tls.write(victim._header(ACK, 0))


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([ALICE, BOB]),
    st.lists(PARTS, max_size=7),
    ENDS,
    st.lists(st.integers(1, 200) | st.integers(1, 70_000), min_size=1, max_size=9),
)
def test_records_say_the_same_however_they_are_cut_and_grouped(
    rogue: int, plan: list[Said], end: str, cuts: list[int]
) -> None:
    one_by_one = seen(rogue, plan, end, None)
    assert seen(rogue, plan, end, cuts) == seen(rogue, plan, end, [1 << 20]) == one_by_one
    assert len(one_by_one.delivered) == one_by_one.received
    assert one_by_one.delivered == bytes(i % 251 for i in range(one_by_one.received))
    assert bool(one_by_one.verdict) == (end not in ("", "fin"))


@SIDES
@pytest.mark.parametrize("begun", range(1, 5))
@pytest.mark.parametrize("before", ["", "frame", "half", "keys"])
def test_the_beginning_of_a_message_of_tls_does_not_make_writing_fail(rogue: int, begun: int, before: str) -> None:
    """OpenSSL writes nothing while it has a part of one, which would be an error where nobody expects it."""
    bad, victim = records_and_victim(rogue)
    data = bad.frame(DATA, b"abc")
    said = bad.record({"": b"", "frame": data, "half": data[:9], "keys": b""}[before])
    if before == "keys":
        said += bad.key_update(both=True)
    assert victim.receive(said + bad.record(UPDATE[:begun], HANDSHAKE)) == [b"abc"][: before == "frame"]
    if begun == len(UPDATE) - 1 and before != "keys":  # its length is here: OpenSSL waits for the rest
        assert victim.over and victim.verdict is not None and victim.verdict.message.endswith(UNENDED)
    while not victim.over and begun < len(UPDATE):
        victim.frame([b"x"], 1)
        victim.acknowledgement()
        victim.receive(bad.record(UPDATE[begun : begun + 1], HANDSHAKE))
        begun += 1
    if victim.over:
        assert isinstance(victim.verdict, Malformed)
        victim.farewell()
    else:
        bad.hear(victim.tls.output())


@SIDES
def test_keys_may_change_and_tickets_come_between_usual_records(rogue: int) -> None:
    bad, victim = records_and_victim(rogue)
    offset = 0
    for i in range(40):
        said = bad.record(bad.frame(DATA, b"abc", offset, acknowledged=i), padding=i) if i % 2 else b""
        said += bad.key_update(both=i % 4 > 1) if i % 3 else b""
        if rogue == BOB and i % 5 == 0:
            said += bad.record(TICKET, HANDSHAKE)
        said += b"" if i % 2 else bad.record(bad.frame(DATA, b"abc", offset, acknowledged=i))
        offset += 3
        assert victim.receive(said) == [b"abc"]
        bad.hear(victim.frame([b"x"], 1))
    assert [body for kind, *_, body in bad.frames_heard() if kind == DATA] == [b"x"] * 40
    assert victim.verdict is None and victim.acknowledged == 39


def test_a_large_record_whose_last_byte_brings_the_first_of_the_next_one_is_read_at_once() -> None:
    """Not in pieces of what is here of the next one, which would be as many steps as it has bytes."""
    bad, victim = records_and_victim()
    body = bytes(RECORD - HEADER_SIZE)
    one, other = bad.record(bad.frame(DATA, body)), bad.record(bad.frame(DATA, b"x", len(body)))
    assert victim.receive(one[:-1]) == []
    assert victim.receive(one[-1:] + other[:1]) == [body]
    assert victim.receive(other[1:]) == [b"x"]


def test_a_record_around_which_there_is_nothing_more_is_as_large_as_the_usual_way_takes_it_for() -> None:
    bad, victim = records_and_victim()
    for padding in (0, 1, 40):
        data = bad.record(bad.frame(DATA, b"abc", victim.received), padding=padding)
        assert len(data) == AROUND + HEADER_SIZE + 3 + padding
        victim.feed(data)
        assert victim.usual(len(data)) == b"abc" and victim.more == (padding > 0)
        assert victim.others() == [] and victim._regular


# On a stream


class Seat:
    """A stream in the place of the victim of `bad`, on a channel that a test moves."""

    def __init__(self, rogue: int, outbox: Outbox | None = None) -> None:
        self.bad, link = records_and_victim(rogue, opened=False)
        self.events: list[object] = []
        self.channel = Channel()
        self.stream = Stream(
            link.pairing,
            link.number,
            Depth(),
            ready=lambda: self.events.append("ready"),
            data=self.events.append,
            finished=lambda: self.events.append("finished"),
            ended=self.events.append,
            timeout=None,
            outbox=outbox,
        )
        self.stream._link = link
        self.stream._transport = self.channel

    def open(self) -> Seat:
        bad = self.bad
        self.stream.data_received(bad.record(bad.hello()) + bad.record(bad.frame(ACK)))
        assert self.events == ["ready"]
        return self


async def test_whoever_makes_writing_fail_stops_no_other_stream() -> None:
    """Streams of one process are flushed together: an error in one would be silence towards all that follow."""
    outbox = Outbox()
    mallory, carol = Seat(ALICE, outbox).open(), Seat(ALICE, outbox).open()
    await asyncio.sleep(0)
    mallory.stream.data_received(mallory.bad.record(UPDATE[:4], HANDSHAKE))
    mallory.stream.write(b"to mallory")
    carol.stream.write(b"to carol")
    await asyncio.sleep(0)
    carol.bad.hear(carol.channel.written)
    assert carol.bad.frames_heard()[-1][4] == b"to carol"
    (verdict,) = mallory.events[1:]
    assert isinstance(verdict, Malformed) and verdict.message == f"alice {UNENDED}"
    carol.stream.abort()
    mallory.stream.abort()
    mallory.stream.connection_lost(None)


@pytest.mark.parametrize("end", ["tls end", "left out", "changed"])
async def test_what_is_over_before_it_is_ready_never_finishes(end: str) -> None:
    """Another channel may take its place, and carries a peer that has not finished."""
    seat = Seat(ALICE)
    bad = seat.bad
    said = bad.record(bad.hello()) + bad.record(bad.frame(ACK)) + bad.record(bad.frame(DATA, b"abc"))
    speaker = Speaker(bad, 3)
    seat.stream.data_received(said + speaker.end("fin") + speaker.end(end))
    (verdict,) = seat.events
    assert isinstance(verdict, PeerError)
    seat.stream.connection_lost(None)


@interpreted
async def test_a_peer_that_only_sends_usual_records_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ACKNOWLEDGE_EVERY", 1000)
    seat = Seat(ALICE).open()
    bad = seat.bad
    for i in range(100):
        seat.stream.data_received(bad.record(bad.frame(DATA, bytes(100), i * 100)))
        assert seat.stream._link._regular
        await asyncio.sleep(0)
    bad.hear(seat.channel.written)
    told = [acknowledged for kind, _, acknowledged, _, _ in bad.frames_heard() if kind == ACK]
    assert told == [*range(1000, 10_001, 1000)]
    seat.stream.abort()
