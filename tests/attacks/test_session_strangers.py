"""Strangers at the open port of a running session: junk, half a preface, another session's, and a crowd in silence."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.attacks.session import free_port, held_back, scene

from comity.core.limits import MAX_ARRIVALS
from comity.core.preface import CONTROL, DATA, MAGIC, SIZE, Preface

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]

TWICE = """
import sys
from mpyc.runtime import mpc

async def main():
    for turn in range(2):
        await mpc.start()
        print("sum", await mpc.output(mpc.sum(mpc.input(mpc.SecInt(32)(mpc.pid + turn)))), flush=True)
        if turn == mpc.pid == 0:
            sys.stdin.readline()
        await mpc.shutdown()

mpc.run(main())
"""
"""Needs new channels for its second turn, which begins when the first party's standard input has a line."""


def other(sender: int, to: int, kind: int) -> bytes:
    """A preface of another session."""
    return Preface(random.randbytes(16), sender, to, kind, 0, 1, random.randbytes(16)).pack(random.randbytes(32))


REFUSED = (
    random.randbytes(SIZE),
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + b" " * SIZE,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(500),
    MAGIC + b"\x01" + random.randbytes(SIZE - 3),
    *(other(sender, to, kind) for sender, to in ((1, 0), (2, 0), (0, 1)) for kind in (CONTROL, DATA)),
)
"""What makes a stranger one who is closed at once, without a word."""


@asynccontextmanager
async def strangers(port: int, count: int) -> AsyncIterator[None]:
    """`count` of each who say nothing, or only half of it, and stay."""
    held = []
    try:
        for number in range(2 * count):
            held.append(await dial(port))
            if number % 2:
                await asyncio.get_running_loop().sock_sendall(held[-1], MAGIC + random.randbytes(SIZE // 2))
        yield
    finally:
        for sock in held:
            sock.close()


async def dial(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def hears(port: int, said: bytes) -> bytes:
    """All that a stranger hears who says this."""
    with await dial(port) as sock:
        try:
            await asyncio.get_running_loop().sock_sendall(sock, said)
            return await asyncio.get_running_loop().sock_recv(sock, 4096)
        except ConnectionError:
            return b""


async def test_strangers_change_nothing_and_hear_nothing(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    port = free_port()
    async with scene(tmp_path) as s, held_back() as (stdin, go):
        await s.meet("alice", "bob", "carol", program=("twice.py",), listen=port, stdin=stdin)
        await s.agree()
        for party in s.parties.values():
            await party.event("running")
        async with strangers(port, MAX_ARRIVALS):  # twice as many as are kept
            for said in REFUSED:
                assert await hears(port, said) == b""
            go()  # the second turn's channels come in the middle of all that
            for _ in range(3):
                await asyncio.gather(*(hears(port, said) for said in REFUSED))
            assert {code for code, _ in (await s.end(*s.parties)).values()} == {0}
        assert s.printed(*s.parties) == {"sum 3\nsum 6\n"}
