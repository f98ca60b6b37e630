"""A mailbox at a web rendezvous: the member's side of the protocol in wire.py."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from comity.core.encoding import Malformed
from comity.core.invitation import check_address
from comity.errors import ComityError, UnreachableError, UsageError, VerificationError
from comity.interfaces import Mailbox
from comity.rendezvous import wire
from comity.rendezvous.dialling import ATTEMPT_TIMEOUT, Connection, Dialler, NoWay, web_session
from comity.rendezvous.log import Bell, Full, Log, check_body, first_of, key_of
from comity.rendezvous.rooms import WHY, Bucket, Reason, check_room

SEND_TIMEOUT = 30.0
"""Seconds for which a server may not take what it is sent; then the connection counts as lost."""

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
"""Seconds before the attempts to reconnect; the last one again and again, and each up to half as much more."""

SHORTEST = 2.5
"""Seconds for an attempt when patience is at its end."""

PINGS_RATE, PINGS_BURST = 1.0, 60.0
"""Pings and pongs of a server, a second: an honest one sends one in many seconds. More would keep a session's node from
its other work, as each is answered."""

ANOTHER = "start a new session, with another rendezvous if there is one"


@dataclass(frozen=True)
class Patience:
    """Seconds."""

    refused: float = 1.0  # at the start, where every address says no: the server may be just starting
    start: float = 30.0  # at the start, where no answer comes from some: the person waits for it
    later: float = 120.0  # without one later, and for one body to be taken
    steady: float = 10.0  # a connection that stood for so long was a good one, though it brought nothing new


def _silent(line: str) -> None:
    """Nobody wants to know."""


class WebRendezvous:
    """`addresses`: http, https, ws or wss, all of one server. `certificate`: SHA-256 of the server's, 32 bytes or none.

    report: takes lines for people, about connections lost and found. invited: it was an invitation that named the
    addresses, rather than this party's person; errors say what to do about it.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        certificate: bytes = b"",
        report: Callable[[str], None] = _silent,
        patience: Patience = Patience(),
        invited: bool = True,
    ) -> None:
        if len(certificate) not in (0, 32):
            raise UsageError("a certificate's SHA-256 has 32 bytes")
        self._addresses = tuple(check_address(address) for address in addresses)
        self._certificate, self._report, self._patience, self._invited = certificate, report, patience, invited

    @asynccontextmanager
    async def open(self, room: str) -> AsyncIterator[Mailbox]:
        """Raises UnreachableError when no server answers, VerificationError when none has the certificate."""
        async with web_session() as session:
            dialler = Dialler(session, self._addresses, self._certificate, check_room(room))
            mailbox = _WebMailbox(dialler, self._report, self._patience, self._invited)
            await mailbox.start()
            try:
                yield mailbox
            finally:
                await mailbox.close()


class _WebMailbox:
    """What it knows of the room is its own log, which outlives the server's.

    Its own log holds each body once, in the order of reading. `_present` is what this incarnation of the server's log
    is known to hold, and whatever else is in the own log and the outbox is posted to it, in this order. So a body whose
    post was cancelled may still arrive.
    """

    def __init__(self, dialler: Dialler, report: Callable[[str], None], patience: Patience, invited: bool) -> None:
        self._dialler, self._report, self._patience, self._invited = dialler, report, patience, invited
        self._log = Log()
        self._outbox: dict[bytes, bytes] = {}  # own bodies that were not read yet
        self._refused: set[bytes] = set()
        self._incarnation = b""
        self._position = 0
        self._present: set[bytes] = set()
        self._sent: set[bytes] = set()  # on this connection
        self._bell = Bell()  # rings on whatever changes here
        self._failure: Exception | None = None
        self._exit = AsyncExitStack()

    async def post(self, body: bytes, /) -> int:
        key = key_of(check_body(body))
        if not self._log.position(key):
            self._refused.discard(key)
            self._outbox.setdefault(key, body)
            self._bell.ring()
        try:
            async with asyncio.timeout(self._patience.later):
                while not self._log.position(key):
                    if key in self._refused:
                        raise Full(hint="start a new session: somebody filled this one's room")
                    await self._wait()
        except TimeoutError as exc:
            raise UnreachableError(
                f"the rendezvous did not take a message for {self._patience.later:.0f} s",
                hint=ANOTHER,
            ) from exc
        return self._log.position(key)

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        position = after
        while True:
            while position < len(self._log):
                position += 1
                yield position, self._log[position]
            await self._wait()

    async def _wait(self) -> None:
        if self._failure is not None:
            if isinstance(self._failure, ComityError):
                raise type(self._failure)(self._failure.message, hint=self._failure.hints) from self._failure
            raise self._failure
        await self._bell.wait()

    async def start(self) -> None:
        first = await self._dial(self._patience.start, asyncio.get_running_loop().time())
        self._exit.push_async_callback(first.close)  # should the task end before it runs
        task = asyncio.create_task(self._keep(first))
        self._exit.push_async_callback(asyncio.wait, [task])
        self._exit.callback(task.cancel)

    async def close(self) -> None:
        await self._exit.aclose()
        self._fail(UsageError("the mailbox was left"))

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._bell.ring()

    async def _keep(self, connection: Connection) -> None:
        """Stay connected until that makes no sense any more."""
        time = asyncio.get_running_loop().time
        good, pauses = time(), iter(PAUSES)
        try:
            while True:
                began, before = time(), len(self._log)
                await self._talk(connection)
                if len(self._log) > before or time() - began > self._patience.steady:
                    good, pauses = time(), iter(PAUSES)
                elif time() - good > self._patience.later:
                    raise UnreachableError(
                        f"the rendezvous at {connection.address} closes every connection", hint=ANOTHER
                    )
                else:
                    self._dialler.avoid(connection.address)
                await _pause(next(pauses, PAUSES[-1]))
                connection = await self._dial(self._patience.later, good)
        except Malformed as exc:
            self._fail(_faulty(f"the rendezvous at {connection.address} broke the protocol: {exc.message}"))
        except Exception as exc:  # a bug of ours must reach whoever reads, too
            self._fail(exc)

    async def _dial(self, patience: float, since: float) -> Connection:
        """Try until `patience` seconds after the time `since`, at least once. Raises UnreachableError and others."""
        time, pauses, told = asyncio.get_running_loop().time, iter(PAUSES), False
        while True:
            left, pause = since + patience - time(), next(pauses, PAUSES[-1])
            try:
                timeout = min(ATTEMPT_TIMEOUT, max(left, SHORTEST))
                connection = await self._dialler.connect(self._incarnation, self._position, timeout)
            except NoWay as exc:
                vain = exc.lasting and not self._incarnation
                if vain:
                    left = min(left, since + self._patience.refused - time())
                if left < pause or all(failure.error is VerificationError for failure in exc.failures):
                    raise _given_up(exc, self._invited) from exc
                if not (vain or told):
                    told = True
                    self._report(f"the rendezvous does not answer; trying for {patience:.0f} s: {exc}")
            else:
                if told:
                    self._report("the rendezvous answers again")
                return connection
            await _pause(pause)

    async def _talk(self, connection: Connection) -> None:
        """Read and post on this connection until it is lost. Raises Malformed and UnreachableError."""
        try:
            again = self._meet(connection.welcome)
            await first_of(self._listen(connection), self._post_all(connection, again))
        finally:
            await connection.close()
        code = connection.socket.close_code
        if code in (Reason.EXPIRED, Reason.MALFORMED):
            raise _faulty(WHY[Reason(code)])

    def _meet(self, welcome: wire.Welcome) -> bool:
        """Whether this is another log than the one we knew."""
        if welcome.incarnation == self._incarnation:
            if welcome.count < self._position:
                raise Malformed("its log became shorter")
            return False
        again = bool(self._incarnation)
        self._incarnation, self._position = welcome.incarnation, 0
        self._present.clear()
        return again

    async def _listen(self, connection: Connection) -> None:
        pings = Bucket(PINGS_RATE, PINGS_BURST)
        while True:
            message = await connection.socket.receive()  # heartbeats end it when the server is gone
            if message.type is aiohttp.WSMsgType.BINARY:
                self._take(wire.from_server(message.data))
                self._bell.ring()
            elif message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
                if pings.take(1):
                    raise Malformed("it sends pings without end")
                if message.type is aiohttp.WSMsgType.PING and not await self._pong(connection, message.data):
                    return
            elif message.type is aiohttp.WSMsgType.TEXT or isinstance(message.data, aiohttp.WebSocketError):
                raise Malformed("a message is no binary one, or too large")
            else:
                return

    async def _pong(self, connection: Connection, data: bytes) -> bool:
        """Whether the connection still takes it."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await connection.socket.pong(data)
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            return False
        return True

    def _take(self, message: wire.Welcome | wire.Entry | wire.Refusal) -> None:
        if isinstance(message, wire.Entry):
            key = key_of(message.body)
            if message.position != self._position + 1 or key in self._present:
                raise Malformed("its log is out of order")
            self._position += 1
            self._present.add(key)
            self._outbox.pop(key, None)
            try:
                self._log.append(message.body)
            except Full as exc:
                raise Malformed("it sends more than a room holds") from exc
        elif isinstance(message, wire.Refusal) and message.key in self._sent:
            self._sent.discard(message.key)
            if self._outbox.pop(message.key, None) is not None:
                self._refused.add(message.key)
        else:
            raise Malformed("it answers what was not said")

    async def _post_all(self, connection: Connection, again: bool) -> None:
        """Post what this log does not hold: first what was read, in that order, then what was not."""
        self._sent.clear()
        try:
            while self._position < connection.welcome.count:
                await self._bell.wait()
            missing = [(key, body) for key, body in self._log.items() if key not in self._present]
            if again:
                what = f"posting {len(missing)} messages again" if missing else "the others have filled it again"
                self._report(f"the rendezvous came back empty; {what}")
            for key, body in missing:
                await self._send(connection, key, body)
            while True:
                waiting = [(key, body) for key, body in self._outbox.items() if key not in self._sent]
                for key, body in waiting:
                    await self._send(connection, key, body)
                if not waiting:
                    await self._bell.wait()
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            return  # the connection is lost

    async def _send(self, connection: Connection, key: bytes, body: bytes) -> None:
        if key not in self._present:
            self._sent.add(key)
            async with asyncio.timeout(SEND_TIMEOUT):
                await connection.socket.send_bytes(wire.post(body))


async def _pause(seconds: float) -> None:
    """Longer by chance: all members of a server that was restarted would come at once, and again."""
    await asyncio.sleep(seconds * (1 + secrets.randbelow(500) / 1000))


def _faulty(message: str) -> UnreachableError:
    """No party did it: the rendezvous did, or whoever speaks in its name."""
    return UnreachableError(message, hint=ANOTHER)


def _given_up(exc: NoWay, invited: bool) -> ComityError:
    if exc.mistaken:
        hint = "someone may be in the middle; "
        hint += (
            "ask the host for a new invitation, over another way"
            if invited
            else "compare --certificate with what the rendezvous shows when it starts"
        )
        return VerificationError(f"no rendezvous has the right certificate: {exc}", hint=hint)
    hint = (
        "is the host's comity still running, and does your network reach it?"
        if invited
        else "does comity serve run there, and does your network reach it?"
    )
    return UnreachableError(f"no rendezvous answers: {exc}", hint=hint)
