"""Section 5 of docs/protocol.md: a member of a room at a rendezvous."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from hashlib import sha256

import aiohttp
from tests.independent.notation import Fault, Invitation

WELCOME, ENTRY, REFUSED, POST = 1, 2, 3, 16
LOST = (1001, 1006, 1009, 4403, 4429)  # after these codes a member reconnects
FIRST, LATER = 30, 120  # seconds without any server
MAX_BODY = 1 << 20


class Broken(Fault):
    """A rendezvous that is not to be had, or does not keep to the protocol."""

    code, told = 5, "error"


class Room:
    """A log: `post` says something, iterating gives each body once, in order. `run` is the member's connection."""

    def __init__(self, invitation: Invitation, name: str) -> None:
        self._invitation, self._name = invitation, name
        self._incarnation = b""
        self._log: list[bytes] = []  # as this incarnation has it
        self._known: dict[bytes, None] = {}  # every body that was read, in the order of the first reading
        self._posts: dict[bytes, None] = {}  # every body that this member said
        self._fresh: asyncio.Queue[bytes] = asyncio.Queue()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._changed = asyncio.Condition()

    async def post(self, body: bytes) -> None:
        self._posts[body] = None
        if self._socket is not None:
            await self._send(self._socket, [body])

    async def posted(self) -> None:
        """Once everything that was posted is read."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._posts.keys() <= self._known.keys())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._fresh.get()

    async def run(self) -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                socket = await self._connect(client, LATER if self._incarnation else FIRST)
                try:
                    await self._follow(socket)
                finally:
                    self._socket = None
                    await socket.close()
                if socket.close_code not in (*LOST, None):
                    raise Broken(f"the rendezvous closed the room: {socket.close_code}")
                await asyncio.sleep(0.2)

    async def _connect(self, client: aiohttp.ClientSession, seconds: float) -> aiohttp.ClientWebSocketResponse:
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return await self._race(client)
            except Broken:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(0.5)

    async def _race(self, client: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        """The first address that takes the upgrade; each is tried 0.25 s after the one before."""
        pin = self._invitation.certificate
        addresses = [url for url in self._invitation.rendezvous if not pin or re.match("https|wss", url)]
        tries = [asyncio.create_task(self._dial(client, url, i * 0.25)) for i, url in enumerate(addresses)]
        try:
            for done in asyncio.as_completed(tries):
                try:
                    return await done
                except (aiohttp.ServerFingerprintMismatch, aiohttp.ClientConnectorCertificateError) as error:
                    raise Fault("the rendezvous has another certificate", 3) from error
                except (aiohttp.ClientError, OSError) as error:
                    reason = error
        finally:
            for task in tries:
                task.cancel()
        raise Broken(f"no rendezvous: {reason}" if addresses else "no rendezvous whose certificate could be checked")

    async def _dial(self, client: aiohttp.ClientSession, url: str, delay: float) -> aiohttp.ClientWebSocketResponse:
        await asyncio.sleep(delay)
        query = f"?incarnation={self._incarnation.hex()}&after={len(self._log)}" if self._incarnation else ""
        pin = self._invitation.certificate
        return await client.ws_connect(
            f"{url.rstrip('/')}/room/{self._name}{query}",
            protocols=["comity.mailbox.1"],
            compress=0,
            heartbeat=10,
            max_msg_size=MAX_BODY + 64,
            ssl=aiohttp.Fingerprint(pin) if pin else True,
        )

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        count = -1
        async for message in socket:
            if message.type != aiohttp.WSMsgType.BINARY or not message.data:
                raise Broken("the rendezvous sends another kind of message")
            kind, data = message.data[0], message.data[1:]
            if kind == WELCOME and count < 0 and len(data) == 20:
                incarnation, count = data[:16], int.from_bytes(data[16:], "big")
                if incarnation != self._incarnation:
                    self._incarnation, self._log = incarnation, []
                if count < len(self._log):
                    raise Broken("the log became shorter")
            elif kind == ENTRY and count >= 0:
                self._enter(int.from_bytes(data[:4], "big"), data[4:])
            elif kind == REFUSED and len(data) == 32:
                said = data in (sha256(body).digest() for body in self._posts)
                raise Broken("the room is full" if said else "an answer to what was not said")
            else:
                raise Broken("the rendezvous says what it may not")
            if self._socket is None and len(self._log) >= count:
                self._socket = socket  # everything that was there is read: now post the rest
                present = set(self._log)
                await self._send(socket, [body for body in {**self._known, **self._posts} if body not in present])
            async with self._changed:
                self._changed.notify_all()

    def _enter(self, position: int, body: bytes) -> None:
        if position != len(self._log) + 1 or body in self._log or len(body) > MAX_BODY:
            raise Broken("the log is out of order")
        self._log.append(body)
        if body not in self._known:
            self._known[body] = None
            self._fresh.put_nowait(body)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, bodies: list[bytes]) -> None:
        try:
            for body in bodies:
                await socket.send_bytes(bytes([POST]) + body)
        except (aiohttp.ClientError, OSError):
            return  # the reader sees the end, and what was not read is posted again
