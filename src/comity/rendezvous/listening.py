"""Sockets to listen on: one port at every address of this machine, or at those named."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address

from comity.core.candidates import Interface
from comity.errors import UsageError

Listen = tuple[str, int]
"""Host and port; host "" means every address, IPv4 and IPv6; port 0 a fresh one, the same for the whole list."""

DEFAULT_PORT = 8787
BACKLOG = 128

_LISTEN = re.compile(r"(?:\[([\w:.%]+)\]|([^\[\]:\s]*))(?::([0-9]{1,5}))?", re.ASCII)
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def parse_listen(text: str) -> Listen:
    """HOST:PORT, HOST, :PORT or PORT, where an IPv6 address stands in brackets. Raises UsageError."""
    match = _LISTEN.fullmatch(f":{text}" if text.isdecimal() else text)
    if match is None:
        hint = f"for example 127.0.0.1:{DEFAULT_PORT} or [::1]:{DEFAULT_PORT}"
        raise UsageError(f"{text[:80]!r} is no address to listen on", hint=hint)
    return match[1] or match[2] or "", int(match[3] or DEFAULT_PORT)


def urls(scheme: str, addresses: Iterable[Listen], here: Iterable[Interface]) -> tuple[str, ...]:
    """Where others find a server that listens on `addresses`: those that others may use first, loopback last.

    here: the addresses of this machine, which stand for an address of zeros.
    """
    interfaces = [i.ip for i in here if not i.ip.is_link_local]
    found: dict[tuple[IPv4Address | IPv6Address, int], None] = {}
    for host, port in addresses:
        bound = ip_address(host.partition("%")[0])
        # the wildcard of IPv6 is a socket of both families
        fits = [ip for ip in interfaces if bound.version == 6 or ip.version == 4] if bound.is_unspecified else [bound]
        found |= dict.fromkeys((ip, port) for ip in fits)
    ordered = sorted(found, key=lambda at: (at[0].is_loopback, at[0].version))
    return tuple(f"{scheme}://[{ip}]:{port}" if ip.version == 6 else f"{scheme}://{ip}:{port}" for ip, port in ordered)


async def open_sockets(addresses: Sequence[Listen]) -> list[socket.socket]:
    """Listening sockets, which the caller closes. Raises UsageError."""
    loop = asyncio.get_running_loop()
    fresh = 0
    with ExitStack() as opened:
        sockets = []
        for host, port in addresses:
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM) if host else []
            except (OSError, UnicodeError) as exc:
                raise UsageError(f"cannot listen on {host}: no such address") from exc
            for family, where in dict.fromkeys((entry[0], entry[4][0]) for entry in found) or [(None, "")]:
                sock = _bind(family, str(where), port or fresh)
                opened.enter_context(sock)
                sockets.append(sock)
                fresh = fresh or sock.getsockname()[1]
        opened.pop_all()
    return sockets


def _bind(family: int | None, host: str, port: int) -> socket.socket:
    hint = "choose another port from 1 to 65535, or 0 for a free one"
    if not 0 <= port <= 65535:
        raise UsageError(f"cannot listen on port {port}: there is no such port", hint=hint)
    try:
        if family is None:
            return _everywhere(port)
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        why = os.strerror(exc.errno or 0).lower()
        raise UsageError(f"cannot listen on {host or 'this machine'}, port {port}: {why}", hint=hint) from exc


def _everywhere(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4, or for IPv4 where the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        except OSError as exc:
            if exc.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port), backlog=BACKLOG)
