"""Dialling by TCP: several addresses side by side, the first that answers wins (happy eyeballs, RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Iterable, Sequence

from comity.core.candidates import Candidate, is_name
from comity.core.limits import MAX_RESOLVED
from comity.errors import UnreachableError
from comity.reach.tcp import prepare, show

STAGGER = 0.1
"""Seconds before the next address is tried beside the ones before it; the least that RFC 8305 allows, since a party's
addresses are many and most of them lead nowhere from here. After a refusal the next one starts at once."""

RESOLVING = 2.0
"""Seconds for names to be looked up; the addresses that are known do not wait for a dead name server any longer."""


async def resolved(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The same in the same order, names replaced by what they resolve to now, or left out when they do not."""
    listed = tuple(candidates)
    lookups = {name: asyncio.create_task(_look_up(name)) for name in {c.host for c in listed} if is_name(name)}
    try:
        if lookups:
            await asyncio.wait(lookups.values(), timeout=RESOLVING)
        result: list[Candidate] = []
        for candidate in listed:
            lookup = lookups.get(candidate.host)
            hosts = (candidate.host,) if lookup is None else lookup.result() if lookup.done() else ()
            result += [Candidate(host, candidate.port, candidate.advertised) for host in hosts]
        return tuple(result)
    finally:
        for lookup in lookups.values():
            lookup.cancel()
        await asyncio.gather(*lookups.values(), return_exceptions=True)


async def _look_up(name: str) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))[:MAX_RESOLVED]


async def connect_first(addresses: Sequence[Candidate], timeout: float) -> socket.socket:
    """A connected, prepared socket to the first of these addresses that answers; no names here.

    Raises UnreachableError with what became of each. Cancelled or not, no other socket stays open.
    """
    race = _Race(addresses)
    try:
        async with asyncio.timeout(timeout):
            return race.keep(await race.outcome)
    except TimeoutError:
        raise UnreachableError(race.story()) from None
    finally:
        race.close()


class _Race:
    """Connects by the loop's readiness alone, without tasks: nothing to wait for when it ends."""

    def __init__(self, addresses: Sequence[Candidate]) -> None:
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[socket.socket] = self._loop.create_future()
        self._waiting = deque(addresses)
        self._under_way: dict[socket.socket, Candidate] = {}
        self._fates: dict[Candidate, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next()

    def keep(self, winner: socket.socket) -> socket.socket:
        self._loop.remove_writer(winner)
        del self._under_way[winner]
        return winner

    def story(self) -> str:
        fates = self._fates | dict.fromkeys(self._under_way.values(), "no answer")
        tried = ", ".join(f"{show((c.host, c.port))}: {fate}" for c, fate in fates.items())
        return f"tried {tried}" if tried else "no address to dial"

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        for sock in self._under_way:
            self._loop.remove_writer(sock)
            sock.close()
        self._under_way.clear()

    def _next(self) -> None:
        """Start with the next address, after it fails at once with the one after it, and so on."""
        if self._timer:
            self._timer.cancel()
        while self._waiting:
            candidate = self._waiting.popleft()
            try:
                self._start(candidate)
            except OSError as exc:
                self._fates[candidate] = _fate(exc.errno)
                continue
            self._timer = self._loop.call_later(STAGGER, self._next)
            return
        if not self._under_way and not self.outcome.done():
            self.outcome.set_exception(UnreachableError(self.story()))

    def _start(self, candidate: Candidate) -> None:
        six = ":" in candidate.host
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
        try:
            prepare(sock)
            code = sock.connect_ex((candidate.host, candidate.port, 0, 0) if six else (candidate.host, candidate.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            self._loop.add_writer(sock, self._answered, sock)
        except BaseException:
            sock.close()
            raise
        self._under_way[sock] = candidate

    def _answered(self, sock: socket.socket) -> None:
        self._loop.remove_writer(sock)
        if self.outcome.done():
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and not talks_to_itself(sock):
            self.outcome.set_result(sock)
            return
        self._fates[self._under_way.pop(sock)] = _fate(code or errno.ECONNREFUSED)
        sock.close()
        self._next()


_FATES = {
    errno.EINVAL: "a route of this machine drops it",  # Linux's word for a route of type blackhole
    errno.EACCES: "this machine forbids it",
    errno.EPERM: "this machine forbids it",
}


def _fate(code: int | None) -> str:
    return _FATES.get(code or errno.EIO) or os.strerror(code or errno.EIO).lower()


def talks_to_itself(sock: socket.socket) -> bool:
    """True for a socket that found no listener on this machine and met its own simultaneous open.

    That happens when the kernel draws the very port that is dialled as the port to dial from.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # reset in the meantime: the first read will tell
        return False
