"""Rooms of this process: for parties in one process, and for the host beside its own server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comity.errors import UnreachableError, UsageError
from comity.interfaces import Mailbox
from comity.rendezvous.log import check_body
from comity.rendezvous.rooms import WHY, Reason, Refused, Room, Rooms, check_room


class MemoryRendezvous:
    """`rooms`: those of a Server, to meet its members without a connection; else rooms of its own."""

    def __init__(self, rooms: Rooms | None = None) -> None:
        self._rooms = Rooms() if rooms is None else rooms

    @asynccontextmanager
    async def open(self, room: str) -> AsyncIterator[Mailbox]:
        try:
            entered = self._rooms.enter(check_room(room))
        except Refused as exc:
            raise UnreachableError(WHY[exc.reason]) from exc
        mailbox = _MemoryMailbox(self._rooms, entered)
        try:
            yield mailbox
        finally:
            self._rooms.leave(entered)
            mailbox.close()


class _MemoryMailbox:
    def __init__(self, rooms: Rooms, room: Room) -> None:
        self._rooms, self._room = rooms, room
        self._left = False

    def close(self) -> None:
        self._left = True
        self._room.bell.ring()

    def _check(self) -> None:
        if self._left:
            raise UsageError("the mailbox was left")
        if self._room.expired:
            raise UnreachableError(WHY[Reason.EXPIRED])

    async def post(self, body: bytes, /) -> int:
        self._check()
        return self._rooms.post(self._room, check_body(body))

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        position = after
        while True:
            while position < len(self._room.log):
                position += 1
                yield position, self._room.log[position]
            self._check()
            await self._room.bell.wait()
