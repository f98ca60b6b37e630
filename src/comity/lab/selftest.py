"""A lab tests itself before anything runs in it: distances by echo, NATs by RFC 5780. One that is off is not used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from comity.core.addressing import MIRROR, Machine, Plan
from comity.core.topology import FAMILIES, Path, Site, Topology
from comity.lab.drawing import SHORT
from comity.lab.echo import RoundTrips, round_trips
from comity.lab.probes import Behaviour, behaviour, expected, server

ECHOES = 5
TRIES = 3
"""A machine with other work may delay one measurement; a lab that is off is off each time."""
PATIENCE = 0.5
"""Seconds that a reply may be late on a busy machine."""
BUSY = 10
"""Without real-time priority the delay core waits for other processes: so many times the tolerance."""
TOO_LOSSY = 0.5
"""Of echoes: beyond, nothing can be measured with so few."""
ECHO_BITS = 2 * 8 * 48
"""Of a request and its reply, where a path has a rate."""
KINDS = {4: "nat", 6: "ipv6"}
"""What is between a host and the internet, by family: for IPv6 a firewall at most."""
SIDE_BY_SIDE = 50
"""NATs under test: their tests wait most of the time."""


@dataclass(frozen=True)
class Finding:
    """One thing that was measured."""

    kind: str  # "path", "nat", "ipv6"
    about: str
    wanted: str
    found: str
    fine: bool


async def measure(topology: Topology, plan: Plan, space: Callable[[str], str], *, realtime: bool) -> list[Finding]:
    """`space`: the path of a machine's network namespace."""
    return [*await _paths(topology, plan, space, realtime), *await _nats(topology, plan, space)]


async def _paths(topology: Topology, plan: Plan, space: Callable[[str], str], realtime: bool) -> list[Finding]:
    found: dict[tuple[str, str], Finding] = {}
    left = dict(_pairs(topology, plan))
    for _ in range(TRIES):
        wanted: dict[int | str, list[str]] = {}
        for source, target in left.values():
            wanted.setdefault(space(source), []).append(target)
        times = await round_trips(wanted, count=ECHOES, patience=_longest(topology) + PATIENCE)
        for pair, (source, target) in left.items():
            found[pair] = _judge(topology, pair, times[space(source)][target], realtime)
        left = {pair: ends for pair, ends in left.items() if not found[pair].fine}
        if not left:
            break
    return list(found.values())


def _longest(topology: Topology) -> float:
    """Round trip, in seconds."""
    return max(path.rtt + 2 * path.jitter for row in topology.matrix for path in row) / 1000


def _pairs(topology: Topology, plan: Plan) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """For each pair of regions a machine in one, and the address of another machine in the other."""
    there = {region: [m for m in plan.machines if m.region == region] for region in topology.regions}
    for i, a in enumerate(topology.regions):
        for b in topology.regions[: i + 1]:
            ends = next(_ends(there[a], there[b]), None)
            if ends is not None and topology.path(a, b).loss <= TOO_LOSSY:
                yield (b, a), ends


def _ends(some: list[Machine], others: list[Machine]) -> Iterator[tuple[str, str]]:
    for one in some:
        for other in others:
            for address in other.wan.addresses:
                if one is not other and any((":" in mine) == (":" in address) for mine in one.wan.addresses):
                    yield one.name, address.partition("/")[0]


def _judge(topology: Topology, pair: tuple[str, str], times: RoundTrips, realtime: bool) -> Finding:
    path = topology.path(*pair)
    about = f"{pair[0]} - {pair[1]}" if pair[0] != pair[1] else f"inside {pair[0]}"
    tolerance = topology.tolerance * (1 if realtime else BUSY)
    most = tolerance + 2 * path.jitter + (1000 * ECHO_BITS / path.rate if path.rate else 0)
    found = times.median * 1000
    shown = f"{found:.2f} ms" if times.times else "no reply"
    return Finding("path", about, _shown(path, most), shown, abs(found - path.rtt) <= most)


def _shown(path: Path, most: float) -> str:
    return f"{path.rtt:g} ms ± {most:.3g}"


async def _nats(topology: Topology, plan: Plan, space: Callable[[str], str]) -> list[Finding]:
    """By a host of each site, for each of its families."""
    servers = {family: [a for a in plan.addresses(MIRROR) if ip_address(a).version == family] for family in FAMILIES}
    turn = asyncio.Semaphore(SIDE_BY_SIDE)

    async def test(site: Site, host: str, family: int) -> Finding:
        async with turn:
            wanted = expected(site.nats if family == 4 else (), site.firewall)
            for _ in range(TRIES):
                found = await behaviour(space(host), servers[family], patience=_longest(topology) + PATIENCE)
                differences = wanted.differences(found)
                if not differences:
                    break
            said = "; ".join(differences) or in_words(found)
            return Finding(KINDS[family], site.name, in_words(wanted), said, not differences)

    tests = [
        test(site, host.name, family)
        for family in FAMILIES
        for site in topology.sites
        if (host := next((host for host in topology.inside(site) if family in host.families), None)) is not None
    ]
    if not tests:
        return []
    async with server(space(MIRROR), servers[4]), server(space(MIRROR), servers[6]):
        return await asyncio.gather(*tests)


def in_words(of: Behaviour) -> str:
    """In one line; what cannot be told is left out."""
    if not of.udp:
        return "no UDP"
    parts = [] if of.translated else ["no NAT"]
    parts += [f"mapping {SHORT[of.mapping]}M"] if of.mapping else []
    parts += [f"filtering {SHORT[of.filtering]}F"] if of.filtering else []
    parts += [f"ports {of.ports}"] if of.ports else []
    if of.hairpin is not None:
        parts.append("hairpin" if of.hairpin else "no hairpin")
    return ", ".join(parts)
