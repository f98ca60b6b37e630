"""What every TCP socket of ours has in common."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv6Address, ip_address
from typing import Any

from comity.errors import UsageError
from comity.interfaces import Channel, Path

BACKLOG = 128

KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""Seconds idle, seconds between probes, probes: a vanished peer is noticed after 25 s, a pause of 20 s in the network
is survived. The control link's heartbeats judge earlier; this ends what nobody else watches."""


def prepare(sock: socket.socket) -> None:
    """Non-blocking; small writes leave at once (MPyC's rounds wait for them); a vanished peer is noticed."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        option = getattr(socket, name, None)  # absent on some systems, which then use their own times
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def show(address: tuple[Any, ...]) -> str:
    """A socket's address as people write it: 192.0.2.7:7000 or [2001:db8::7]:7000."""
    host = ip_address(address[0])
    if isinstance(host, IPv6Address):
        if host.ipv4_mapped is None:
            return f"[{host}]:{address[1]}"
        host = host.ipv4_mapped  # IPv4 on a socket for both
    return f"{host}:{address[1]}"


def channel(sock: socket.socket, kind: str) -> Channel:
    """The channel of a connected socket. Raises OSError for one that was reset, which stays the caller's."""
    prepare(sock)
    return Channel(sock, Path(kind, local=show(sock.getsockname()), remote=show(sock.getpeername())))


def bind(port: int) -> socket.socket:
    """A listening socket on every address of this machine, of both families where there are both; 0: a fresh port.

    Raises UsageError.
    """
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as exc:
        reason = os.strerror(exc.errno).lower() if exc.errno else str(exc)
        what = f"port {port}" if port else "a port"
        raise UsageError(f"{what} cannot be listened on: {reason}", hint="choose another one by --listen PORT") from exc
