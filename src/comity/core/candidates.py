"""Candidates: where a party says that it can be reached by TCP, and in which order another party tries.

An offer is canonical JSON, {"version", "machine", "candidates": [{"host", "port", "advertised"}, ...]}. A host is an
IPv4 or IPv6 address in its canonical text, or a DNS name in lower-case ASCII; advertised is what a person forwarded by
hand. The machine is a digest that only parties of one machine share, empty where it is not known.

A peer chooses what we dial, so it is kept from much: few candidates; no multicast, unspecified or link-local address
(those need an interface's name, and 169.254.169.254 answers with a cloud machine's secrets); loopback only for a party
of the same machine, since nobody else can mean our own; what a name resolves to is judged again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from comity.core import encoding
from comity.core.encoding import Fields, Malformed
from comity.core.limits import MAX_CANDIDATES, MAX_HOST, MAX_SIGNAL
from comity.errors import UsageError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
"""An address of this machine and the network that it is in."""

VERSION = 1
MACHINE_SIZE = 16

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"({_LABEL}\.)*{_LABEL}")
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""Resolvers read 127.1 or 0x7f.1 as an address, which must not slip through as a name."""

_ADVERTISED = re.compile(
    r"(\[(?P<address>[^\]]*:[^\]]*)\]|(?P<name>[^:\[\]]*))(:(?P<port>[0-9]{1,5}))?|(?P<bare>[0-9A-Fa-f:.]*)"
)


@dataclass(frozen=True)
class Candidate:
    host: str
    port: int
    advertised: bool = False


@dataclass(frozen=True)
class Offer:
    machine: bytes  # 16 bytes, or none
    candidates: tuple[Candidate, ...]


def encode(offer: Offer) -> bytes:
    return encoding.encode(
        {
            "version": VERSION,
            "machine": offer.machine.hex(),
            "candidates": [{"host": c.host, "port": c.port, "advertised": c.advertised} for c in offer.candidates],
        }
    )


def decode(data: bytes) -> Offer:
    """Raises Malformed for anything but an offer of usable candidates."""
    fields = Fields(encoding.decode(data, MAX_SIGNAL), "an offer")
    fields.number("version", VERSION, VERSION)
    machine = fields.data("machine", 0, MACHINE_SIZE)
    candidates = tuple(_read(item) for item in fields.items("candidates", MAX_CANDIDATES))
    fields.end()
    return Offer(machine, candidates)


def _read(value: object) -> Candidate:
    fields = Fields(value, "a candidate")
    host = fields.text("host", MAX_HOST)
    result = Candidate(host, fields.number("port", 1, 65535), fields.flag("advertised"))
    fields.end()
    if not is_name(host) and not usable(_address(host), same_machine=True):
        raise Malformed(f"{host!r} is no address to dial")
    return result


def is_name(host: str) -> bool:
    return len(host) <= MAX_HOST and bool(_NAME.fullmatch(host)) and not _NUMBER.fullmatch(host)


def _address(host: str) -> Address | None:
    """The address whose canonical text this is."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address if str(address) == host else None


def usable(address: Address | None, *, same_machine: bool) -> bool:
    """May this address be dialled because a peer said so?"""
    if address is None or address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if isinstance(address, IPv4Address):
        refused = address.is_reserved or address.packed[0] == 0
    else:
        refused = address.ipv4_mapped is not None or address.scope_id is not None
    return not refused and (same_machine or not address.is_loopback)


def parse_advertised(text: str, port: int) -> Candidate:
    """Read ADDRESS[:PORT], where an IPv6 address before a port stands in brackets. `port`: when none is named.

    Raises UsageError.
    """
    match = _ADVERTISED.fullmatch(text.strip())
    host = _plain(match["address"] or match["name"] or match["bare"] or "") if match else ""
    if match and match["port"]:
        port = int(match["port"])
    if not host or not 0 < port <= 65535:
        raise UsageError(
            f"{text[:80]!r} is no address that others can dial",
            hint="for example 192.0.2.7:7000, [2001:db8::7]:7000 or party.example.org",
        )
    return Candidate(host, port, advertised=True)


def _plain(host: str) -> str:
    """The canonical text of an address or name that others may dial; empty for any other."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            name = host.encode("idna").decode().lower()
        except UnicodeError:
            return ""
        return name if is_name(name) else ""
    return str(address) if usable(address, same_machine=True) else ""


def own(interfaces: Iterable[Interface], port: int, advertised: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """What I offer: what is advertised, then my addresses, loopback last."""
    listening = [Candidate(str(i.ip), port) for i in interfaces if usable(i.ip, same_machine=True)]
    return _in_order([*advertised, *listening], ())[:MAX_CANDIDATES]


def to_dial(
    candidates: Iterable[Candidate], interfaces: Sequence[Interface], *, same_machine: bool, listening: int = 0
) -> tuple[Candidate, ...]:
    """A peer's candidates without names, in the order to try them: at most MAX_CANDIDATES.

    `interfaces`: mine; `listening`: my own port, so that an address that we both have does not lead to myself.
    """
    mine = {str(i.ip) for i in interfaces}
    seen: dict[tuple[str, int], Candidate] = {}
    for candidate in candidates:
        if usable(_address(candidate.host), same_machine=same_machine) and (
            candidate.host not in mine or candidate.port != listening
        ):
            seen.setdefault((candidate.host, candidate.port), candidate)
    return _in_order(seen.values(), interfaces)[:MAX_CANDIDATES]


def _in_order(candidates: Iterable[Candidate], interfaces: Sequence[Interface]) -> tuple[Candidate, ...]:
    """By rank; in each rank IPv6 and IPv4 take turns, so that a family that leads nowhere costs little (RFC 8305)."""
    count: Counter[tuple[int, int]] = Counter()
    keyed = []
    for candidate in candidates:
        address = _address(candidate.host)
        kind = (_rank(candidate, address, interfaces), address.version if address else 0)
        keyed.append(((kind[0], count[kind], -kind[1]), candidate))
        count[kind] += 1
    return tuple(candidate for _, candidate in sorted(keyed, key=lambda pair: pair[0]))


def _rank(candidate: Candidate, address: Address | None, interfaces: Sequence[Interface]) -> int:
    if candidate.advertised or address is None:  # names are always advertised
        return 0
    if address.is_loopback:
        return 4
    if any(address in i.network for i in interfaces):
        return 1
    return 2 if address.is_global else 3
