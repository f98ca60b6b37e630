"""Ports mapped by UPnP, NAT-PMP and PCP, by independent clients: Debian's miniupnpc and natpmpc, and crab_nat."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.lab.pcp import Mapped, map_port
from tests.lab.spaces import missing
from tests.lab.street import MIRROR, Home, Street, street
from tests.lab.test_nat_lab import Caller

from comity.core.topology import Nat
from comity.errors import ComityError, UsageError
from comity.lab import miniupnpd
from comity.lab.kernel import NEWNET, setns
from comity.lab.miniupnpd import PortMapping, configuration

WHY = missing("nft") or miniupnpd.missing()
pytestmark = [pytest.mark.lab, pytest.mark.skipif(WHY is not None, reason=str(WHY))]

ROUTER, INSIDE = "192.168.9.1", "192.168.9.9"
CRAB = Path(__file__).parent / "pcp_client/target/release/pcp_client"


@pytest.fixture(scope="module")
def place() -> Iterator[Street]:
    with street(1) as made:
        made.homes[0].router.run("ip", "address", "del", f"{made.homes[0].publics[1]}/24", "dev", "wan")
        yield made


@asynccontextmanager
async def serving(home: Home, services: Sequence[str], folder: Path) -> AsyncIterator[None]:
    home.use(Nat(), services=services)
    namespace = os.open(f"/proc/{home.router.pid}/ns/net", os.O_RDONLY)
    try:
        running = await PortMapping.start("router", services, folder, lambda: setns(namespace, NEWNET))
    finally:
        os.close(namespace)
    try:
        yield
    finally:
        await running.end()


async def arrives(place: Street, home: Home, port: int, inner: int) -> bool:
    """Whether a stranger's packet to an outside port reaches the one inside."""
    with Caller(home.hosts[0], inner) as inside, Caller(place.mirror, 0, MIRROR[0]) as stranger:
        stranger.send(home.publics[0], port)
        return await inside.receive(0.2) is not None


async def say(home: Home, *command: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, home.hosts[0].command(*command), check=False, capture_output=True, text=True, timeout=10
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("upnpc"), reason="upnpc is not installed (Debian: apt install miniupnpc)")
async def test_upnpc_maps_a_port(place: Street, tmp_path: Path) -> None:
    home = place.homes[0]
    async with serving(home, ["upnp"], tmp_path):
        assert not await arrives(place, home, 7000, 7001)
        said = await say(home, "upnpc", "-m", "wan", "-a", INSIDE, "7001", "7000", "UDP", "300")
        assert f"external {home.publics[0]}:7000 UDP is redirected to internal {INSIDE}:7001" in said
        assert await arrives(place, home, 7000, 7001)
        said = await say(home, "natpmpc", "-g", ROUTER)
        assert "does not support nat-pmp" in said


@pytest.mark.skipif(not shutil.which("natpmpc"), reason="natpmpc is not installed (Debian: apt install natpmpc)")
async def test_natpmpc_maps_a_port_where_there_is_no_pcp(place: Street, tmp_path: Path) -> None:
    home = place.homes[0]
    async with serving(home, ["nat-pmp"], tmp_path):
        said = await say(home, "natpmpc", "-g", ROUTER, "-a", "7100", "7101", "udp", "300")
        assert f"Public IP address : {home.publics[0]}" in said
        assert re.search(r"Mapped public port 7100 protocol UDP to local port 7101", said)
        assert await arrives(place, home, 7100, 7101)
        with pytest.raises(TimeoutError):
            map_port(home.hosts[0].pid, INSIDE, ROUTER, 17, 7200)


async def test_pcp_maps_a_port_of_ones_own_only(place: Street, tmp_path: Path) -> None:
    home = place.homes[0]
    pid = home.hosts[0].pid
    async with serving(home, ["pcp"], tmp_path):
        found = map_port(pid, INSIDE, ROUTER, 17, 7200)
        assert found == Mapped(0, 300, home.publics[0], 7200)
        assert await arrives(place, home, 7200, 7200)
        assert map_port(pid, "192.168.9.10", ROUTER, 17, 7201).result == 12  # ADDRESS_MISMATCH


@pytest.mark.skipif(not CRAB.exists(), reason="not built: cargo build --release, in tests/lab/pcp_client")
async def test_crab_nat_maps_a_port_by_pcp(place: Street, tmp_path: Path) -> None:
    home = place.homes[0]
    async with serving(home, ["pcp"], tmp_path):
        said = await say(home, str(CRAB), ROUTER, INSIDE, "7300")
        assert said.startswith("7300 Pcp") and f"external_ip: {home.publics[0]}" in said
        assert await arrives(place, home, 7300, 7300)


async def test_a_daemon_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ComityError, match=r"ended: .*Error reading configuration file"):
        await PortMapping.start("router\nnonsense=1", ["upnp"], tmp_path, lambda: None)


async def test_where_it_is_not_installed_the_hint_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(miniupnpd, "DAEMON", "miniupnpd-that-is-not-there")
    with pytest.raises(UsageError, match="apt install miniupnpd-nftables"):
        await PortMapping.start("router", ["upnp"], tmp_path, lambda: None)


def test_the_configuration_names_our_chains() -> None:
    text = configuration("home-router", ["pcp"])
    assert "enable_upnp=no\nenable_natpmp=yes\n" in text
    assert "upnp_table_name=lab\n" in text and "upnp_nat_chain=prerouting_miniupnpd\n" in text
    assert configuration("home-router", ["pcp"]) == text
