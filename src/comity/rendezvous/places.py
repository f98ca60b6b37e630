"""Who is connected to a server, and what is half said between them: both are counted, and bounded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from comity.core.encoding import Malformed
from comity.rendezvous.rooms import Limits

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Places:
    """Of one server. `turned_away` counts, by the field of Limits, what there was no place for."""

    def __init__(self, limits: Limits, turned_away: Counter[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self.turned_away, self._clock = limits, turned_away, clock
        self._taken = 0
        self._taken_of: Counter[str] = Counter()
        self._holding: dict[Place, float] = {}  # since when, in this order
        self._held = 0

    def __len__(self) -> int:
        return self._taken

    @property
    def held(self) -> int:
        """Bytes of messages that are half read or half sent."""
        return self._held

    def admit(self, address: str) -> Place | None:
        """A place for one more connection, if there is one. `address`: for whom it counts; empty: nobody."""
        if self._taken >= self.limits.connections:
            self.turned_away["connections"] += 1
            return None
        if not self._take(address):
            return None
        self._taken += 1
        return Place(self, address)

    def _take(self, address: str) -> bool:
        if address:
            if self._taken_of[address] >= self.limits.connections_of_address:
                self.turned_away["connections_of_address"] += 1
                return False
            self._taken_of[address] += 1
        return True

    def _give_back(self, address: str) -> None:
        if address:
            self._taken_of[address] -= 1
            if not self._taken_of[address]:
                del self._taken_of[address]

    def sweep(self) -> None:
        """Cut off whoever has been in the middle of one message for too long."""
        for place, since in list(self._holding.items()):
            if self._clock() - since < self.limits.patience:
                return  # those after it began later
            place.evict()


class Place:
    """One connection's, until it is left. `cut` ends the connection; whoever has it sets that."""

    def __init__(self, places: Places, address: str) -> None:
        self._places, self.address = places, address
        self._left = False
        self._held = 0
        self.cut: Callable[[], None] = _nothing

    def belongs_to(self, address: str) -> bool:
        """Count it for another address from now on, if there is place; a proxy has named its client."""
        if not self._places._take(address):
            return False
        self._places._give_back(self.address)
        self.address = address
        return True

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self.let_go(self._held)
            self._places._taken -= 1
            self._places._give_back(self.address)

    def hold(self, size: int) -> None:
        """So many bytes more are half read or half sent. When that is too much in all, who began first is cut off."""
        places = self._places
        if self._left:
            return
        self._held += size
        places._held += size
        places._holding.setdefault(self, places._clock())
        while places._held > places.limits.unfinished:
            places.turned_away["unfinished"] += 1
            next(iter(places._holding)).evict()

    def let_go(self, size: int) -> None:
        """So many of them are done with: it made progress."""
        places, size = self._places, min(size, self._held)
        self._held -= size
        places._held -= size
        places._holding.pop(self, None)
        if self._held:
            places._holding[self] = places._clock()

    def evict(self) -> None:
        self.leave()
        self.cut()


def _nothing() -> None:
    """There is no connection yet."""


def who(address: Address) -> str:
    """Whom an address stands for: the IPv4 address, the IPv6 network of 64 bits; empty for loopback.

    Loopback is exempt from what is counted by address: the parties of one machine.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return "" if address.is_loopback else address.packed[:8].hex()
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)


def parse_address(text: str) -> Address:
    """Without a zone, and IPv4 as such. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_of(forwarded: Sequence[str], proxies: Sequence[Network]) -> Address:
    """Whom the proxies speak for, by the values of X-Forwarded-For; each of them appends the address that it saw.

    So the last address that is no proxy's is true, and what stands before it the client may have made up.
    Raises Malformed.
    """
    try:
        hops = [parse_address(hop.strip()) for value in forwarded for hop in value.split(",")]
    except ValueError:
        raise Malformed("the proxy names its client in another form") from None
    for hop in reversed(hops):
        if not any(hop in network for network in proxies):
            return hop
    if not hops:
        raise Malformed("the proxy does not name its client")
    return hops[0]
