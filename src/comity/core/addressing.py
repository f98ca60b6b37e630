"""What must exist for a topology: machines, their interfaces, addresses and routes. The same text gives the same plan.

    public host         wan                        51.R.x.y/26                2a00:51:R:A0::/60
    site's router       wan  lan                   one address for each of its NAT's pool; routed sites use the
                                                   upper half of their /26 inside
    carrier, router     wan  lan -> wan  lan       100.64.s.0/24 between the two
    host in a site                       wan       192.168.s.0/24, or public; always public by IPv6

Every attachment to the internet, a public host or a site's outermost router, has a /26 and a /60 of its own: R is its
region's number, A its number there. The addresses look public, because programs treat others differently; no packet can
leave a lab. The mirror is a machine of the lab itself, with two addresses, that tells callers how they are seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface

from comity.core.topology import FAMILIES, Firewall, Nat, Site, Topology, routers
from comity.errors import UsageError

MIRROR = "mirror"
WAN, LAN = "wan", "lan"
"""The names of interfaces: the one that leads towards the internet, and a router's other one."""
OPEN = Firewall(stateful=False)


@dataclass(frozen=True)
class Opening:
    """A port on a router's outside that leads to another address: its NAT rewrites IPv4, its firewall lets IPv6 in."""

    port: int
    address: str
    to: int


@dataclass(frozen=True)
class Interface:
    name: str
    addresses: tuple[str, ...]  # with the length of their network: 192.168.1.1/24
    gateways: tuple[str, ...] = ()  # the default routes' next hops; none: the interface itself is the way out
    members: tuple[str, ...] = ()  # the machines whose wan is plugged into this one; empty: a wan itself


@dataclass(frozen=True)
class Machine:
    """One namespace."""

    name: str
    kind: str  # "public", "router", "host", "mirror"
    wan: Interface
    lan: Interface | None = None  # a router's
    region: str = ""  # where it is attached to the internet; empty: behind a router
    networks: tuple[str, ...] = ()  # what the internet sends to it
    site: str = ""
    nat: Nat | None = None
    firewall: Firewall = OPEN
    openings: tuple[Opening, ...] = ()
    services: tuple[str, ...] = ()  # by which hosts behind it can map ports
    routes: tuple[tuple[str, str], ...] = ()  # a network behind another router, and that router's address

    @property
    def publics(self) -> tuple[str, ...]:
        """IPv4 addresses of its wan: a NAT's pool."""
        return tuple(plain(a) for a in self.wan.addresses if ":" not in a)


@dataclass(frozen=True)
class Plan:
    machines: tuple[Machine, ...]  # routers before what is behind them

    def machine(self, name: str) -> Machine:
        return next(machine for machine in self.machines if machine.name == name)

    def with_machine(self, changed: Machine) -> Plan:
        """In the place of the one of its name."""
        return Plan(tuple(changed if machine.name == changed.name else machine for machine in self.machines))

    def router(self, site: str) -> Machine:
        """The one that the site's hosts are plugged into."""
        return [machine for machine in self.machines if machine.kind == "router" and machine.site == site][-1]

    def addresses(self, name: str) -> tuple[str, ...]:
        """Of a machine itself, as its neighbours see it."""
        return tuple(plain(address) for address in self.machine(name).wan.addresses)

    def outside(self, name: str) -> tuple[str, ...]:
        """Where the internet would look for a machine: for a host behind a NAT, the NAT's first IPv4 address."""
        machine = self.machine(name)
        found = self.addresses(name)
        chain = [m for m in self.machines if m.kind == "router" and m.site == machine.site and machine.site]
        if machine.kind == "mirror" or not chain or chain[0].nat is None:
            return found
        own4 = [] if all(":" in address for address in found) else [chain[0].publics[0]]
        return (*own4, *(address for address in found if ":" in address))

    def names(self, viewer: str) -> dict[str, tuple[str, ...]]:
        """What each machine's name means on one of them: within a site its own addresses, else those outside."""
        site = self.machine(viewer).site
        return {
            machine.name: self.addresses(machine.name)
            if machine.site == site or not machine.site
            else self.outside(machine.name)
            for machine in self.machines
        }


def visiting(now: Plan, first: Plan, name: str, site: str) -> Machine:
    """A host of a site plugged into another one, at an address there that nobody has; or back at its own.

    `now`: where everybody is; `first`: where they were. Raises UsageError where it cannot be plugged in.
    """
    host = first.machine(name)
    if host.kind != "host":
        raise UsageError(f"{name} is a public host, which is in no site")
    if site == host.site:
        return host
    lan = now.router(site).lan
    taken = {address for machine in now.machines if machine.site == site for address in machine.wan.addresses}
    families = {_family(address) for address in host.wan.addresses}
    inside = [ip_interface(a) for a in (lan.addresses if lan else ()) if _family(a) in families]
    if not inside:
        raise UsageError(f"{name} and {site} have no family of addresses in common")
    room = min(256, *(router.network.num_addresses for router in inside))
    for place in range(room - 2, 1, -1):  # from the other end than those who belong there
        mine = tuple(f"{router.network[place]}/{router.network.prefixlen}" for router in inside)
        if not taken & set(mine):
            return replace(host, wan=Interface(WAN, mine, tuple(str(router.ip) for router in inside)), site=site)
    raise UsageError(f"{site} has no room for {name}")


@dataclass(frozen=True)
class _Block:
    """What one attachment may use."""

    v4: IPv4Network
    v6: IPv6Network

    def outer(self, i: int) -> str:
        return f"{self.v4[1 + i]}/32"

    @property
    def outer6(self) -> str:
        return f"{self.v6[1]}/128"

    def inner(self, i: int) -> str:
        """For what is routed publicly: the upper half."""
        return f"{self.v4[32 + i]}/27"

    def subnet6(self, level: int) -> IPv6Network:
        """A /64 for each local network; the first is the attachment's own."""
        return IPv6Network((int(self.v6.network_address) + (level << 64), 64))


def plan(topology: Topology) -> Plan:
    return Plan(tuple(_machines(topology)))


def _machines(topology: Topology) -> Iterator[Machine]:
    used = dict.fromkeys(topology.regions, 0)

    def attach(region: str) -> _Block:
        number, place = topology.regions.index(region), used[region]
        used[region] += 1
        v4 = int(IPv4Address("51.0.0.0")) + (number << 16) + (place << 6)
        v6 = int(IPv6Address("2a00:51::")) + (number << 80) + (place << 68)
        return _Block(IPv4Network((v4, 26)), IPv6Network((v6, 60)))

    first = topology.regions[0]
    block = attach(first)
    yield Machine(MIRROR, "mirror", _public(block, FAMILIES, 2), region=first, networks=_networks(block))
    for host in topology.hosts:
        if host.region:
            block = attach(host.region)
            wan = _public(block, host.families)
            yield Machine(host.name, "public", wan, region=host.region, networks=_networks(block))
    for number, site in enumerate(topology.sites):
        yield from _site(topology, site, number % 256, attach(site.region))


def _public(block: _Block, families: tuple[int, ...], addresses: int = 1) -> Interface:
    found = [block.outer(i) for i in range(addresses)] if 4 in families else []
    return Interface(WAN, (*found, *([block.outer6] if 6 in families else [])))


def _networks(block: _Block) -> tuple[str, ...]:
    return (str(block.v4), str(block.v6))


def _site(topology: Topology, site: Site, number: int, block: _Block) -> Iterator[Machine]:
    names = routers(site)
    hosts = topology.inside(site)
    v4, v6 = 4 in site.families, 6 in site.families
    last = len(names) - 1
    home6 = block.subnet6(len(names))

    def home4(i: int) -> list[str]:
        if not v4:
            return []
        return [f"192.168.{number}.{1 + i}/24" if site.nats else block.inner(1 + i)]

    def inside(i: int) -> tuple[str, ...]:
        return (*home4(i), *([f"{home6[1 + i]}/64"] if v6 else []))

    places = {host.name: 9 + i if site.nats else 1 + i for i, host in enumerate(hosts)}
    between = block.subnet6(1)
    for level, name in enumerate(names):
        pool = site.nats[level].pool if site.nats else 1
        if level == 0:
            wan = _public(block, site.families, pool)
        else:
            carried = [f"100.64.{number}.{2 + i}/24" for i in range(pool)]
            upstream = (f"100.64.{number}.1", *([str(between[1])] if v6 else []))
            wan = Interface(WAN, (*carried, *([f"{between[2]}/64"] if v6 else [])), upstream)
        if level == last:
            lan = Interface(LAN, inside(0), members=tuple(places))
        else:
            lan = Interface(
                LAN,
                (f"100.64.{number}.1/24", *([f"{between[1]}/64"] if v6 else [])),
                members=(names[level + 1],),
            )
        openings = []
        for forward in site.forwards:
            host = topology.host(forward.host)
            target = inside(places[host.name])
            if 4 in host.families and level < last:
                openings.append(Opening(forward.port, f"100.64.{number}.2", forward.port))
            elif 4 in host.families:
                openings.append(Opening(forward.port, plain(target[0]), forward.to))
            if 6 in host.families:
                openings.append(Opening(forward.to, plain(target[-1]), forward.to))
        yield Machine(
            name,
            "router",
            wan,
            lan,
            region=site.region if level == 0 else "",
            networks=_networks(block) if level == 0 else (),
            site=site.name,
            nat=site.nats[level] if site.nats else None,
            firewall=site.firewall if level == 0 else OPEN,
            openings=tuple(openings),
            services=site.services if level == last else (),
            routes=((str(home6), str(between[2])),) if v6 and level < last else (),
        )
    gateways = tuple(plain(address) for address in inside(0))
    for host in hosts:
        mine = tuple(a for a in inside(places[host.name]) if _family(a) in host.families)
        ways = tuple(a for a in gateways if _family(a) in host.families)
        yield Machine(host.name, "host", Interface(WAN, mine, ways), site=site.name)


def _family(address: str) -> int:
    return ip_address(plain(address)).version


def plain(address: str) -> str:
    """Without its network's length."""
    return address.partition("/")[0]
