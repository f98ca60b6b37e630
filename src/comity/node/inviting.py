"""Where a host meets its guests, and the invitation that it shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from comity.core.invitation import MAX_ADDRESSES, Invitation
from comity.interfaces import Rendezvous
from comity.node.meeting import count
from comity.node.options import Options
from comity.node.person import Person
from comity.reach.addresses import local_addresses
from comity.rendezvous.client import WebRendezvous
from comity.rendezvous.server import Server


@asynccontextmanager
async def meeting_place(
    options: Options, rooms: frozenset[str], report: Callable[[str], None]
) -> AsyncIterator[tuple[Rendezvous, tuple[str, ...]]]:
    """The rendezvous that the options name, or one in this process for `rooms` alone; and its addresses for guests."""
    if options.rendezvous:
        yield WebRendezvous(options.rendezvous, report=report), options.rendezvous
        return
    async with Server(only=rooms) as server:
        families = (4, 6) if any(":" in host for host, _ in server.addresses) else (4,)
        urls = tuple(f"http://{host}:{server.port}" for host in _hosts(families))[:MAX_ADDRESSES]
        yield WebRendezvous(urls[-1:], report=report), urls


def _hosts(families: tuple[int, ...]) -> list[str]:
    """This machine's addresses as URLs write them: for the LAN first, loopback last."""
    found = [i.ip for i in local_addresses() if i.version in families and not i.ip.is_link_local]
    found.sort(key=lambda ip: (ip.is_loopback, ip.version))
    return [f"[{ip}]" if ip.version == 6 else str(ip) for ip in found]


def invite(invitation: Invitation, m: int, person: Person) -> None:
    others = m - 1
    lines = [
        f"{count(others)} other{'s' if others > 1 else ''}, within one hour:",
        f"  comity join {invitation.link()}",
    ]
    addresses = list(invitation.rendezvous)
    person.line("Invite", *lines, event="invite", link=invitation.link(), others=others, rendezvous=addresses)
