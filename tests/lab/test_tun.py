"""What a TUN device is asked for on kernels of different ages."""

import errno

import pytest

from comity.lab import tun

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
