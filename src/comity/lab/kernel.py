"""Namespaces and mounts: the calls of Linux that Python 3.11 does not have. All raise OSError."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEWNS, NEWUTS, NEWNET = 0x00020000, 0x04000000, 0x40000000
MS_BIND, MS_REC = 0x1000, 0x4000
KINDS = {"net": NEWNET, "uts": NEWUTS, "mnt": NEWNS}
"""In the order of entering: the mount namespace last, as it may hide what leads to the others."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def set_hostname(name: str) -> None:
    data = name.encode()
    _check(_libc.sethostname(data, len(data)), "sethostname")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    parts = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _check(_libc.mount(*parts), target)


def bind(source: str, target: str) -> None:
    mount(source, target, flags=MS_BIND | MS_REC)


@dataclass(frozen=True)
class Spaces:
    """One machine's namespaces as descriptors: net, uts, mnt. They live for as long as these are open."""

    fds: tuple[int, ...]

    @classmethod
    def current(cls) -> Spaces:
        flags = os.O_RDONLY | os.O_CLOEXEC
        # /proc/thread-self, since each thread has its own
        return cls(tuple(os.open(f"/proc/thread-self/ns/{kind}", flags) for kind in KINDS))

    @property
    def net(self) -> int:
        return self.fds[0]

    def enter(self) -> None:
        """This thread's. The current folder becomes the root."""
        for fd, kind in zip(self.fds, KINDS.values(), strict=True):
            setns(fd, kind)


@contextmanager
def elsewhere(home: Spaces) -> Iterator[None]:
    """What is unshared or entered inside is left at the end, for `home`."""
    try:
        yield
    finally:
        home.enter()


def cover(folder: str, kept: Sequence[Path]) -> None:
    """Puts an empty folder in memory over this one, in which of all that was there only what is kept can be seen."""
    inside = [path for path in kept if path.is_relative_to(folder)]
    if Path(folder) in inside:
        return
    fds = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside]
    try:
        mount("tmpfs", folder, "tmpfs", options="mode=1777")
        for fd, path in zip(fds, inside, strict=True):
            if path.is_mount() or (path.exists() and any(path.is_relative_to(p) for p in inside if p != path)):
                continue  # it came with a folder around it
            if Path(f"/proc/self/fd/{fd}").is_dir():
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            bind(f"/proc/self/fd/{fd}", str(path))
    finally:
        for fd in fds:
            os.close(fd)
