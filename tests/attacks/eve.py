"""Eve, who runs the rendezvous: the protocol of rendezvous/wire.py, with a log for each member as she likes.

She reads no body, but each party posts its messages in a known order, so she knows whose and which each one is. Each
member gets an incarnation of its own, which members cannot compare; by it she knows them again after a cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from comity.rendezvous import wire

HOST = ("OPEN", "HELLO", "ROSTER", "REVEAL", "AGREE", "CONFIRM", "LEAVE")
GUEST = ("HELLO", "REVEAL", "AGREE", "CONFIRM", "LEAVE")


@dataclass(frozen=True)
class Post:
    """`heard`: whose and what, as in "bob AGREE"; empty outside of the ceremony."""

    heard: str
    body: bytes


@dataclass
class Member:
    name: str
    incarnation: bytes
    log: list[bytes] = field(default_factory=list)  # as this member is shown it
    posted: int = 0
    cuts: int = 0
    socket: web.WebSocketResponse | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, bodies: list[bytes]) -> None:
        self.log += bodies
        self.news.set()


Passes = Callable[[Post, Member], list[bytes]]
"""What a member is shown for a post."""


def honest(post: Post, to: Member) -> list[bytes]:
    return [post.body]


@dataclass
class Room:
    ceremony: bool
    posts: list[Post] = field(default_factory=list)
    members: dict[bytes, Member] = field(default_factory=dict)  # by incarnation


class Eve:
    """`names`: of the parties as they come. `cut_after`: after so many bodies each is cut off, once.

    one_room: whatever room a member asks for, it is led into the same one.
    """

    def __init__(
        self, names: tuple[str, ...], passes: Passes = honest, *, cut_after: int = 0, one_room: bool = False
    ) -> None:
        self.names, self.passes, self.cut_after, self.one_room = names, passes, cut_after, one_room
        self.rooms: dict[str, Room] = {}

    @property
    def cuts(self) -> list[int]:
        """How often she cut each member off."""
        return [member.cuts for room in self.rooms.values() for member in room.members.values()]

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        http = web.Server(self._answer)
        listener = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            await http.shutdown(0.1)

    async def _answer(self, request: web.BaseRequest) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=(wire.SUBPROTOCOL,), max_msg_size=0, timeout=0.1)
        await ws.prepare(request)
        name = "" if self.one_room else request.path.rpartition("/")[2]
        room = self.rooms.setdefault(name, Room(ceremony=not self.rooms))
        known, after = wire.parse_query(dict(request.query))
        member = room.members.get(known)
        if member is None:
            member = self._welcome(room)
            after = 0
        member.socket = ws
        feeding = asyncio.ensure_future(self._feed(member, ws, after))
        try:
            async for message in ws:
                if message.type is WSMsgType.BINARY:
                    self._take(room, member, wire.from_member(message.data))
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        return ws

    def _welcome(self, room: Room) -> Member:
        number = len(room.members)
        member = Member(self.names[number], bytes([number + 1]) * 16)
        room.members[member.incarnation] = member
        for post in room.posts:
            member.show(self.passes(post, member))
        return member

    def _take(self, room: Room, member: Member, body: bytes) -> None:
        if any(body == post.body for post in room.posts):
            return
        kinds = HOST if member.name == self.names[0] else GUEST
        heard = f"{member.name} {kinds[min(member.posted, len(kinds) - 1)]}" if room.ceremony else ""
        member.posted += 1
        post = Post(heard, body)
        room.posts.append(post)
        for reader in room.members.values():
            reader.show(self.passes(post, reader))

    async def _feed(self, member: Member, ws: web.WebSocketResponse, position: int) -> None:
        with suppress(ConnectionError):
            await ws.send_bytes(wire.Welcome(member.incarnation, len(member.log)).pack())
            while True:
                while position < len(member.log):
                    position += 1
                    await ws.send_bytes(wire.Entry(position, member.log[position - 1]).pack())
                    if position == self.cut_after and not member.cuts:
                        member.cuts += 1
                        await ws.close()
                        return
                member.news.clear()
                await member.news.wait()


def touching(heard: str, act: Callable[[bytes], list[bytes]], *to: str) -> Passes:
    """She does something with one message on its way to some members, or to all."""
    return lambda post, member: act(post.body) if post.heard == heard and (not to or member.name in to) else [post.body]


def delaying(heard: str, after: str, to: str) -> Passes:
    """She keeps a message from one member until another message has passed."""
    kept: list[bytes] = []

    def passes(post: Post, member: Member) -> list[bytes]:
        if member.name != to:
            return [post.body]
        if post.heard == heard:
            kept.append(post.body)
            return []
        return [post.body, *kept] if post.heard == after else [post.body]

    return passes
