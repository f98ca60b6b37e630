"""For whom a program waits, second by second."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.mpyc_bridge.parties import session, written
from tests.mpyc_bridge.test_hostile import GREETING, as_alice, bob_meets

from comity.mpyc_bridge.process import Running, Stalled
from comity.mpyc_bridge.stalls import LATE_SECONDS, MESSAGE, START, UNREAD, WORTH_SECONDS, Stalls, State

WORKS_ON = """
import sys, time
from mpyc.runtime import mpc

async def main():
    await mpc.start()
    for _ in range(2000):
        await mpc.transfer(mpc.pid)
    if mpc.pid == 1:
        time.sleep(float(sys.argv[1]))
    print(await mpc.transfer(mpc.pid))
    await mpc.shutdown()

mpc.run(main())
"""


def waiting(stalls: Stalls, until: int, *states: tuple[int, State], since: int = 0) -> dict[int, tuple[str, float]]:
    """A look each second; what the last one says."""
    said: dict[int, tuple[str, float]] = {}
    for now in range(since, until + 1):
        said = dict(stalls.look(now, states))
    return said


def test_who_owes_a_message_is_waited_for() -> None:
    owes = 1, State(MESSAGE, 5, 100)
    assert waiting(Stalls(), 1, owes) == {}
    assert waiting(Stalls(), int(WORTH_SECONDS), owes) == {1: (MESSAGE, WORTH_SECONDS)}
    assert waiting(Stalls(), 14, owes, (2, State("", 0, 0))) == {1: (MESSAGE, 14)}


def test_whatever_comes_begins_the_time_anew() -> None:
    stalls = Stalls()
    waiting(stalls, 9, (1, State(MESSAGE, 5, 100)))
    assert waiting(stalls, 13, (1, State(MESSAGE, 6, 100)), since=10) == {1: (MESSAGE, 3)}
    assert waiting(stalls, 17, (1, State("", 7, 100)), since=14) == {}
    assert waiting(stalls, 22, (1, State(START, 7, 100)), since=18) == {1: (START, 4)}


def test_who_takes_nothing_is_waited_for_whatever_it_says() -> None:
    stalls = Stalls()
    for now in range(10):
        said = stalls.look(now, [(1, State(UNREAD, now, 100)), (2, State(UNREAD, 0, now)), (3, State(MESSAGE, 0, now))])
    assert said == {1: (UNREAD, 9), 3: (MESSAGE, 9)}


def test_a_program_that_was_busy_itself_did_not_wait() -> None:
    stalls, owes = Stalls(), (1, State(MESSAGE, 5, 100))
    waiting(stalls, 9, owes)
    assert dict(stalls.look(9 + LATE_SECONDS + 0.1, [owes])) == {}
    assert dict(stalls.look(9 + LATE_SECONDS + 2.1, [owes])) == {1: (MESSAGE, 2.0)}


async def test_a_peer_that_computes_long_is_waited_for_and_waits_for_nobody(tmp_path: Path) -> None:
    async with session(written(tmp_path, WORKS_ON, "4"), 3) as running:
        running.start()
        alice, bob, carol = await running.over()
        assert [party.code for party in (alice, bob, carol)] == [0, 0, 0]
        for party in (alice, carol):
            waits = [wait for event in party.events if isinstance(event, Stalled) for wait in event.waits]
            assert {(peer, why) for peer, why, _ in waits} == {(1, MESSAGE)}
            assert max(seconds for _, _, seconds in waits) < 4.5
        assert not any(isinstance(event, Stalled) for event in bob.events)


async def test_a_program_that_is_stopped_is_waited_for(tmp_path: Path) -> None:
    """And maybe another one, which cannot go on without it and so owes a message, too."""
    async with session(written(tmp_path, WORKS_ON, "0"), 3, stdin=b"") as running:
        bob = running.parties[1]
        running.start()
        await bob.until(Running)
        bob.process._process.send_signal(signal.SIGSTOP)
        try:
            await running.parties[0].until(Stalled)
            await running.parties[2].until(Stalled)
        finally:
            bob.process._process.send_signal(signal.SIGCONT)
        for party in await running.over():
            waits = [wait for event in party.events if isinstance(event, Stalled) for wait in event.waits]
            assert party.code == 0 and ((1, MESSAGE) in {(peer, why) for peer, why, _ in waits}) == (party is not bob)


WRITES = """
import asyncio
from mpyc.runtime import mpc
mpc.run(mpc.start())
mpc.transfer(bytes(40 << 20), senders=[1], receivers=[0])
mpc.run(asyncio.sleep(60))
"""


async def test_a_peer_that_never_reads_is_waited_for(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice, WRITES) as (running, met):
        await met[0].say(GREETING)
        transport = met[0].stream._transport
        assert transport is not None
        transport.pause_reading()
        bob = running.parties[1]
        await bob.until(Stalled)
        transport.abort()
        await running.over()
        waits = [wait for event in bob.events if isinstance(event, Stalled) for wait in event.waits]
        assert {(peer, why) for peer, why, _ in waits} == {(0, UNREAD)}
