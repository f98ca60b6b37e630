"""Sockets to listen on: one port at every address of this machine, or at those named."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from comity.errors import UsageError

Listen = tuple[str, int]
"""Host and port; host "" means every address, IPv4 and IPv6; port 0 a fresh one, the same for the whole list."""

BACKLOG = 128

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


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
