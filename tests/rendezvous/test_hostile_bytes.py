"""Servers that stall, drip and flood, byte by byte: members end soon, with a plain error, and hold little meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import AsyncExitStack

import pytest
from tests.rendezvous.floods import AFTER, BEFORE, SECONDS, serving

from comity.core.limits import MAX_BODY, MAX_ROOM_BYTES
from comity.errors import UnreachableError
from comity.rendezvous.client import WebRendezvous
from comity.rendezvous.server import Server

ROOM = "0a" * 16
LITTLE = 24 << 20
"""Bytes: a few of the largest messages, and what aiohttp reads ahead."""


@pytest.mark.timeout(90)
async def test_a_member_meets_every_hostile_server_and_its_memory_stays_small() -> None:
    """A process of its own, so that its memory can be measured."""
    attacks = {**BEFORE, **AFTER}
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(serving(flood)) for flood, _ in attacks.values()]
        member = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.rendezvous.floods", *addresses), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await member.communicate()
        assert member.returncode == 0
    ended = [json.loads(line) for line in told.splitlines()]
    assert len(ended) == len(attacks)
    for (name, (_, why)), address, (kind, message, hints, seconds, grown) in zip(
        attacks.items(), addresses, ended, strict=True
    ):
        assert kind == UnreachableError.kind and re.search(why, message) and hints, (name, message)
        assert address in message or "did not take a message" in message, (name, message)
        assert seconds < 20 * SECONDS, (name, seconds)
        assert grown < (LITTLE if "entries" not in name else 2 * MAX_ROOM_BYTES), (name, grown)


@pytest.mark.parametrize("name", BEFORE)
async def test_another_address_that_answers_is_as_good(name: str) -> None:
    flood, _ = BEFORE[name]
    time = asyncio.get_running_loop().time
    async with Server([("127.0.0.1", 0)]) as server, serving(flood) as bad:
        began = time()
        async with WebRendezvous([bad, f"http://127.0.0.1:{server.port}"]).open(ROOM) as mailbox:
            assert await mailbox.post(bytes(MAX_BODY)) == 1
        assert time() - began < 5


async def test_an_address_that_was_good_for_nothing_is_tried_last() -> None:
    """It welcomes, and closes at once; it would win every race."""

    async def welcomes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(AFTER["stops in a message"][0](reader, writer))
        await asyncio.wait({task}, timeout=0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.transport.abort()

    async with (
        Server([("127.0.0.1", 0)]) as server,
        serving(welcomes) as bad,
        WebRendezvous([bad, f"http://127.0.0.1:{server.port}"]).open(ROOM) as mailbox,
    ):
        assert await mailbox.post(b"x") == 1
