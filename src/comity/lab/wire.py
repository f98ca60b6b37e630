"""What a lab's leader and its owner say to one another: a JSON object a packet, with open files where it says so."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.core.topology import Topology
from comity.errors import ComityError, UnreachableError, UsageError

MAX_MESSAGE = 1 << 17
"""Bytes; a command line fits, and the kernel takes it whole."""
MAX_FILES = 3


@dataclass(frozen=True)
class Task:
    """What a leader is told before anything else."""

    topology: Topology
    kept: tuple[Path, ...]  # below /tmp and /run, what machines can see
    strict: bool  # a lab that is off is an error


def failure(exc: ComityError) -> dict[str, Any]:
    return {"error": exc.message, "hints": exc.hints, "kind": exc.kind}


def raised(message: dict[str, Any]) -> ComityError:
    """What `failure` has packed."""
    kinds: dict[str, type[ComityError]] = {kind.kind: kind for kind in (UsageError, UnreachableError)}
    return kinds.get(message["kind"], ComityError)(message["error"], hint=tuple(message["hints"]))


class Wire:
    """One end of a SOCK_SEQPACKET pair. Whoever holds it closes it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._writing = asyncio.Lock()

    def close(self) -> None:
        self._sock.close()

    async def send(self, message: dict[str, Any], files: Sequence[int] = ()) -> None:
        """Raises UsageError for what is too large, OSError when nobody is there any more."""
        data = json.dumps(message).encode()
        if len(data) > MAX_MESSAGE:
            raise UsageError(f"{len(data)} bytes are too many for a command and its variables")
        async with self._writing:
            while True:
                try:
                    socket.send_fds(self._sock, [data], files)
                except BlockingIOError:
                    await self._until(writable=True)
                else:
                    return

    def watch(self, act: Callable[[], None] | None) -> None:
        """Called when there is something to receive, if only the end; None: no more. Not while somebody receives."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        if act is not None:
            loop.add_reader(self._sock, act)

    async def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its files, which are the caller's from now; None when nobody is there any more."""
        while True:
            try:
                data, files, _, _ = socket.recv_fds(self._sock, MAX_MESSAGE, MAX_FILES)
            except BlockingIOError:
                await self._until(writable=False)
            except ConnectionError:
                return None
            else:
                break
        for file in files:
            os.set_inheritable(file, False)
        if not data:
            return None
        message: dict[str, Any] = json.loads(data)
        return message, files

    async def _until(self, *, writable: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        (loop.add_writer if writable else loop.add_reader)(self._sock, wake)
        try:
            await ready
        finally:
            (loop.remove_writer if writable else loop.remove_reader)(self._sock)
