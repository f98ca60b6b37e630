"""comity doctor: what can be used on this machine, and what to do about the rest."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import click

from comity import transports
from comity.cli import options as shared
from comity.cli.running import run
from comity.cli.talk import Talk
from comity.core.identity import public_key, show_fingerprint
from comity.core.invitation import check_address
from comity.errors import ComityError
from comity.interfaces import Settings
from comity.node.home import find_home, versions
from comity.reach.addresses import local_addresses
from comity.rendezvous.client import Patience, WebRendezvous

TRY = Patience(refused=0.0, start=4.0, later=4.0)
"""How long a rendezvous may take: one at the other end of the world needs a second."""
EXTRAS = {"numpy": "arrays", "gmpy2": "speed of large integers", "uvloop": "speed of many small messages"}


@dataclass(frozen=True)
class Finding:
    label: str
    lines: tuple[str, ...]
    fine: bool = True


@click.command(short_help="Say what works on this machine.")
@click.option("--rendezvous", multiple=True, metavar="URL", help="Also try this rendezvous; repeat it.")
@shared.json
@shared.quiet
def doctor(rendezvous: tuple[str, ...], **values: Any) -> None:
    """Say what works on this machine, and what to do about the rest."""
    talking = shared.take_talking(values)

    async def work(talk: Talk) -> int:
        findings = [_identity(), _software(), _network(), *_transports()]
        findings += await asyncio.gather(*(_rendezvous(check_address(url)) for url in rendezvous))
        for finding in findings:
            event = finding.label.lower()
            talk.line(
                finding.label, *finding.lines, event="finding", about=event, fine=finding.fine, lines=finding.lines
            )
        return 0 if all(finding.fine for finding in findings) else 5

    run("doctor", talking, work)


def _identity() -> Finding:
    """Looks without making one."""
    try:
        home = find_home()
        since = home.identity_since()
        if since is None:
            return Finding("Identity", ("none yet; the first session makes it",))
        return Finding("Identity", (f"{show_fingerprint(public_key(home.identity()))}, since {since}",))
    except ComityError as exc:
        return Finding("Identity", (exc.message, *exc.hints), fine=False)


def _software() -> Finding:
    found = versions(("comity", "mpyc", *EXTRAS))
    lines = [", ".join(f"{name} {version}" for name, version in found.items())]
    for name, use in EXTRAS.items():
        if name not in found:
            lines.append(f"without {name} ({use}): pip install 'comity[fast]'")
    return Finding("Software", tuple(lines))


def _network() -> Finding:
    """What the kernel says; whether a router stands between is for others to see."""
    found = [i.ip for i in local_addresses() if not i.ip.is_loopback and not i.ip.is_link_local]
    shown = []
    for version in (4, 6):
        mine = [ip for ip in found if ip.version == version]
        if not mine:
            shown.append(f"IPv{version} no")
        elif any(ip.is_global for ip in mine):
            shown.append(f"IPv{version} with a public address")
        else:
            shown.append(f"IPv{version} with a private address: others beyond this network need a forwarded port")
    if not found:
        return Finding("Network", ("none: only sessions on this machine",))
    return Finding("Network", tuple(shown))


def _transports() -> list[Finding]:
    """All that a session can use."""
    found = transports.find()
    findings = []
    for name, kind in found.kinds.items():
        if kind.traits.layer != "process":  # for tests inside one process
            why = kind(Settings()).missing()
            text = f"ok; needs {kind.traits.privileges}" if why is None else f"no: {why}"
            findings.append(Finding(name, (text,)))
    return findings + [Finding(name, (f"no: {reason}",)) for name, reason in found.broken.items()]


async def _rendezvous(address: str) -> Finding:
    """Opens a room there that nobody else knows, and posts one message."""
    try:
        async with WebRendezvous((address,), patience=TRY, invited=False).open(os.urandom(16).hex()) as box:
            began = time.perf_counter()
            await box.post(b"comity doctor")
            return Finding("Rendezvous", (f"{address} {1000 * (time.perf_counter() - began):.0f} ms",))
    except ComityError as exc:
        return Finding("Rendezvous", (exc.message, *exc.hints), fine=False)
