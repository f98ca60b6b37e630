"""The rooms of one server: who may enter, what they hold, and when they are forgotten. In memory only."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum

from comity.core import limits
from comity.errors import UsageError
from comity.rendezvous.log import Bell, Full, Log, key_of

INCARNATION_SIZE = 16
ROOM = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Limits:
    """What one server holds; the reasons stand in core.limits."""

    rooms: int = limits.MAX_ROOMS
    rooms_of_address: int = limits.MAX_ROOMS_OF_ADDRESS
    stored: int = limits.MAX_ROOMS_BYTES
    stored_of_address: int = limits.MAX_ROOMS_BYTES_OF_ADDRESS
    members: int = limits.MAX_ROOM_MEMBERS
    bodies: int = limits.MAX_ROOM_BODIES
    size: int = limits.MAX_ROOM_BYTES
    life: float = limits.ROOM_LIFE
    memory: float = limits.ROOM_MEMORY
    connections: int = limits.MAX_CONNECTIONS
    connections_of_address: int = limits.MAX_CONNECTIONS_OF_ADDRESS
    unfinished: int = limits.MAX_UNFINISHED
    patience: float = limits.MESSAGE_PATIENCE
    rate: float = limits.POST_RATE
    burst: float = limits.POST_BURST


class Reason(IntEnum):
    """Why a room is closed to a member: the WebSocket close codes of wire.py."""

    MALFORMED = 4400
    CROWDED = 4403
    EXPIRED = 4410
    BUSY = 4429


WHY = {
    Reason.MALFORMED: "the rendezvous did not understand what was sent",
    Reason.CROWDED: "too many members are in the room",
    Reason.EXPIRED: "the room has expired",
    Reason.BUSY: "the rendezvous has no place for another room",
}


class Refused(Exception):
    """The room cannot be entered."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(WHY[reason])
        self.reason = reason


def check_room(name: str) -> str:
    """Raises UsageError."""
    if not ROOM.fullmatch(name):
        raise UsageError(f"{name[:40]!r} is not 32 lower-case hexadecimal digits: no room has such a name")
    return name


class Room:
    """One meeting. `incarnation` tells this log from an earlier one under the same name, 16 random bytes."""

    def __init__(self, name: str, made_by: str, expires: float, log: Log) -> None:
        self.name, self.made_by, self.expires = name, made_by, expires
        self.incarnation = secrets.token_bytes(INCARNATION_SIZE)
        self.log = log
        self.bell = Bell()  # rings when a body is appended and when the room expires
        self.members = 0
        self.forget_at = expires
        self.expired = False


class Rooms:
    """`only`: the names of rooms that exist; None lets members make any. `clock` gives seconds."""

    def __init__(
        self,
        limits: Limits = Limits(),
        *,
        only: Collection[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._only = only
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        self._made: Counter[str] = Counter()
        self._stored = 0
        self._stored_of: Counter[str] = Counter()  # by whoever made the room
        self.turned_away: Counter[str] = Counter()  # by the field of Limits that was reached

    def __len__(self) -> int:
        return len(self._rooms)

    def exists(self, name: str) -> bool:
        """Whether a room of this name may be entered at all."""
        return self._only is None or name in self._only

    def enter(self, name: str, address: str = "") -> Room:
        """The room, made by its first member. `address`: whom its making counts for; empty: nobody."""
        self._sweep(self._rooms.get(name))
        room = self._rooms.get(name) or self._make(name, address)
        if room.members >= self.limits.members:
            raise Refused(Reason.CROWDED)
        room.members += 1
        return room

    def _make(self, name: str, address: str) -> Room:
        if len(self) >= self.limits.rooms:
            raise self._away("rooms")
        if address and self._made[address] >= self.limits.rooms_of_address:
            raise self._away("rooms_of_address")
        log = Log(self.limits.bodies, self.limits.size)
        room = self._rooms[name] = Room(name, address, self._clock() + self.limits.life, log)
        if address:
            self._made[address] += 1
        return room

    def leave(self, room: Room) -> None:
        room.members -= 1
        if room.members == 0:
            # nobody can miss a room in which nothing was said
            room.forget_at = self._clock() + (self.limits.memory if len(room.log) else 0)
            self._sweep(room)

    def _away(self, limit: str) -> Refused:
        self.turned_away[limit] += 1
        return Refused(Reason.BUSY)

    @property
    def stored(self) -> int:
        """Bytes in all rooms, BODY_COST for each body included."""
        return self._stored

    def post(self, room: Room, body: bytes) -> int:
        """Append to the room's log; an identical body keeps its first position. Raises Full."""
        cost = len(body) + limits.BODY_COST
        if not (room.expired or room.log.position(key_of(body))):
            self._check(room, cost)
        before = room.log.size
        position = room.log.append(body)
        if room.log.size != before:
            if not room.expired:
                self._store(room, cost)
            room.bell.ring()
        return position

    def _check(self, room: Room, cost: int) -> None:
        if self._stored + cost > self.limits.stored:
            self.turned_away["stored"] += 1
            raise Full("the rendezvous is full")
        if room.made_by and self._stored_of[room.made_by] + cost > self.limits.stored_of_address:
            self.turned_away["stored_of_address"] += 1
            raise Full("the rendezvous is full for its maker")

    def _store(self, room: Room, size: int) -> None:
        self._stored += size
        if room.made_by:
            self._stored_of[room.made_by] += size

    def sweep(self) -> None:
        """Forget every room whose time has come."""
        for room in list(self._rooms.values()):
            self._sweep(room)

    def _sweep(self, room: Room | None) -> None:
        if room is None or room.expired:
            return
        if self._clock() < (room.expires if room.members else min(room.expires, room.forget_at)):
            return
        del self._rooms[room.name]
        self._store(room, -room.log.size)
        if room.made_by:
            self._made[room.made_by] -= 1
            if not self._made[room.made_by]:
                del self._made[room.made_by], self._stored_of[room.made_by]
        room.expired = True
        room.bell.ring()


class Bucket:
    """A token bucket: `take` says for how many seconds whoever took too much must be made to wait."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    def take(self, amount: float) -> float:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)
