"""TUN devices that pass superpackets whole, made in a network namespace from outside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from pathlib import Path

from comity.errors import UsageError
from comity.lab.inside import inside

# linux/if_tun.h and linux/sockios.h
_SETIFF, _SETOFFLOAD, _SETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_SETTXQLEN = 0x8943
_TUN, _NO_PI, _VNET_HDR = 0x0001, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x20, 0x40

QUEUE = 2000
"""Packets that the kernel holds for the delay core; it reads them within microseconds, or after a burst of others."""


def open_tun(netns: int | str, name: str = "wan") -> int:
    """A descriptor of a new TUN device in a namespace: of a process, by its pid, or by a path.

    The device goes when its last descriptor is closed. Every packet has a virtio_net_hdr of 10 bytes in front.
    """
    try:
        return inside(netns, lambda: _open(name))
    except OSError as exc:
        raise UsageError(
            f"no TUN device {name} in the namespace {netns}: {exc.strerror}",
            hint="the lab needs /dev/net/tun and, in the namespace, CAP_NET_ADMIN",
        ) from exc


def _open(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _SETIFF, struct.pack("16sH22x", name.encode(), _TUN | _NO_PI | _VNET_HDR))
        fcntl.ioctl(descriptor, _SETVNETHDRSZ, struct.pack("i", 10))
        superpackets(descriptor, True)
        with (
            contextlib.suppress(PermissionError),  # in a user namespace only `ip link set` may do it
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            fcntl.ioctl(sock, _SETTXQLEN, struct.pack("16si20x", name.encode(), QUEUE))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def superpackets(descriptor: int, wanted: bool) -> None:
    """Whether the kernel hands over up to 64 KB of one TCP or UDP flow as one packet, or cuts them first."""
    choices = (_CSUM | _TSO4 | _TSO6 | _USO4 | _USO6, _CSUM | _TSO4 | _TSO6) if wanted else (_CSUM,)
    for flags in choices:
        try:
            fcntl.ioctl(descriptor, _SETOFFLOAD, flags)
            return
        except OSError:  # kernels before 6.2 know no USO
            if flags == choices[-1]:
                raise


def unread(netns: int | str, name: str = "wan") -> int:
    """Packets that the kernel has dropped, as its queue for the delay core was full."""
    text = inside(netns, Path("/proc/thread-self/net/dev").read_text)
    line = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:"))
    return int(line.partition(":")[2].split()[11])  # proc_pid_net(5): after eight numbers of what was received
