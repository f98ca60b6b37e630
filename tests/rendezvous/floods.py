"""What a server can send byte by byte that is no rendezvous: for the tests, and as a program that meets one.

python -m tests.rendezvous.floods ADDRESS... is a member that meets one after the other, and prints for each, as JSON,
how it ended (kind, message, hints), after how many seconds, and by how many bytes its memory has grown since the start.
"""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import sys
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha1

from comity.core.limits import MAX_BODY
from comity.errors import ComityError
from comity.rendezvous import client, dialling, wire
from comity.rendezvous.client import Patience, WebRendezvous

SECONDS, PATIENCE = 0.6, 2.5
"""In place of the ten for an attempt, and for a mailbox that takes nothing."""

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Flood = Callable[[Reader, Writer], Awaitable[None]]
BINARY, PING, PONG = 2, 9, 10


def frame(kind: int, data: bytes, *, last: bool = True, compressed: bool = False, declared: int = -1) -> bytes:
    """A WebSocket frame of a server. `declared`: the length that it says it has."""
    size = len(data) if declared < 0 else declared
    head = bytes([0x80 * last | 0x40 * compressed | kind])
    if size < 126:
        return head + bytes([size]) + data
    return head + (struct.pack("!BH", 126, size) if size < 65536 else struct.pack("!BQ", 127, size)) + data


WELCOME = frame(BINARY, wire.Welcome(b"i" * 16, 0).pack())


async def again(writer: Writer, chunk: bytes) -> None:
    """Without end; an empty chunk is silence."""
    while chunk:
        writer.write(chunk)
        await writer.drain()


def answers(first: bytes, for_ever: bytes) -> Flood:
    """Instead of an upgrade."""

    async def flood(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        await again(writer, for_ever)
        await _for_ever()

    return flood


async def _upgrade(reader: Reader, writer: Writer) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    (key,) = (line.partition(b":")[2].strip() for line in head.split(b"\r\n") if b"sec-websocket-key" in line.lower())
    accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())
    fields = (b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: " + accept)
    named = b"Sec-WebSocket-Protocol: " + wire.SUBPROTOCOL.encode()
    writer.write(b"\r\n".join((b"HTTP/1.1 101 x", *fields, named, b"\r\n")))


def upgrades(first: bytes, for_ever: bytes = b"", *, reads: bool = True) -> Flood:
    """And then says something first, and something else again and again, or nothing more."""

    async def flood(reader: Reader, writer: Writer) -> None:
        await _upgrade(reader, writer)
        writer.write(first)
        flooding = asyncio.ensure_future(again(writer, for_ever))
        try:
            while reads and await reader.read(1 << 16):
                pass
            await flooding
            await _for_ever()
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)

    return flood


async def _for_ever() -> None:
    await asyncio.Event().wait()


def drips(prepare: Flood, first: bytes) -> Flood:
    async def flood(reader: Reader, writer: Writer) -> None:
        await prepare(reader, writer)
        writer.write(first)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    return flood


async def _request(reader: Reader, writer: Writer) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def entries(reader: Reader, writer: Writer) -> None:
    """More than a room holds."""
    await _upgrade(reader, writer)
    writer.write(WELCOME)
    for position in range(1, 10_000):
        writer.write(frame(BINARY, wire.Entry(position, position.to_bytes(4, "big") * (MAX_BODY // 4)).pack()))
        await writer.drain()


def bomb() -> bytes:
    """64 MiB of zeros, 64 KiB long."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    return b"".join(deflate.compress(piece) for _ in range(64)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


HEAD = b"HTTP/1.1 200 OK\r\n"
NO_HTTP, NOTHING, STATUS = "it does not speak HTTP", "no answer", "status 200"
BROKEN, UNTAKEN = "broke the protocol", "did not take a message"

BEFORE: dict[str, tuple[Flood, str]] = {
    "says nothing": (answers(b"", b""), NOTHING),
    "stops in a header": (answers(HEAD + b"x: y", b""), NOTHING),
    "drips a header": (drips(_request, HEAD), NOTHING),
    "one header without end": (answers(HEAD + b"x: ", b"y" * 65536), NO_HTTP),
    "headers without end": (answers(HEAD, b"x: y\r\n" * 10_000), NO_HTTP),
    "promises without end": (answers(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1000), NOTHING),
    "a page without end, compressed": (
        answers(HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\n" + bytes(8) + b"\r\n"),
        STATUS,
    ),
    "upgrades and says nothing": (upgrades(b""), NOTHING),
    "pings instead of a welcome": (upgrades(b"", frame(PING, b"") * 1000), "no rendezvous of this version|no answer"),
    "stops in its welcome": (upgrades(WELCOME[:9]), NOTHING),
}
"""What happens before a member is welcomed, and what the member says of it, as a pattern."""

AFTER: dict[str, tuple[Flood, str]] = {
    "stops in a message": (upgrades(WELCOME + frame(BINARY, b"\2\0\0\0\1x", declared=1000)), UNTAKEN),
    "drips a message": (drips(_upgrade, WELCOME + frame(BINARY, b"\2\0\0\0\1x", declared=100_000)), UNTAKEN),
    "a message that says it is huge": (upgrades(WELCOME + frame(BINARY, b"\2", declared=1 << 62)), BROKEN),
    "a message in pieces without end": (
        upgrades(WELCOME + frame(BINARY, b"x", last=False), frame(0, bytes(65_000), last=False)),
        BROKEN,
    ),
    "a message in empty pieces": (
        upgrades(WELCOME + frame(BINARY, b"x", last=False), frame(0, b"", last=False) * 10_000),
        UNTAKEN,
    ),
    "a compressed bomb": (upgrades(WELCOME + frame(BINARY, bomb(), compressed=True)), BROKEN),
    "pings, and reads no answer": (upgrades(WELCOME, frame(PING, b"p" * 125) * 1000, reads=False), BROKEN),
    "pings": (upgrades(WELCOME, frame(PING, b"") * 1000), BROKEN),
    "answers pings that nobody sent": (upgrades(WELCOME, frame(PONG, b"p" * 125) * 1000), BROKEN),
    "refuses what was not posted": (
        upgrades(WELCOME, frame(BINARY, wire.Refusal(bytes(32)).pack()) * 1000),
        BROKEN,
    ),
    "more entries than a room holds": (entries, f"{BROKEN}|{UNTAKEN}"),
}
"""The same afterwards."""


@asynccontextmanager
async def serving(flood: Flood) -> AsyncIterator[str]:
    """It never closes by itself."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await flood(reader, writer)
            await _for_ever()
        writer.transport.abort()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _memory() -> int:
    """Bytes resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def _meet(address: str) -> tuple[str, str, list[str]]:
    try:
        patience = Patience(start=0.0, later=PATIENCE)  # one attempt
        async with WebRendezvous([address], patience=patience).open("0a" * 16) as mailbox:
            await mailbox.post(b"is anybody there?")
            async for _ in mailbox.read():
                pass
    except ComityError as exc:
        return exc.kind, exc.message, list(exc.hints)
    raise AssertionError("reading never ends by itself")


async def main(addresses: list[str]) -> None:
    client.ATTEMPT_TIMEOUT, dialling.CLOSE_TIMEOUT = SECONDS, SECONDS / 4
    before = _memory()
    for address in addresses:
        began = time.monotonic()
        kind, message, hints = await _meet(address)
        print(json.dumps([kind, message, hints, time.monotonic() - began, _memory() - before]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
