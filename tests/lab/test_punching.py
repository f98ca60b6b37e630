"""Two strangers behind NATs try to meet in the middle: which pairs can is what others published of real ones."""

import asyncio
import itertools
import socket
from collections.abc import Iterator

import pytest
from tests.lab.spaces import missing
from tests.lab.street import MIRROR, Home, Street, street
from tests.lab.test_nat_lab import Caller

from comity.core.topology import BEHAVIOURS, Nat
from comity.lab.inside import inside
from comity.lab.probes import server

WHY = missing("nft")
pytestmark = [pytest.mark.lab, pytest.mark.skipif(WHY is not None, reason=str(WHY))]

INDEPENDENT, BY_ADDRESS, BY_PORT = BEHAVIOURS
KINDS = {
    "full cone": Nat(INDEPENDENT, INDEPENDENT),
    "address-restricted": Nat(INDEPENDENT, BY_ADDRESS),
    "port-restricted": Nat(INDEPENDENT, BY_PORT),
    "symmetric": Nat(BY_PORT, BY_PORT, "random"),
}
IMPOSSIBLE = {
    ("symmetric", "symmetric"),
    ("symmetric", "port-restricted"),
    ("port-restricted", "symmetric"),
}
"""Without guessing ports: what the others' tables say, and the RFCs imply."""


@pytest.fixture(scope="module")
def eight() -> Iterator[Street]:
    """Two homes of each kind."""
    with street(8) as made:
        yield made


async def punch(a: Home, b: Home) -> bool:
    """Each calls where the mirror sees the other, answers whoever calls, and is done when it has had an answer."""
    with Caller(a.hosts[0]) as one, Caller(b.hosts[0]) as two:
        seen = await one.seen(), await two.seen()

        async def meet(me: Caller, target: tuple[str, int]) -> bool:
            for _ in range(5):
                me.send(*target, b"call")
                while (got := await me.receive(0.1)) is not None:
                    data, source = got
                    me.send(*source, b"answer")
                    if data == b"answer":
                        return True
            return False

        return all(await asyncio.gather(meet(one, seen[1]), meet(two, seen[0])))


async def test_thirteen_of_sixteen_pairs_meet(eight: Street) -> None:
    homes = {kind: eight.homes[2 * k : 2 * k + 2] for k, kind in enumerate(KINDS)}
    for kind, pair in homes.items():
        for home in pair:
            home.use(KINDS[kind])
    pairs = list(itertools.product(KINDS, KINDS))
    async with server(eight.mirror.pid, MIRROR):
        met = await asyncio.gather(*(punch(homes[a][0], homes[b][1]) for a, b in pairs))
    assert {pair for pair, both in zip(pairs, met, strict=True) if not both} == IMPOSSIBLE


@pytest.mark.parametrize("filtering", BEHAVIOURS)
async def test_tcp_meets_by_calling_from_both_sides(eight: Street, filtering: str) -> None:
    """RFC 5382, REQ-2 and REQ-4: a simultaneous open; what comes too early is not refused."""
    homes = eight.homes[:2]
    for home in homes:
        home.use(Nat(INDEPENDENT, filtering))
    ends = [inside(home.hosts[0].pid, lambda: bound(6000)) for home in homes]
    loop = asyncio.get_running_loop()
    first = loop.create_task(loop.sock_connect(ends[0], (homes[1].publics[0], 6000)))
    await asyncio.sleep(0.05)  # hers arrives before his leaves: it must be dropped, and sent again
    second = loop.create_task(loop.sock_connect(ends[1], (homes[0].publics[0], 6000)))
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(first, second)
            await loop.sock_sendall(ends[0], b"hello")
            assert await loop.sock_recv(ends[1], 5) == b"hello"
    finally:
        for end in ends:
            end.close()


def bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))  # noqa: S104 - in a namespace
    return sock
