"""Two streams on a channel that cuts and halts as it likes, between programs that act from inside their callbacks.

Against a model: what each has written, and what each was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.effort import examples, patient
from tests.links.parties import ALICE, BOB, NUMBER, Channel, pairing

from comity.errors import ComityError
from comity.links import stream as module
from comity.links.link import Goodbye
from comity.links.stream import Depth, Outbox, Stream

HIGH = 30_000
"""Bytes in the channel from which on it asks its writer to wait."""

Act = tuple[str, int]
SIZES = st.integers(1, 300) | st.sampled_from([1, 20_000, 40_000, 70_000, 150_000])
CALM = st.tuples(st.just("write"), SIZES) | st.tuples(st.sampled_from(["write", "nothing", "turn"]), st.integers(1, 90))
FINAL = st.tuples(st.sampled_from(["finish", "write, finish", "goodbye", "abort"]), st.just(10))
INSIDE = st.lists(CALM | CALM | CALM | FINAL, max_size=6)
"""What a program does from its callbacks, one act each."""
MOVES = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.tuples(st.just("arrive"), st.integers(1, 100) | st.integers(1, 200_000))
        | st.tuples(st.just("arrive"), st.just(1 << 20))
        | CALM
        | CALM
        | st.one_of(CALM, CALM, CALM, FINAL, st.tuples(st.just("lost"), st.just(0))),
    ),
    max_size=60,
)


class Pipe(Channel):
    """One direction of the channel; `written` is what is under way."""

    def __init__(self, writer: Side) -> None:
        super().__init__()
        self._writer = writer
        self.paused = self.lost = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing, "written after its end"
        super().write(data)
        if len(self.written) > HIGH and not self.paused:
            self.paused = True
            self._writer.stream.pause_writing()

    def taken(self, size: int) -> bytes:
        data = bytes(self.written[:size])
        del self.written[:size]
        if self.paused and len(self.written) <= HIGH // 2:
            self.paused = False
            self._writer.stream.resume_writing()
        return data

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def abort(self) -> None:
        super().abort()
        if not self.lost:
            self.lost = True
            asyncio.get_running_loop().call_soon(self._writer.stream.connection_lost, None)


class Side:
    """A stream, its program, and what both know."""

    def __init__(self, me: int, outbox: Outbox | None, acts: list[Act]) -> None:
        self.acts = list(acts)
        self.written, self.got = bytearray(), bytearray()
        self.verdicts: list[ComityError | None] = []
        self.is_ready = self.peer_has_finished = False
        self.finished = self.left = False  # it called finish; it called goodbye or abort
        self.aborted = False
        self.stream = Stream(
            pairing(me, ALICE + BOB - me),
            NUMBER,
            Depth(),
            ready=self._ready,
            data=self._data,
            finished=self._finished,
            ended=self._ended,
            timeout=None,
            outbox=outbox,
        )
        self.pipe = Pipe(self)

    def _ready(self) -> None:
        assert not self.is_ready and not self.left and not self.verdicts
        self.is_ready = True
        self._act()

    def _data(self, data: bytes) -> bool:
        assert data and self.is_ready and not self.left and not self.verdicts and not self.peer_has_finished
        self.got += data
        return self._act()

    def _finished(self) -> None:
        assert self.is_ready and not self.left and not self.verdicts and not self.peer_has_finished
        self.peer_has_finished = True
        self._act()

    def _ended(self, error: ComityError | None) -> None:
        assert not self.aborted and not self.verdicts
        self.verdicts.append(error)

    def _act(self) -> bool:
        """Whether the stream should expect an answer, as it is told by `data`."""
        if not self.acts:
            return False
        what, size = self.acts.pop(0)
        if what == "turn":  # the program goes on in this turn of the loop, behind the callback
            asyncio.get_running_loop().call_soon(self.do, "write", size)
            return True
        self.do(what, size)
        return False

    def do(self, what: str, size: int) -> None:
        if self.left or self.verdicts:
            return
        match what:
            case "write" | "turn" if not self.finished:
                body = bytes((len(self.written) + i) % 251 for i in range(size))
                self.written += body
                self.stream.write(body)
            case "finish" | "write, finish":
                if what != "finish":
                    self.do("write", size)
                self.finished = True
                self.stream.finish()
            case "goodbye":
                self.left = True
                self.stream.goodbye("done")
            case "abort":
                self.left = self.aborted = True
                self.stream.abort()


async def play(moves: list[tuple[int, Act]], inside: list[list[Act]], shared: bool, begun: bool) -> None:
    outbox = Outbox() if shared else None
    sides = [Side(ALICE, outbox, inside[0]), Side(BOB, outbox, inside[1])]
    for side in sides:
        side.stream.connection_made(side.pipe)

    def arrive(to: int, size: int) -> None:
        side, pipe = sides[to], sides[1 - to].pipe
        if side.pipe.lost:
            pipe.taken(size)
        elif data := pipe.taken(size):
            side.stream.data_received(data)
        elif pipe.closing:
            side.pipe.abort()  # as a transport does at the end of what it reads

    def hold() -> None:
        for one, other in (sides, sides[::-1]):
            assert other.written.startswith(one.got), "lost, twice or out of order"
            assert one.stream.sent + one.stream.unsent <= len(one.written)
            assert one.stream._free is None or not (
                one.stream._paused or one.stream._closing or one.finished or one.peer_has_finished
            )

    if begun:
        await settle(arrive, sides)
    for to, (what, size) in moves:
        if what == "arrive":
            arrive(to, size)
        elif what == "lost":
            for side in sides:
                side.pipe.written.clear()
                side.pipe.abort()
        else:
            sides[to].do(what, size)
            hold()
            if size % 2:
                continue  # more in the same turn
        await asyncio.sleep(0)
        hold()
    calm = not any(side.left or side.pipe.lost for side in sides)
    await settle(arrive, sides)
    if calm and not any(side.left for side in sides):  # nobody waits for another arrival
        for one, other in (sides, sides[::-1]):
            assert one.is_ready and one.got == other.written and one.stream.unsent == 0
        for side in sides:
            side.do("finish", 0)
        await settle(arrive, sides)
    hold()
    if calm and not any(side.left for side in sides):
        assert [side.verdicts for side in sides] == [[None], [None]]
        assert all(side.got == other.written for side, other in (sides, sides[::-1]))
    for side in sides:
        said = [type(verdict) for verdict in side.verdicts if type(verdict) is Goodbye]
        assert not said or any(other.left for other in sides if other is not side)
        side.stream.abort()
        side.aborted = True
    await asyncio.sleep(0)


async def settle(arrive: Callable[[int, int], None], sides: list[Side]) -> None:
    """Everything that is on its way arrives, until both are quiet."""
    quiet = 0
    while quiet < 3:
        quiet += 1
        for to in (0, 1):
            if sides[1 - to].pipe.written or (sides[1 - to].pipe.closing and not sides[to].pipe.lost):
                quiet = 0
                arrive(to, 1 << 20)
            await asyncio.sleep(0)


@patient
@settings(max_examples=examples(400), deadline=None, suppress_health_check=list(HealthCheck))
@given(MOVES, st.tuples(INSIDE, INSIDE).map(list), st.booleans(), st.integers(0, 4).map(bool))
def test_programs_that_act_inside_callbacks_get_every_byte_once_and_one_end(
    moves: list[tuple[int, Act]], inside: list[list[Act]], shared: bool, begun: bool
) -> None:
    with mock.patch.object(module, "ACKNOWLEDGE_EVERY", 5000):
        asyncio.run(play(moves, inside, shared, begun))
