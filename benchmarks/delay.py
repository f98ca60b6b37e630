"""What the lab's delay core does to packets: python -m benchmarks.delay [SECONDS]

Two namespaces of this program's own, with root or with a user namespace around it (`unshare -Ur`). Round trips are
ICMP's, timed by the kernel; throughput is one TCP connection between two processes, its first second left out; loss
and rate are what a UDP socket received. Intervals are of 95 %.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import socket
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from tests.lab.spaces import Space, missing, spaces

from comity.lab.delay import DelayCore
from comity.lab.echo import round_trips
from comity.lab.inside import inside
from comity.lab.tun import open_tun

ADDRESSES = {"a": "203.0.114.1", "b": "203.0.115.1"}
TARGETS = 0, 10, 80, 150, 300
"""Round trips, in ms."""
PACKETS = 20_000
"""For a loss."""

RECEIVE = """
import socket, sys, time
server = socket.create_server((sys.argv[1], 9000))
print("ready", flush=True)
sock, _ = server.accept()
room, count, begin, first = bytearray(1 << 20), 0, 0.0, 0
while got := sock.recv_into(room):
    count += got
    now = time.monotonic()
    if not begin:
        begin = now
    elif not first and now > begin + 1:
        first, since = count, now
print((count - first) * 8 / (time.monotonic() - since))
"""
SEND = """
import socket, sys, time
sock = socket.socket()
if sys.argv[3]:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[3].encode())
sock.connect((sys.argv[1], 9000))
end, block = time.monotonic() + 1 + float(sys.argv[2]), bytes(1 << 20)
while time.monotonic() < end:
    sock.sendall(block)
print(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode())
"""
SPIN = "while True: pass"


class World:
    def __init__(self, machines: Sequence[Space], core: DelayCore) -> None:
        self.a, self.b = machines
        self.core = core

    async def distance(self, rtt: float, *, loss: float = 0.0, rate: float = 0.0) -> None:
        """Set it, in ms; the lateness is counted anew."""
        await self.core.path("a", "b", delay=rtt / 2000, loss=loss, rate=rate)
        await self.core.lateness()

    async def late(self) -> str:
        found = await self.core.lateness()
        if not found.packets:
            return "nothing was to be late"
        return " / ".join(f"{seconds * 1e3:.2f}" for seconds in (found.p50, found.p99, found.max)) + " ms"


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with spaces("a", "b") as machines:
        core = await DelayCore.start(seed=int.from_bytes(os.urandom(4), "big"))
        try:
            for machine in machines:
                tun, own = open_tun(machine.pid), f"{ADDRESSES[machine.name]}/32"
                await core.attach(machine.name, machine.name, [own], tun)
                machine.up("wan", [own], ["direct"])
            yield World(machines, core)
        finally:
            await core.end()


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Processes of normal priority that never rest."""
    with ExitStack() as stack:
        for _ in range(cores):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN]))
            stack.callback(process.kill)
        yield


async def distances(it: World, seconds: float) -> None:
    print("\n  target   median   5 % .. 95 %         largest   late p50 / p99 / max")
    for rtt in TARGETS:
        await it.distance(rtt)
        target = ADDRESSES["b"]
        found = (await round_trips({it.a.pid: [target]}, count=int(seconds * 100)))[it.a.pid][target]
        times = [second * 1e3 for second in found.times]
        low, *_, high = statistics.quantiles(times, n=20)
        print(
            f"  {rtt:6}   {statistics.median(times):6.2f}   {low:6.2f} .. {high:6.2f}   {times[-1]:8.2f}   "
            f"{await it.late()}" + (f"   {found.lost} lost" if found.lost else "")
        )


async def throughput(
    it: World, rtt: float, seconds: float, congestion: str, rate: float = 0.0, loss: float = 0.0
) -> None:
    await it.distance(rtt, rate=rate, loss=loss)
    receiver = it.b.start(sys.executable, "-c", RECEIVE, ADDRESSES["b"])
    assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n"
    command = it.a.command(sys.executable, "-c", SEND, ADDRESSES["b"], str(seconds), congestion)
    sender = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    used = (await sender.communicate())[0].decode().strip()
    bits = float(await asyncio.to_thread(receiver.stdout.readline))
    receiver.wait()
    limit = f" of {rate / 1e6:.0f}" if rate else ", in single packets" if loss else ""
    print(f"  TCP at {rtt:3} ms, {used:5}: {bits / 1e6:7.0f} Mb/s{limit}   late {await it.late()}")


async def loss(it: World, share: float) -> None:
    """Wilson's interval for what arrived."""
    await it.distance(2, loss=share)
    count = await _arrivals(it, PACKETS, 100, 0.002)
    z, n, p = 1.96, PACKETS, 1 - len(count) / PACKETS
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    width = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    print(f"  loss {share:.3f}: {p:.4f} [{middle - width:.4f}, {middle + width:.4f}] of {n} packets")


async def rate(it: World, bits: float) -> None:
    """Ten bursts; the interval is Student's."""
    found = []
    for _ in range(10):
        await it.distance(2, rate=bits)
        count = max(60, int(bits * 0.06 / 8000))  # 60 ms, which a pipe's buffer takes
        times = await _arrivals(it, count, count, 0)
        found.append((len(times) - 1) * 1000 * 8 / (times[-1] - times[0]))
    mean, width = statistics.mean(found), 2.262 * statistics.stdev(found) / math.sqrt(10)
    print(
        f"  rate {bits / 1e6:.0f} Mb/s: {mean / 1e6:.2f} [{(mean - width) / 1e6:.2f}, {(mean + width) / 1e6:.2f}] Mb/s"
    )


async def _arrivals(it: World, count: int, burst: int, pause: float) -> list[float]:
    """When packets of 1000 bytes arrived, by the kernel's clock."""

    def make(name: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        sock.bind((ADDRESSES[name], 9))
        return sock

    def take() -> None:
        while True:
            try:
                _, ancillary, _, _ = receiver.recvmsg(1000, 128)
            except BlockingIOError:
                return
            seconds, nanoseconds = (int.from_bytes(ancillary[0][2][k : k + 8], sys.byteorder) for k in (0, 8))
            times.append(seconds + nanoseconds / 1e9)

    times: list[float] = []
    loop = asyncio.get_running_loop()
    sender, receiver = inside(it.a.pid, lambda: make("a")), inside(it.b.pid, lambda: make("b"))
    with sender, receiver:
        loop.add_reader(receiver, take)
        for start in range(0, count, burst):
            for _ in range(start, min(start + burst, count)):
                sender.sendto(bytes(1000 - 28), (ADDRESSES["b"], 9))
            await asyncio.sleep(pause)
        before = -1
        while len(times) != before:  # until nothing has come for a while
            before = len(times)
            await asyncio.sleep(0.3)
        loop.remove_reader(receiver)
    return times


async def netem() -> None:
    """The same distance by the kernel's own means, where it has them."""
    with spaces("c", "d") as (c, d):
        c.wire(d, "wan", "wan")
        c.up("wan", ["203.0.117.1/24"])
        d.up("wan", ["203.0.117.2/24"])
        command = c.command("tc", "qdisc", "add", "dev", "wan", "root", "netem", "delay", "80ms")
        done = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        said = (await done.communicate())[1].decode().strip()
        if done.returncode:
            print(f"  netem: this kernel has none ({said})")
            return
        found = (await round_trips({c.pid: ["203.0.117.2"]}, count=50))[c.pid]["203.0.117.2"]
        print(f"  netem, 80 ms: {found.median * 1e3:.2f} ms")


async def main(seconds: float) -> None:
    why = missing()
    if why:
        raise SystemExit(why)
    load = os.getloadavg()[0]
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, load {load:.1f} before it began")
    async with world() as it:
        print(f"delay core: {'SCHED_RR' if it.core.realtime else 'normal priority'}")
        await distances(it, seconds)
        cores = os.cpu_count() or 1
        print(f"\n  with {cores} processes that never rest:", end="")
        with busy(cores):
            await distances(it, seconds)
        print()
        allowed = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text(encoding="ascii").split()
        for rtt in (0, 10, 80):
            for congestion in ("cubic", "bbr"):
                if congestion in allowed:
                    await throughput(it, rtt, seconds, congestion)
        await throughput(it, 10, seconds, "", loss=1e-9)
        await throughput(it, 20, seconds, "", rate=100e6)
        print()
        for share in (0.001, 0.01, 0.1):
            await loss(it, share)
        for bits in (1e6, 10e6, 100e6):
            await rate(it, bits)
    await netem()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
