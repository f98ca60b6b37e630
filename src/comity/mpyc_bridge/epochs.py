"""The links of this process: a set of them for each epoch, that is for each start of MPyC's runtime.

MPyC asks once per start for a server (the lower parties come) and once for each higher party. The k-th time is epoch
k - 1. The first question of an epoch begins all its links at once; the answer to MPyC waits until the far end is there,
since for MPyC a connection counts for good.

Channels come from the node, before they are wanted or when asked for. The lower party of a pair is TLS client and
chooses: it tries one channel after another. The higher one cannot know which will be chosen and greets on all of them;
the first hello carries, the others are closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from socket import socket
from typing import Any

from comity.core.preface import DATA
from comity.errors import ComityError, PeerError, ProgramError
from comity.links.link import Goodbye
from comity.links.pairing import Pairing
from comity.links.stream import Depth, Outbox, Stream, attach
from comity.mpyc_bridge.control import Closed, Fault, Given, Keys, Linked, Message, Running, Stalled, Wants
from comity.mpyc_bridge.exchange import PATIENCE, Exchange
from comity.mpyc_bridge.stalls import LOOK_SECONDS, MESSAGE, START, UNREAD, Stalls, State

TRIES = 3
"""Channels of one link that may be lost before its hello; the next one lost is the network's answer."""

Factory = Callable[[], Any]
"""What MPyC gives to make its end of a connection."""


class Epochs:
    def __init__(
        self, number: int, names: tuple[str, ...], report: Callable[[Message], None], fault: Callable[[Fault], None]
    ) -> None:
        self.number, self.names = number, names
        self.report, self.fault = report, fault
        self.depth, self.outbox = Depth(), Outbox()
        self.keys = Keys(b"", b"", b"", ())
        self.incarnation = secrets.token_bytes(16)
        self._begun: list[Epoch] = []
        self._early: dict[int, list[tuple[Given, socket]]] = {}  # channels by epochs that have not begun
        self._served = 0
        self._connected: Counter[int] = Counter()
        self._stalls, self._stalled = Stalls(), False
        self.passed_on: Fault | None = None  # what a peer said of another one, which has a moment to speak itself
        self.began: float | None = None  # of the clock perf_counter: the runtime's first start is over
        self.stopped: float | None = None  # and its last stop, if it has stopped

    @property
    def count(self) -> int:
        return len(self._begun)

    @property
    def links(self) -> list[PeerLink]:
        return [link for epoch in self._begun for link in epoch.links.values()]

    @property
    def settled(self) -> bool:
        """Whether the program has shut its runtime down as often as it started it."""
        return all(link.exchange.settled for link in self.links)

    def give(self, given: Given, channel: socket) -> None:
        """Take a channel over from the node."""
        if given.epoch < len(self._begun):
            self._begun[given.epoch].links[given.peer].offer(given, channel)
        else:
            self._early.setdefault(given.epoch, []).append((given, channel))

    def serve(self, factory: Factory) -> None:
        """MPyC awaits the lower parties."""
        self._served += 1
        self._epoch(self._served - 1).serve(factory)

    async def connect(self, peer: int, factory: Factory) -> tuple[asyncio.Transport, Any]:
        """MPyC connects to a higher party; returns when the link stands."""
        self._connected[peer] += 1
        return await self._epoch(self._connected[peer] - 1).links[peer].connect(factory)

    def started(self) -> None:
        self.began, self.stopped = self.began or time.perf_counter(), None

    def stop(self) -> None:
        self.stopped = time.perf_counter()

    def _look(self) -> None:
        """Tell the node for whom the program waits, while it waits and once when that is over."""
        states = ((link.peer, link.state) for link in self._begun[-1].links.values())
        waits = self._stalls.look(time.monotonic(), states)
        if waits or self._stalled:
            self.report(Stalled.of(waits))
        self._stalled = bool(waits)
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def goodbye(self, reason: str, detail: str) -> None:
        for link in self.links:
            link.goodbye(reason, detail)

    def finish(self) -> None:
        for link in self.links:
            link.finish()

    async def over(self) -> None:
        """Return when every link has ended, or needs this process no more."""
        await asyncio.gather(*(link.over.wait() for link in self.links))

    def _epoch(self, index: int) -> Epoch:
        while len(self._begun) <= index:
            epoch = Epoch(self, len(self._begun))
            self._begun.append(epoch)
            for given, channel in self._early.pop(epoch.index, []):
                self.give(given, channel)
            epoch.want()
            if epoch.index == 0:
                self._look()
        return self._begun[index]


class Epoch:
    """One start of MPyC's runtime."""

    def __init__(self, epochs: Epochs, index: int) -> None:
        self.epochs, self.index = epochs, index
        self.running = False
        peers = (peer for peer in range(len(epochs.names)) if peer != epochs.number)
        self.links = {peer: PeerLink(self, peer) for peer in peers}

    def want(self) -> None:
        """Ask the node for what is missing."""
        peers = tuple(peer for peer, link in self.links.items() if link.bare)
        if peers:
            self.epochs.report(Wants(self.index, peers))

    def serve(self, factory: Factory) -> None:
        for peer, link in self.links.items():
            if peer < self.epochs.number:
                link.serve(factory)

    def check(self) -> None:
        """Note when MPyC has all its connections."""
        if not self.running and all(link.exchange.registered for link in self.links.values()):
            self.running = True
            self.epochs.started()
            self.epochs.report(Running(self.index))


class PeerLink:
    """The link to one peer in one epoch, from the first channel to its end."""

    def __init__(self, epoch: Epoch, peer: int) -> None:
        self._epoch, self._epochs, self.peer = epoch, epoch.epochs, peer
        self._name = self._epochs.names[peer]
        self._candidates: dict[int, Stream] = {}  # by the channel's serial number
        self._spare: list[tuple[Given, socket]] = []  # channels that this side, the TLS client, has not tried
        self._attaching: set[asyncio.Task[None]] = set()
        self._lost = 0
        self._factory: Factory | None = None  # of a lower peer, which MPyC awaits
        self._stands = asyncio.Event()
        self.stream: Stream | None = None
        self.exchange = Exchange(peer, self._name, self._fault, epoch.check, self._epochs.stop)
        self.over = asyncio.Event()

    @property
    def bare(self) -> bool:
        """Whether there is no channel to try."""
        return self.stream is None and not self._candidates and not self._spare

    @property
    def state(self) -> State:
        """What the program wants of this peer now."""
        stream, exchange = self.stream, self.exchange
        taken = 0 if stream is None else stream.sent
        return State(self._wanted(), exchange.messages_received, taken)

    def _wanted(self) -> str:
        if self.over.is_set():
            return ""
        if self.stream is None:
            return START if self._epoch.index else ""  # of the first epoch the node itself knows
        exchange = self.exchange
        if not exchange.attached or exchange.peer_finished:
            return ""
        if not exchange.registered or exchange.awaited:
            return MESSAGE
        return UNREAD if self.stream.unsent else ""

    def offer(self, given: Given, channel: socket) -> None:
        """A channel: try it now, later, or not at all."""
        if self.stream is not None or self.over.is_set():
            self._close(given, channel)
        elif self._candidates and self._epochs.number < self.peer:
            self._spare.append((given, channel))
        else:
            self._try(given, channel)

    def serve(self, factory: Factory) -> None:
        self._factory = factory
        if self.stream is not None:
            self._join(factory, self.stream)

    async def connect(self, factory: Factory) -> tuple[asyncio.Transport, Any]:
        while self.stream is None:
            await self._stands.wait()
        return self._join(factory, self.stream)

    def goodbye(self, reason: str, detail: str) -> None:
        """Leave, and say why to whoever is known to be the peer."""
        self._drop()
        if self.stream is None:
            self.over.set()
        else:
            self.stream.goodbye(reason, detail)

    def finish(self) -> None:
        """The program has ended well: nothing follows."""
        self._drop()
        if self.stream is None:
            self.over.set()
        else:
            self.stream.finish()

    def _drop(self) -> None:
        """Close every channel but the one that carries."""
        for serial, stream in self._candidates.items():
            stream.abort()
            self._epochs.report(Closed(serial))
        for given, channel in self._spare:
            self._close(given, channel)
        self._candidates, self._spare = {}, []

    def _close(self, given: Given, channel: socket) -> None:
        channel.close()
        self._epochs.report(Closed(given.serial))

    def _try(self, given: Given, channel: socket) -> None:
        keys = self._epochs.keys
        key, certificate = keys.members[self.peer]
        pairing = Pairing(
            keys.transcript,
            self._epochs.number,
            self.peer,
            self._name,
            DATA,
            self._epoch.index,
            self._epochs.incarnation,
            keys.seed,
            keys.certificate,
            certificate,
            key,
        )
        serial = given.serial
        self._candidates[serial] = stream = Stream(
            pairing,
            given.number,
            self._epochs.depth,
            ready=lambda: self._ready(serial),
            data=self.exchange.feed,
            finished=self._finished,
            ended=lambda error: self._ended(serial, error),
            outbox=self._epochs.outbox,
            timeout=None,  # the peer's program starts its runtime when it likes; the nodes judge who is alive
        )
        channel.setblocking(False)
        task = asyncio.get_running_loop().create_task(attach(stream, channel))
        self._attaching.add(task)
        task.add_done_callback(self._attaching.discard)

    def _ready(self, serial: int) -> None:
        self.stream = self._candidates.pop(serial)
        self._drop()
        self._epochs.report(Linked(self.peer, self._epoch.index, self.stream.round_trip))
        self._stands.set()
        if self._factory is not None:
            self._join(self._factory, self.stream)

    def _join(self, factory: Factory, stream: Stream) -> tuple[asyncio.Transport, Any]:
        """Put MPyC's end and the link together."""
        exchanger = factory()
        transport = self.exchange.attach(exchanger, stream)
        self._epoch.check()
        return transport, exchanger

    def _finished(self) -> None:
        self.exchange.finish(self._epoch.running)

    def _ended(self, serial: int, error: ComityError | None) -> None:
        self._epochs.report(Closed(serial))
        if serial in self._candidates:
            self._not_this(serial, error)
            return
        self.over.set()
        self.exchange.end(error)

    def _not_this(self, serial: int, error: ComityError | None) -> None:
        """A channel ended before its hello. One that was only lost may have been a loser at the other end."""
        del self._candidates[serial]
        self._lost += 1
        if error is not None and (type(error) is not PeerError or self._lost > TRIES):
            self._fault(error)
        elif self._spare and not self._candidates:
            self._try(*self._spare.pop(0))
        elif self.bare:
            self._epoch.want()

    def _fault(self, error: ComityError) -> None:
        """The link's error ends the session. A peer that only passes on whom it blames gives that one time to speak."""
        if isinstance(error, ProgramError):
            self._epochs.fault(Fault(error))
            return
        about = self._blamed(error)
        if about is None:
            self._epochs.fault(Fault(error, self.peer))
            return
        if about == self._epochs.number:  # whoever said so to it may have said something here, too
            you = Fault(PeerError(f"{self._name} left, because of you"), self.peer)
            self._epochs.fault(self._epochs.passed_on or you)
            return
        passed_on = Fault(PeerError(f"{self._name} left, because of {self._epochs.names[about]}"), about)
        self._epochs.passed_on = passed_on
        asyncio.get_running_loop().call_later(PATIENCE, self._epochs.fault, passed_on)

    def _blamed(self, error: ComityError) -> int | None:
        """The number of the party that a goodbye blames, if another than who says it."""
        if not isinstance(error, Goodbye) or not error.detail.isdecimal():
            return None
        about = int(error.detail)
        return about if about < len(self._epochs.names) and about != self.peer else None
