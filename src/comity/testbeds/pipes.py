"""A process's streams over pipes, and its files by commands: what testbeds share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from comity.errors import UsageError
from comity.interfaces import Host

MAX_LINE = 1 << 20
"""Bytes of one line of output that are kept together."""
PUT = 'mkdir -p "$(dirname "$1")" && cat > "$1"'


@dataclass
class Pipes:
    """Ours of a command's three streams."""

    stdin: int
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    readers: tuple[asyncio.ReadTransport, ...]

    def write(self, data: bytes) -> None:
        """The pipe holds 64 KiB, and whoever writes more waits for its reader."""
        with suppress(BrokenPipeError):  # it has ended, which its exit code says
            while data and self.stdin >= 0:
                data = data[os.write(self.stdin, data) :]

    def close(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def end(self) -> None:
        """Nobody reads or writes here any more."""
        self.close()
        for reader in self.readers:
            reader.close()


class Piped:
    """A process of which we hold the streams: half of interfaces.Process."""

    def __init__(self, pipes: Pipes) -> None:
        self.pipes = pipes
        self.stdout, self.stderr = pipes.stdout, pipes.stderr

    def write(self, data: bytes) -> None:
        self.pipes.write(data)

    def close(self) -> None:
        self.pipes.close()


@asynccontextmanager
async def piped() -> AsyncIterator[tuple[Pipes, tuple[int, int, int]]]:
    """Ours, and the three descriptors for the command, which are closed at the end. On an error ours are, too."""
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    readers, transports = [], []
    try:
        for fd in (ours_out, ours_err):
            reader = asyncio.StreamReader(MAX_LINE)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),  # type: ignore[misc]
                os.fdopen(fd, "rb", 0),
            )
            readers.append(reader)
            transports.append(transport)
        ours = Pipes(ours_in, readers[0], readers[1], tuple(transports))
        yield ours, (theirs_in, theirs_out, theirs_err)
    except BaseException:
        os.close(ours_in)
        for transport in transports:
            transport.close()
        raise
    finally:
        for fd in (theirs_in, theirs_out, theirs_err):
            os.close(fd)


async def put(host: Host, path: str, data: bytes) -> None:
    process = await host.start("sh", "-c", PUT, "sh", f"{host.home}/{path}")
    await asyncio.to_thread(process.write, data)
    process.close()
    error = await process.stderr.read()
    if await process.wait():
        raise UsageError(f"{path} cannot be written on {host.name}: {error.decode(errors='replace').strip()}")


async def get(host: Host, path: str) -> bytes:
    process = await host.start("cat", f"{host.home}/{path}")
    process.close()
    data, error = await asyncio.gather(process.stdout.read(), process.stderr.read())
    if await process.wait():
        raise UsageError(f"{path} cannot be read on {host.name}: {error.decode(errors='replace').strip()}")
    return data
