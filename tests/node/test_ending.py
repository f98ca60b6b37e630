"""Who is to blame: the first cause wins over what it caused."""

import asyncio

import pytest

from comity.errors import ComityError, PeerError, ProgramError, UnreachableError
from comity.links.pairing import lost
from comity.node import ending
from comity.node.ending import YOU, Ending

NAMES = ("alice", "bob", "carol")


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "WORD_SECONDS", 0.05)


async def settled(run: Ending) -> str:
    error = await run.settled()
    return "" if error is None else error.message


async def test_a_lost_channel_is_explained_by_the_goodbye_that_follows_it() -> None:
    run = Ending(NAMES)
    run.symptom(PeerError("the channel to bob was lost"), 1)
    run.goodbye(1, "interrupted")
    assert await settled(run) == "bob left: interrupted" and run.blame == 1


async def test_a_lost_channel_is_explained_by_a_goodbye_that_blames_another() -> None:
    run = Ending(NAMES)
    run.symptom(lost("bob"), 1)
    run.goodbye(1, "protocol", about=2)
    assert await settled(run) == "bob left, because of carol" and run.blame == 2


async def test_what_a_party_did_is_not_explained_away_by_whom_it_blames() -> None:
    run = Ending(NAMES)
    run.symptom(PeerError("bob left out 7 bytes"), 1)
    run.goodbye(1, "protocol", about=2)
    assert await settled(run) == "bob left out 7 bytes" and run.blame == 1


async def test_a_lost_channel_that_nobody_explains_is_the_error() -> None:
    run = Ending(NAMES)
    run.symptom(PeerError("the channel to bob was lost"), 1)
    run.symptom(PeerError("the channel to carol was lost"), 2)
    assert await settled(run) == "the channel to bob was lost" and run.blame == 1


async def test_who_ends_because_of_another_is_not_blamed() -> None:
    run = Ending(NAMES)
    run.goodbye(1, "protocol", about=2)
    run.goodbye(2, "error")
    assert await settled(run) == "carol left: the program there ended with an error" and run.blame == 2


async def test_who_leaves_because_of_us_was_told_so_by_somebody_who_is_heard_here_too() -> None:
    run = Ending((YOU, *NAMES[1:]))
    run.goodbye(2, "protocol", about=0)
    run.symptom(PeerError("bob left, because of carol"), 1)
    assert await settled(run) == "bob left, because of carol" and run.blame == 1
    run = Ending((YOU, *NAMES[1:]))
    run.goodbye(2, "protocol", about=0)
    assert await settled(run) == "carol left, because of you" and run.blame == 0


async def test_hearsay_stands_when_nothing_better_comes() -> None:
    run = Ending(NAMES)
    run.goodbye(1, "protocol", about=2)
    assert await settled(run) == "bob left, because of carol" and run.blame == 2


async def test_who_leaves_because_somebody_broke_the_protocol_does_not_say_who() -> None:
    run = Ending(NAMES)
    run.goodbye(1, "protocol")
    run.symptom(PeerError("carol left out 7 bytes"), 2)
    assert await settled(run) == "carol left out 7 bytes" and run.blame == 2


async def test_who_leaves_because_somebody_broke_the_protocol_is_named_when_nothing_else_is_known() -> None:
    run = Ending(NAMES)
    run.goodbye(1, "protocol")
    run.goodbye(2, "protocol")
    assert await settled(run) == "bob left: somebody broke the protocol" and run.blame == 1


async def test_the_first_cause_stays() -> None:
    run = Ending(NAMES)
    run.cause(ProgramError("the program raised"))
    run.goodbye(1, "interrupted")
    run.done()
    assert await settled(run) == "the program raised" and run.blame is None


async def test_a_good_end_forgives_a_channel_that_was_lost_before_it() -> None:
    run = Ending(NAMES)
    run.symptom(PeerError("the channel to bob was lost"), 1)
    run.done()
    run.cause(ComityError("too late"))
    assert await run.settled() is None


async def test_an_unknown_reason_still_names_who_left() -> None:
    run = Ending(NAMES)
    run.goodbye(2, "\x1b[2J")
    assert await settled(run) == "carol left: the program there ended with an error"


async def test_nothing_is_settled_before_something_happened() -> None:
    run = Ending(NAMES)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await run.settled()


async def test_who_finds_no_path_to_another_says_to_whom() -> None:
    run = Ending(NAMES)
    run.goodbye(1, "path")  # in the room, before the control link's word
    run.goodbye(1, "path", about=2)
    assert await settled(run) == "bob left: no path to carol" and run.blame == 1


async def test_of_two_without_a_path_each_has_its_own_to_tell() -> None:
    run = Ending(("alice", "bob", "you"))
    run.goodbye(1, "path")
    run.cause(UnreachableError("no path to bob in 60 s"), 1)
    assert await settled(run) == "no path to bob in 60 s"
    alone = Ending(("alice", "bob", "you"))
    alone.goodbye(1, "path")
    alone.goodbye(0, "protocol", about=1)
    assert await settled(alone) == "bob left: no path to another party" and alone.blame == 1
