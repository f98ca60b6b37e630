"""MPyC's messages between a link and MPyC's exchanger, a byte at a time and all at once."""

from __future__ import annotations

import asyncio
import itertools
import struct
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpyc.asyncoro import MessageExchanger
from tests.compiled import interpreted

from comity.core.limits import LARGE, MAX_HELD, MAX_MESSAGE, MAX_PEER, MAX_UNSENT, MESSAGE_COST
from comity.errors import ComityError, PeerError, ProgramError
from comity.mpyc_bridge import exchange as module
from comity.mpyc_bridge.exchange import Exchange, keys_from

M, T = 3, 1


class Runtime:
    """As much of MPyC's runtime as its exchanger uses."""

    def __init__(self, pid: int, m: int = M, threshold: int = T, no_prss: bool = False) -> None:
        self.pid, self.threshold = pid, threshold
        self.parties = [SimpleNamespace(protocol=None) for _ in range(m)]
        self.options = SimpleNamespace(no_prss=no_prss)
        self.keys: dict[tuple[int, ...], bytes] = {}

    def _subsets(self, first: int, other: int) -> list[tuple[int, ...]]:
        """As in mpyc.runtime: subsets of m - t parties that begin with one and hold the other."""
        m = len(self.parties)
        return [
            subset
            for subset in itertools.combinations(range(m), m - self.threshold)
            if subset[0] == first and other in subset
        ]

    def _prss_keys_to_peer(self, peer: int) -> list[bytes]:
        return [b"k" * 16 for _ in self._subsets(self.pid, peer)]

    def _prss_keys_from_peer(self, peer: int, data: bytes | None = None) -> int:
        subsets = self._subsets(peer, self.pid)
        if data is not None:
            self.keys.update({s: bytes(data[16 * i : 16 * i + 16]) for i, s in enumerate(subsets)})
        return 16 * len(subsets)

    def set_protocol(self, peer: int, protocol: Any) -> None:
        self.parties[peer].protocol = protocol

    def unset_protocol(self, peer: int) -> None:
        self.parties[peer].protocol = None


@dataclass
class Link:
    written: bytearray = field(default_factory=bytearray)
    finished: int = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def finish(self) -> None:
        self.finished += 1


class Joined:
    """This party's end towards one peer."""

    def __init__(self, me: int, peer: int, **options: Any) -> None:
        self.runtime, self.link = Runtime(me, **options), Link()
        self.faults: list[ComityError] = []
        self.exchange = Exchange(peer, "bob", self.faults.append)
        self.exchanger: Any = MessageExchanger(self.runtime, None if peer < me else peer)
        self.transport = self.exchange.attach(self.exchanger, self.link)

    @property
    def buffers(self) -> dict[int, Any]:
        buffers: dict[int, Any] = self.exchanger.buffers
        return buffers


def higher() -> Joined:
    """Party 2's end towards party 1, who has said its number and sent its key."""
    joined = Joined(2, 1)
    joined.exchange.feed(b"\x01\x00" + b"k" * 16)
    assert joined.exchange.registered and not joined.faults
    return joined


def message(counter: int, payload: bytes) -> bytes:
    return struct.pack("<qI", counter, len(payload)) + payload


async def test_the_lower_party_begins_with_its_number_and_keys() -> None:
    joined = Joined(0, 2)
    assert joined.link.written == b"\x00\x00" + b"k" * 16
    assert joined.runtime.parties[2].protocol is joined.exchanger and joined.exchange.registered
    assert joined.exchange.messages_sent == 0
    joined.exchanger.send(-5, b"ab")
    assert joined.link.written[18:] == message(-5, b"ab")
    joined.exchanger.send(np.int64(7), bytearray(b"ab"))  # whatever MPyC itself would pack
    assert joined.link.written[32:] == message(7, b"ab")
    assert joined.exchange.messages_sent == 2


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)), max_size=8), st.data())
def test_messages_arrive_however_their_bytes_are_cut(messages: list[tuple[int, bytes]], data: st.DataObject) -> None:
    wanted = dict(messages)
    stream = b"\x01\x00" + b"k" * 16 + b"".join(message(*item) for item in wanted.items())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    joined = Joined(2, 1)
    for start, end in itertools.pairwise([0, *cuts, len(stream)]):
        joined.exchange.feed(stream[start:end])
    assert joined.faults == []
    assert joined.runtime.keys == {(1, 2): b"k" * 16}
    assert joined.buffers == wanted
    assert all(type(payload).sender == 1 for payload in joined.buffers.values())  # type: ignore[attr-defined]
    assert joined.exchange.messages_received == len(wanted)


@interpreted
@given(
    st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=10),
    st.lists(st.integers(1, 400), min_size=1, max_size=10),
)
def test_small_and_large_messages_wake_who_waits_and_are_counted_while_they_are_held(
    messages: list[tuple[bytes, bool]], sizes: list[int]
) -> None:
    """One by one, several at once, and in pieces: large ones are small here."""
    loop = asyncio.new_event_loop()
    with mock.patch.object(module, "LARGE", 20):
        joined = higher()
        waiting = {counter: loop.create_future() for counter, (_, awaited) in enumerate(messages) if awaited}
        joined.buffers.update(waiting)
        parts, rest = [], b""
        for size, (counter, (payload, _)) in zip(itertools.cycle(sizes), enumerate(messages), strict=False):
            rest += message(counter, payload)
            if size % 3:  # as it comes from a link: whole messages, mostly
                parts.append(rest)
                rest = b""
            while len(rest) > size:
                parts.append(rest[:size])
                rest = rest[size:]
        for part in filter(None, (*parts, rest)):
            joined.exchange.feed(part)
        assert joined.faults == [] and joined.exchange.messages_received == len(messages)
        got = {counter: slot.result() for counter, slot in waiting.items()} | joined.buffers
        assert got == {counter: payload for counter, (payload, _) in enumerate(messages)}
        assert all(type(payload).sender == 1 for payload in got.values())
        assert joined.exchange._held == sum(len(payload) for payload, _ in messages if len(payload) >= 20)
        unasked = [payload for payload, awaited in messages if not awaited and len(payload) < 20]
        assert joined.exchange._stored == sum(len(payload) + MESSAGE_COST for payload in unasked)
        got.clear()
        waiting.clear()
        joined.buffers.clear()
        assert joined.exchange._held == 0
    loop.close()


async def test_a_message_that_was_waited_for_wakes_who_waits() -> None:
    joined = higher()
    loop = asyncio.get_running_loop()
    waiting, cancelled = loop.create_future(), loop.create_future()
    cancelled.cancel()
    joined.buffers.update({1: waiting, 2: cancelled})
    joined.exchange.feed(message(1, b"one") + message(2, b"two"))
    assert waiting.result() == b"one" and joined.buffers == {} and joined.faults == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\x02\x00", "is party 1 and calls itself party 2"),
        (b"\x01\x00" + b"k" * 16 + struct.pack("<qI", 1, MAX_MESSAGE + 1), "announced"),
        (b"\x01\x00" + b"k" * 16 + message(1, b"") * 2, "twice"),
    ],
)
async def test_what_mpyc_would_choke_on_is_a_fault(said: bytes, words: str) -> None:
    for size in (len(said), 1):
        joined = Joined(2, 1)
        for at in range(0, len(said), size):
            joined.exchange.feed(said[at : at + size])
        assert words in joined.faults[0].message and isinstance(joined.faults[0], PeerError)


async def test_bytes_before_mpyc_is_connected_are_a_fault() -> None:
    faults: list[ComityError] = []
    Exchange(1, "bob", faults.append).feed(b"x")
    assert "before its turn" in faults[0].message


@interpreted
async def test_an_exchanger_that_takes_other_keys_than_we_count_is_a_bug_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "keys_from", lambda *_: 0)
    joined = Joined(2, 1)
    joined.exchange.feed(b"\x01\x00")
    assert type(joined.faults[0]) is ComityError


async def test_what_mpyc_raises_is_a_fault_and_goes_no_further() -> None:
    joined = higher()
    joined.exchanger.buffers = None
    joined.exchange.feed(message(1, b""))
    assert type(joined.faults[0]) is ComityError and "could not be read" in joined.faults[0].message


@interpreted
async def test_what_nobody_asks_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNCLAIMED", 10 * (MESSAGE_COST + 1))
    claiming, hoarding = higher(), higher()
    for counter in range(100):
        claiming.exchange.feed(message(counter, b"x"))
        del claiming.buffers[counter]
        hoarding.exchange.feed(message(counter, b"x"))
    assert claiming.faults == []
    assert hoarding.faults[0].message == "bob sent 21 messages that the program did not ask for"


async def test_large_messages_are_counted_as_long_as_anything_holds_them() -> None:
    """Asked for or not: a program may ask for many at once, and need another party's before it reads them."""
    joined = higher()
    data = bytes(MAX_MESSAGE)
    waiting = [asyncio.get_running_loop().create_future() for _ in range(4)]
    joined.buffers.update(dict(enumerate(waiting)))
    for counter in range(2):
        joined.exchange.feed(message(counter, data))
    assert joined.faults == [] and len(waiting[1].result()) == MAX_MESSAGE
    assert type(waiting[0].result()).sender == 1
    joined.exchange.feed(message(2, data)[:12])  # its beginning is enough
    assert "bob sent more than the program takes: 201326592 bytes at once" in joined.faults[0].message
    joined.faults.clear()
    waiting[0] = waiting[1] = asyncio.get_running_loop().create_future()
    for counter in range(10, 20):
        joined = higher() if counter == 10 else joined
        joined.exchange.feed(message(counter, data))
        assert joined.buffers.pop(counter) == data and joined.faults == []


async def test_a_large_message_whose_counter_comes_twice_is_a_fault() -> None:
    joined = higher()
    joined.exchange.feed(message(1, bytes(LARGE)) * 2)
    assert "twice" in joined.faults[0].message


async def test_what_the_program_sends_is_no_larger_than_a_peer_takes() -> None:
    joined = Joined(0, 2)
    joined.exchanger.send(1, bytes(MAX_MESSAGE))
    assert joined.faults == []
    joined.exchanger.send(2, bytes(MAX_MESSAGE + 1))
    assert isinstance(joined.faults[0], ProgramError) and joined.faults[0].hints == ("send them in parts",)


def test_one_peer_can_make_a_process_hold_no_more_than_is_stated() -> None:
    assert MAX_PEER == 768 << 20
    assert MAX_HELD >= 2 * MAX_MESSAGE and MAX_UNSENT >= 2 * MAX_MESSAGE


@pytest.mark.parametrize("m", range(2, 9))
def test_the_keys_of_a_peer_are_counted_as_mpyc_counts_them(m: int) -> None:
    for threshold in range((m + 1) // 2):
        for me, peer in itertools.permutations(range(m), 2):
            runtime = Runtime(me, m, threshold)
            if peer < me:
                assert 16 * keys_from(runtime, peer) == runtime._prss_keys_from_peer(peer)
    assert keys_from(Runtime(1, m, 0, no_prss=True), 0) == 0


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


async def test_closing_finishes_the_link_and_tells_mpyc_once() -> None:
    joined = Joined(0, 1)
    joined.runtime.parties[0].protocol = asyncio.get_running_loop().create_future()  # as in its shutdown
    joined.exchanger.close_connection()
    joined.transport.abort()
    assert joined.transport.is_closing() and joined.exchange.settled
    assert joined.link.finished == 1 and joined.runtime.parties[1].protocol is joined.exchanger
    await turn()
    assert joined.runtime.parties[1].protocol is None


async def test_a_connection_of_an_earlier_start_does_not_end_that_of_the_next() -> None:
    joined = Joined(0, 1)
    joined.exchanger.close_connection()
    joined.runtime.parties[1].protocol = following = object()
    await turn()
    assert joined.runtime.parties[1].protocol is following and not joined.exchange.settled


async def test_mpyc_may_fail_on_its_own_future_when_it_is_left_by_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = Joined(0, 1)

    def twice(_: int) -> None:
        raise asyncio.InvalidStateError

    monkeypatch.setattr(joined.runtime, "unset_protocol", twice)
    joined.exchanger.close_connection()
    await turn()
    assert joined.faults == []


async def test_the_end_of_a_lower_peer_while_shutting_down_is_answered() -> None:
    joined = higher()
    joined.runtime.parties[2].protocol = asyncio.get_running_loop().create_future()
    joined.exchange.finish(running=True)
    await turn()
    assert joined.link.finished == 1 and joined.runtime.parties[1].protocol is None
    joined.exchange.end(PeerError("the channel to bob was lost"))
    assert joined.faults == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)


async def missed(joined: Joined) -> None:
    async with asyncio.timeout(5):
        while not joined.faults:
            await turn()
    assert "still needs it" in joined.faults[0].message


async def test_a_peer_that_finishes_early_may_as_long_as_it_is_not_needed(impatient: None) -> None:
    joined = higher()
    joined.exchange.feed(message(1, b"in time"))
    joined.exchange.finish(running=True)
    assert joined.exchanger.receive(1) == b"in time"
    joined.exchange.end(PeerError("the channel to bob was lost"))
    await turn()
    assert joined.faults == [] and joined.link.finished == 0


async def test_a_peer_that_finished_is_missed_by_who_already_waits(impatient: None) -> None:
    joined = higher()
    joined.buffers[1] = asyncio.get_running_loop().create_future()
    joined.exchange.finish(running=True)
    await missed(joined)


async def test_a_peer_that_finished_is_missed_by_who_asks_later(impatient: None) -> None:
    joined = higher()
    joined.exchange.finish(running=True)
    joined.runtime._loop = asyncio.get_running_loop()  # type: ignore[attr-defined]
    joined.exchanger.receive(7)
    await missed(joined)


async def test_a_peer_that_finished_takes_nothing_any_more(impatient: None) -> None:
    joined = higher()
    joined.exchange.finish(running=False)
    joined.exchanger.send(1, b"")
    await missed(joined)


async def test_a_peer_that_finishes_before_it_is_connected_is_let_be() -> None:
    faults: list[ComityError] = []
    exchange = Exchange(1, "bob", faults.append)
    exchange.finish(running=False)
    exchange.close()
    assert faults == [] and exchange.peer_finished and not exchange.closed


async def test_half_a_message_at_the_end_is_a_fault() -> None:
    joined = higher()
    joined.exchange.feed(message(1, b"whole") + message(2, b"half")[:-1])
    joined.exchange.finish(running=True)
    assert "middle of a message" in joined.faults[0].message


async def test_a_goodbye_after_the_end_is_still_heard() -> None:
    class Goodbye(PeerError):
        """another party said goodbye"""

    joined = higher()
    joined.exchange.finish(running=True)
    joined.exchange.end(Goodbye("bob said goodbye"))
    assert joined.faults[0].message == "bob said goodbye"
