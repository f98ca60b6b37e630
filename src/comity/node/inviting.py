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
from comity.rendezvous.listening import urls
from comity.rendezvous.server import Server


@asynccontextmanager
async def meeting_place(
    options: Options, rooms: frozenset[str], report: Callable[[str], None]
) -> AsyncIterator[tuple[Rendezvous, tuple[str, ...]]]:
    """The rendezvous that the options name, or one in this process for `rooms` alone; and its addresses for guests."""
    if options.rendezvous:
        yield WebRendezvous(options.rendezvous, options.certificate, report, invited=False), options.rendezvous
        return
    async with Server(only=rooms) as server:
        found = urls("http", server.addresses, local_addresses())[:MAX_ADDRESSES]
        yield WebRendezvous(found[-1:], report=report, invited=False), found


def invite(invitation: Invitation, m: int, anywhere: bool, person: Person) -> None:
    """`anywhere`: the rendezvous is a server of its own, not this machine."""
    others = m - 1
    near = "" if anywhere else " on this machine or network"
    whom = f"{count(others)} other{'s' if others > 1 else ''}{near}, within one hour:"
    link, addresses = invitation.link(), list(invitation.rendezvous)
    lines = (whom, f"  comity join {link}")
    person.line("Invite", *lines, event="invite", link=link, others=others, rendezvous=addresses)
