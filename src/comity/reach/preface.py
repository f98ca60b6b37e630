"""Exchanging prefaces on a channel: the first bytes each way, read to the byte.

Whatever goes wrong, the channel is closed: nothing else may be read from it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from comity.core.limits import MAX_ARRIVALS
from comity.core.preface import PROOF_SIZE, SIZE
from comity.errors import UnreachableError
from comity.interfaces import Channel

TIMEOUT = 10.0
"""Seconds for a preface to come: ten round trips around the world; a stranger holds a place no longer."""


Prove = Callable[[bytes], bytes | None]
"""The proof for this answer; None for one that is not the right one."""
Reply = Callable[[bytes], tuple[bytes, bytes] | None]
"""My answer to this preface, and the proof that must follow; None for one that is nobody's whom I expect."""


async def greet(channel: Channel, mine: bytes, prove: Prove, timeout: float = TIMEOUT) -> None:
    """Send my preface on a channel that I dialled, read the answer, and prove that I am there.

    Raises UnreachableError unless the right answer comes in `timeout` seconds.
    """
    with _closed_on_error(channel):
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_sendall(channel.sock, mine)
            proof = prove(await _read(channel, SIZE))
            if proof is None:
                raise UnreachableError(f"another session answers at {channel.path.remote or 'the other end'}")
            await asyncio.get_running_loop().sock_sendall(channel.sock, proof)


async def receive(channel: Channel, reply: Reply, timeout: float = TIMEOUT) -> bytes:
    """The preface of an arrival that has proven itself; not a byte more is read.

    Raises UnreachableError for any other, and unless all this is done in `timeout` seconds.
    """
    with _closed_on_error(channel):
        async with asyncio.timeout(timeout):
            theirs = await _read(channel, SIZE)
            replied = reply(theirs)
            if replied is None:
                raise UnreachableError(f"{channel.path.remote or 'the other end'} is nobody who is expected")
            answer, proof = replied
            await asyncio.get_running_loop().sock_sendall(channel.sock, answer)
            if not hmac.compare_digest(await _read(channel, PROOF_SIZE), proof):
                raise UnreachableError(f"{channel.path.remote or 'the other end'} repeats what somebody else has said")
            return theirs


async def route(
    arrivals: AsyncIterator[Channel],
    reply: Reply,
    take: Callable[[Channel, bytes], None],
    timeout: float = TIMEOUT,
) -> None:
    """Receive every arrival, at most MAX_ARRIVALS side by side, and hand its preface to `take` with its channel.

    Runs until the arrivals end. Past the limit the one that has waited longest is closed.
    """
    reading: dict[asyncio.Task[None], None] = {}  # in the order of arrival

    async def read(channel: Channel) -> None:
        try:
            preface = await receive(channel, reply, timeout)
        except UnreachableError:
            return  # a stranger, or a peer that thought better of it: nobody's error
        take(channel, preface)

    def begin(channel: Channel) -> None:
        def done(task: asyncio.Task[None]) -> None:
            reading.pop(task, None)
            if task.cancelled():  # maybe before its first step
                channel.sock.close()

        task = group.create_task(read(channel))
        reading[task] = None
        task.add_done_callback(done)

    async with asyncio.TaskGroup() as group:
        async for channel in arrivals:
            if len(reading) >= MAX_ARRIVALS:
                oldest = next(iter(reading))
                del reading[oldest]
                oldest.cancel()
            begin(channel)


async def _read(channel: Channel, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(channel.sock, size - len(data))
        if not part:
            raise UnreachableError(f"{channel.path.remote or 'the other end'} closed the channel before it was used")
        data += part
    return data


@contextmanager
def _closed_on_error(channel: Channel) -> Iterator[None]:
    where = channel.path.remote or "the other end"
    try:
        yield
    except BaseException as exc:
        channel.sock.close()
        if isinstance(exc, TimeoutError):
            raise UnreachableError(f"{where} accepted the channel and then said nothing") from exc
        if isinstance(exc, OSError):
            raise UnreachableError(f"the channel to {where} broke: {(exc.strerror or str(exc)).lower()}") from exc
        raise
