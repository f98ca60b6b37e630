"""Channels that others dialled, waiting for the node to take them."""

from __future__ import annotations

import asyncio
from collections import deque

from comity.core.limits import MAX_ARRIVALS
from comity.interfaces import Channel


class Arrivals:
    """A bounded queue to iterate over: when it is full, the oldest arrival is closed for the newest.

    In a flood of strangers an honest arrival is taken soon after it came, so the oldest are theirs.
    Iteration ends once the queue is closed.
    """

    def __init__(self, limit: int = MAX_ARRIVALS) -> None:
        self._limit = limit
        self._waiting: deque[Channel] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def put(self, channel: Channel) -> None:
        """Take over a channel; it is closed here if nobody takes it."""
        if self._closed:
            channel.sock.close()
            return
        if len(self._waiting) >= self._limit:
            self._waiting.popleft().sock.close()
        self._waiting.append(channel)
        self._news.set()

    def close(self) -> None:
        self._closed = True
        while self._waiting:
            self._waiting.popleft().sock.close()
        self._news.set()

    def __aiter__(self) -> Arrivals:
        return self

    async def __anext__(self) -> Channel:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()
