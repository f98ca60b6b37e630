"""A lab as text, from its topology alone: who is where, behind what, and how far from whom.

    home-office-phone   a home, an office, a telephone

    internet
    |-- town
    |   |-- meet              51.0.0.65      where parties meet
    |   |-- home-router       51.0.0.129     NAT EIM APDF, hairpin; UPnP, NAT-PMP,
    |   |                                    PCP
    |   |   `-- alice         192.168.0.10
    |   `-- office-router     51.0.0.193 +1  NAT APDM APDF, random ports; TCP 80 443
    |                                        only
    |       `-- bob           192.168.1.10
    `-- mobile
        `-- phone-carrier     51.1.0.1 +3    NAT APDM APDF, random ports
            `-- phone-router  100.64.2.2     NAT EIM APDF
                `-- carol     192.168.2.10

    round trips, ms
            town  mobile
    town       4
    mobile    45      60
    jitter 4 ms, loss 0.2 %, 20 Mb/s: town - mobile
    jitter 4 ms, loss 0.4 %, 20 Mb/s: inside mobile

    EIM, ADM, APDM: mapping by endpoint alone, by address, by address and port
    EIF, ADF, APDF: filtering by the same words (RFC 4787)      +N: N more addresses

Drawn with lines where the terminal has them; a test keeps this one true.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from comity.core.addressing import Machine, Plan, plan
from comity.core.topology import Firewall, Nat, Path, Site, Topology

WIDTH = 80
BRANCH, LAST, TRUNK, NOTHING = "├── ", "└── ", "│   ", "    "
SHORT = {"endpoint-independent": "EI", "address-dependent": "AD", "address-and-port-dependent": "APD"}
LEGEND = """\
EIM, ADM, APDM: mapping by endpoint alone, by address, by address and port
EIF, ADF, APDF: filtering by the same words (RFC 4787)      +N: N more addresses""".splitlines()
SERVICES = {"upnp": "UPnP", "nat-pmp": "NAT-PMP", "pcp": "PCP"}


@dataclass(frozen=True)
class Line:
    """One machine or region in the tree."""

    branch: str
    name: str
    address: str = ""
    remark: str = ""


def draw(topology: Topology) -> str:
    """At most 80 columns wide."""
    title = f"{topology.name}   {topology.title}".rstrip()
    lines = [*_tree(topology, plan(topology))]
    names = max(len(line.branch + line.name) for line in lines)
    addresses = max(len(line.address) for line in lines)
    shown = [title, "", "internet"]
    for line in lines:
        head = f"{line.branch + line.name:{names}}  {line.address:{addresses}}  "
        below = f"{_below(line.branch):{len(head)}}"
        first, *more = _wrapped(line.remark, WIDTH - len(head))
        shown += [(head + first).rstrip(), *(below + part for part in more)]
    shown += ["", *_matrix(topology)]
    if any(site.nats for site in topology.sites):
        shown += ["", *LEGEND]
    return "\n".join(shown) + "\n"


def attached(made: Plan, region: str) -> list[Machine]:
    """What is drawn of a region: who is attached to the internet there. The mirror is the lab's own."""
    return [machine for machine in made.machines if machine.region == region and machine.kind != "mirror"]


def _below(branch: str) -> str:
    """What stands on the next line at the same depth."""
    return branch.replace(BRANCH, TRUNK).replace(LAST, NOTHING)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def _tree(topology: Topology, made: Plan) -> Iterator[Line]:
    for i, region in enumerate(topology.regions):
        last = i == len(topology.regions) - 1
        yield Line(LAST if last else BRANCH, region)
        trunk = NOTHING if last else TRUNK
        there = attached(made, region)
        for k, machine in enumerate(there):
            yield from _machine(topology, made, machine, trunk, k == len(there) - 1)


def _machine(topology: Topology, made: Plan, machine: Machine, trunk: str, last: bool) -> Iterator[Line]:
    yield Line(trunk + (LAST if last else BRANCH), machine.name, address_of(machine), remark(topology, machine))
    members = [made.machine(name) for name in (machine.lan.members if machine.lan else ())]
    for i, member in enumerate(members):
        yield from _machine(topology, made, member, trunk + (NOTHING if last else TRUNK), i == len(members) - 1)


def address_of(machine: Machine) -> str:
    """IPv4 if there is one; IPv6 is long, and every address has its place in /etc/hosts."""
    found = machine.publics
    if not found:
        return machine.wan.addresses[0].partition("/")[0]
    return f"{found[0]} +{len(found) - 1}" if found[1:] else found[0]


def remark(topology: Topology, machine: Machine) -> str:
    """What is special about a machine."""
    if machine.kind == "router":
        site = topology.site(machine.site)
        outermost = bool(machine.region)
        parts = [_nat(machine.nat) if machine.nat else "routed", _walls(machine.firewall, site) if outermost else ""]
        if machine.lan and machine.lan.members == tuple(host.name for host in topology.inside(site)):
            parts.append(", ".join(SERVICES[service] for service in site.services))
        return "; ".join(filter(None, parts))
    if machine.name == topology.rendezvous:
        return "where parties meet"
    if machine.kind == "host":
        forwards = [f.port for f in topology.site(machine.site).forwards if f.host == machine.name]
        return f"port {', '.join(map(str, forwards))} forwarded" if forwards else ""
    return ""


def _nat(nat: Nat) -> str:
    words = [f"NAT {SHORT[nat.mapping]}M {SHORT[nat.filtering]}F"]
    if nat.ports != "preserving":
        words.append(f"{nat.ports} ports")
    if nat.hairpin:
        words.append("hairpin")
    return ", ".join(words)


def _walls(firewall: Firewall, site: Site) -> str:
    if firewall.only:
        return f"TCP {' '.join(map(str, firewall.only))} only"
    if not firewall.udp:
        return "no UDP"
    routed = not site.nats or 6 in site.families
    return "no firewall" if routed and not firewall.stateful else ""


def _matrix(topology: Topology) -> Iterator[str]:
    """Round trips, a row for each region; and what is special about some of them."""
    label = max(map(len, topology.regions))
    cells = [[f"{path.rtt:g}" for path in row] for row in topology.matrix]
    for letters in range(label, 2, -1):
        widths = [
            2 + max(len(region[:letters]), *(len(row[i]) for row in cells if i < len(row)))
            for i, region in enumerate(topology.regions)
        ]
        if label + sum(widths) <= WIDTH:
            break
    else:
        known = [path.rtt for row in topology.matrix for path in row]
        yield f"round trips: {min(known):g} to {max(known):g} ms"
        yield from impairments(topology)
        return
    yield "round trips, ms"
    yield " " * label + "".join(f"{r[:letters]:>{width}}" for r, width in zip(topology.regions, widths, strict=True))
    for region, row in zip(topology.regions, cells, strict=True):
        yield f"{region:{label}}" + "".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False))
    yield from impairments(topology)


def impairments(topology: Topology) -> Iterator[str]:
    """Each kind of jitter, loss and rate, and where it holds."""
    found: dict[str, list[str]] = {}
    for i, row in enumerate(topology.matrix):
        for k, path in enumerate(row):
            if text := impairment(path):
                a, b = topology.regions[k], topology.regions[i]
                found.setdefault(text, []).append(f"{a} - {b}" if a != b else f"inside {a}")
    every = sum(len(row) for row in topology.matrix)
    for text, pairs in found.items():
        where = "everywhere" if len(pairs) == every else ", ".join(pairs)
        yield from _wrapped(f"{text}: {where}", WIDTH)


def impairment(path: Path) -> str:
    """Jitter, loss and rate in words, each way."""
    return ", ".join(
        filter(
            None,
            (
                f"jitter {path.jitter:g} ms" if path.jitter else "",
                f"loss {path.loss * 100:g} %" if path.loss else "",
                rate(path.rate) if path.rate else "",
            ),
        )
    )


def rate(bits: float) -> str:
    for size, unit in ((1e9, "Gb/s"), (1e6, "Mb/s"), (1e3, "kb/s")):
        if bits >= size:
            return f"{bits / size:g} {unit}"
    return f"{bits:g} b/s"
