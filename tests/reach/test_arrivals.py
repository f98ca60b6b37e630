import asyncio
import socket

from comity.interfaces import Channel, Path
from comity.reach.arrivals import Arrivals


def channel() -> tuple[Channel, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    return Channel(near, Path("memory")), far


async def test_arrivals_are_taken_in_their_order() -> None:
    arrivals, made = Arrivals(), [channel() for _ in range(3)]
    for arrived, _ in made:
        arrivals.put(arrived)
    assert [await anext(arrivals) for _ in made] == [arrived for arrived, _ in made]
    for arrived, far in made:
        arrived.sock.close()
        far.close()


async def test_the_oldest_gives_way_when_there_are_too_many() -> None:
    arrivals, made = Arrivals(limit=2), [channel() for _ in range(5)]
    for arrived, _ in made:
        arrivals.put(arrived)
    assert [arrived.sock.fileno() == -1 for arrived, _ in made] == [True, True, True, False, False]
    assert [await anext(arrivals), await anext(arrivals)] == [made[3][0], made[4][0]]
    for arrived, far in made:
        arrived.sock.close()
        far.close()


async def test_who_waits_gets_the_next_one_and_a_cancelled_wait_loses_none() -> None:
    arrivals, (arrived, far) = Arrivals(), channel()
    waits = [asyncio.create_task(anext(arrivals)) for _ in range(2)]
    await asyncio.sleep(0)
    arrivals.put(arrived)
    waits[0].cancel()
    assert await waits[1] == arrived
    assert (await asyncio.gather(waits[0], return_exceptions=True))[0].__class__ is asyncio.CancelledError
    arrived.sock.close()
    far.close()


async def test_closing_ends_the_iteration_and_closes_what_nobody_took_and_what_comes_later() -> None:
    arrivals, (waiting, far), (late, far_of_late) = Arrivals(), channel(), channel()
    consumer = asyncio.create_task(anext(arrivals, None))
    await asyncio.sleep(0)
    arrivals.close()
    assert await consumer is None and [c async for c in arrivals] == []
    arrivals.put(late)
    assert late.sock.fileno() == -1
    again = Arrivals()
    again.put(waiting)
    again.close()
    assert waiting.sock.fileno() == -1
    far.close()
    far_of_late.close()
