"""The delay core in real namespaces: distances, loss, rate, and what is changed while it runs."""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.lab.spaces import Space, missing, spaces

from comity.errors import ComityError, UsageError
from comity.lab.delay import DelayCore
from comity.lab.echo import RoundTrips, round_trips
from comity.lab.inside import inside
from comity.lab.tun import open_tun

pytestmark = [pytest.mark.lab, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NAMES = "a", "b", "c"
ADDRESSES = {"a": "203.0.114.1", "b": "203.0.115.1", "c": "203.0.116.1"}
ADDRESSES6 = {name: f"2001:db8:{name}::1" for name in NAMES}
TOLERANCE = 0.002
"""Seconds: for a machine that does other things; benchmarks/delay.py measures what it is."""


class World:
    """Three machines on an internet, each in a region of its name."""

    def __init__(self, machines: list[Space], core: DelayCore) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self.core = core

    async def ping(self, a: str, b: str, *, count: int = 5, patience: float = 1.0, family: int = 4) -> RoundTrips:
        pid, target = self.machines[a].pid, (ADDRESSES if family == 4 else ADDRESSES6)[b]
        return (await round_trips({pid: [target]}, count=count, patience=patience))[pid][target]


@pytest.fixture(scope="module")
def machines() -> Iterator[list[Space]]:
    with spaces(*NAMES) as made:
        yield made


@pytest.fixture
async def world(machines: list[Space]) -> AsyncIterator[World]:
    core = await DelayCore.start(seed=7)
    try:
        for machine in machines:
            tun = open_tun(machine.pid)
            own = [f"{ADDRESSES[machine.name]}/32", f"{ADDRESSES6[machine.name]}/128"]
            await core.attach(machine.name, machine.name, own, tun)
            machine.up("wan", own, ["direct"])
            machine.run("ip", "-6", "route", "add", "default", "dev", "wan")
        yield World(machines, core)
    finally:
        await core.end()


async def test_round_trips_are_what_was_asked_for(world: World) -> None:
    for rtt in (0, 0.01, 0.08):
        await world.core.path("a", "b", delay=rtt / 2)
        for family in (4, 6):
            found = await world.ping("a", "b", family=family)
            assert found.lost == 0
            assert rtt <= found.median < rtt + TOLERANCE
    lateness = await world.core.lateness()
    assert lateness.packets == 2 * 2 * 2 * 5
    assert 0 < lateness.p50 <= lateness.p99 <= lateness.max < 1
    assert (await world.core.lateness()).packets == 0


async def test_it_has_real_time_priority_or_says_that_it_has_not(world: World) -> None:
    assert (os.sched_getscheduler(world.core.pid) == os.SCHED_RR) == world.core.realtime


async def test_a_line_goes_down_and_up_and_moves(world: World) -> None:
    await world.core.path("a", "b", delay=0.005)
    await world.core.link("b", up=False)
    assert (await world.ping("a", "b", count=2, patience=0.1)).lost == 2
    await world.core.link("b")
    assert (await world.ping("a", "b", count=2)).lost == 0
    await world.core.path("c", "b", delay=0.03)
    await world.core.move("a", "c")
    assert (await world.ping("a", "b")).median == pytest.approx(0.06, abs=TOLERANCE)
    await world.core.partition([["a", "c"], ["b"]])
    assert (await world.ping("a", "b", count=2, patience=0.1)).lost == 2
    assert (await world.ping("a", "c", count=2)).lost == 0
    counts = await world.core.counts()
    assert counts["a"]["down"] == 2 and counts["a"]["partition"] == 2 and counts["a"]["sent bytes"] > 100


async def test_large_tcp_passes_whole_and_is_cut_where_packets_count(world: World, tmp_path: Path) -> None:
    """With loss or a rate, one packet is one packet: no capture holds a larger one than the interface sends."""
    largest = {}
    for loss in (0.0, 1e-9):
        await world.core.path("a", "b", delay=0.001, loss=loss)
        file = tmp_path / "a.pcap"
        await world.core.capture("a", file)
        _transfer(world, "a", "b", 1 << 20)
        await world.core.capture("a", None)
        largest[loss] = max(length for _, length in _packets(file))
    assert largest[0.0] > 10000
    assert largest[1e-9] <= 1500


async def test_a_rate_is_kept(world: World, tmp_path: Path) -> None:
    """By the times of a capture at the far end: 200 packets of 1000 bytes, sent at once."""
    await world.core.path("a", "b", delay=0.001, rate=20e6)
    file = tmp_path / "b.pcap"
    await world.core.capture("b", file)
    with _udp(world, "a") as sender, _udp(world, "b") as receiver:
        for _ in range(200):
            sender.sendto(bytes(1000 - 28), (ADDRESSES["b"], 9))
        for _ in range(200):
            await asyncio.get_running_loop().sock_recv(receiver, 1000)
    times = [when for when, _ in _packets(file)]
    assert (times[199] - times[0]) * 20e6 == pytest.approx(199 * 8000, rel=0.05)


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
async def test_a_capture_is_read_by_tcpdump_with_right_checksums(world: World, tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    await world.core.capture("a", file)
    await world.ping("a", "b", count=3)
    _transfer(world, "a", "b", 1000)
    await world.core.capture("a", None)
    size = file.stat().st_size
    await world.ping("a", "b", count=1)
    assert file.stat().st_size == size
    text = _text(file)
    assert text.count("ICMP echo request") == text.count("ICMP echo reply") == 3
    assert "Flags [S]" in text and "(correct)" in text
    assert "incorrect" not in text and "bad cksum" not in text


async def test_mistakes_are_told_and_change_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is attached as d"):
        await world.core.link("d", up=False)
    with pytest.raises(UsageError, match="not negative"):
        await world.core.path("a", "b", delay=-1)
    with pytest.raises(UsageError, match="a is attached already"):
        await world.core.attach("a", "a", [], os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(UsageError, match="no capture of a"):
        await world.core.capture("a", tmp_path / "absent" / "a.pcap")
    with pytest.raises(UsageError, match="no TUN device"):
        open_tun("/proc/self/ns/absent")
    assert (await world.ping("a", "b")).lost == 0


async def test_its_devices_go_with_it(world: World) -> None:
    assert "wan" in world.machines["c"].run("ip", "link")
    await world.core.detach("c")
    assert "wan" not in world.machines["c"].run("ip", "link")
    await world.core.end()
    assert "wan" not in world.machines["a"].run("ip", "link")
    with pytest.raises(ComityError, match="the delay core has ended"):
        await world.core.lateness()


RECEIVE = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
print("ready", flush=True)
sock, _ = server.accept()
while sock.recv(1 << 20): pass
"""
SEND = """
import socket, sys
sock = socket.create_connection((sys.argv[1], 9000))
sock.sendall(bytes(int(sys.argv[2])))
sock.shutdown(socket.SHUT_WR)
sock.recv(1)
"""


def _udp(world: World, name: str) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((ADDRESSES[name], 9))
        return sock

    return inside(world.machines[name].pid, make)


def _transfer(world: World, a: str, b: str, size: int) -> None:
    receiver = world.machines[b].start("python3", "-c", RECEIVE)
    assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n"
    world.machines[a].run("python3", "-c", SEND, ADDRESSES[b], str(size))
    receiver.wait()


def _text(file: Path) -> str:
    return subprocess.run(["tcpdump", "-v", "-n", "-r", file], check=True, capture_output=True, text=True).stdout


def _packets(file: Path) -> list[tuple[float, int]]:
    """Time and length of each packet of a capture, by the format's own lengths."""
    data, at, found = file.read_bytes(), 24, []
    while at < len(data):
        seconds, nanoseconds, length, _ = struct.unpack_from("=IIII", data, at)
        found.append((seconds + nanoseconds / 1e9, length))
        at += 16 + length
    return found
