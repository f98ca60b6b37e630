import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.limits import BODY_COST, MAX_BODY
from comity.errors import UsageError
from comity.rendezvous.log import Bell, Full, Log, check_body, first_of, key_of


@given(st.lists(st.binary(max_size=2)))
def test_a_log_holds_each_body_once_in_the_order_of_arrival(bodies: list[bytes]) -> None:
    log = Log()
    positions = [log.append(body) for body in bodies]
    distinct = list(dict.fromkeys(bodies))
    assert [log[position] for position in positions] == bodies
    assert log.items() == [(key_of(body), body) for body in distinct]
    assert [log.position(key_of(body)) for body in distinct] == list(range(1, len(log) + 1))
    assert log.size == sum(len(body) + BODY_COST for body in distinct)
    assert log.position(key_of(b"not there")) == 0


def test_a_full_log_takes_nothing_new_and_knows_the_old() -> None:
    by_count, by_size = Log(bodies=1), Log(size=BODY_COST + 3)
    for log in (by_count, by_size):
        assert log.append(b"abc") == 1
        with pytest.raises(Full, match="the room is full"):
            log.append(b"d")
        assert log.append(b"abc") == len(log) == 1


def test_a_body_may_have_the_largest_size_and_no_more() -> None:
    assert len(check_body(bytes(MAX_BODY))) == MAX_BODY
    with pytest.raises(UsageError):
        check_body(bytes(MAX_BODY + 1))


async def test_a_bell_wakes_who_waits_now_and_nobody_later() -> None:
    bell = Bell()
    bell.ring()
    waiting = [asyncio.ensure_future(bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    bell.ring()
    await asyncio.gather(*waiting)


async def test_the_first_to_end_takes_the_others_along() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def returns() -> None:
        ended.append("returns")

    async def raises() -> None:
        raise LookupError("first")

    await first_of(waits(), returns())
    assert ended == ["returns", "waits"]
    with pytest.raises(LookupError, match="first"):
        await first_of(waits(), raises())
    outer = asyncio.ensure_future(first_of(waits(), waits()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert ended == ["returns", *["waits"] * 4]
