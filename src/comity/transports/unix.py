"""unix: Unix sockets between parties of one user on one machine."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path as File

from comity.core.limits import MAX_ARRIVALS
from comity.core.manifest import Session
from comity.errors import PeerError, UnreachableError
from comity.interfaces import Channel, PartyId, Path, Reach, Settings, Signals, Traits
from comity.reach.arrivals import Arrivals
from comity.reach.listener import listening
from comity.reach.offers import Offers, exchanging

_PREFIX = "comity-unix-"
_FOLDER = re.compile(_PREFIX + r"[a-z0-9_]{8}")
"""An offer names a folder in the directory for temporary files: a peer cannot point at another program's socket."""

_LONGEST_PATH = 100  # bytes; a socket's address has room for 107 on Linux, 103 on macOS


def _read(body: bytes) -> str:
    folder = body[:64].decode("ascii", "replace")
    if not _FOLDER.fullmatch(folder) or len(body) > 64:
        raise PeerError("it names no folder of a session")
    return folder


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder that only this user can enter, held by a lock, so that what a killed process left can be removed."""
    for left in File(tempfile.gettempdir()).glob(_PREFIX + "*"):
        _remove_if_left(left)
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if os.fstat(held).st_nlink == 0:  # somebody tidied it away before it was held
                continue
            try:
                yield File(folder).name
            finally:
                with suppress(FileNotFoundError):  # the system may have tidied up in a long session
                    shutil.rmtree(folder)
            return
        finally:
            os.close(held)


def _remove_if_left(folder: File) -> None:
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # another user's, or gone already
    try:
        if os.fstat(held).st_uid != os.getuid():
            return
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except OSError:
        return  # in use, or being removed by another
    finally:
        os.close(held)


def _path(folder: str) -> str:
    return str(File(tempfile.gettempdir()) / folder / "socket")


def _channel(sock: socket.socket) -> Channel:
    sock.setblocking(False)
    return Channel(sock, Path(Unix.name))


class UnixReach:
    def __init__(self, session: Session, arrivals: Arrivals, offers: Offers[str]) -> None:
        self._session = session
        self._arrivals = arrivals
        self._offers = offers

    async def dial(self, peer: PartyId) -> Channel:
        folder = await self._offers.of(peer)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel = _channel(sock)
            sock.connect(_path(folder))  # at once, or not at all
        except OSError as exc:
            sock.close()
            reason = (exc.strerror or str(exc)).lower()
            raise UnreachableError(
                f"no path to {self._session.name(peer)}: {reason}", hint="unix reaches parties of this machine and user"
            ) from exc
        return channel

    def arrivals(self) -> Arrivals:
        return self._arrivals

    def refresh(self) -> None:
        self._offers.refresh()


class Unix:
    name = "unix"
    traits = Traits(
        layer="transport",
        encryption="none",
        key_distribution="none",
        third_parties="none; programs of the same user can look in",
        privileges="nothing; all parties on one machine, as one user",
    )

    def __init__(self, settings: Settings) -> None:
        pass

    def missing(self) -> str | None:
        if len(os.fsencode(_path(_PREFIX + "12345678"))) > _LONGEST_PATH:
            return "the directory for temporary files has too long a name; set TMPDIR=/tmp"
        return None

    @asynccontextmanager
    async def connect(
        self, session: Session, me: PartyId, signals: Signals, report: Callable[[str], None]
    ) -> AsyncIterator[Reach]:
        with _private_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(_path(folder))
            server.listen(MAX_ARRIVALS)
            with listening(server, _channel, report) as arrivals:
                async with exchanging(session, me, signals, report, folder.encode, _read) as offers:
                    yield UnixReach(session, arrivals, offers)


transport = Unix
