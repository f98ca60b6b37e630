"""Channels to every peer: dialled and accepted, told apart by their prefaces, asked for by slot.

A slot is one link to be carried: (peer, kind, epoch). The party with the lower number controls its links: it takes the
first channel that stands and closes later ones. The other side offers every channel to the link, which waits on each
for the controller's first byte. The controller dials at once, the other side a little later, in case that only it can
reach the other.

    empty --dial or arrival, taken--> held --filled--> stands
      ^                                |
      +--------------lost--------------+

Nobody dials for a slot that is held. A data slot may be held for as long as a program takes to start its runtime, and
that is not counted as time without a path.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Protocol

from comity.core import preface
from comity.errors import UnreachableError
from comity.interfaces import Channel, PartyId, Reach
from comity.node.pairs import Pairs
from comity.reach.preface import greet, route

GREET_SECONDS = 5.0
"""How long the other side may take for its preface: a round trip and a busy machine."""
REDIAL_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
"""Pauses between attempts; the last one repeats."""
LATER_SECONDS = 0.4
"""How much later the side that does not control a link dials too."""


@dataclass(frozen=True)
class Slot:
    peer: PartyId
    kind: int  # preface.CONTROL or DATA
    epoch: int


@dataclass
class _State:
    held: bool = False
    stands: bool = False
    filling: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def becomes(self, *, held: bool, stands: bool = False) -> None:
        self.held, self.stands = held, self.stands or stands
        self.news.set()

    async def change(self, seconds: float | None = None) -> None:
        """Until something is new, or for that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()
        self.news.clear()


class Taker(Protocol):
    """Takes a channel for its slot; says whether it wants it."""

    def __call__(self, slot: Slot, number: int, channel: Channel, /) -> bool: ...


class Channels:
    """Fills the slots that are wanted. `take` gets each channel and owns it if it answers True."""

    def __init__(self, reach: Reach, pairs: Pairs, take: Taker) -> None:
        self._reach, self._pairs, self._take = reach, pairs, take
        self._states: defaultdict[Slot, _State] = defaultdict(_State)
        self._numbers: dict[Slot, int] = {}

    async def fill(self, slot: Slot, give_up: float) -> None:
        """Dial until the slot's link stands (`filled`); returns at once where that is being done already.

        Raises UnreachableError after `give_up` seconds without a path.
        """
        state = self._states[slot]
        if state.filling:
            return
        state.filling = True
        try:
            await self._fill(slot, state, give_up)
        finally:
            state.filling = False

    async def _fill(self, slot: Slot, state: _State, give_up: float) -> None:
        last: UnreachableError | None = None
        pauses = chain(REDIAL_SECONDS, repeat(REDIAL_SECONDS[-1]))
        try:
            async with asyncio.timeout(give_up) as limit:
                if self._pairs.me > slot.peer and not state.held:
                    await state.change(LATER_SECONDS)
                while not state.stands:
                    if state.held:
                        await self._hold(slot, state, limit)
                    elif failure := await self._dial(slot):
                        last = failure
                    if not state.held and not state.stands:
                        await state.change(next(pauses))
        except TimeoutError:
            name = self._pairs.session.name(slot.peer)
            raise UnreachableError(
                f"no path to {name} in {give_up:.0f} s", hint=(*_tried(last, name), f"{name} and you: comity doctor")
            ) from None

    async def _hold(self, slot: Slot, state: _State, limit: asyncio.Timeout) -> None:
        """Wait for what becomes of the channel that was taken."""
        clock, when = asyncio.get_running_loop(), limit.when()
        left = None if when is None or slot.kind == preface.CONTROL else when - clock.time()
        if left is not None:
            limit.reschedule(None)
        while state.held and not state.stands:
            await state.change()
        if left is not None:
            limit.reschedule(clock.time() + left)

    def filled(self, slot: Slot) -> None:
        """Its link stands: stop dialling."""
        self._states[slot].becomes(held=True, stands=True)

    def lost(self, slot: Slot) -> None:
        """What was taken for it is gone before a link stood: dial again."""
        self._states[slot].becomes(held=False)

    async def _dial(self, slot: Slot) -> UnreachableError | None:
        """One attempt; what went wrong, if anything."""
        number = self._numbers[slot] = self._numbers.get(slot, 0) + 1
        mine = self._pairs.preface(slot.peer, slot.kind, slot.epoch, number)
        try:
            channel = await self._reach.dial(slot.peer)
            await greet(channel, mine, lambda answer: self._prove(mine, answer, slot, number), GREET_SECONDS)
        except UnreachableError as exc:
            return exc
        self._give(slot, number, channel)
        return None

    def _give(self, slot: Slot, number: int, channel: Channel) -> None:
        if not self._stands(slot) and self._take(slot, number, channel):
            self._states[slot].becomes(held=True)
        else:
            channel.sock.close()

    def _stands(self, slot: Slot) -> bool:
        """Asks without keeping anything: an arrival may be for any epoch."""
        return slot in self._states and self._states[slot].stands

    def _prove(self, question: bytes, answer: bytes, slot: Slot, number: int) -> bytes | None:
        if self._read(answer) != (slot, number):
            return None
        return preface.proof(question, answer, self._pairs.prefaces[slot.peer])

    def _read(self, data: bytes) -> tuple[Slot, int] | None:
        """Whose channel this is, if it is for me and from one of mine."""
        said = preface.parse(data)
        if said is None or said.tag != self._pairs.session.tag or said.to != self._pairs.me:
            return None
        key = self._pairs.prefaces.get(said.sender)
        if key is None or not preface.authentic(data, key):
            return None
        return Slot(said.sender, said.kind, said.epoch), said.number

    async def accept(self) -> None:
        """Route arrivals until cancelled; strangers are closed without a word."""
        await route(self._reach.arrivals(), self._reply, self._arrived, GREET_SECONDS)

    def _reply(self, question: bytes) -> tuple[bytes, bytes] | None:
        said = self._read(question)
        if said is None or self._stands(said[0]):
            return None
        slot, number = said
        answer = self._pairs.preface(slot.peer, slot.kind, slot.epoch, number)
        return answer, preface.proof(question, answer, self._pairs.prefaces[slot.peer])

    def _arrived(self, channel: Channel, data: bytes) -> None:
        if (said := self._read(data)) is not None:
            self._give(*said, channel)


def _tried(last: UnreachableError | None, name: str) -> tuple[str, ...]:
    """What people can learn from the last attempt that failed."""
    if last is None:
        return ()
    why = last.message.removeprefix(f"no path to {name}").removeprefix(": ")
    return (why, *last.hints) if why else last.hints
