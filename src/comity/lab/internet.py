"""The emulated internet as a machine without I/O: packets in, packets out when they are due.

    attachment --uplink--> [pipe] --loss--> delay +- jitter     one stage
               --path----> [pipe] --loss--> delay +- jitter     between two regions, or inside one
               --downlink> [pipe] --loss--> delay +- jitter     of the other attachment

An attachment is one WAN interface: a public host or a site's router. Its packets find their way by their destination;
one whose source is not its own is dropped, as providers do. Stages without a rate are added up, so that most flows
have a single one. A pipe sends one packet after another at its rate, with a bounded buffer in front of it; the pipe of
a path is shared by all that goes from one region to the other. Jitter is uniform and never reorders a flow's packets.

Seconds, bytes and bits per second throughout; `now` and randomness are arguments.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

HEADER = 10
"""Bytes of a virtio_net_hdr in front of each packet: how a superpacket is to be cut, and where its checksum goes."""

MAX_HELD = 64 << 20
"""Bytes under way from one attachment: sixteen connections with the kernel's largest window of 4 MiB."""

BUFFER = 0.1
"""Seconds that a pipe's buffer holds at its rate: about one round trip, the usual size of a router's."""

MIN_BUFFER = 32 * 1500
"""Bytes that a pipe's buffer holds at least: slow lines queue more than a tenth of a second."""

MAX_FLOWS = 4096
"""Address pairs that an attachment remembers: the table starts anew when a scan fills it."""


class Pipe:
    """One packet after another, at a rate."""

    __slots__ = ("free", "limit", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.limit = max(BUFFER, MIN_BUFFER * 8 / rate)  # seconds of waiting
        self.free = 0.0

    def enter(self, now: float, size: int) -> float | None:
        """When a packet has left it; None if its buffer is full."""
        start = max(now, self.free)
        if start - now > self.limit:
            return None
        self.free = start + size * 8 / self.rate
        return self.free


@dataclass(frozen=True)
class Shape:
    """What a stage does to packets."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay, self.jitter, self.rate) < 0 or not 0 <= self.loss <= 1:
            raise ValueError("delay, jitter and rate are not negative, and loss lies between 0 and 1")

    @property
    def cuts(self) -> bool:
        """Whether it matters what counts as one packet."""
        return self.loss > 0 or self.rate > 0


@dataclass(eq=False, slots=True)
class Stage:
    shape: Shape
    pipe: Pipe | None


@dataclass(eq=False)
class Attachment:
    name: str
    region: str
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    descriptor: int
    shape: Shape = Shape()
    up: bool = True

    def __post_init__(self) -> None:
        self.whole = True  # whether it hands over superpackets
        self.group: int | None = None
        self.held = 0
        self.flows: dict[bytes, Flow | str] = {}
        self.counts: Counter[str] = Counter()
        self.reshape(self.shape)

    def reshape(self, shape: Shape) -> None:
        """The same line both ways, each with its own pipe."""
        self.shape = shape
        self.uplink, self.downlink = (Stage(shape, Pipe(shape.rate) if shape.rate else None) for _ in range(2))


class Flow:
    """From one attachment to another: what packets pass, with what has no pipe added up."""

    __slots__ = ("last", "simple", "source", "stages", "target")

    def __init__(self, source: Attachment, target: Attachment, stages: Sequence[Stage]) -> None:
        self.source, self.target = source, target
        self.stages: list[tuple[Pipe | None, float, float, float]] = []
        for stage in stages:
            pipe, shape = stage.pipe, stage.shape
            if pipe is None and self.stages:
                before, delay, jitter, loss = self.stages.pop()
                kept = 1 - (1 - loss) * (1 - shape.loss)
                self.stages.append((before, delay + shape.delay, jitter + shape.jitter, kept))
            else:
                self.stages.append((pipe, shape.delay, shape.jitter, shape.loss))
        self.last = [0.0] * len(self.stages)
        pipe, delay, jitter, loss = self.stages[0]
        self.simple = delay if len(self.stages) == 1 and pipe is None and not jitter and not loss else None


class Internet:
    """Attachments, the paths between their regions, and the packets that are under way."""

    def __init__(self, seed: int = 0) -> None:
        self.attachments: dict[str, Attachment] = {}
        self._paths: dict[tuple[str, str], Stage] = {}
        self._heap: list[tuple[float, int, Flow, int, bytes]] = []
        self._serial = 0
        self._random = Random(seed)  # noqa: S311 - which packets are lost, not a secret

    def attach(self, name: str, region: str, networks: Iterable[str], descriptor: int = -1) -> Attachment:
        if name in self.attachments:
            raise ValueError(f"{name} is attached already")
        parsed = tuple(ipaddress.ip_network(network) for network in networks)
        for other in self.attachments.values():
            for mine in parsed:
                if mine in other.networks:
                    raise ValueError(f"{mine} belongs to {other.name}")
        self._forget()
        self.attachments[name] = Attachment(name, region, parsed, descriptor)
        return self.attachments[name]

    def detach(self, name: str) -> Attachment:
        """It is gone; so is what is under way to it."""
        attachment = self._named(name)
        del self.attachments[name]
        attachment.up = False
        self._forget()
        return attachment

    def path(self, a: str, b: str, shape: Shape) -> None:
        """Between two regions, both ways; or inside one."""
        for pair in {(a, b), (b, a)}:
            self._paths[pair] = Stage(shape, Pipe(shape.rate) if shape.rate else None)
        self._forget()

    def link(self, name: str, shape: Shape, *, up: bool) -> None:
        """One attachment's line, on top of every path."""
        attachment = self._named(name)
        attachment.reshape(shape)
        attachment.up = up
        self._forget()

    def move(self, name: str, region: str) -> None:
        self._named(name).region = region
        self._forget()

    def partition(self, groups: Sequence[Sequence[str]]) -> None:
        """No packet passes between two groups; who is in none is cut off from nobody. No groups: all is well."""
        named = [self._named(name) for group in groups for name in group]
        if len({attachment.name for attachment in named}) < len(named):
            raise ValueError("a name stands in two groups")
        for attachment in self.attachments.values():
            attachment.group = next((k for k, group in enumerate(groups) if attachment.name in group), None)
        self._forget()

    def counting(self) -> set[str]:
        """Regions whose packets must come one by one: something that they may pass counts them."""
        there = {attachment.region for attachment in self.attachments.values()}
        if any(attachment.shape.cuts for attachment in self.attachments.values()):
            return there
        return {a for (a, b), way in self._paths.items() if way.shape.cuts and {a, b} <= there}

    def send(self, attachment: Attachment, packet: bytes, now: float) -> Attachment | None:
        """Take a packet, header in front; if it is due at once, say to whom. Packets that are lost are counted."""
        version = packet[HEADER] >> 4 if len(packet) > HEADER else 0
        first, last = (HEADER + 12, HEADER + 20) if version == 4 else (HEADER + 8, HEADER + 40)
        key = packet[first:last]
        flow = attachment.flows.get(key) or self._find(attachment, key)
        if isinstance(flow, str):
            attachment.counts[flow] += 1
            return None
        if attachment.held > MAX_HELD:
            attachment.counts["queue"] += 1
            return None
        counts = attachment.counts
        counts["sent"] += 1
        counts["sent bytes"] += len(packet) - HEADER
        delay = flow.simple
        if delay is None:
            attachment.held += len(packet)
            self._enter(flow, 0, packet, now)
        elif delay:
            attachment.held += len(packet)
            self._serial += 1
            heapq.heappush(self._heap, (now + delay, self._serial, flow, 1, packet))
        else:
            return flow.target
        return None

    @property
    def due(self) -> float | None:
        """When something happens next."""
        return self._heap[0][0] if self._heap else None

    def deliver(self, now: float) -> Iterator[tuple[float, Attachment, bytes]]:
        """What is due: when it was, for whom, and the packet."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, _, flow, stage, packet = heapq.heappop(heap)
            if stage < len(flow.stages):
                self._enter(flow, stage, packet, due)
                continue
            flow.source.held -= len(packet)
            target = flow.target
            if not target.up:
                target.counts["down"] += 1
                continue
            yield due, target, packet

    def _enter(self, flow: Flow, k: int, packet: bytes, now: float) -> None:
        pipe, delay, jitter, loss = flow.stages[k]
        when: float | None = now
        if pipe is not None:
            when = pipe.enter(now, len(packet) - HEADER)
        if when is None or (loss and self._random.random() < loss):
            flow.source.counts["queue" if when is None else "loss"] += 1
            flow.source.held -= len(packet)
            return
        when += delay
        if jitter:
            when = max(when + jitter * (2 * self._random.random() - 1), now, flow.last[k])
            flow.last[k] = when
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, flow, k + 1, packet))

    def _find(self, attachment: Attachment, key: bytes) -> Flow | str:
        """The flow of an address pair, or why there is none."""
        found = self._flow(attachment, key)
        if len(attachment.flows) >= MAX_FLOWS:
            attachment.flows.clear()
        attachment.flows[key] = found
        return found

    def _flow(self, attachment: Attachment, key: bytes) -> Flow | str:
        if len(key) not in (8, 32):
            return "not ip"
        middle = len(key) // 2
        source, target = (ipaddress.ip_address(part) for part in (key[:middle], key[middle:]))
        if target.is_multicast or target.is_unspecified or source.is_unspecified:
            return "multicast"
        if not attachment.up:
            return "down"
        if not any(source in network for network in attachment.networks):
            return "foreign source"
        to = max(
            (
                (network.prefixlen, k, other)
                for k, other in enumerate(self.attachments.values())
                for network in other.networks
                if target in network
            ),
            default=(0, 0, None),
        )[2]
        if to is None:
            return "no route"
        if not to.up:
            return "down"
        if attachment.group is not None and to.group is not None and attachment.group != to.group:
            return "partition"
        way = self._paths.get((attachment.region, to.region), Stage(Shape(), None))
        return Flow(attachment, to, (attachment.uplink, way, to.downlink))

    def _named(self, name: str) -> Attachment:
        if name not in self.attachments:
            raise ValueError(f"nothing is attached as {name}")
        return self.attachments[name]

    def _forget(self) -> None:
        for attachment in self.attachments.values():
            attachment.flows.clear()
