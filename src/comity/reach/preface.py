"""Exchanging prefaces on a channel: the first bytes each way, read to the byte.

Whatever goes wrong, the channel is closed: nothing else may be read from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from comity.core.limits import MAX_ARRIVALS
from comity.core.preface import SIZE
from comity.errors import UnreachableError
from comity.interfaces import Channel

TIMEOUT = 10.0
"""Seconds for a preface to come: ten round trips around the world; a stranger holds a place no longer."""


async def greet(channel: Channel, mine: bytes, accept: Callable[[bytes], bool], timeout: float = TIMEOUT) -> None:
    """Send my preface on a channel that I dialled and read the answer.

    Raises UnreachableError unless one comes in `timeout` seconds and `accept` says that it is the right one.
    """
    with _closed_on_error(channel):
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_sendall(channel.sock, mine)
            answer = await _read(channel)
        if not accept(answer):
            raise UnreachableError(f"another session answers at {channel.path.remote or 'the other end'}")


async def receive(channel: Channel, timeout: float = TIMEOUT) -> bytes:
    """The preface of an arrival, as many bytes as it has and none after it.

    Raises UnreachableError unless it comes in `timeout` seconds.
    """
    with _closed_on_error(channel):
        async with asyncio.timeout(timeout):
            return await _read(channel)


async def route(
    arrivals: AsyncIterator[Channel], take: Callable[[Channel, bytes], None], timeout: float = TIMEOUT
) -> None:
    """Read the preface of every arrival, at most MAX_ARRIVALS side by side, and hand it to `take` with its channel.

    Runs until the arrivals end. Past the limit the one that has waited longest is closed.
    """
    reading: dict[asyncio.Task[None], None] = {}  # in the order of arrival

    async def read(channel: Channel) -> None:
        try:
            preface = await receive(channel, timeout)
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


async def _read(channel: Channel) -> bytes:
    data = b""
    while len(data) < SIZE:
        part = await asyncio.get_running_loop().sock_recv(channel.sock, SIZE - len(data))
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
