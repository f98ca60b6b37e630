import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_interface

import pytest
from tests.contracts.parties import Exchange, session

from comity.core.candidates import Candidate, Offer, decode, encode
from comity.errors import UnreachableError, UsageError
from comity.interfaces import Channel, Reach, Settings
from comity.reach.addresses import local_addresses
from comity.reach.tcp import bind
from comity.transports import direct
from comity.transports.direct import Direct

AGREED = session(2)

Machines = Callable[..., None]


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Let this machine have these addresses only."""
    return lambda *texts: monkeypatch.setattr(direct, "local_addresses", lambda: tuple(map(ip_interface, texts)))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every party believe that the others run on other machines."""
    marks = itertools.count()
    monkeypatch.setattr(direct, "machine_mark", lambda tag: next(marks).to_bytes(16, "big"))


@asynccontextmanager
async def entered(
    *, bob: Settings | None = None, exchange: Exchange | None = None
) -> AsyncIterator[tuple[Reach, Reach]]:
    exchange = exchange or Exchange(2)
    async with (
        Direct(Settings()).connect(AGREED, 0, exchange.signals(0), lambda _: None) as first,
        Direct(bob or Settings()).connect(AGREED, 1, exchange.signals(1), lambda _: None) as second,
    ):
        await exchange.settled(2)
        yield first, second


async def channels(dialler: Reach, to: int, other: Reach) -> tuple[Channel, Channel]:
    near, far = await dialler.dial(to), await anext(aiter(other.arrivals()))
    near.sock.close()
    far.sock.close()
    return near, far


def offer_of(exchange: Exchange, party: int) -> Offer:
    return next(decode(body) for log in exchange.logs for sender, body in log if sender == party)


@pytest.mark.parametrize(("address", "shown"), [("::1/128", "[::1]:"), ("127.0.0.1/8", "127.0.0.1:")])
async def test_a_machine_with_one_family_is_enough(addresses: Machines, address: str, shown: str) -> None:
    addresses(address)
    async with entered() as (alice, bob):
        near, far = await channels(alice, 1, bob)
    assert near.path.kind == far.path.kind == "direct"
    assert near.path.remote == far.path.local and near.path.remote.startswith(shown)
    assert near.path.local == far.path.remote


async def test_loopback_is_the_last_choice() -> None:
    if all(i.ip.is_loopback or i.ip.is_link_local for i in local_addresses()):
        pytest.skip("this machine has no address but loopback")
    async with entered() as (alice, bob):
        near, _ = await channels(alice, 1, bob)
    assert not near.path.remote.startswith(("127.", "[::1]"))


async def test_a_name_is_advertised_and_dialled(addresses: Machines) -> None:
    addresses()
    exchange = Exchange(2)
    async with entered(bob=Settings(advertise=("localhost",)), exchange=exchange) as (alice, bob):
        offered = offer_of(exchange, 1).candidates
        near, _ = await channels(alice, 1, bob)
    assert [(c.host, c.advertised) for c in offered] == [("localhost", True)]
    assert near.path.remote in (f"127.0.0.1:{offered[0].port}", f"[::1]:{offered[0].port}")


async def test_a_port_forwarded_by_hand_leads_to_the_port_that_listens(addresses: Machines) -> None:
    """A forwarder on another port passes to the port given by --listen, as a home router does."""
    addresses()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        inner = free.getsockname()[1]

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, inside = await asyncio.open_connection("127.0.0.1", inner)
        inside.write(await reader.readexactly(1))
        await reader.read()
        for stream in (writer, inside):
            stream.close()
            await stream.wait_closed()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as router:
        outer = router.sockets[0].getsockname()[1]
        settings = Settings(listen=inner, advertise=(f"127.0.0.1:{outer}",))
        async with entered(bob=settings) as (alice, bob):
            near = await alice.dial(1)
            near.sock.send(b"!")
            far = await anext(aiter(bob.arrivals()))
            assert await asyncio.get_running_loop().sock_recv(far.sock, 1) == b"!"
            assert near.path.remote == f"127.0.0.1:{outer}" and far.path.local == f"127.0.0.1:{inner}"
            near.sock.close()
            assert await asyncio.get_running_loop().sock_recv(far.sock, 1) == b""
            far.sock.close()


async def test_every_session_has_a_fresh_port_unless_one_is_asked_for() -> None:
    exchange = Exchange(2)
    async with entered(exchange=exchange):
        assert len({c.port for party in range(2) for c in offer_of(exchange, party).candidates}) == 2
        taken = offer_of(exchange, 0).candidates[0].port
        with pytest.raises(UsageError, match=f"port {taken} cannot be listened on"):
            async with Direct(Settings(listen=taken)).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
                raise AssertionError


async def test_a_port_that_listens_already_is_taken_over() -> None:
    exchange = Exchange(2)
    with bind(0) as server:
        port = server.getsockname()[1]
        async with entered(bob=Settings(port, server=server), exchange=exchange) as (alice, bob):
            assert {c.port for c in offer_of(exchange, 1).candidates} == {port}
            near = await alice.dial(1)
            far = await anext(aiter(bob.arrivals()))
            near.sock.close()
            far.sock.close()
        assert server.fileno() == -1


async def test_two_parties_of_one_port_do_not_take_themselves_for_each_other(addresses: Machines) -> None:
    """Both sit at 172.17.0.1 of their own bridge and were told the same port."""
    addresses("127.0.0.1/8")
    exchange = Exchange(2)
    async with Direct(Settings()).connect(AGREED, 0, exchange.signals(0), lambda _: None) as alice:
        await exchange.settled(1)
        mine = offer_of(exchange, 0)
        exchange.inject(1, 0, encode(mine))
        with pytest.raises(UnreachableError) as caught:
            await alice.dial(1)
    assert caught.value.hints[0] == "no address to dial"


async def test_nobody_of_another_machine_makes_us_dial_our_own_loopback(elsewhere: None) -> None:
    """Bob offers our loopback as advertised, as his own, and by a name that he controls."""
    with socket.create_server(("127.0.0.1", 0)) as private:
        private.setblocking(False)
        port = private.getsockname()[1]
        exchange = Exchange(2)
        offered = (
            Candidate("127.0.0.1", port, True),
            Candidate("127.0.0.1", port),
            Candidate("localhost", port, True),
        )
        exchange.inject(1, 0, encode(Offer(b"b" * 16, offered)))
        async with Direct(Settings()).connect(AGREED, 0, exchange.signals(0), lambda _: None) as alice:
            with pytest.raises(UnreachableError, match="no path to bob"):
                await alice.dial(1)
        with pytest.raises(BlockingIOError):
            private.accept()


async def test_parties_of_different_machines_meet_at_their_other_addresses(elsewhere: None) -> None:
    if all(i.ip.is_loopback or i.ip.is_link_local for i in local_addresses()):
        pytest.skip("this machine has no address but loopback")
    async with entered() as (alice, bob):
        near, _ = await channels(alice, 1, bob)
    assert not near.path.remote.startswith(("127.", "[::1]"))


async def test_new_addresses_are_told_and_dialled(addresses: Machines) -> None:
    addresses("127.0.0.1/8")
    exchange = Exchange(2)
    async with entered(exchange=exchange) as (alice, bob):
        assert (await channels(alice, 1, bob))[0].path.remote.startswith("127.0.0.1:")
        addresses("::1/128")
        bob.refresh()
        await exchange.settled(3)
        assert (await channels(alice, 1, bob))[0].path.remote.startswith("[::1]:")


async def test_what_was_tried_is_told(addresses: Machines) -> None:
    addresses("127.0.0.1/8")
    exchange = Exchange(2)
    async with Direct(Settings()).connect(AGREED, 0, exchange.signals(0), lambda _: None) as alice:
        async with Direct(Settings()).connect(AGREED, 1, exchange.signals(1), lambda _: None):
            await exchange.settled(2)
        port = offer_of(exchange, 1).candidates[0].port
        with pytest.raises(UnreachableError, match=r"^no path to bob$") as caught:
            await alice.dial(1)
    assert caught.value.hints[0] == f"tried 127.0.0.1:{port}: connection refused"
    assert "--listen" in caught.value.hints[1]


async def test_a_peer_that_resets_at_once_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = socket.socket()

    async def connect_first(*_: object) -> socket.socket:
        return gone

    monkeypatch.setattr(direct, "connect_first", connect_first)
    async with entered() as (alice, _):
        with pytest.raises(UnreachableError, match="bob closed the channel at once"):
            await alice.dial(1)
    assert gone.fileno() == -1
