"""comity serve: a rendezvous for everybody, until it is stopped."""

from __future__ import annotations

import asyncio
import resource
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from comity.cli.options import Talking
from comity.cli.running import run
from comity.cli.talk import Talk
from comity.core.limits import MAX_CONNECTIONS_SERVED
from comity.errors import UsageError
from comity.reach.addresses import local_addresses
from comity.rendezvous.listening import DEFAULT_PORT, parse_listen, urls
from comity.rendezvous.rooms import Limits
from comity.rendezvous.server import Server

SPARE_DESCRIPTORS = 64
"""What a process opens besides its connections: listeners, libraries, the terminal."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Run a rendezvous, where parties meet.")
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    default=(f":{DEFAULT_PORT}",),
    help=f"Where to listen; repeat it. Without HOST, every address; port 0, a free one.  [default: :{DEFAULT_PORT}]",
)
@click.option("--certificate", type=_FILE, metavar="FILE", help="Serve https and wss: the certificate chain, PEM.")
@click.option("--key", type=_FILE, metavar="FILE", help="The certificate's private key, PEM, without a password.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stderr instead of text.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
def serve(listen: tuple[str, ...], certificate: Path | None, key: Path | None, as_json: bool, quiet: bool) -> None:
    """Run a rendezvous, where parties meet who do not know each other's addresses yet.

    It sees sealed messages and the parties' addresses, keeps them in memory only, and writes neither down. Ctrl-C or
    SIGTERM stops it; parties that meet at that moment go on when it is back.
    """

    async def work(talk: Talk) -> None:
        tls, digest = _tls(certificate, key)
        addresses = [parse_listen(text) for text in listen]
        async with Server(addresses, limits=Limits(connections=_connections()), tls=tls) as server:
            found = urls(server.scheme, server.addresses, local_addresses())
            lines = [*found, *([f"certificate SHA-256 {digest}"] if digest else []), *_next(found, digest)]
            talk.line("Serving", *lines, event="serving", addresses=found, port=server.port, certificate=digest)
            with _stopped() as stopped:
                if await stopped == signal.SIGINT:
                    talk.key_pressed()
        talk.line("Stopped", event="stopped")

    run("serve", Talking(as_json, quiet, verbose=False, no_input=True, answers=None), work)


def _next(addresses: tuple[str, ...], digest: str) -> tuple[str, ...]:
    """What to tell people; the first address is the one that most of them can reach."""
    pinned = f" --certificate {digest}" if digest else ""
    return (
        "whoever hosts says where to meet, the others need the invitation alone:",
        f"  comity host --rendezvous {addresses[0]}{pinned} PROGRAM",
    )


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


def _connections() -> int:
    """How many connections this process may have, after asking the system for as many as the limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS_SERVED + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return (
        MAX_CONNECTIONS_SERVED
        if soft == resource.RLIM_INFINITY
        else min(soft - SPARE_DESCRIPTORS, MAX_CONNECTIONS_SERVED)
    )


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
