"""Sites side by side, with a mirror: what NAT rules are tried on.

host 192.168.9.9 --lan-- router 51.0.0.1+2k (and +1) --wan--+
host 192.168.9.10 -+                                         |-- street, a switch -- mirror 51.0.0.251, .252
...                                                          |                       2a00:51::fb
"""

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.lab.spaces import Space, spaces

from comity.core.addressing import Opening
from comity.core.topology import Firewall, Nat
from comity.lab.conntrack import flush
from comity.lab.nat import ruleset

MIRROR = "51.0.0.251", "51.0.0.252"
MIRROR6 = "2a00:51::fb"
OPEN = Firewall()
ROUTING = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv4/conf/all/send_redirects": "0",
    "bridge/bridge-nf-call-iptables": "0",
}


class Home:
    """A router and two machines behind it."""

    def __init__(self, number: int, router: Space, hosts: list[Space]) -> None:
        self.router, self.hosts = router, hosts
        self.publics = [f"51.0.0.{1 + 2 * number}", f"51.0.0.{2 + 2 * number}"]
        self.network6 = f"2a00:51:{number + 1}:"

    def use(
        self,
        nat: Nat | None,
        firewall: Firewall = OPEN,
        openings: Sequence[Opening] = (),
        services: Sequence[str] = (),
    ) -> None:
        """Start anew with these rules."""
        publics = self.publics[: nat.pool if nat else 1]
        text = ruleset(nat, firewall, publics=publics, openings=openings, services=services)
        self.router.run("nft", "-f", "-", text=f"flush ruleset\n{text}")
        flush(self.router.pid)


class Street:
    def __init__(self, homes: list[Home], mirror: Space) -> None:
        self.homes, self.mirror = homes, mirror


@contextmanager
def street(count: int) -> Iterator[Street]:
    with spaces("switch", "mirror", *(f"{what}{k}" for k in range(count) for what in ("router", "a", "b"))) as made:
        switch, mirror, *rest = made
        _batch(switch, "link add bridge type bridge", "link set bridge up")
        _plug(switch, mirror, "toward")
        _batch(
            mirror,
            *(f"address add {address}/24 dev wan" for address in MIRROR),
            f"address add {MIRROR6}/64 dev wan nodad",
            "link set wan up",
        )
        homes = []
        for k in range(count):
            router, *hosts = rest[3 * k : 3 * k + 3]
            home = Home(k, router, hosts)
            _plug(switch, router, f"r{k}")
            _batch(router, "link add lan type bridge")
            for i, host in enumerate(hosts):
                _plug(router, host, f"h{i}", "lan")
                _batch(
                    host,
                    f"address add 192.168.9.{9 + i}/24 dev wan",
                    f"address add {home.network6}:{9 + i}/64 dev wan nodad",
                    "link set wan up",
                    "route add default via 192.168.9.1",
                    f"route add ::/0 via {home.network6}:1",
                )
            _batch(
                router,
                "address add 192.168.9.1/24 dev lan",
                f"address add {home.network6}:1/64 dev lan nodad",
                *(f"address add {public}/24 dev wan" for public in home.publics),
                f"address add 2a00:51::{k + 1}/64 dev wan nodad",
                "link set lan up",
                "link set wan up",
            )
            _batch(mirror, f"route add {home.network6}:/64 via 2a00:51::{k + 1}")
            for key, value in ROUTING.items():
                router.set(key, value)
            homes.append(home)
        yield Street(homes, mirror)


def _plug(switch: Space, machine: Space, name: str, bridge: str = "bridge") -> None:
    switch.wire(machine, name, "wan")
    _batch(switch, f"link set {name} master {bridge} up")


def _batch(space: Space, *lines: str) -> None:
    space.run("ip", "-batch", "-", text="".join(f"{line}\n" for line in lines))


async def output(space: Space, *command: str) -> str:
    """What a command prints that takes its time."""
    process = await asyncio.create_subprocess_exec(*space.command(*command), stdout=subprocess.PIPE)
    text, _ = await process.communicate()
    return text.decode()
