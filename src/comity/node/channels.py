"""Channels to every peer: dialled and accepted, told apart by their prefaces, asked for by slot.

A slot is one link to be carried: (peer, kind, epoch). The party with the lower number controls its links: it takes the
first channel that stands and closes later ones. The other side offers every channel to the link, which waits on each
for the controller's first byte. The controller dials at once, the other side a little later, in case that only it can
reach the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
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


class Taker(Protocol):
    """Takes a channel for its slot; says whether it wants it."""

    def __call__(self, slot: Slot, number: int, channel: Channel, /) -> bool: ...


class Channels:
    """Fills the slots that are wanted. `take` gets each channel and owns it if it answers True."""

    def __init__(self, reach: Reach, pairs: Pairs, take: Taker) -> None:
        self._reach, self._pairs, self._take = reach, pairs, take
        self._wanted: dict[Slot, asyncio.Event] = {}  # set: filled
        self._numbers: dict[Slot, int] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def fill(self, slot: Slot, give_up: float) -> None:
        """Dial until the slot's link stands (`filled`). Raises UnreachableError after `give_up` seconds."""
        standing = self._wanted.setdefault(slot, asyncio.Event())
        name = self._pairs.session.name(slot.peer)
        last: UnreachableError | None = None
        try:
            async with asyncio.timeout(give_up):
                if self._pairs.me > slot.peer and await _happens(standing, LATER_SECONDS):
                    return
                for pause in chain(REDIAL_SECONDS, repeat(REDIAL_SECONDS[-1])):
                    failure = await self._dial(slot)
                    last = failure or last
                    if await _happens(standing, pause if failure else GREET_SECONDS):
                        return
        except TimeoutError:
            raise UnreachableError(
                f"no path to {name} in {give_up:.0f} s", hint=(*_tried(last, name), f"{name} and you: comity doctor")
            ) from None

    def filled(self, slot: Slot) -> None:
        """Its link stands: stop dialling."""
        self._wanted.setdefault(slot, asyncio.Event()).set()

    async def _dial(self, slot: Slot) -> UnreachableError | None:
        """One attempt; what went wrong, if anything."""
        number = self._numbers[slot] = self._numbers.get(slot, 0) + 1
        mine = self._pairs.preface(slot.peer, slot.kind, slot.epoch, number)
        try:
            channel = await self._reach.dial(slot.peer)
            await greet(channel, mine, lambda data: self._answers(data, slot, number), GREET_SECONDS)
        except UnreachableError as exc:
            return exc
        if self._wanted[slot].is_set() or not self._take(slot, number, channel):
            channel.sock.close()
        return None

    def _answers(self, data: bytes, slot: Slot, number: int) -> bool:
        return self._read(data) == (slot, number)

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
        try:
            await route(self._reach.arrivals(), self._arrived, GREET_SECONDS)
        finally:
            for task in self._answering:
                task.cancel()
            await asyncio.gather(*self._answering, return_exceptions=True)

    def _arrived(self, channel: Channel, data: bytes) -> None:
        said = self._read(data)
        if said is None or self._is_filled(said[0]):
            channel.sock.close()
            return
        task = asyncio.ensure_future(self._answer(channel, *said))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, channel: Channel, slot: Slot, number: int) -> None:
        mine = self._pairs.preface(slot.peer, slot.kind, slot.epoch, number)
        try:
            async with asyncio.timeout(GREET_SECONDS):
                await asyncio.get_running_loop().sock_sendall(channel.sock, mine)
        except (TimeoutError, OSError):
            channel.sock.close()
        except BaseException:
            channel.sock.close()
            raise
        else:
            if not self._take(slot, number, channel):
                channel.sock.close()

    def _is_filled(self, slot: Slot) -> bool:
        standing = self._wanted.get(slot)
        return standing is not None and standing.is_set()


def _tried(last: UnreachableError | None, name: str) -> tuple[str, ...]:
    """What people can learn from the last attempt that failed."""
    if last is None:
        return ()
    why = last.message.removeprefix(f"no path to {name}").removeprefix(": ")
    return (why, *last.hints) if why else last.hints


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set within that time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
