"""Round trips by ICMP and ICMPv6 echo, answered by the kernel: nothing runs at the other end.

Replies are timed by the kernel's own time stamps, so that a busy machine delays the network only, not the measurement.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import statistics
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from comity.lab.inside import inside
from comity.lab.pcap import checksum

_REQUEST, _REPLY = (8, 128), (0, 129)  # RFC 792, RFC 4443
_TIMESTAMPNS = 35  # SO_TIMESTAMPNS of asm-generic/socket.h, on every machine but parisc, alpha, mips and sparc

EVERY = 0.01
"""Seconds between two requests to one address: short enough for a quick test, longer than a burst would take."""


@dataclass(frozen=True)
class RoundTrips:
    """What came back, in seconds, sorted; and how many requests had no reply."""

    times: tuple[float, ...]
    lost: int

    @property
    def median(self) -> float:
        return statistics.median(self.times) if self.times else float("inf")


@dataclass(eq=False)
class Probe:
    """Requests from one namespace to some addresses of one family."""

    sock: socket.socket
    family: int
    targets: Sequence[str]
    count: int

    def __post_init__(self) -> None:
        self.sent: dict[tuple[str, int], int] = {}
        self.times: dict[str, list[float]] = {target: [] for target in self.targets}
        self.identity = int.from_bytes(os.urandom(2), "big")
        self.done = asyncio.Event()

    async def run(self, patience: float) -> dict[str, RoundTrips]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.sock, self.read)
        try:
            for number in range(self.count):
                for target in self.targets:
                    self.send(target, number)
                await asyncio.sleep(EVERY)
            with contextlib.suppress(TimeoutError):  # what is missing by then is lost
                async with asyncio.timeout(patience):
                    await self.done.wait()
        finally:
            loop.remove_reader(self.sock)
        return {
            target: RoundTrips(tuple(sorted(times)), self.count - len(times)) for target, times in self.times.items()
        }

    def send(self, target: str, number: int) -> None:
        packet = struct.pack("!BBHHH", _REQUEST[self.family == 6], 0, 0, self.identity, number)
        if self.family == 4:  # the kernel puts in that of ICMPv6
            packet = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]
        self.sent[target, number] = time.time_ns()
        try:
            self.sock.sendto(packet, (target, 0))
        except OSError:  # no route: counts as lost
            return

    def read(self) -> None:
        data, ancillary, _, (source, *_) = self.sock.recvmsg(2048, 128)
        if self.family == 4:
            data = data[(data[0] & 15) * 4 :]
        if len(data) < 8:
            return
        kind, _, _, identity, number = struct.unpack_from("!BBHHH", data)
        sent = self.sent.pop((source, number), None) if identity == self.identity else None
        if kind != _REPLY[self.family == 6] or sent is None:
            return
        seconds, nanoseconds = struct.unpack("@ll", ancillary[0][2])
        self.times[source].append((seconds * 1_000_000_000 + nanoseconds - sent) / 1e9)
        if sum(map(len, self.times.values())) == self.count * len(self.targets):
            self.done.set()


async def round_trips(
    wanted: Mapping[int | str, Sequence[str]], *, count: int = 5, patience: float = 2.0
) -> dict[int | str, dict[str, RoundTrips]]:
    """From namespaces (pid or path) to addresses: `count` requests each, replies awaited for `patience` seconds."""
    probes: list[tuple[int | str, Probe]] = []
    try:
        for netns, targets in wanted.items():
            for family in (4, 6):
                mine = [target for target in targets if ipaddress.ip_address(target).version == family]
                if mine:
                    probes.append((netns, Probe(inside(netns, partial(_socket, family)), family, mine, count)))
        async with asyncio.TaskGroup() as group:
            tasks = [(netns, group.create_task(probe.run(patience))) for netns, probe in probes]
    finally:
        for _, probe in probes:
            probe.sock.close()
    found: dict[int | str, dict[str, RoundTrips]] = {netns: {} for netns in wanted}
    for netns, task in tasks:
        found[netns].update(task.result())
    return found


def _socket(family: int) -> socket.socket:
    kind, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if family == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    sock = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    return sock
