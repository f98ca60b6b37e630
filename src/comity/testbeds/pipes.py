"""Processes over pipes, and files by commands: what testbeds share, and whoever reads lines of processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from comity.errors import UsageError
from comity.interfaces import Host, Process

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
            reader, transport = await read_pipe(fd)
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


async def read_pipe(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """What can be read from a descriptor, which the transport then holds."""
    reader = asyncio.StreamReader(MAX_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    return reader, transport


async def read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or a piece of one that is too long; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError:
        return await stream.read(MAX_LINE)


async def end(processes: Sequence[Process], seconds: float) -> None:
    """By SIGTERM; whoever has not ended within so many seconds is killed."""
    for process in processes:
        await process.signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(process.wait() for process in processes))
    for process in processes:
        await process.signal(signal.SIGKILL)
        await process.wait()


class Files:
    """A host's files, by commands there: a part of interfaces.Host."""

    async def put(self: Host, path: str, data: bytes) -> None:
        process = await self.start("sh", "-c", PUT, "sh", f"{self.home}/{path}")
        await asyncio.to_thread(process.write, data)
        process.close()
        error = await process.stderr.read()
        if await process.wait():
            raise UsageError(f"{path} cannot be written on {self.name}: {error.decode(errors='replace').strip()}")

    async def get(self: Host, path: str) -> bytes:
        process = await self.start("cat", f"{self.home}/{path}")
        process.close()
        data, error = await asyncio.gather(process.stdout.read(), process.stderr.read())
        if await process.wait():
            raise UsageError(f"{path} cannot be read on {self.name}: {error.decode(errors='replace').strip()}")
        return data
