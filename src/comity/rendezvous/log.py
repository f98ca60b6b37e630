"""What mailboxes are made of: distinct bodies in one order, and a bell for those who wait for more."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any

from comity.core.limits import BODY_COST, MAX_BODY, MAX_ROOM_BODIES, MAX_ROOM_BYTES
from comity.errors import PeerError, UsageError


class Full(PeerError):
    """the room is full"""


def key_of(body: bytes) -> bytes:
    """SHA-256: what makes two bodies the same one."""
    return hashlib.sha256(body).digest()


def check_body(body: bytes) -> bytes:
    """Raises UsageError for a body that no server takes."""
    if len(body) > MAX_BODY:
        raise UsageError(f"a message for the room has {len(body)} bytes, {MAX_BODY} are allowed")
    return body


class Log:
    """Bodies in the order of their first arrival; the first has position 1. Bounded: `append` raises Full."""

    def __init__(self, bodies: int = MAX_ROOM_BODIES, size: int = MAX_ROOM_BYTES) -> None:
        self._max_bodies, self._max_size = bodies, size
        self._bodies: list[bytes] = []
        self._positions: dict[bytes, int] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._bodies)

    def __getitem__(self, position: int) -> bytes:
        return self._bodies[position - 1]

    def position(self, key: bytes) -> int:
        """0 for a body that is not here."""
        return self._positions.get(key, 0)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Keys and bodies, in order."""
        return list(zip(self._positions, self._bodies, strict=True))

    def append(self, body: bytes) -> int:
        """The body's position: its first one when it is here already."""
        key = key_of(body)
        if position := self.position(key):
            return position
        size = self.size + len(body) + BODY_COST
        if len(self) >= self._max_bodies or size > self._max_size:
            raise Full
        self._bodies.append(body)
        self._positions[key] = len(self)
        self.size = size
        return len(self)


class Bell:
    """Wakes everybody who waits at the moment it rings; later waiters wait for the next time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        # set() wakes those who wait now, whatever the event is when they come to run
        self._event.set()
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()


async def first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, end the others, and raise what that one raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
