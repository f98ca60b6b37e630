"""Accepting what others dial, for as long as the session lives."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from comity.interfaces import Channel
from comity.reach.arrivals import Arrivals

PER_TURN = 32
"""Arrivals accepted in one turn of the loop, so that a flood does not starve what else runs on it."""

PAUSE = 0.5
"""Seconds without accepting when descriptors or memory have run out: readiness would be reported without end."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Acceptor:
    def __init__(
        self, server: socket.socket, take: Callable[[socket.socket], None], report: Callable[[str], None]
    ) -> None:
        self._server = server
        self._take = take
        self._report = report
        self._told = False
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._server)

    def _resume(self) -> None:
        self._loop.add_reader(self._server, self._accept)

    def _accept(self) -> None:
        for _ in range(PER_TURN):
            try:
                sock, _address = self._server.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._rest(os.strerror(exc.errno).lower())
                    return
                continue  # this one went away before it was accepted
            try:
                self._take(sock)
            except OSError:  # reset in the meantime
                sock.close()

    def _rest(self, reason: str) -> None:
        self._loop.remove_reader(self._server)
        self._pause = self._loop.call_later(PAUSE, self._resume)
        if not self._told:
            self._told = True
            self._report(f"no connection can be accepted for the moment: {reason}")


@contextmanager
def accepting(
    server: socket.socket, take: Callable[[socket.socket], None], report: Callable[[str], None]
) -> Iterator[None]:
    """Accept on a listening socket, which the caller closes, until this is left.

    `take` has the accepted socket from then on; when it raises OSError the socket is closed.
    """
    server.setblocking(False)
    acceptor = _Acceptor(server, take, report)
    try:
        yield
    finally:
        acceptor.close()


@contextmanager
def listening(
    server: socket.socket, admit: Callable[[socket.socket], Channel], report: Callable[[str], None]
) -> Iterator[Arrivals]:
    """The same with a queue of arrivals. `admit` makes the channel of an accepted socket, or raises OSError."""
    arrivals = Arrivals()
    try:
        with accepting(server, lambda sock: arrivals.put(admit(sock)), report):
            yield arrivals
    finally:
        arrivals.close()
