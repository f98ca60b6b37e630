"""Mallory, a complete party of her own code: invited, verified by everyone, and free to say any byte at any layer.

She is made of tests/independent, which was written from docs/protocol.md alone, and computes honestly until a behaviour
of the table says otherwise. She is party 1 of three: alice (0) is TLS client towards her, carol (2) TLS server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tests.attacks.malicious.computing import Engine
from tests.independent.ceremony import Ceremony
from tests.independent.direct import Direct
from tests.independent.links import Depth, Ends, Event, Link, Stream
from tests.independent.notation import (
    ACK,
    CONTROL_LINK,
    DATA_LINK,
    Fault,
    Frame,
    Keys,
    Malformed,
    Preface,
    proof,
    read_invitation,
    read_preface,
    seal,
    unseal,
)
from tests.independent.party import Control
from tests.independent.room import Room
from tests.independent.session import Session

ALICE, ME, CAROL = range(3)
PEERS = (ALICE, CAROL)
DRIP = 0.005
"""Seconds between the drops of a channel that drips."""

LinkKind = tuple[int, int]  # kind and epoch


class RawLink(Link):
    """A link that says what it is told to."""

    mute = False  # it says nothing
    deaf = False  # it acknowledges nothing

    def _send(self, kind: int, body: bytes = b"") -> None:
        if self.mute or (self.deaf and kind == ACK):
            return
        if self.deaf:
            self.raw(self.frame(kind, body, acknowledged=0))
            self.count(len(body))
        else:
            super()._send(kind, body)

    def raw(self, data: bytes) -> None:
        """These bytes, inside TLS, in records of their own."""
        for start in range(0, len(data), 1 << 14):
            self._tls.write(data[start : start + (1 << 14)])

    def frame(
        self,
        kind: int,
        body: bytes = b"",
        *,
        offset: int | None = None,
        acknowledged: int | None = None,
        epoch: int | None = None,
        depth: int = 0,
        length: int | None = None,
    ) -> bytes:
        """A frame, honest but for what is said otherwise; it does not count as sent."""
        return (
            Frame(
                kind,
                self.epoch if epoch is None else epoch,
                self._sent if offset is None else offset,
                self._arrived + self._fin_arrived if acknowledged is None else acknowledged,
                depth,
                len(body) if length is None else length,
            ).pack()
            + body
        )

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def arrived(self) -> int:
        return self._arrived

    @property
    def machine(self) -> Any:
        """The TLS machine itself."""
        return self._tls

    def count(self, size: int) -> None:
        """What was said by `raw` counts as that much data."""
        self._sent += size


class Wire(Stream):
    """A link on its channel, and what she may do to both."""

    link: RawLink

    def __init__(self, link: RawLink, sock: socket.socket) -> None:
        super().__init__(link, 1 << 40)
        self.sock = sock
        self.drip = 0  # bytes that leave at once, if not all
        self._drops = b""
        self._dripping: asyncio.TimerHandle | None = None

    def flush(self) -> None:
        if not self.drip:
            super().flush()
            return
        self._drops += self.link.output()
        if self._dripping is None:
            self._drop()

    def _drop(self) -> None:
        drop, self._drops = self._drops[: self.drip], self._drops[self.drip :]
        self._dripping = None
        if drop and self._writer is not None:
            self._writer.write(drop)
            self._dripping = asyncio.get_running_loop().call_later(DRIP, self._drop)

    def raw(self, data: bytes) -> None:
        self.link.raw(data)
        self.flush()

    def frame(self, kind: int, body: bytes = b"", **changes: Any) -> None:
        self.raw(self.link.frame(kind, body, **changes))

    def clear(self, data: bytes) -> None:
        """Bytes on the channel itself, past TLS."""
        if self._writer is not None:
            self._writer.write(data)

    async def drained(self) -> None:
        """Until the peer has taken all; returns, too, when the channel is no more."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.drain()

    def pause(self) -> None:
        """Read nothing any more."""
        assert self._writer is not None
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        assert self._writer is not None
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def cut(self) -> None:
        """A reset in place of an end."""
        assert self._writer is not None
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.transport.abort()


class Mallory:
    """From an invitation to the end of the session. What a behaviour changes are the hooks, before `live`."""

    def __init__(self, link: str, verify: str = "words") -> None:
        self.keys = Keys.fresh()
        invitation = read_invitation(link)
        self._ceremony = Ceremony(invitation, self.keys, "mallory", ["direct"], verify)
        self._room, self._signals = Room(invitation, invitation.room), Room(invitation, invitation.signals)
        self.incarnation, self._depth = os.urandom(16), Depth()
        self.control: dict[int, Wire] = {}
        self.data: dict[tuple[int, int], Wire] = {}  # by peer and epoch
        self._said: dict[int, Control] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = False
        self._trying: set[tuple[int, int, int]] = set()
        self._offered = {peer: asyncio.Event() for peer in PEERS}
        self._numbers = dict.fromkeys(PEERS, 0)  # of the last signal to each
        self.faults: list[Exception] = []
        self.agreed, self.linked = asyncio.Event(), asyncio.Event()
        self._held: list[socket.socket] = []
        # hooks
        self.engine: Callable[[Mallory, int], Engine] = lambda mallory, epoch: Engine(mallory.send_data(epoch))
        self.engines: dict[int, Engine] = {}
        self.free = asyncio.Event()  # her program computes only when this is set
        self.make_wire: Callable[[RawLink, socket.socket], Wire] = Wire
        self.make_link: Callable[[Ends, int, int, int], RawLink] = self.honest_link
        self.carry: Callable[[Preface, socket.socket], Coroutine[Any, Any, None]] = self.honest_carry
        self.dials: Callable[[int, int], bool] = lambda peer, kind: True
        self.offer: Callable[[bytes], bytes] = lambda offer: offer
        self.hears: Callable[[int, Event], bool] = lambda peer, event: True  # of a data link; False: it is not taken
        self.answers: Callable[[int], bool] = lambda peer: True  # pings

    # Her tasks

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def watched() -> None:
            try:
                await work
            except (Fault, OSError) as fault:
                self.faults.append(fault)

        task = asyncio.create_task(watched())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.append(RuntimeError(f"mallory herself failed: {task.exception()!r}"))

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, link: str) -> AsyncIterator[Mallory]:
        """She ends with the block, without a word."""
        mallory = cls(link)
        try:
            yield mallory
        finally:
            await mallory.leave()

    async def leave(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in (*self.control.values(), *self.data.values()):
            wire.close()
        for sock in self._held:
            sock.close()
        if hasattr(self, "direct"):
            self.direct.close()
            await asyncio.gather(*self.direct._tasks, return_exceptions=True)

    # From the invitation to the links

    async def meet(self) -> None:
        """The ceremony, all of it honest; she says yes to every word."""
        self.start(self._room.run())
        ceremony, key = self._ceremony, self._ceremony.invitation.key
        async for body in self._room:
            before = ceremony.state
            ceremony.take(unseal(key, body, b"ceremony"))
            if ceremony.state == "CHOOSING" and ceremony._hellos:  # the host's comes first, and has the lowest number
                assert ceremony.opening is not None
                ceremony.choose(ceremony.opening.plain["program"])  # whatever she runs, she names the host's
            elif ceremony.state == "COMPARING" != before:
                ceremony.confirm()
            out, ceremony.out = ceremony.out, []
            for message in out:
                await self._room.post(seal(key, message, b"ceremony"))
            if ceremony.state == "DONE":
                break
        assert ceremony.session is not None
        self.session: Session = ceremony.session
        assert self.session.me == ME
        self.agreed.set()

    async def reach(self) -> None:
        """Signals and channels; each channel that stands goes to `carry`."""
        self.listen()
        self.direct = Direct(self.session, lambda preface, sock: self._carry(preface, sock))
        self.start(self._read_signals())
        self.start(self.direct.listen())
        for peer in PEERS:
            await self.signal(peer, self.offer(self.direct.offer))
            for kind in (CONTROL_LINK, DATA_LINK):
                if self.dials(peer, kind):
                    self.start(self._dial(peer, kind, 0))

    def listen(self) -> None:
        """Go into the room of signals."""
        if not self._listening:
            self._listening = True
            self.start(self._signals.run())

    async def signal(self, peer: int, body: bytes, transport: str = "direct", number: int = 0) -> None:
        """`number`: another one than is due."""
        self._numbers[peer] += 1
        await self._signals.post(self.session.seal_signal(peer, transport, number or self._numbers[peer], body))

    async def posted(self) -> None:
        """Once all her signals are in the log, which takes the rendezvous a while if they are many."""
        await self._signals.posted()

    async def post(self, body: bytes) -> None:
        """Into the room of signals, as it is."""
        await self._signals.post(body)

    async def _read_signals(self) -> None:
        async for body in self._signals:
            opened = self.session.open_signal(body, "direct")
            if opened is not None:
                peer, _, offer = opened
                self.direct.offered(peer, offer)
                self._offered[peer].set()

    def stands(self, peer: int, kind: int, epoch: int) -> bool:
        return peer in self.control if kind == CONTROL_LINK else (peer, epoch) in self.data

    async def _dial(self, peer: int, kind: int, epoch: int) -> None:
        """Until the link stands; where she does not choose the channel, somewhat later than who does."""
        await asyncio.sleep(0.05 if peer > ME else 0.3)
        while not self.stands(peer, kind, epoch) and self.dials(peer, kind):
            if (peer, kind, epoch) not in self._trying:
                await self.direct.dial(peer, kind, epoch)
            await asyncio.sleep(0.5)

    def dial(self, peer: int, epoch: int) -> None:
        self.start(self._dial(peer, DATA_LINK, epoch))

    def _carry(self, preface: Preface, sock: socket.socket) -> None:
        """Where she chooses, as the lower number, she tries one channel at a time."""
        slot = preface.sender, preface.kind, preface.epoch
        if self.stands(*slot) or (slot in self._trying and preface.sender > ME):
            sock.close()
            return
        self._trying.add(slot)
        self.start(self.carry(preface, sock)).add_done_callback(lambda _: self._trying.discard(slot))

    def hold(self, sock: socket.socket) -> socket.socket:
        """Keep a socket open until the end."""
        self._held.append(sock)
        return sock

    async def open(self, peer: int) -> socket.socket:
        """A connection to a peer's port, with nothing said yet."""
        await self._offered[peer].wait()
        sock = await self.direct._connect(self.direct._candidates[peer])
        if sock is None:
            raise ConnectionRefusedError
        return self.hold(sock)

    def preface(self, peer: int, kind: int, epoch: int, number: int, **changes: Any) -> bytes:
        return self._preface(peer, kind, epoch, number, **changes).pack(self.session.pair_key(peer, "preface"))

    def _preface(self, peer: int, kind: int, epoch: int, number: int, **changes: Any) -> Preface:
        said = {"tag": self.session.tag, "sender": ME, "to": peer, "kind": kind, "epoch": epoch, "number": number}
        return Preface(**{"nonce": os.urandom(16), **said, **changes})

    async def greet(self, sock: socket.socket, peer: int, kind: int, epoch: int, number: int) -> None:
        """All that a channel begins with."""
        loop, key = asyncio.get_running_loop(), self.session.pair_key(peer, "preface")
        mine = self._preface(peer, kind, epoch, number)
        await loop.sock_sendall(sock, mine.pack(key))
        answer = await self.direct._read(sock)
        await loop.sock_sendall(sock, proof(key, mine, read_preface(answer, lambda _: key)))

    # Links

    def ends(self, peer: int) -> Ends:
        session = self.session
        certificates = session.certificate(ME), session.certificate(peer)
        return Ends(session.transcript, ME, peer, self.keys.session, *certificates, self.incarnation)

    def honest_link(self, ends: Ends, kind: int, epoch: int, number: int) -> RawLink:
        return RawLink(ends, kind, epoch, number, self._depth)

    async def honest_carry(self, preface: Preface, sock: socket.socket) -> None:
        """TLS, hello and frames until the channel ends."""
        peer, kind, epoch = preface.sender, preface.kind, preface.epoch
        wire = self.make_wire(self.make_link(self.ends(peer), kind, epoch, preface.number), sock)

        def take(stream: Stream, event: Event) -> None:
            if event[0] == "open" and not self.stands(peer, kind, epoch):
                self._stood(wire, peer, kind, epoch)
            if kind == CONTROL_LINK and self.control.get(peer) is wire:
                self._take_control(wire, peer, event)
            elif kind == DATA_LINK and self.data.get((peer, epoch)) is wire:
                self._take_data(wire, peer, epoch, event)

        await wire.run(sock, take)

    def _stood(self, wire: Wire, peer: int, kind: int, epoch: int) -> None:
        if kind == CONTROL_LINK:
            self.control[peer], self._said[peer] = wire, Control()
        else:
            self.data[peer, epoch] = wire
            if epoch not in self.engines:
                self.engines[epoch] = self.engine(self, epoch)
                self.start(self.engines[epoch].run(self.free))
            if peer == CAROL:
                self.engines[epoch].greet(peer)
        if len(self.control) == len(PEERS) and all((other, 0) in self.data for other in PEERS):
            self.linked.set()

    def _take_control(self, wire: Wire, peer: int, event: Event) -> None:
        if event[0] == "open":
            self.start(self._beat(wire, peer))
        elif event[0] == "data" and self.answers(peer):
            with contextlib.suppress(Malformed):  # what she has asked for, she may get
                for answer in self._said[peer].take(event[1]):
                    wire.link.write(answer)

    async def _beat(self, wire: Wire, peer: int) -> None:
        while not wire.closed.is_set() and self.answers(peer):
            wire.link.write(self._said[peer].ping())
            wire.flush()
            await asyncio.sleep(2)

    def _take_data(self, wire: Wire, peer: int, epoch: int, event: Event) -> None:
        engine = self.engines[epoch]
        if not self.hears(peer, event):
            return
        if event[0] == "data":
            engine.feed(peer, event[1])
        elif event[0] == "fin":
            wire.link.fin()

    def send_data(self, epoch: int) -> Callable[[int, bytes | None], None]:
        """How her program sends to a peer; None is the end of what it has to say."""

        def send(peer: int, data: bytes | None) -> None:
            wire = self.data[peer, epoch]
            if data is None:
                wire.link.fin()
            else:
                wire.link.write(data)
            wire.flush()

        return send

    def goodbye(self, reason: str, detail: str = "") -> None:
        """On every link that stands."""
        for wire in (*self.control.values(), *self.data.values()):
            wire.goodbye(reason, detail)
