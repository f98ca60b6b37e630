"""What host and join have in common: one party, its record, its closing line."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from comity.cli.recording import recording
from comity.cli.talk import Talk
from comity.node.home import find_home
from comity.node.options import Options
from comity.node.party import Party


async def take_part(talk: Talk, options: Options, work: Callable[[Party], Awaitable[None]]) -> None:
    """Raises ComityError for anything but a good end; the record is written in any case."""
    began = time.monotonic()
    party = Party(options, talk, find_home().identity())
    with recording(options.record, party.record, talk):
        try:
            await work(party)
        finally:
            party.phase("closed")
    sent = sum(peer.bytes_sent for peer in party.record.peers)
    seconds = time.monotonic() - began
    talk.line(
        "Done",
        f"{seconds:.1f} s, {amount(sent)} sent; nothing left on this machine but your identity",
        event="done",
        seconds=round(seconds, 3),
        bytes_sent=sent,
        phases=party.record.phases,
    )


def amount(size: int) -> str:
    """Bytes as people read them."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
