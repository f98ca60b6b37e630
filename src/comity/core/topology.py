"""A topology: the machines of a lab and the network between them, as a person describes them in TOML.

    tolerance = 0.5                        # ms: a measured round trip may be off by this much
    rendezvous = "meet"                    # the host where parties meet; without it, the first public one

    [rtt]                                  # ms: a row for each region, a column for each region up to itself
    north = [0.2]
    south = [80, 0.2]

    [defaults]                             # of every pair of regions; [[paths]] with between = ["north", "south"]
    jitter = 0                             #   says it for one pair
    loss = 0.01                            # 0 to 1, each way
    rate = 0                               # bit/s, 0: no limit

    [nats.plain]                           # in RFC 4787's words; what is shown is what is taken when left out
    mapping = "endpoint-independent"       # or "address-dependent", "address-and-port-dependent"
    filtering = "address-and-port-dependent"
    ports = "preserving"                   # or "sequential", "random"
    pool = 1                               # public addresses
    hairpin = false
    timeout = 120                          # s, of a UDP mapping

    [sites.home]
    region = "north"
    nats = ["plain"]                       # outermost first: a carrier's, then the home's; none: routed publicly
    firewall = { udp = true, only = [], stateful = true }      # only: TCP ports that may be reached outside
    forwards = [{ port = 5000, host = "ann" }]               # to = another port of ann
    services = ["upnp"]                    # or "nat-pmp", "pcp"
    families = [4, 6]                      # without it [4]

    [hosts.ann]
    site = "home"

    [hosts.meet]
    region = "south"                       # in a region itself: a public address, nothing before it
    families = [4, 6]

    [spread]                               # sites for as many parties as are asked for, each like this
    nats = ["plain"]
    forwards = [{ port = 5000 }]

Loss, jitter and rate are each way, a round trip is both ways together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from comity.core.display import harmless
from comity.core.tables import Source, Table
from comity.errors import UsageError

BEHAVIOURS = ("endpoint-independent", "address-dependent", "address-and-port-dependent")
"""Of mapping and of filtering: RFC 4787, sections 4.1 and 5."""
PORTS = ("preserving", "sequential", "random")
SERVICES = ("upnp", "nat-pmp", "pcp")
FAMILIES = (4, 6)
MOST_REGIONS = 64
MOST_MACHINES = 1000
MOST_POOL = 8
MOST_NATS = 2
MOST_IN_SITE = 28
"""Hosts: what half a /26 has room for."""
MOST_MS = 60_000.0
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
"""Of parties that nobody has named."""
RESERVED = ("localhost", "mirror")
"""Names of what a lab has by itself."""


@dataclass(frozen=True)
class Nat:
    """A network address translator in RFC 4787's words."""

    mapping: str = "endpoint-independent"
    filtering: str = "address-and-port-dependent"
    ports: str = "preserving"
    pool: int = 1  # public addresses
    hairpin: bool = False
    timeout: float = 120.0  # s, of a UDP mapping


@dataclass(frozen=True)
class Firewall:
    """What a site's outermost router lets through, beyond what its NAT does."""

    udp: bool = True  # False: no UDP in or out
    only: tuple[int, ...] = ()  # TCP ports that may be reached outside, and nothing else; empty: all
    stateful: bool = True  # what is routed publicly is reached from outside only when it spoke first


@dataclass(frozen=True)
class Forward:
    """A port of a site's public address that somebody forwarded by hand, TCP and UDP."""

    port: int
    host: str
    to: int


@dataclass(frozen=True)
class Site:
    """A local network behind its routers."""

    name: str
    region: str
    nats: tuple[Nat, ...] = ()  # outermost first
    firewall: Firewall = Firewall()
    forwards: tuple[Forward, ...] = ()
    services: tuple[str, ...] = ()
    families: tuple[int, ...] = (4,)


@dataclass(frozen=True)
class Host:
    """A machine that people use: in a site, or public in a region."""

    name: str
    site: str = ""
    region: str = ""
    families: tuple[int, ...] = (4,)


@dataclass(frozen=True)
class Path:
    """Between two regions, or inside one."""

    rtt: float  # ms, both ways together
    jitter: float = 0.0  # ms, each way
    loss: float = 0.0  # 0 to 1, each way
    rate: float = 0.0  # bit/s, each way; 0: no limit


@dataclass(frozen=True)
class Topology:
    name: str
    title: str
    regions: tuple[str, ...]
    sites: tuple[Site, ...]
    hosts: tuple[Host, ...]
    matrix: tuple[tuple[Path, ...], ...]  # a row for each region, a column for each region up to itself
    tolerance: float  # ms
    rendezvous: str  # a public host's name; empty: there is none
    spread: Site | None = None  # what every party gets; it has no name and no region yet

    def path(self, a: str, b: str) -> Path:
        """Between two regions, which may be the same."""
        i, j = self.regions.index(a), self.regions.index(b)
        return self.matrix[max(i, j)][min(i, j)]

    def site(self, name: str) -> Site:
        return next(site for site in self.sites if site.name == name)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def region_of(self, host: Host) -> str:
        return host.region or self.site(host.site).region

    def inside(self, site: Site) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.site == site.name)

    @property
    def parties(self) -> tuple[str, ...]:
        """The hosts that take a party, in the order of party numbers: all but the rendezvous."""
        return tuple(host.name for host in self.hosts if host.name != self.rendezvous)


def name_of(i: int) -> str:
    """Of party i, where nobody has named it."""
    return NAMES[i] if i < len(NAMES) else f"party{i}"


def with_parties(topology: Topology, n: int) -> Topology:
    """The same with n parties' sites, one each: spread evenly over the regions, the remainder to the first ones.

    Party i is where it is whatever n is. A topology whose hosts are fixed stays as it is. Raises UsageError when it has
    fewer than n of them.
    """
    template = topology.spread
    if template is None:
        if n > len(topology.parties):
            raise UsageError(
                f"{topology.name} has {len(topology.parties)} hosts for parties, not {n}",
                hint="world takes any number",
            )
        return topology
    others = len(topology.hosts) + sum(len(routers(site)) for site in topology.sites)
    most = (MOST_MACHINES - others) // (1 + len(routers(template)))
    if n > most:
        raise UsageError(f"{n} parties are too many for a lab", hint=f"at most {most} here, each with its routers")
    made = [_party(template, i, topology.regions[i % len(topology.regions)]) for i in range(n)]
    sites, hosts = [site for site, _ in made], [host for _, host in made]
    return replace(topology, sites=(*topology.sites, *sites), hosts=(*topology.hosts, *hosts), spread=None)


def _party(template: Site, i: int, region: str) -> tuple[Site, Host]:
    """A party's site, and its one host; both are called like the party."""
    name = name_of(i)
    forwards = tuple(replace(forward, host=name) for forward in template.forwards)
    return replace(template, name=name, region=region, forwards=forwards), Host(name, name, families=template.families)


def parse(text: str, name: str) -> Topology:
    """Reads a file; `name` is what it is called. Raises UsageError that says which line and key is wrong."""
    source = Source(name, text)
    table = source.read()
    title = table.text("title", "")
    if harmless(title) != title:
        table.fail("title", "it has characters that do not belong in a line of text")
    tolerance = table.number("tolerance", 0.5, low=0.01, high=MOST_MS)
    rows = table.table("rtt")
    regions = rows.keys()
    if not 1 <= len(regions) <= MOST_REGIONS:
        table.fail("rtt", f"a topology has 1 to {MOST_REGIONS} regions")
    matrix = _matrix(table, rows, regions)
    nats = {key: _nat(nat) for key, nat in table.table("nats", {}).named()}
    sites = tuple(_site(site, key, regions, nats) for key, site in table.table("sites", {}).named())
    hosts = tuple(_host(host, key, regions, sites) for key, host in table.table("hosts", {}).named())
    spread = None
    if table.has("spread"):
        spread = _site(table.table("spread"), "", (), nats)
    public = [host.name for host in hosts if host.region]
    if table.has("rendezvous"):
        rendezvous = table.text("rendezvous", choices=public)
    else:
        rendezvous = public[0] if public and (spread or len(hosts) > 1) else ""
    made = Topology(name, title, tuple(regions), sites, hosts, matrix, tolerance, rendezvous, spread)
    _check(made, source)
    table.end()
    return made


def _matrix(table: Table, rows: Table, regions: list[str]) -> tuple[tuple[Path, ...], ...]:
    others = _path(table.table("defaults", {}), Path(0.0))
    matrix = []
    for i, region in enumerate(regions):
        row = rows.items(region, most=i + 1)
        if len(row) < i + 1:
            rows.fail(region, f"{len(row)} numbers, not {i + 1}: one for each region up to itself")
        matrix.append([replace(others, rtt=rows.check_number(region, value, 0, MOST_MS)) for value in row])
    for special in table.tables("paths", most=MOST_REGIONS**2):
        ends = special.names("between", most=2, choices=regions)
        if len(ends) != 2:
            special.fail("between", "two regions, or one twice")
        i, j = sorted(regions.index(end) for end in ends)
        matrix[j][i] = _path(special, matrix[j][i])
    return tuple(tuple(row) for row in matrix)


def _path(table: Table, others: Path) -> Path:
    """Like `others`, but for what stands here."""
    made = Path(
        others.rtt,
        table.number("jitter", others.jitter, high=MOST_MS),
        table.number("loss", others.loss, high=1),
        table.number("rate", others.rate, high=1e12),
    )
    table.end()
    return made


def _nat(table: Table) -> Nat:
    usual = Nat()
    made = Nat(
        table.text("mapping", usual.mapping, choices=BEHAVIOURS),
        table.text("filtering", usual.filtering, choices=BEHAVIOURS),
        table.text("ports", usual.ports, choices=PORTS),
        table.whole("pool", usual.pool, low=1, high=MOST_POOL),
        table.flag("hairpin", usual.hairpin),
        table.number("timeout", usual.timeout, low=1, high=86400),
    )
    table.end()
    return made


def _site(table: Table, name: str, regions: list[str] | tuple[()], nats: dict[str, Nat]) -> Site:
    """Without regions: the one that parties get."""
    families = _families(table, (4,))
    made = Site(
        name,
        table.text("region", choices=regions) if regions else "",
        tuple(nats[key] for key in table.names("nats", [], most=MOST_NATS, choices=list(nats))),
        _firewall(table.table("firewall", {})),
        tuple(_forward(forward, bool(regions)) for forward in table.tables("forwards", most=1000)),
        table.names("services", [], most=len(SERVICES), choices=SERVICES),
        families,
    )
    if made.services and not made.nats:
        table.fail("services", "they need a NAT")
    if made.nats and 4 not in families:
        table.fail("nats", "a NAT is for IPv4, which is not in families")
    table.end()
    return made


def _firewall(table: Table) -> Firewall:
    only = [table.check_whole("only", port, 1, 65535) for port in table.items("only", [], most=100)]
    made = Firewall(table.flag("udp", True), tuple(only), table.flag("stateful", True))
    table.end()
    return made


def _forward(table: Table, named: bool) -> Forward:
    port = table.whole("port", low=1, high=65535)
    made = Forward(port, table.text("host") if named else "", table.whole("to", port, low=1, high=65535))
    table.end()
    return made


def _host(table: Table, name: str, regions: list[str], sites: tuple[Site, ...]) -> Host:
    if table.has("site") == table.has("region"):
        table.fail("site" if table.has("site") else "region", "a host has a site or a region")
    if table.has("site"):
        site = table.text("site", choices=[site.name for site in sites])
        usual = next(s.families for s in sites if s.name == site)
        families = _families(table, usual)
        if not set(families) <= set(usual):
            table.source.fail((*table.where, "families"), f"its site has {' and '.join(f'IPv{f}' for f in usual)} only")
        made = Host(name, site, "", families)
    else:
        made = Host(name, "", table.text("region", choices=regions), _families(table, (4,)))
    table.end()
    return made


def _families(table: Table, usual: tuple[int, ...]) -> tuple[int, ...]:
    found = table.items("families", list(usual), most=len(FAMILIES))
    if sorted(map(repr, found)) not in (["4"], ["6"], ["4", "6"]):
        table.fail("families", "[4], [6] or [4, 6]")
    return tuple(sorted(found))


def _check(topology: Topology, source: Source) -> None:
    """What no table can see by itself."""
    names = Counter(host.name for host in topology.hosts)
    names.update(router for site in topology.sites for router in routers(site))
    for host in topology.hosts:
        if host.name in RESERVED or names[host.name] > 1:
            source.fail(("hosts", host.name), "something else of the lab is called so")
    if len(names) > MOST_MACHINES:
        source.fail(("hosts",), f"more than {MOST_MACHINES} machines")
    if not topology.hosts and topology.spread is None:
        source.fail(("hosts",), "there is none")
    if topology.spread is not None:
        _check_forwards(topology.spread, ("",), source, ("spread", "forwards"))
        taken = {*names, *(site.name for site in topology.sites)}
        for name in (name_of(i) for i in range(MOST_MACHINES)):
            if taken & {name, *routers(replace(topology.spread, name=name))}:
                source.fail(("spread",), f"{name!r} is taken, and a party is called so")
    for site in topology.sites:
        inside = [host.name for host in topology.inside(site)]
        if len(inside) > MOST_IN_SITE:
            source.fail(("sites", site.name), f"more than {MOST_IN_SITE} hosts")
        _check_forwards(site, inside, source, ("sites", site.name, "forwards"))


def _check_forwards(site: Site, inside: Sequence[str], source: Source, where: tuple[str, ...]) -> None:
    ports = Counter(forward.port for forward in site.forwards)
    for forward in site.forwards:
        if forward.host not in inside:
            source.fail(where, f"{forward.host!r} is no host of this site")
        if ports[forward.port] > 1:
            source.fail(where, f"port {forward.port} is forwarded twice")


def routers(site: Site) -> tuple[str, ...]:
    """The names of a site's routers, outermost first."""
    return (f"{site.name}-carrier", f"{site.name}-router") if len(site.nats) > 1 else (f"{site.name}-router",)
