"""A router's rules as nftables text: its NAT in RFC 4787's words, its firewall, its forwarded ports.

conntrack alone is one kind of NAT: every connection has a mapping of its own choice. The other kinds need a memory that
outlives a connection; so mappings are kept in maps that packets on their way out fill and refresh (RFC 4787, REQ-6):

    outward   inside address, protocol, port [, remote address] -> outside address, port    which mapping is used again
    inward    outside address, protocol, port -> inside address, port                       to whom an arrival belongs
    peers     outside address, protocol, port, remote address [, port]                      from whom it may come
    used0...  protocol, port                                                                taken on that address

    mapping     endpoint-independent         outward by what is inside
                address-dependent            outward by what is inside and the remote address
                address-and-port-dependent   conntrack's own
    filtering   endpoint-independent         arrivals go by inward
                address-dependent            the same, for peers
                address-and-port-dependent   conntrack's own
    ports       preserving                   the same port if nobody has it, else a random one
                sequential                   the next one of a range
                random                       any
    pool        endpoint-independent mapping keeps a host on one address ("paired"), the others take them in turn

A forwarded port is a mapping that never ends, both ways. Arrivals that belong to nobody are dropped, never refused:
otherwise an early packet from a peer would leave a connection behind that takes the port of the mapping to come.
Only UDP mappings end after the NAT's time; those of TCP after that of RFC 5382.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from comity.core.addressing import LAN, WAN, Opening
from comity.core.topology import BEHAVIOURS, Firewall, Nat

TABLE = "lab"
INDEPENDENT, BY_ADDRESS, BY_PORT = BEHAVIOURS

TCP_TIMEOUT = "124m"
"""Of a mapping for TCP: RFC 5382, REQ-5."""

FIRST_PORT, PORTS = 20000, 1024
"""Where sequential allocation starts, and how many ports it goes through: no site opens as many within a time-out."""

SIZE = 65536
"""Elements of a map."""

HAIRPIN = 0x1
"""The mark of packets from inside to an outside address."""

UPNP_CHAINS = "miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"
"""What miniupnpd fills, in our table."""

MAPPING_PORT = 5351
VERSIONS = {"nat-pmp": 0, "pcp": 2}
"""The first byte of each protocol's requests; both go to one port."""

_BLOCK = "    "


def ruleset(
    nat: Nat | None,
    firewall: Firewall,
    *,
    publics: Sequence[str],
    openings: Sequence[Opening] = (),
    services: Sequence[str] = (),
    wan: str = WAN,
    lan: str = LAN,
) -> str:
    """For `nft -f`. `publics`: the wan's IPv4 addresses; `services`: of topology.SERVICES, which miniupnpd brings."""
    rules = _Rules(nat, firewall, tuple(publics), tuple(openings), tuple(services), wan, lan)
    return "\n".join((f"table inet {TABLE} {{", *rules.all(), "}", ""))


def forget(nat: Nat, pool: int, services: Sequence[str] = ()) -> str:
    """For `nft -f`: what a NAT that restarts has forgotten; conntrack's table is emptied besides."""
    lost = [f"{kind} inet {TABLE} {name}" for kind, name, _ in _memory(nat, pool)]
    if services:
        lost += [f"chain inet {TABLE} {name}" for name in UPNP_CHAINS]
    return "".join(f"flush {what}\n" for what in lost)


def _memory(nat: Nat, pool: int) -> Iterator[tuple[str, str, str]]:
    """The maps and sets that a NAT needs: map or set, name, type."""
    endpoint = "ipv4_addr . inet_proto . inet_service"
    if nat.mapping == INDEPENDENT:
        yield "map", "outward", f"{endpoint} : ipv4_addr . inet_service"
    elif nat.mapping == BY_ADDRESS:
        yield "map", "outward", f"{endpoint} . ipv4_addr : ipv4_addr . inet_service"
    if nat.filtering != BY_PORT or nat.hairpin:
        yield "map", "inward", f"{endpoint} : ipv4_addr . inet_service"
    if nat.filtering == BY_ADDRESS:
        yield "set", "peers", f"{endpoint} . ipv4_addr"
    elif nat.filtering == BY_PORT and nat.hairpin:
        yield "set", "peers", f"{endpoint} . ipv4_addr . inet_service"
    if nat.ports == "preserving":
        for k in range(pool):
            yield "set", f"used{k}", "inet_proto . inet_service"


class _Rules:
    def __init__(
        self,
        nat: Nat | None,
        firewall: Firewall,
        publics: tuple[str, ...],
        openings: tuple[Opening, ...],
        services: tuple[str, ...],
        wan: str,
        lan: str,
    ) -> None:
        self.nat, self.firewall, self.publics, self.openings = nat, firewall, publics, openings
        self.services, self.wan, self.lan = services, wan, lan
        self.ours = f"{{ {', '.join(publics)} }}"
        self.forwards = [o for o in openings if ip_address(o.address).version == 4] if nat else []

    def all(self) -> Iterator[str]:
        if self.services:
            for name in UPNP_CHAINS:
                yield from _chain(name, ())
        yield from _chain("input", self.input(), "type filter hook input priority filter; policy drop;")
        yield from _chain("forward", self.forward(), "type filter hook forward priority filter; policy drop;")
        if self.nat is None:
            return
        memory = list(_memory(self.nat, len(self.publics)))
        for kind, name, types in memory:
            yield from _block(f"{kind} {name}", (f"type {types}", f"size {SIZE}", "flags dynamic,timeout"))
        yield from _forwarded(self.forwards, self.publics)
        if self.nat.ports == "sequential":  # a number is not in a port's byte order by itself
            numbers = ", ".join(f"{k} : {FIRST_PORT + k}" for k in range(PORTS))
            types = f"typeof numgen inc mod {PORTS} : tcp sport"
            yield from _block("map sequence", (types, f"elements = {{ {numbers} }}"))
        seconds = math.ceil(self.nat.timeout)
        policy = f"policy = {{ unreplied: {seconds}, replied: {seconds} }}"
        yield from _block("ct timeout mapping", (f"protocol udp; l3proto ip; {policy};",))
        arriving = [f"iifname {self.wan} ip daddr {self.ours} jump arrive"]
        if self.nat.hairpin:
            arriving.append(f"iifname {self.lan} ip daddr {self.ours} meta mark set {HAIRPIN} jump turn")
            yield from _chain("turn", self.turn())
        yield from _chain("arrive", self.arrive(self.nat))
        yield from _chain("prerouting", arriving, "type nat hook prerouting priority dstnat;")
        for k, public in enumerate(self.publics):
            yield from _chain(f"allocate{k}", self.allocate(self.nat, k, public))
        yield from _chain("translate", self.translate(self.nat))
        leaving = [f"oifname {self.wan} meta nfproto ipv4 jump translate"]
        if self.nat.hairpin:
            leaving.append(f"oifname {self.lan} meta mark {HAIRPIN} ct status dnat jump translate")
        if self.services:
            leaving.insert(0, "jump postrouting_miniupnpd")
        yield from _chain("postrouting", leaving, "type nat hook postrouting priority srcnat;")
        noted = list(self.note(self.nat, {name for _, name, _ in memory}))
        if noted:
            yield from _chain("note", noted)
            outside = [f"oifname {self.wan} meta nfproto ipv4 meta l4proto {{ tcp, udp }} jump note"]
            if self.nat.hairpin:
                outside.append(f"oifname {self.lan} meta mark {HAIRPIN} meta l4proto {{ tcp, udp }} jump note")
                outside += self.admit(self.nat)
            yield from _chain("outside", outside, "type filter hook postrouting priority srcnat + 10;")

    def input(self) -> Iterator[str]:
        """What is for the router itself: it can be pinged from everywhere, and talked to from inside."""
        yield "iifname lo accept"
        yield "ct state established,related accept"
        yield "icmp type echo-request accept"
        yield "meta l4proto ipv6-icmp accept"
        for service, version in VERSIONS.items():
            if set(VERSIONS) & set(self.services) and service not in self.services:
                yield f"iifname {self.lan} udp dport {MAPPING_PORT} @th,64,8 {version} drop"
        if self.publics:
            yield f"iifname {self.lan} ip daddr != {self.ours} accept"
        yield f"iifname {self.lan} meta nfproto ipv6 accept"

    def forward(self) -> Iterator[str]:
        outward, inward = f"iifname {self.lan} oifname {self.wan}", f"iifname {self.wan} oifname {self.lan}"
        if not self.firewall.udp:
            yield f"iifname {self.wan} meta l4proto udp drop"
            yield f"oifname {self.wan} meta l4proto udp drop"
        if self.nat is not None:
            yield "meta nfproto ipv4 meta l4proto udp ct state new ct timeout set mapping"
        yield "ct state established,related accept"
        yield "ct state invalid drop"
        if self.firewall.only:
            ports = ", ".join(map(str, self.firewall.only))
            yield f"{outward} tcp dport {{ {ports} }} accept"
        else:
            yield f"{outward} accept"
        if self.services:
            yield f"jump {UPNP_CHAINS[0]}"
        if self.nat is not None:
            yield "ct status dnat accept"
        for opening in self.openings:
            version = ip_address(opening.address).version
            if version == 6 or self.nat is None:
                family = "ip6" if version == 6 else "ip"
                to = f"{family} daddr {opening.address} meta l4proto {{ tcp, udp }} th dport {opening.to}"
                yield f"{inward} {to} accept"
        if not self.firewall.stateful:
            yield f"{inward} accept" if self.nat is None else f"{inward} meta nfproto ipv6 accept"

    def arrive(self, nat: Nat) -> Iterator[str]:
        """From outside: to whom it belongs. What belongs to nobody is for the router itself, which drops it."""
        if self.forwards:
            yield "dnat ip addr . port to meta l4proto . th dport map @forwards"
        if self.services:
            yield f"jump {UPNP_CHAINS[1]}"
        belongs = "dnat ip addr . port to ip daddr . meta l4proto . th dport map @inward"
        if nat.filtering == INDEPENDENT:
            yield belongs
        elif nat.filtering == BY_ADDRESS:
            yield f"ip daddr . meta l4proto . th dport . ip saddr @peers {belongs}"

    def turn(self) -> Iterator[str]:
        """From inside to an outside address. Who may is looked at when the sender's own mapping is known."""
        if self.forwards:
            yield "dnat ip addr . port to meta l4proto . th dport map @forwards"
        yield "dnat ip addr . port to ip daddr . meta l4proto . th dport map @inward"

    def allocate(self, nat: Nat, k: int, public: str) -> Iterator[str]:
        """A new mapping on one address."""
        if nat.ports == "preserving":
            reserved = sorted({opening.port for opening in self.forwards}) if k == 0 else []
            free = f"th sport != {{ {', '.join(map(str, reserved))} }} " if reserved else ""
            yield f"{free}meta l4proto . th sport != @used{k} snat ip to {public}"
        if nat.ports == "sequential":
            yield f"meta l4proto {{ tcp, udp }} snat ip to {public}:numgen inc mod {PORTS} map @sequence"
        else:
            yield f"snat ip to {public} fully-random"

    def translate(self, nat: Nat) -> Iterator[str]:
        """The first packet of a connection that leaves: by which mapping."""
        yield f"meta l4proto != {{ tcp, udp }} snat ip to {self.publics[0]}"
        if self.forwards:
            yield "snat ip addr . port to ip saddr . meta l4proto . th sport map @backwards"
        if nat.mapping != BY_PORT:
            remote = " . ct original ip daddr" if nat.mapping == BY_ADDRESS else ""
            yield f"snat ip addr . port to ip saddr . meta l4proto . th sport{remote} map @outward"
        count = len(self.publics)
        if count == 1:
            yield "goto allocate0"
        else:
            chosen = f"jhash ip saddr mod {count}" if nat.mapping == INDEPENDENT else f"numgen inc mod {count}"
            yield f"{chosen} vmap {{ {', '.join(f'{k} : goto allocate{k}' for k in range(count))} }}"

    def note(self, nat: Nat, names: set[str]) -> Iterator[str]:
        """What a packet that leaves tells of its mapping: its source is the outside one by now."""
        for protocol, timeout in (("udp", f"{round(nat.timeout * 1000)}ms"), ("tcp", TCP_TIMEOUT)):
            here = "ip saddr . meta l4proto . th sport"
            for direction in ("original", "reply"):  # reply: of a connection that came from outside
                start = f"meta l4proto {protocol} ct direction {direction} update"
                mine = f"ct {direction} ip saddr", f"ct {direction} proto-src"
                if "outward" in names:
                    remote = f" . ct {direction} ip daddr" if nat.mapping == BY_ADDRESS else ""
                    key = f"{mine[0]} . meta l4proto . {mine[1]}{remote}"
                    yield f"{start} @outward {{ {key} timeout {timeout} : ip saddr . th sport }}"
                if "inward" in names:
                    yield f"{start} @inward {{ {here} timeout {timeout} : {mine[0]} . {mine[1]} }}"
                if "peers" in names:
                    remote = f"ct {direction} ip daddr"
                    if nat.filtering == BY_PORT:
                        remote += f" . ct {direction} proto-dst"
                    yield f"{start} @peers {{ {here} . {remote} timeout {timeout} }}"
            for k, public in enumerate(self.publics):
                if f"used{k}" in names:
                    yield (
                        f"meta l4proto {protocol} ip saddr {public}"
                        f" update @used{k} {{ meta l4proto . th sport timeout {timeout} }}"
                    )

    def admit(self, nat: Nat) -> Iterator[str]:
        """Hairpin: whether the one inside would take it, had it come from outside with the sender's mapping."""
        if nat.filtering == INDEPENDENT:
            return
        new = f"oifname {self.lan} meta mark {HAIRPIN} ct state new meta l4proto {{ tcp, udp }}"
        if self.forwards:
            ports = ", ".join(str(port) for port in sorted({opening.port for opening in self.forwards}))
            yield f"{new} ct original proto-dst {{ {ports} }} accept"
        sender = "ip saddr" if nat.filtering == BY_ADDRESS else "ip saddr . th sport"
        yield f"{new} ct original ip daddr . meta l4proto . ct original proto-dst . {sender} != @peers drop"


def _forwarded(forwards: Sequence[Opening], publics: Sequence[str]) -> Iterator[str]:
    """Ports that somebody forwarded by hand: mappings that never end, one map for each way."""
    if not forwards:
        return
    inwards: list[str] = []
    outwards: list[str] = []
    for opening in forwards:
        for protocol in ("tcp", "udp"):
            inwards.append(f"{protocol} . {opening.port} : {opening.address} . {opening.to}")
            back = f"{opening.address} . {protocol} . {opening.to}"
            if not any(line.startswith(f"{back} :") for line in outwards):  # a port may be forwarded twice
                outwards.append(f"{back} : {publics[0]} . {opening.port}")
    types = "inet_proto . inet_service : ipv4_addr . inet_service"
    yield from _block("map forwards", (f"type {types}", _elements(inwards)))
    yield from _block("map backwards", (f"type ipv4_addr . {types}", _elements(outwards)))


def _elements(lines: Sequence[str]) -> str:
    inner = f",\n{_BLOCK * 3}".join(lines)
    return f"elements = {{\n{_BLOCK * 3}{inner}\n{_BLOCK * 2}}}"


def _chain(name: str, rules: Sequence[str] | Iterator[str], hook: str = "") -> Iterator[str]:
    return _block(f"chain {name}", (*([hook] if hook else []), *rules))


def _block(head: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{_BLOCK}{head} {{"
    for line in lines:
        yield f"{_BLOCK * 2}{line}"
    yield f"{_BLOCK}}}"
