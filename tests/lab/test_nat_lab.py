"""What NAT rules do, by our own behaviour test, by coturn's, and packet by packet."""

import asyncio
import itertools
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.spaces import Space, missing
from tests.lab.street import MIRROR, MIRROR6, Home, Street, output, street

from comity.core.addressing import Opening
from comity.core.topology import BEHAVIOURS, Firewall, Nat
from comity.lab import stun
from comity.lab.conntrack import flush
from comity.lab.inside import inside
from comity.lab.nat import FIRST_PORT, forget, ruleset
from comity.lab.probes import Behaviour, behaviour, expected, server

FORWARDS = Opening(5000, "192.168.9.9", 5001), Opening(5001, "2a00:51:1::9", 5001)
pytestmark = [pytest.mark.lab, pytest.mark.skipif(missing("nft") is not None, reason=str(missing("nft")))]


@pytest.fixture(scope="module")
def nine() -> Iterator[Street]:
    with street(9) as made:
        yield made


KINDS = list(itertools.product(BEHAVIOURS, BEHAVIOURS))


@pytest.mark.parametrize(
    ("ports", "hairpin", "pool"), [("preserving", True, 1), ("sequential", False, 2), ("random", True, 2)]
)
async def test_each_kind_is_what_it_says(nine: Street, ports: str, hairpin: bool, pool: int) -> None:
    nats = [Nat(mapping, filtering, ports, pool, hairpin) for mapping, filtering in KINDS]
    for home, nat in zip(nine.homes, nats, strict=True):
        home.use(nat)
    async with server(nine.mirror.pid, MIRROR):
        found = await asyncio.gather(*(behaviour(home.hosts[0].pid, MIRROR) for home in nine.homes))
    for nat, is_so in zip(nats, found, strict=True):
        assert expected([nat], Firewall()).differences(is_so) == [], nat


@pytest.mark.skipif(
    not (shutil.which("turnserver") and shutil.which("turnutils_natdiscovery")), reason="coturn is not installed"
)
async def test_coturn_finds_the_same(nine: Street, tmp_path: Path) -> None:
    """An independent server and an independent client (Debian: apt install coturn)."""
    for home, (mapping, filtering) in zip(nine.homes, KINDS, strict=True):
        home.use(Nat(mapping, filtering))
    options = {
        "--listening-port": 3478,
        "--alt-listening-port": 3479,
        "--log-file": "stdout",
        "--pidfile": tmp_path / "pid",
        "--userdb": tmp_path / "db",
    }
    flags = "-n", "--no-auth", "-S", "--no-tcp", "--no-tls", "--no-dtls", "--no-cli", "--simple-log"
    listen = [word for address in MIRROR for word in ("-L", address)]
    turn = nine.mirror.start("turnserver", *flags, *listen, *(f"{key}={value}" for key, value in options.items()))
    assert turn.stdout is not None
    for line in turn.stdout:
        if "Total General servers" in line:
            break
    ours = await asyncio.gather(*(behaviour(home.hosts[0].pid, MIRROR) for home in nine.homes))
    calls = [output(home.hosts[1], "turnutils_natdiscovery", "-m", "-f", MIRROR[0]) for home in nine.homes]
    theirs = await asyncio.gather(*calls)
    turn.kill()
    turn.wait()
    words = "Endpoint Independent", "Address Dependent", "Address and Port Dependent"
    for (mapping, filtering), mine, text in zip(KINDS, ours, theirs, strict=True):
        assert (mine.mapping, mine.filtering) == (mapping, filtering)
        said = re.findall(r"NAT with (.*) (Mapping|Filtering)!", text)
        wanted = [
            (words[BEHAVIOURS.index(mapping)], "Mapping"),
            (words[BEHAVIOURS.index(filtering)], "Filtering"),
        ]
        assert said == wanted


class Caller:
    """A UDP socket on a machine."""

    def __init__(self, space: Space, port: int = 0, address: str = "0.0.0.0") -> None:  # noqa: S104
        def make() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((address, port))
            return sock

        self.sock = inside(space.pid, make)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *args: object) -> None:
        self.sock.close()

    def send(self, address: str, port: int, data: bytes = b"hello") -> None:
        self.sock.sendto(data, (address, port))

    async def receive(self, patience: float = 2.0) -> tuple[bytes, tuple[str, int]] | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                data, source = await loop.sock_recvfrom(self.sock, 2000)
        except TimeoutError:
            return None
        return data, source[:2]

    async def seen(self, address: str = MIRROR[0]) -> tuple[str, int]:
        """As the mirror's server sees it."""
        self.send(address, 3478, stun.Request(bytes(12)).pack())
        got = await self.receive()
        assert got is not None, "no answer"
        answer = stun.parse(got[0])
        assert isinstance(answer, stun.Response)
        return answer.mapped


NOTHING = 0.1
"""Seconds in which nothing came: far more than a packet takes here."""


@pytest.fixture
def home(nine: Street) -> Home:
    return nine.homes[0]


@pytest.mark.parametrize("filtering", BEHAVIOURS)
async def test_an_early_packet_does_not_change_the_mapping(nine: Street, home: Home, filtering: str) -> None:
    """Somebody calls before the one inside does: as in every attempt to meet in the middle."""
    home.use(Nat(filtering=filtering))
    with Caller(home.hosts[0], 6000) as inner, Caller(nine.mirror, 7000, MIRROR[0]) as outer:
        for _ in range(3):
            outer.send(home.publics[0], 6000)
        assert await outer.receive(NOTHING) is None  # and not refused either
        inner.send(MIRROR[0], 7000)
        assert await outer.receive() == (b"hello", (home.publics[0], 6000))
        outer.send(home.publics[0], 6000)
        assert await inner.receive() == (b"hello", (MIRROR[0], 7000))


async def test_two_that_want_the_same_port_get_two(nine: Street, home: Home) -> None:
    home.use(Nat(filtering=BEHAVIOURS[0]))
    async with server(nine.mirror.pid, MIRROR):
        with Caller(home.hosts[0], 6000) as first, Caller(home.hosts[1], 6000) as second:
            one, two = await first.seen(MIRROR[0]), await second.seen(MIRROR[1])
            assert one == (home.publics[0], 6000) != two
            assert await second.seen(MIRROR[0]) == two
            with Caller(nine.mirror, 0, MIRROR[0]) as stranger:
                stranger.send(*two)
                assert await second.receive() is not None


async def test_a_mapping_ends_after_its_time_and_when_the_router_restarts(nine: Street, home: Home) -> None:
    nat = Nat(ports="sequential", timeout=1)
    home.use(nat)
    async with server(nine.mirror.pid, MIRROR):
        with Caller(home.hosts[0]) as caller:
            assert [await caller.seen(), await caller.seen(MIRROR[1])] == [(home.publics[0], FIRST_PORT)] * 2
            await asyncio.sleep(1.1)  # time is what is tested
            assert await caller.seen() == (home.publics[0], FIRST_PORT + 1)
            home.router.run("nft", "-f", "-", text=forget(nat, 1))
            flush(home.router.pid)
            assert await caller.seen() == (home.publics[0], FIRST_PORT + 2)


async def test_a_forwarded_port_is_open_from_everywhere_and_is_the_hosts_own(nine: Street, home: Home) -> None:
    home.use(Nat(BEHAVIOURS[2], hairpin=True, ports="random"), openings=FORWARDS)
    public = home.publics[0], 5000
    async with server(nine.mirror.pid, MIRROR):
        with Caller(home.hosts[0], 5001) as inner, Caller(nine.mirror, 7000, MIRROR[0]) as stranger:
            stranger.send(*public)
            assert await inner.receive() == (b"hello", (MIRROR[0], 7000))
            assert await inner.seen() == public
            with Caller(home.hosts[1]) as neighbour:
                neighbour.send(*public)
                got = await inner.receive()
                assert got is not None and got[1][0] == home.publics[0]  # RFC 4787, REQ-9: with its outside address
                inner.send(*got[1], b"back")
                assert await neighbour.receive() == (b"back", public)
    with Caller(home.hosts[0], 5001, "::") as inner, Caller(nine.mirror, 0, MIRROR6) as stranger:
        stranger.send(f"{home.network6}:9", 5001)
        assert await inner.receive() is not None
        stranger.send(f"{home.network6}:9", 5002)


async def test_nats_in_a_row_are_as_strict_as_the_strictest(nine: Street) -> None:
    """A home behind a carrier: home 1's host 0 becomes a router for a machine of home 2."""
    carrier, home = Nat(BEHAVIOURS[2], ports="random", hairpin=True), Nat(filtering=BEHAVIOURS[1])
    assert expected([carrier, home], Firewall()) == Behaviour(True, True, BEHAVIOURS[2], BEHAVIOURS[2], "random", None)
    assert expected([home, carrier], Firewall()) == Behaviour(True, True, BEHAVIOURS[2], BEHAVIOURS[2], "random", None)
    outer, inner = nine.homes[1], nine.homes[2]
    outer.use(carrier)
    router, host = outer.hosts[0], inner.hosts[0]
    text = ruleset(home, Firewall(), publics=["192.168.9.9"], lan="more")
    router.run("nft", "-f", "-", text=text)
    router.set("ipv4/ip_forward", "1")
    router.wire(host, "more", "other")
    router.up("more", ["192.168.10.1/24"])
    host.up("other", ["192.168.10.9/24"])
    host.run("ip", "route", "replace", "default", "via", "192.168.10.1")
    try:
        async with server(nine.mirror.pid, MIRROR):
            assert expected([carrier, home], Firewall()).differences(await behaviour(host.pid, MIRROR)) == []
    finally:
        router.run("ip", "link", "del", "more")
        router.run("nft", "flush", "ruleset")
        host.run("ip", "route", "add", "default", "via", "192.168.9.1")


async def test_udp_is_blocked_and_tcp_is_not(nine: Street, home: Home) -> None:
    home.use(Nat(), Firewall(udp=False))
    async with server(nine.mirror.pid, MIRROR):
        assert await behaviour(home.hosts[0].pid, MIRROR, patience=0.05) == Behaviour(udp=False)
    assert await _connects(nine, home, 80)


async def test_only_some_ports_can_be_reached(nine: Street, home: Home) -> None:
    home.use(Nat(), Firewall(only=(443,)))
    assert await _connects(nine, home, 443)
    assert not await _connects(nine, home, 80)
    with Caller(home.hosts[0]) as inner, Caller(nine.mirror, 443, MIRROR[0]) as outer:
        inner.send(MIRROR[0], 443)
        assert await outer.receive(NOTHING) is None


@pytest.mark.parametrize("stateful", [True, False])
async def test_a_stateful_firewall_lets_in_who_was_spoken_to(nine: Street, home: Home, stateful: bool) -> None:
    home.use(Nat(), Firewall(stateful=stateful))
    inner6 = f"{home.network6}:9"
    with Caller(home.hosts[0], 6000, "::") as inner, Caller(nine.mirror, 7000, MIRROR6) as outer:
        outer.send(inner6, 6000)
        assert (await inner.receive(NOTHING) is None) == stateful
        inner.send(MIRROR6, 7000)
        assert await outer.receive() == (b"hello", (inner6, 6000))
        outer.send(inner6, 6000)
        assert await inner.receive() == (b"hello", (MIRROR6, 7000))
    async with server(nine.mirror.pid, [MIRROR6]):
        wanted = expected([], Firewall(stateful=stateful))
        assert wanted.differences(await behaviour(home.hosts[0].pid, [MIRROR6])) == []


async def _connects(nine: Street, home: Home, port: int) -> bool:
    listener = inside(nine.mirror.pid, lambda: socket.create_server((MIRROR[0], port)))
    with listener, inside(home.hosts[0].pid, lambda: socket.socket()) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(0.3):
                await asyncio.get_running_loop().sock_connect(sock, (MIRROR[0], port))
        except TimeoutError:
            return False
        return True
