"""The kernel's table of connections, emptied: what a router that restarts has forgotten."""

from __future__ import annotations

import os
import socket
import struct

from comity.lab.inside import inside

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
_NETFILTER = 12
_DELETE = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST, _ACK = 1, 4
_ERROR = 2


def flush(netns: int | str) -> None:
    """Forget every connection of a namespace (pid or path). Raises OSError."""
    with inside(netns, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)) as sock:
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)  # without a tuple: all of them
        sock.send(struct.pack("=IHHII", 16 + len(body), _DELETE, _REQUEST | _ACK, 1, 0) + body)
        answer = sock.recv(4096)
    kind, number = struct.unpack_from("=4xH10xi", answer)
    if kind != _ERROR or number:  # an error of zero is the acknowledgement
        raise OSError(-number, os.strerror(-number))
