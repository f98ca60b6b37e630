"""What a TUN device is asked for on kernels of different ages."""

import errno
import os
import socket

import pytest
from tests.lab.spaces import missing, spaces

from comity.lab import tun
from comity.lab.inside import inside

USO, TSO, CHECKSUM = 0x60, 0x06, 0x01  # linux/if_tun.h


class Kernel:
    """Takes some offloads and refuses others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, known: int) -> None:
        self.known, self.given = known, -1
        monkeypatch.setattr(tun.fcntl, "ioctl", self.ioctl)

    def ioctl(self, descriptor: int, request: int, flags: int) -> None:
        if flags & ~self.known:
            raise OSError(errno.EINVAL, "no such offload")
        self.given = flags


@pytest.mark.parametrize(
    ("known", "given"),
    [(USO | TSO | CHECKSUM, USO | TSO | CHECKSUM), (TSO | CHECKSUM, TSO | CHECKSUM)],
)
def test_superpackets_of_udp_only_where_the_kernel_has_them(
    monkeypatch: pytest.MonkeyPatch, known: int, given: int
) -> None:
    kernel = Kernel(monkeypatch, known)
    tun.superpackets(3, True)
    assert kernel.given == given
    tun.superpackets(3, False)
    assert kernel.given == CHECKSUM


def test_a_kernel_that_takes_nothing_is_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, 0)
    with pytest.raises(OSError, match="no such offload"):
        tun.superpackets(3, True)


@pytest.mark.lab
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_what_nobody_reads_is_counted() -> None:
    with spaces("a") as (a,):
        device = tun.open_tun(a.pid)
        try:
            a.up("wan", ["203.0.114.1/32"], ["direct"])
            before = tun.unread(a.pid)
            with inside(a.pid, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                for _ in range(tun.QUEUE + 100):
                    sock.sendto(b"", ("203.0.115.1", 9))
            assert tun.unread(a.pid) - before >= 100
        finally:
            os.close(device)
