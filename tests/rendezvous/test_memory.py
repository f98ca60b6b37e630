import pytest

from comity.errors import UnreachableError
from comity.rendezvous.memory import MemoryRendezvous
from comity.rendezvous.rooms import Limits, Rooms

ROOM = "0a" * 16


async def test_an_expired_room_ends_its_mailboxes() -> None:
    now = 0.0
    rooms = Rooms(Limits(life=100), clock=lambda: now)
    async with MemoryRendezvous(rooms).open(ROOM) as mailbox:
        await mailbox.post(b"x")
        now = 100.0
        rooms.sweep()
        with pytest.raises(UnreachableError, match="the room has expired"):
            async for _, body in mailbox.read():
                assert body == b"x"
        with pytest.raises(UnreachableError, match="the room has expired"):
            await mailbox.post(b"y")


async def test_a_crowded_room_lets_nobody_in_until_somebody_leaves() -> None:
    rendezvous = MemoryRendezvous(Rooms(Limits(members=1)))
    async with rendezvous.open(ROOM) as first:
        await first.post(b"x")
        with pytest.raises(UnreachableError, match="too many members"):
            async with rendezvous.open(ROOM):
                pass
    async with rendezvous.open(ROOM) as second:
        assert await second.post(b"x") == 1


async def test_each_rendezvous_without_rooms_given_has_its_own() -> None:
    async with MemoryRendezvous().open(ROOM) as a, MemoryRendezvous().open(ROOM) as b:
        assert await a.post(b"x") == 1
        assert await b.post(b"y") == 1
