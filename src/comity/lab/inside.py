"""Doing something inside a network namespace: sockets and devices made there stay there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from comity.lab.kernel import NEWNET, setns

T = TypeVar("T")


def inside(netns: int | str, make: Callable[[], T]) -> T:
    """What `make` returns or raises, called in a network namespace: of a process, by its pid, or by a path.

    A namespace belongs to a thread, so it is called in one of its own, which ends with it.
    """
    path = f"/proc/{netns}/ns/net" if isinstance(netns, int) else netns
    made: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _enter(path)
            made.append(make())
        except BaseException as exc:  # raised where it was asked for
            failed.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, NEWNET)
    finally:
        os.close(descriptor)
