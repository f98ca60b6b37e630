"""The delay core, as a lab holds it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.errors import ComityError, UsageError

MODULE = "comity.lab.delaycore"


@dataclass(frozen=True)
class Lateness:
    """How long after they were due packets were delivered, in seconds (to 10 us, the largest exactly)."""

    p50: float
    p99: float
    max: float
    packets: int


class DelayCore:
    """A process that carries packets between TUN devices, each after its delay. Whoever starts it awaits `end`."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        self._process, self._sock = process, sock
        self._one = asyncio.Lock()
        self._serial = 0
        self.realtime = False
        """Whether it is scheduled before normal processes (SCHED_RR); otherwise delays are longer on a busy machine."""

    @classmethod
    async def start(cls, *, seed: int = 0) -> DelayCore:
        """`seed`: of the draws for loss and jitter."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", MODULE, str(theirs.fileno()), str(seed)),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the lab, which ends it last
            )
        self = cls(process, ours)
        try:
            self.realtime = bool((await self._ask("start"))["realtime"])
        except BaseException:
            await self.end()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> None:
        """Returns when it is gone, by `end` or against everybody's wish."""
        await self._process.wait()

    async def end(self) -> None:
        """Every packet under way is lost, every device gone."""
        self._sock.close()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def attach(self, name: str, region: str, networks: Sequence[str], tun: int) -> None:
        """A WAN interface: its region, and the networks that are reached by it. `tun` belongs to the core from now."""
        try:
            await self._ask("attach", tun, name=name, region=region, networks=list(networks))
        finally:
            os.close(tun)

    async def detach(self, name: str) -> None:
        await self._ask("detach", name=name)

    async def path(self, a: str, b: str, *, delay: float, jitter: float = 0, loss: float = 0, rate: float = 0) -> None:
        """Between two regions, or inside one: one-way delay and jitter in seconds, loss as a share, rate in bit/s."""
        await self._ask("path", a=a, b=b, delay=delay, jitter=jitter, loss=loss, rate=rate)

    async def link(
        self, name: str, *, up: bool = True, delay: float = 0, jitter: float = 0, loss: float = 0, rate: float = 0
    ) -> None:
        """One attachment's line, both ways, on top of the path."""
        await self._ask("link", name=name, up=up, delay=delay, jitter=jitter, loss=loss, rate=rate)

    async def move(self, name: str, region: str) -> None:
        """To another region, its addresses with it. What is under way arrives as it would have."""
        await self._ask("move", name=name, region=region)

    async def partition(self, groups: Sequence[Sequence[str]] = ()) -> None:
        """No packet passes between two groups of attachments; who is in none is cut off from nobody."""
        await self._ask("partition", groups=[list(group) for group in groups])

    async def capture(self, name: str, path: Path | None) -> None:
        """Write all packets of an attachment to a new pcap file, until another call; at most a gigabyte."""
        if path is None:
            await self._ask("capture", name=name)
            return
        try:
            file = path.open("wb")
        except OSError as exc:
            raise UsageError(f"no capture of {name}: {exc}") from exc
        with file:
            await self._ask("capture", file.fileno(), name=name)

    async def lateness(self) -> Lateness:
        """Since the last time that it was asked for."""
        return Lateness(**await self._ask("lateness"))

    async def counts(self) -> dict[str, dict[str, int]]:
        """For each attachment: packets (and bytes) sent, packets received, and packets dropped, by reason."""
        return await self._ask("counts")

    async def _ask(self, do: str, descriptor: int | None = None, **arguments: object) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with self._one:
            self._serial += 1
            request = json.dumps({"do": do, "serial": self._serial, **arguments}).encode()
            result: dict[str, Any] = {}
            with contextlib.suppress(OSError):
                socket.send_fds(self._sock, [request], [] if descriptor is None else [descriptor])
                while result.get("serial") != self._serial:  # the answer to somebody who was cancelled
                    result = json.loads(await loop.sock_recv(self._sock, 1 << 18) or b"{}")
                    if not result:
                        break
        if not result:
            raise ComityError("the delay core has ended")
        if "error" in result:
            raise UsageError(result["error"])
        answer: dict[str, Any] = result["answer"]
        return answer
