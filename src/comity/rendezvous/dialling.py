"""From the addresses of a rendezvous to a connection into one room: all are raced, the first that answers wins."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from comity.core.encoding import Malformed
from comity.core.limits import MAX_ROOM_BODIES
from comity.errors import ComityError, UnreachableError, VerificationError
from comity.rendezvous import wire
from comity.rendezvous.rooms import WHY, Reason

ATTEMPT_TIMEOUT = 10.0
"""Seconds from an address to the WELCOME."""

STAGGER = 0.25
"""Seconds between the starts of two attempts (RFC 8305)."""

CLOSE_TIMEOUT = 2.0
"""Seconds for which a close waits for the other side's."""

HEARTBEAT = 20.0
"""Seconds between pings to a silent server; it has half of that to answer, which one that is busy needs."""

HASTE = 0.25
"""Seconds for which an attempt that did not win waits to be closed."""

SECURE = ("https", "wss")

_LASTING = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)
"""Errors that somebody took the trouble to send: to ask again soon brings the same."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a server, or of a proxy before it, that may soon be another one."""


@dataclass(frozen=True)
class Connection:
    """A WebSocket into a room, welcomed."""

    socket: aiohttp.ClientWebSocketResponse
    address: str
    welcome: wire.Welcome

    async def close(self) -> None:
        await _close(self.socket, 2 * CLOSE_TIMEOUT)


class Failure(Exception):
    """One address did not let us in.

    error: what that means when no other one does. lasting: waiting a while would not change it.
    """

    def __init__(
        self, address: str, why: str, error: type[ComityError] = UnreachableError, *, lasting: bool = True
    ) -> None:
        super().__init__(f"{address}: {why}")
        self.error, self.lasting = error, lasting


class NoWay(Exception):
    """No address of the rendezvous lets us in."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(str(failure) for failure in failures))
        self.failures = tuple(failures)

    @property
    def lasting(self) -> bool:
        """Whether to wait is in vain at every address."""
        return all(failure.lasting for failure in self.failures)

    @property
    def mistaken(self) -> bool:
        """Whether one that answers is not who it should be."""
        return any(failure.error is VerificationError for failure in self.failures)


class Dialler:
    """`certificate`: SHA-256 of the server's, which then needs no authority; empty: the system's authorities decide."""

    def __init__(self, session: aiohttp.ClientSession, addresses: Sequence[str], certificate: bytes, room: str) -> None:
        self._session, self._room = session, room
        self._addresses = list(addresses)
        self._pinned = bool(certificate)
        self._ssl: aiohttp.Fingerprint | ssl.SSLContext | bool = True
        if certificate:
            self._ssl = aiohttp.Fingerprint(certificate)
        elif any(urlsplit(address).scheme in SECURE for address in addresses):
            self._ssl = ssl.create_default_context()  # read now: aiohttp's own is of the time when it was imported

    async def connect(self, incarnation: bytes, after: int, timeout: float = ATTEMPT_TIMEOUT) -> Connection:
        """One attempt of `timeout` seconds at every address. Raises NoWay.

        incarnation, after: the log that we know, and how many of its bodies.
        """
        query = wire.query(incarnation, after)
        waiting, failures = list(self._addresses), list[Failure]()
        running: set[asyncio.Task[Connection]] = set()
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._attempt(waiting.pop(0), query, timeout)))
                stagger = STAGGER if waiting else None
                done, _ = await asyncio.wait(running, timeout=stagger, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.discard(task)
                    try:
                        return self._prefer(task.result())
                    except Failure as failure:
                        failures.append(failure)
        finally:
            await _abandon(running)
        raise NoWay(failures)

    def _prefer(self, connection: Connection) -> Connection:
        """Next time its address is the first."""
        self._addresses.sort(key=lambda address: address != connection.address)
        return connection

    def avoid(self, address: str) -> None:
        """Next time it is the last: what came from there was good for nothing."""
        self._addresses.sort(key=lambda other: other == address)

    async def _attempt(self, address: str, query: dict[str, str], timeout: float) -> Connection:
        if self._pinned and urlsplit(address).scheme not in SECURE:
            raise Failure(address, "it has no certificate, and one is demanded", VerificationError)
        try:
            url = URL(address)
            url = url.with_path(f"{url.path.rstrip('/')}/room/{self._room}").with_query(query)
            async with asyncio.timeout(timeout):
                return await self._open(address, url)
        except aiohttp.ServerFingerprintMismatch as exc:
            raise Failure(address, "its certificate is another one", VerificationError) from exc
        except aiohttp.ClientConnectorCertificateError as exc:
            raise Failure(
                address, "no authority of this machine vouches for its certificate", VerificationError
            ) from exc
        except (OSError, aiohttp.ClientError, ValueError) as exc:
            raise Failure(address, _reason(exc), lasting=_lasting(exc)) from exc

    async def _open(self, address: str, url: URL) -> Connection:
        opened = await self._session.ws_connect(
            url,
            protocols=(wire.SUBPROTOCOL,),
            heartbeat=HEARTBEAT,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
            max_msg_size=wire.MAX_ENTRY + 1,  # aiohttp refuses a message of exactly this size
            ssl=self._ssl,
        )
        welcomed = False
        try:
            if opened.protocol != wire.SUBPROTOCOL:
                raise Failure(address, "it is no rendezvous of this version")
            message, welcome = await opened.receive(), None
            if message.type is aiohttp.WSMsgType.BINARY:
                welcome = wire.from_server(message.data)
            elif opened.closed:
                raise Failure(address, _closing(opened.close_code), lasting=opened.close_code == Reason.MALFORMED)
            if not isinstance(welcome, wire.Welcome) or welcome.count > MAX_ROOM_BODIES:
                raise Failure(address, "it is no rendezvous of this version")
            welcomed = True
            return Connection(opened, address, welcome)
        except Malformed as exc:
            raise Failure(address, exc.message) from exc
        finally:
            if not welcomed:
                await _close(opened, HASTE)


async def _abandon(running: set[asyncio.Task[Connection]]) -> None:
    """End the attempts that lost the race, also those that succeeded in the same moment."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Connection):
            await _close(result.socket, HASTE)


async def _close(opened: aiohttp.ClientWebSocketResponse, timeout: float) -> None:
    """Close within so many seconds, whatever the other side does."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(timeout):
            await opened.close()


def _closing(code: int | None) -> str:
    """What a close code of the server means."""
    return WHY[Reason(code)] if code in tuple(Reason) else "it closed the connection"


def _reason(exc: Exception) -> str:
    """Text of ours for a foreign error: a server's own words are not shown."""
    if isinstance(exc, TimeoutError):
        return "no answer"
    if isinstance(exc, aiohttp.WSServerHandshakeError):
        what = "it does not serve now" if exc.status in _PASSING else "it is no rendezvous"
        return f"{what} (status {exc.status})"
    if isinstance(exc, _Redirected):
        return "it redirects to another place, which is not followed"
    if isinstance(exc, ValueError):  # also aiohttp.InvalidURL
        return "no such address"
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return "no such name" if _lasting(exc) else "no name server answers"
    if isinstance(exc, ssl.SSLError | aiohttp.ClientConnectorSSLError):
        return "it does not speak TLS as it should"
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno).lower()
    if isinstance(exc, aiohttp.ClientConnectorError):
        return "no connection"  # the name has several addresses, and each has another reason
    return "it does not speak HTTP as it should"


def _lasting(exc: Exception) -> bool:
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return exc.os_error.errno != socket.EAI_AGAIN
    if isinstance(exc, aiohttp.WSServerHandshakeError):
        return exc.status not in _PASSING
    if isinstance(exc, ValueError | _Redirected | ssl.SSLError | aiohttp.ClientConnectorSSLError):
        return True
    return isinstance(exc, OSError) and exc.errno in _LASTING


@asynccontextmanager
async def web_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that follows no redirect, keeps no cookie, and takes no proxy from the environment."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    connector = aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=ATTEMPT_TIMEOUT),
        trace_configs=[trace],
    ) as session:
        yield session


class _Redirected(aiohttp.ClientError):
    """A server may not send us elsewhere: the invitation names where to go."""


async def _refuse_redirect(session: aiohttp.ClientSession, state: SimpleNamespace, params: Any) -> None:
    raise _Redirected
