"""comity serve: a rendezvous for everybody, until it is stopped."""

from __future__ import annotations

import asyncio
import resource
import signal
import ssl
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from comity.cli import options as shared
from comity.cli.running import report_bug, run
from comity.cli.talk import Talk
from comity.core.limits import (
    MAX_CONNECTIONS_OF_ADDRESS,
    MAX_CONNECTIONS_SERVED,
    MAX_ROOMS,
    MAX_ROOMS_OF_ADDRESS,
)
from comity.errors import UsageError
from comity.node.person import warn
from comity.reach.addresses import local_addresses
from comity.rendezvous.listening import DEFAULT_PORT, parse_listen, urls
from comity.rendezvous.places import Network
from comity.rendezvous.rooms import Limits
from comity.rendezvous.server import Server

SPARE_DESCRIPTORS = 64
"""What a process opens besides its connections: listeners, libraries, the terminal."""

REPORT_SECONDS = 60.0
"""Between two lines about what happens."""

MANY = 1_000_000
"""More rooms or connections than this no machine has."""

AWAY = {
    "connections": "connections, all places being taken: --connections gives more",
    "connections_of_address": "connections of addresses that had too many: --connections-of-address allows more",
    "rooms": "rooms, all being taken: --rooms gives more",
    "rooms_of_address": "rooms of addresses that had too many: --rooms-of-address allows more",
    "stored": "messages, the memory for them being full",
    "stored_of_address": "messages into rooms of addresses that had filled theirs",
    "unfinished": "connections, while too many messages were half read or half sent",
}
"""What a server has no place for, by the field of Limits."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _limit(name: str, of: str, default: int) -> Callable[[shared.Command], shared.Command]:
    """An option that sets a field of Limits."""
    return click.option(
        f"--{name}",
        type=shared.Number(1, MANY),
        default=default,
        metavar="N",
        help=f"At most N {of}.  [default: {default}]",
    )


@click.command(short_help="Run a rendezvous, where parties meet.")
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help=f"Where to listen; repeat it. Without HOST, every address; port 0, a free one.  [default: :{DEFAULT_PORT}]",
)
@click.option("--certificate", type=_FILE, metavar="FILE", help="Serve https and wss: the certificate chain, PEM.")
@click.option("--key", type=_FILE, metavar="FILE", help="The certificate's private key, PEM, without a password.")
@click.option(
    "--behind-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Believe X-Forwarded-For of this address or network; repeat it. Then loopback is where it listens by default.",
)
@_limit("rooms", "rooms, two for each session", MAX_ROOMS)
@_limit("rooms-of-address", "rooms of one address", MAX_ROOMS_OF_ADDRESS)
@_limit("connections", "connections, two for each party", MAX_CONNECTIONS_SERVED)
@_limit("connections-of-address", "connections of one address", MAX_CONNECTIONS_OF_ADDRESS)
@shared.json
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Also a line a minute: how many rooms, members and bytes.")
def serve(
    listen: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
    proxies: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **limits: int,
) -> None:
    """Run a rendezvous, where parties meet who do not know each other's addresses yet.

    It sees sealed messages and the parties' addresses, keeps them in memory only, and writes neither down. Ctrl-C or
    SIGTERM stops it; parties that meet at that moment go on when it is back.
    """

    async def work(talk: Talk) -> None:
        tls, digest = _tls(certificate, key)
        networks = [_network(text) for text in proxies]
        default = f"127.0.0.1:{DEFAULT_PORT}" if proxies else f":{DEFAULT_PORT}"
        addresses = [parse_listen(text) for text in listen or (default,)]
        limits["connections"] = _connections(limits["connections"], talk)
        bugs = _Bugs(talk)
        async with Server(addresses, limits=Limits(**limits), tls=tls, proxies=networks, bug=bugs.happened) as server:
            found = urls(server.scheme, server.addresses, local_addresses())
            talk.line(
                "Serving",
                *_where(found, digest, bool(proxies)),
                event="serving",
                addresses=found,
                port=server.port,
                certificate=digest,
            )
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(server, talk))
                with _stopped() as stopped:
                    if await stopped == signal.SIGINT:
                        talk.key_pressed()
                watching.cancel()
        talk.line("Stopped", event="stopped")

    run("serve", shared.Talking(as_json, quiet, verbose=verbose, no_input=True, answers=None), work)


def _where(found: tuple[str, ...], digest: str, behind_proxy: bool) -> Iterator[str]:
    """Where it is, and what to tell people; the first address is the one that most of them can reach."""
    yield from found
    if digest:
        yield f"certificate SHA-256 {digest}"
    url = "ADDRESS-OF-THE-PROXY" if behind_proxy else found[0]
    pinned = f" --certificate {digest}" if digest else ""
    yield "whoever hosts says where to meet, the others need the invitation alone:"
    yield f"  comity host --rendezvous {url}{pinned} PROGRAM"


@dataclass
class _Bugs:
    """Says each kind of bug once, with a report, and serves on."""

    talk: Talk

    def __post_init__(self) -> None:
        self._known: set[tuple[type[Exception], int]] = set()

    def happened(self, exc: Exception) -> None:
        kind = (type(exc), traceback.extract_tb(exc.__traceback__)[-1].lineno or 0)
        if kind not in self._known:
            self._known.add(kind)
            self.talk.error(report_bug("serve", exc))


async def _watch(server: Server, talk: Talk) -> None:
    """Tell the operator, without an address, what was turned away, and with --verbose what is there."""
    told, warned = Counter[str](), False
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        away = Counter(server.rooms.turned_away) - told
        told = Counter(server.rooms.turned_away)
        if away:
            lines = (f"{number} {AWAY[limit]}" for limit, number in away.items())
            talk.line("Away", *lines, event="away", **away)
        if server.proxied and not warned:
            warned = True
            warn(talk, UNKNOWN_PROXY)
        rooms, members, stored = len(server.rooms), server.members, server.rooms.stored
        talk.detail(
            f"{rooms} rooms, {members} members, {stored / 1e6:.1f} MB",
            event="load",
            rooms=rooms,
            members=members,
            bytes=stored,
        )


UNKNOWN_PROXY = (
    "somebody named a client by X-Forwarded-For: if that is a proxy of yours, give its address with --behind-proxy, "
    "or all its clients count as one"
)


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"{text[:80]!r} is no address of a proxy", hint="for example 127.0.0.1 or 10.0.0.0/8"
        ) from None


def _tls(certificate: Path | None, key: Path | None) -> tuple[ssl.SSLContext | None, str]:
    """What makes it https, and the SHA-256 of the certificate to expect."""
    if certificate is None and key is None:
        return None, ""
    if certificate is None or key is None:
        raise UsageError("--certificate and --key are given together or not at all")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        tls.load_cert_chain(certificate, key, password=_no_password)
        first = load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError) as exc:  # SSLError is an OSError
        raise UsageError(
            f"{certificate} and {key} cannot be used together", hint="give PEM files, the key unencrypted"
        ) from exc
    return tls, sha256(first.public_bytes(Encoding.DER)).hexdigest()


def _no_password() -> str:
    """OpenSSL would ask on the terminal."""
    return ""


def _connections(wanted: int, talk: Talk) -> int:
    """How many connections this process may have, after asking the system for as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            warn(talk, f"only {soft - SPARE_DESCRIPTORS} connections: the system allows {soft} open files (ulimit -Hn)")
            return soft - SPARE_DESCRIPTORS
    return wanted


@contextmanager
def _stopped() -> Iterator[asyncio.Future[signal.Signals]]:
    """Ctrl-C or SIGTERM; after it, another Ctrl-C ends the process at once."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
