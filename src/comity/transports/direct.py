"""direct: plain TCP to one of the other party's own addresses, by IPv4 or IPv6, or to a port forwarded by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from comity.core.candidates import Offer, decode, encode, own, parse_advertised, to_dial
from comity.core.manifest import Session
from comity.errors import UnreachableError
from comity.interfaces import Channel, PartyId, Reach, Settings, Signals, Traits
from comity.reach.addresses import local_addresses, machine_mark
from comity.reach.arrivals import Arrivals
from comity.reach.dialling import connect_first, resolved
from comity.reach.listener import listening
from comity.reach.offers import ATTEMPT, Offers, exchanging
from comity.reach.tcp import bind, channel


class DirectReach:
    def __init__(self, session: Session, machine: bytes, port: int, arrivals: Arrivals, offers: Offers[Offer]) -> None:
        self._session = session
        self._machine = machine
        self._port = port
        self._arrivals = arrivals
        self._offers = offers

    async def dial(self, peer: PartyId) -> Channel:
        offer = await self._offers.of(peer)
        addresses = to_dial(
            await resolved(offer.candidates),
            local_addresses(),
            same_machine=offer.machine == self._machine,
            listening=self._port,
        )
        try:
            sock = await connect_first(addresses, ATTEMPT)
        except UnreachableError as exc:
            raise UnreachableError(
                f"no path to {self._session.name(peer)}",
                hint=(
                    exc.message,
                    "one of you needs a port that the other can reach: --listen PORT --advertise ADDRESS",
                ),
            ) from exc
        try:
            return channel(sock, Direct.name)
        except OSError as exc:
            sock.close()
            raise UnreachableError(f"{self._session.name(peer)} closed the channel at once") from exc

    def arrivals(self) -> Arrivals:
        return self._arrivals

    def refresh(self) -> None:
        self._offers.refresh()


class Direct:
    name = "direct"
    traits = Traits(
        layer="transport",
        encryption="none",
        key_distribution="none",
        third_parties="none; the networks on the way see addresses, times and volume",
        privileges="nothing but the network",
    )

    def __init__(self, settings: Settings) -> None:
        """Raises UsageError for an address that cannot be advertised."""
        self._settings = settings
        for text in settings.advertise:
            parse_advertised(text, settings.listen or 1)

    def missing(self) -> str | None:
        return None

    @asynccontextmanager
    async def connect(
        self, session: Session, me: PartyId, signals: Signals, report: Callable[[str], None]
    ) -> AsyncIterator[Reach]:
        machine = machine_mark(session.tag)
        with (
            self._settings.server or bind(self._settings.listen) as server,
            listening(server, lambda sock: channel(sock, self.name), report) as arrivals,
        ):
            port = server.getsockname()[1]

            def mine() -> bytes:
                forwarded = [parse_advertised(text, port) for text in self._settings.advertise]
                return encode(Offer(machine, own(local_addresses(), port, forwarded)))

            async with exchanging(session, me, signals, report, mine, decode) as offers:
                yield DirectReach(session, machine, port, arrivals, offers)


transport = Direct
