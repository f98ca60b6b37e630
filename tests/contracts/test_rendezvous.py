"""What every rendezvous promises: interfaces.Mailbox, over each kind that there is."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.core.limits import MAX_BODY
from comity.errors import PeerError, UsageError
from comity.interfaces import Mailbox, Rendezvous
from comity.rendezvous.client import WebRendezvous
from comity.rendezvous.memory import MemoryRendezvous
from comity.rendezvous.rooms import Limits, Rooms
from comity.rendezvous.server import Server

ROOM, OTHER = "0a" * 16, "1b" * 16
KINDS = ("memory", "web", "mixed")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Meeting:
    """One rendezvous of a kind; `for_party` gives each party its own way to it."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self.kind, self.rooms = kind, Rooms(limits)
        self.server = Server([("127.0.0.1", 0)], rooms=self.rooms)
        self._parties = 0

    async def __aenter__(self) -> "Meeting":
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.__aexit__(None, None, None)

    def for_party(self) -> Rendezvous:
        self._parties += 1
        local = self.kind == "memory" or (self.kind == "mixed" and self._parties == 1)
        return MemoryRendezvous(self.rooms) if local else WebRendezvous([f"http://127.0.0.1:{self.server.port}"])


@pytest.fixture
async def meeting(kind: str) -> AsyncIterator[Meeting]:
    async with Meeting(kind, Limits()) as meeting:
        yield meeting


async def take(mailbox: Mailbox, count: int, after: int = 0) -> list[tuple[int, bytes]]:
    taken = []
    async for entry in mailbox.read(after):
        taken.append(entry)
        if len(taken) == count:
            break
    return taken


async def test_everybody_reads_everything_in_the_same_order(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a, meeting.for_party().open(ROOM) as b:
        bodies = [f"{who} {i}".encode() for i in range(20) for who in "ab"]
        positions = await asyncio.gather(*(box.post(body) for box, body in zip([a, b] * 20, bodies, strict=True)))
        assert sorted(positions) == list(range(1, 41))
        read = await take(a, 40)
        assert read == await take(b, 40)
        assert dict(read) == dict(zip(positions, bodies, strict=True))


async def test_posts_of_one_member_keep_their_order(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a, meeting.for_party().open(ROOM) as b:
        await asyncio.gather(*(a.post(bytes([i])) for i in range(50)))
        assert [body for _, body in await take(b, 50)] == [bytes([i]) for i in range(50)]


async def test_an_identical_body_keeps_its_first_position(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a, meeting.for_party().open(ROOM) as b:
        assert [await a.post(b"x"), await b.post(b"y"), await b.post(b"x"), await a.post(b"x")] == [1, 2, 1, 1]
        assert await b.post(b"end") == 3
        assert [body for _, body in await take(b, 3)] == [b"x", b"y", b"end"]


async def test_reading_starts_after_any_position_and_waits_for_more(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a, meeting.for_party().open(ROOM) as b:
        for body in (b"one", b"two", b"three"):
            await a.post(body)
        assert await take(b, 2, after=1) == [(2, b"two"), (3, b"three")]
        later = asyncio.ensure_future(take(b, 1, after=3))
        await a.post(b"four")
        assert await later == [(4, b"four")]


async def test_who_comes_late_reads_from_the_beginning(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a:
        await a.post(b"early")
        async with meeting.for_party().open(ROOM) as b:
            assert await take(b, 1) == [(1, b"early")]


async def test_rooms_do_not_hear_one_another(meeting: Meeting) -> None:
    rendezvous = meeting.for_party()
    async with rendezvous.open(ROOM) as a, rendezvous.open(OTHER) as b:
        await a.post(b"here")
        assert await b.post(b"there") == 1
        assert await take(b, 1) == [(1, b"there")]


async def test_a_body_of_the_largest_size_passes_and_one_byte_more_is_refused(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a, meeting.for_party().open(ROOM) as b:
        with pytest.raises(UsageError, match=f"{MAX_BODY} are allowed"):
            await a.post(bytes(MAX_BODY + 1))
        await a.post(bytes(MAX_BODY))
        assert await take(b, 1) == [(1, bytes(MAX_BODY))]
        assert await a.post(b"") == 2


async def test_a_full_room_refuses_new_bodies_and_still_gives_the_old_ones(kind: str) -> None:
    async with (
        Meeting(kind, Limits(bodies=2)) as meeting,
        meeting.for_party().open(ROOM) as a,
        meeting.for_party().open(ROOM) as b,
    ):
        await a.post(b"one")
        await b.post(b"two")
        for mailbox in (a, b):
            with pytest.raises(PeerError, match="the room is full"):
                await mailbox.post(b"three")
        assert await b.post(b"one") == 1
        assert await take(a, 2) == [(1, b"one"), (2, b"two")]


async def test_a_full_rendezvous_refuses_another_rooms_bodies(kind: str) -> None:
    async with Meeting(kind, Limits(stored=4096)) as meeting:
        rendezvous = meeting.for_party()
        async with rendezvous.open(ROOM) as a, rendezvous.open(OTHER) as b:
            await a.post(bytes(2048))
            with pytest.raises(PeerError, match="full"):
                await b.post(bytes(2000))
            assert await a.post(bytes(2048)) == 1


async def test_a_name_that_is_no_rooms_is_refused(meeting: Meeting) -> None:
    for name in ("", "0A" * 16, "0a" * 15, "0a" * 17, "../" + "0" * 29, "0a" * 16 + "\n"):
        with pytest.raises(UsageError, match="no room has such a name"):
            async with meeting.for_party().open(name):
                pass


async def test_a_mailbox_that_was_left_ends_its_readers(meeting: Meeting) -> None:
    async with meeting.for_party().open(ROOM) as a:
        reading = asyncio.ensure_future(take(a, 1))
        await asyncio.sleep(0)
    for late in (reading, a.post(b"late")):
        with pytest.raises(UsageError, match="was left"):
            await late


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("ab"), st.binary(max_size=3)), max_size=12))
def test_any_posts_give_one_log_of_distinct_bodies(kind: str, posts: list[tuple[str, bytes]]) -> None:
    async def story() -> None:
        async with (
            Meeting(kind, Limits()) as meeting,
            meeting.for_party().open(ROOM) as a,
            meeting.for_party().open(ROOM) as b,
        ):
            boxes = {"a": a, "b": b}
            for who, body in posts:
                await boxes[who].post(body)
            expected = list(enumerate(dict.fromkeys(body for _, body in posts), start=1))
            if expected:
                assert await take(a, len(expected)) == await take(b, len(expected)) == expected

    asyncio.run(story())
