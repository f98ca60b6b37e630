"""One member of a room, seen from the server: it is fed the log, and listened to."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from comity.core.encoding import Malformed
from comity.core.limits import BODY_COST
from comity.rendezvous import wire
from comity.rendezvous.connections import Connection
from comity.rendezvous.log import Full, first_of, key_of
from comity.rendezvous.rooms import WHY, Bucket, Reason, Room, Rooms

SEND_TIMEOUT = 30.0
"""Seconds for which a member may not take what it is sent."""

CLOSE_TIMEOUT = 2.0
"""Seconds for which a close waits for the other side's."""


class Member:
    def __init__(self, ws: web.WebSocketResponse, connection: Connection, room: Room, rooms: Rooms) -> None:
        self._ws, self._connection, self._room, self._rooms = ws, connection, room, rooms
        self._bucket = Bucket(rooms.limits.rate, rooms.limits.burst)

    async def run(self, known: bytes, after: int) -> None:
        """Until either side closes. known, after: the log that the member knows, and how many of its bodies."""
        log = self._room.log
        same = known == self._room.incarnation
        if same and after > len(log):
            await self._close(Reason.MALFORMED)
            return
        await first_of(self._listen(), self._feed(after if same else 0))

    async def _close(self, reason: Reason) -> None:
        await close(self._ws, reason, WHY[reason])

    async def _feed(self, position: int) -> None:
        """Send the log from `position` on, for as long as the member takes it."""
        room = self._room
        try:
            await self._send(wire.Welcome(room.incarnation, len(room.log)).pack())
            while not room.expired:
                while position < len(room.log):
                    position += 1
                    await self._send(wire.Entry(position, room.log[position]).pack())
                if not room.expired:
                    await room.bell.wait()
            await self._close(Reason.EXPIRED)
        except (TimeoutError, ConnectionError):
            await close(self._ws, WSCloseCode.GOING_AWAY, "too slow")

    async def _send(self, data: bytes) -> None:
        with self._connection.sending(len(data)):
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._ws.send_bytes(data)

    async def _listen(self) -> None:
        """Take posts until the connection ends, slower from whoever posts too much."""
        while True:
            message = await self._ws.receive()  # heartbeats end it when the member is gone
            size = len(message.data) if isinstance(message.data, bytes) else 0
            self._connection.was_taken(size)
            await asyncio.sleep(self._bucket.take(size + BODY_COST))  # in any case it is the others' turn
            if message.type is WSMsgType.PING:
                await self._send_pong(message.data)
            elif message.type is WSMsgType.BINARY:
                try:
                    body = wire.from_member(message.data)
                except Malformed:
                    return await self._close(Reason.MALFORMED)
                await self._post(body)
            elif message.type is WSMsgType.TEXT:
                return await self._close(Reason.MALFORMED)
            elif message.type is not WSMsgType.PONG:
                return None

    async def _send_pong(self, data: bytes) -> None:
        with suppress(TimeoutError, ConnectionError):  # then receive() says that the connection has ended
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._ws.pong(data)

    async def _post(self, body: bytes) -> None:
        try:
            self._rooms.post(self._room, body)
        except Full:
            with suppress(TimeoutError, ConnectionError):
                await self._send(wire.Refusal(key_of(body)).pack())


async def close(ws: web.WebSocketResponse, code: int, text: str) -> None:
    """Close with a code, waiting a bounded time for the answer."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2 * CLOSE_TIMEOUT):
            await ws.close(code=code, message=text.encode())
