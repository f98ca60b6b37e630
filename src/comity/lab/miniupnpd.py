"""Port mapping by UPnP, NAT-PMP (RFC 6886) and PCP (RFC 6887) in a site's router: miniupnpd, as Debian has it.

It fills chains of the router's own table (nat.UPNP_CHAINS). NAT-PMP and PCP come together in it; the rules drop the
one that a site has not. Behind a carrier's NAT it maps nothing, as real ones do: the address outside is not public.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from comity.core.addressing import LAN, WAN
from comity.errors import ComityError, UsageError
from comity.lab.nat import TABLE, UPNP_CHAINS

DAEMON = "miniupnpd"
START_SECONDS = 10.0
LISTENS = {"upnp": b"HTTP listening", "nat-pmp": b"Listening for NAT-PMP/PCP", "pcp": b"Listening for NAT-PMP/PCP"}
"""What it says of itself when a service can be used."""


def missing() -> str | None:
    """Why there can be no such service here and what to do about it."""
    if shutil.which(DAEMON) is None:
        return f"{DAEMON} is not installed (Debian: apt install miniupnpd-nftables)"
    return None


def configuration(router: str, services: Sequence[str], *, wan: str = WAN, lan: str = LAN) -> str:
    """miniupnpd.conf: hosts may map their own ports above 1023, and no other host's."""
    forward, prerouting, postrouting = UPNP_CHAINS
    options = {
        "ext_ifname": wan,
        "listening_ip": lan,
        "enable_upnp": _yes("upnp" in services),
        "enable_natpmp": _yes("nat-pmp" in services or "pcp" in services),
        "http_port": 0,
        "ipv6_disable": "yes",
        "secure_mode": "yes",
        "min_lifetime": 1,
        "max_lifetime": 86400,
        "uuid": uuid.uuid5(uuid.NAMESPACE_DNS, router),
        "friendly_name": router,
        "upnp_table_name": TABLE,
        "upnp_nat_table_name": TABLE,
        "upnp_forward_chain": forward,
        "upnp_nat_chain": prerouting,
        "upnp_nat_postrouting_chain": postrouting,
    }
    lines = [f"{key}={value}" for key, value in options.items()]
    return "\n".join((*lines, "allow 1024-65535 0.0.0.0/0 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535", ""))


def _yes(wanted: bool) -> str:
    return "yes" if wanted else "no"


class PortMapping:
    """A running daemon. It goes with the namespaces, or by `end`."""

    def __init__(self, process: asyncio.subprocess.Process, log: asyncio.StreamReader) -> None:
        self.process, self._log = process, log
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, router: str, services: Sequence[str], folder: Path, enter: Callable[[], None]) -> PortMapping:
        """`folder`: for its files; `enter`: takes the child into its namespaces. Returns when it can be used."""
        why = missing()
        if why:
            raise UsageError(f"no port mapping in {router}: {why}")
        file = folder / f"{DAEMON}.conf"
        file.write_text(configuration(router, services))
        process = await asyncio.create_subprocess_exec(
            DAEMON,
            *("-d", "-f", str(file), "-P", str(folder / f"{DAEMON}.pid")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=enter,
        )
        assert process.stderr is not None  # noqa: S101 - for the type alone
        self = cls(process, process.stderr)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready(router, {LISTENS[service] for service in services})
        except BaseException:
            await self.end()
            raise
        self._reading = asyncio.create_task(self._read())
        return self

    async def _ready(self, router: str, awaited: set[bytes]) -> None:
        last = b""
        while awaited:
            line = await self._log.readline()
            if not line:
                raise ComityError(f"{DAEMON} in {router} ended: {last.decode(errors='replace').strip()}")
            awaited = {text for text in awaited if text not in line}
            last = line

    async def _read(self) -> None:
        """What it says further is of no interest, and must not fill the pipe."""
        while await self._log.read(1 << 16):
            continue

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self._reading is not None:
            await self._reading
