import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contracts.parties import Exchange, session

from comity.core.limits import MAX_SIGNAL
from comity.errors import PeerError, UnreachableError
from comity.interfaces import PartyId
from comity.reach import offers
from comity.reach.offers import exchanging


def read(body: bytes) -> str:
    if not body.isalpha():
        raise PeerError("that is no word")
    return body.decode()


def test_the_time_of_an_attempt_allows_a_slow_start_of_the_peer() -> None:
    assert offers.ATTEMPT >= 5


async def test_each_party_learns_the_others_offers_and_their_changes() -> None:
    exchange, agreed, words = Exchange(3), session(3), ["zero", "one", "two"]
    lines: list[str] = []
    async with (
        exchanging(agreed, 0, exchange.signals(0), lines.append, lambda: words[0].encode(), read) as zero,
        exchanging(agreed, 1, exchange.signals(1), lines.append, lambda: words[1].encode(), read) as one,
        exchanging(agreed, 2, exchange.signals(2), lines.append, lambda: words[2].encode(), read) as two,
    ):
        assert [await zero.of(1), await zero.of(2), await two.of(0)] == ["one", "two", "zero"]
        words[1] = "uno"
        one.refresh()
        await exchange.settled(8)
        assert [await zero.of(1), await two.of(1)] == ["uno", "uno"]
    assert lines == []


async def test_an_offer_that_comes_late_wakes_all_who_wait_for_it() -> None:
    exchange = Exchange(2)
    async with exchanging(session(2), 0, exchange.signals(0), lambda _: None, lambda: b"me", read) as alice:
        waits = [asyncio.create_task(alice.of(1)) for _ in range(3)]
        await exchange.settled(1)
        exchange.inject(0, 0, b"impostor")
        exchange.inject(2, 0, b"impostor")
        await exchange.settled(3)
        assert not any(wait.done() for wait in waits)
        exchange.inject(1, 0, b"bob")
        assert await asyncio.gather(*waits) == ["bob"] * 3


async def test_a_peer_that_never_offers_or_offers_rubbish_is_named() -> None:
    exchange = Exchange(3)
    lines: list[str] = []
    for body in (b"1", b"2", b"a" * (MAX_SIGNAL + 1)):
        exchange.inject(2, 0, body)
    async with exchanging(session(3), 0, exchange.signals(0), lines.append, lambda: b"me", read) as alice:
        with pytest.raises(UnreachableError, match="no path to bob: it has not said where it is"):
            await alice.of(1, timeout=0.01)
        with pytest.raises(UnreachableError, match="no path to carol: what it offers cannot be read"):
            await alice.of(2, timeout=0.01)
        exchange.inject(2, 0, b"fine")
        exchange.inject(2, 0, b"3")
        await exchange.settled(7)
        assert await alice.of(2) == "fine", "what cannot be read does not replace what could be"
    assert lines == ["carol offers what cannot be read: that is no word"]


class Broken:
    """Signals whose mailbox is gone."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def send(self, to: PartyId, body: bytes, /) -> None:
        if self.error:
            raise self.error

    async def receive(self) -> AsyncIterator[tuple[PartyId, bytes]]:
        yield 1, b"bob"
        if self.error:
            raise self.error


async def test_signals_that_are_lost_disturb_nobody_who_is_known_already() -> None:
    lines: list[str] = []
    broken = Broken(UnreachableError("the rendezvous does not answer"))
    async with exchanging(session(3), 0, broken, lines.append, lambda: b"me", read) as alice:
        assert await alice.of(1) == "bob"
        with pytest.raises(UnreachableError, match="no path to carol: the rendezvous does not answer"):
            await alice.of(2)
        assert await alice.of(1) == "bob"
    assert lines == [
        f"{name} could not be told where I am: the rendezvous does not answer" for name in ("bob", "carol")
    ]


async def test_signals_that_end_are_not_waited_for() -> None:
    async with exchanging(session(3), 0, Broken(None), lambda _: None, lambda: b"me", read) as alice:
        with pytest.raises(UnreachableError, match="no path to carol: signals have ended"):
            await alice.of(2)


async def test_a_bug_below_comes_to_light() -> None:
    with pytest.raises(ZeroDivisionError):
        async with exchanging(session(2), 0, Broken(ZeroDivisionError()), lambda _: None, lambda: b"me", read) as alice:
            assert await alice.of(1) == "bob"


async def test_an_error_of_who_uses_it_passes_through() -> None:
    exchange = Exchange(2)
    with pytest.raises(UnreachableError, match="mine"):
        async with exchanging(session(2), 0, exchange.signals(0), lambda _: None, lambda: b"me", read):
            raise UnreachableError("mine")
