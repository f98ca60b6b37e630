"""What a NAT does, found from behind it: the behaviour test of RFC 5780, its client and its server.

    client --> A1:P1    how I am seen, and how long a round trip takes
    client --> A2:P1    seen alike: endpoint-independent mapping
    client --> A2:P2    seen as at A2:P1: address-dependent; else address-and-port-dependent
    another --> A1:P1   answer from A2:P2: arrives, then filtering is endpoint-independent
                        answer from A1:P2: arrives, then it is address-dependent; else address-and-port-dependent
    several --> A1:P1   ports kept, one after another, or anyhow
    two     --> each other's outside address: hairpin

What is to be seen of several NATs in a row follows from each: `expected`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from comity.core.topology import BEHAVIOURS, Firewall, Nat
from comity.lab import stun
from comity.lab.inside import inside

PORTS = 3478, 3479
"""Of the server: STUN's, and another."""

TRIES = 4
"""Requests before no answer means no: three lost ones in a row are rare at any loss that a session survives."""

PATIENCE = 0.1
"""Seconds beyond a round trip until an answer has not come, for a machine that does other things."""

FIRST = 1.0
"""Seconds until the first answer has not come: nothing is known of the distance yet."""

SOCKETS = 8
"""How many mappings tell how ports are allocated: random ones look sequential once in 10**16 times."""

STEP = 4
"""The largest step of a sequential allocation: others may take a port between."""

INDEPENDENT, BY_ADDRESS, BY_PORT = BEHAVIOURS


@dataclass(frozen=True)
class Behaviour:
    """Of what stands between a host and the internet. `ports`: of new mappings; None: it cannot be told."""

    udp: bool = True
    translated: bool = True
    mapping: str | None = None
    filtering: str | None = None
    ports: str | None = None
    hairpin: bool | None = None

    def differences(self, found: Behaviour) -> list[str]:
        """How what was found is not this, in words."""
        return [
            f"{name}: {_said(getattr(found, name))}, not {_said(wanted)}"
            for name, wanted in vars(self).items()
            if wanted is not None and getattr(found, name) != wanted
        ]


def expected(nats: Sequence[Nat], firewall: Firewall) -> Behaviour:
    """Behind these, outermost first: the strictest of each, and the ports of the outermost that does not keep them."""
    if not firewall.udp or firewall.only:
        return Behaviour(udp=False)
    if not nats:
        return Behaviour(translated=False, filtering=BY_PORT if firewall.stateful else INDEPENDENT)
    mapping = max((nat.mapping for nat in nats), key=BEHAVIOURS.index)
    filtering = max((nat.filtering for nat in nats), key=BEHAVIOURS.index)
    ports = next((nat.ports for nat in nats if nat.ports != "preserving"), "preserving")
    met = mapping == INDEPENDENT or filtering == INDEPENDENT  # else two of one host miss each other as strangers would
    return Behaviour(True, True, mapping, filtering, ports, nats[0].hairpin if met else None)


def _said(value: str | bool | None) -> str:
    return value if isinstance(value, str) else {True: "yes", False: "no", None: "unknown"}[value]


class _Server(asyncio.DatagramProtocol):
    """One of the four sockets; it answers from the one that a request names. `place`: which address, which port."""

    def __init__(self, place: tuple[int, int], everyone: dict[tuple[int, int], asyncio.DatagramTransport]) -> None:
        self._place, self._all = place, everyone

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = stun.parse(data)
        if not isinstance(message, stun.Request):
            return
        address, port = (mine ^ change for mine, change in zip(self._place, message.change, strict=True))
        other = self._all.get((1 - self._place[0], 1 - self._place[1]))
        sender = self._all.get((address, port))
        if sender is None:  # there is no other address
            return
        answer = stun.Response(message.transaction, addr[:2], _name(sender), _name(other) if other else None)
        sender.sendto(answer.pack(), addr)


def _name(transport: asyncio.DatagramTransport) -> stun.Address:
    name: tuple[str, int] = transport.get_extra_info("sockname")[:2]
    return name


@asynccontextmanager
async def server(netns: int | str, addresses: Sequence[str]) -> AsyncIterator[None]:
    """Answer behaviour tests in a namespace, on one or two addresses of one family and on both PORTS."""
    transports: dict[tuple[int, int], asyncio.DatagramTransport] = {}
    loop = asyncio.get_running_loop()
    try:
        for i, address in enumerate(addresses):
            for k, port in enumerate(PORTS):
                sock = inside(netns, partial(_socket, address, port))
                one = partial(_Server, (i, k), transports)
                transports[i, k], _ = await loop.create_datagram_endpoint(one, sock=sock)
        yield
    finally:
        for transport in transports.values():
            transport.close()


def _socket(address: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((address, port))
    return sock


class _Client(asyncio.DatagramProtocol):
    """A socket that asks."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, asyncio.Future[stun.Response]] = {}
        self.heard: set[bytes] = set()  # transactions of requests that came here
        self.changed = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    @property
    def port(self) -> int:
        return _name(self.transport)[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = stun.parse(data)
        if isinstance(message, stun.Response):
            future = self._waiting.get(message.transaction)
            if future is not None and not future.done():
                future.set_result(message)
        elif message is not None and len(self.heard) < 100:
            self.heard.add(message.transaction)
            self.changed.set()

    async def ask(
        self, target: stun.Address, patience: float, change: tuple[bool, bool] = (False, False)
    ) -> stun.Response | None:
        """None: no answer to TRIES requests, each waited for."""
        transaction = os.urandom(stun.TRANSACTION)
        future: asyncio.Future[stun.Response] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = future
        try:
            for _ in range(TRIES):
                self.transport.sendto(stun.Request(transaction, change).pack(), target)
                done, _ = await asyncio.wait([future], timeout=patience)
                if done:
                    return future.result()
            return None
        finally:
            del self._waiting[transaction]


class _Test:
    """One host's: sockets in its namespace, closed together."""

    def __init__(self, netns: int | str, addresses: Sequence[str], patience: float) -> None:
        self._netns, self._any = netns, "::" if ":" in addresses[0] else "0.0.0.0"  # noqa: S104 - of a lab's host
        self.first, self.second = addresses[0], addresses[-1]
        self.clients: list[_Client] = []
        self.patience = patience

    async def client(self) -> _Client:
        sock = inside(self._netns, partial(_socket, self._any))
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(_Client, sock=sock)
        client.transport = transport
        self.clients.append(client)
        return client

    async def seen(self, client: _Client, address: str, port: int) -> stun.Address | None:
        answer = await client.ask((address, port), self.patience)
        return answer.mapped if answer else None

    async def start(self) -> tuple[_Client, stun.Address] | None:
        client = await self.client()
        begin = asyncio.get_running_loop().time()
        mapped = await self.seen(client, self.first, PORTS[0])
        if mapped is None:
            return None
        self.patience = min(self.patience, asyncio.get_running_loop().time() - begin + PATIENCE)
        return client, mapped

    async def mapping(self, client: _Client, mapped: stun.Address) -> str | None:
        second = await self.seen(client, self.second, PORTS[0])
        if second is None or mapped == second:
            return second and INDEPENDENT
        third = await self.seen(client, self.second, PORTS[1])
        return third and (BY_ADDRESS if third == second else BY_PORT)

    async def filtering(self) -> str:
        """From sockets that nobody knows: what one test opened must not help the next."""
        clients = [await self.client() for _ in range(2)]
        changes = (self.first != self.second, True), (False, True)
        target = self.first, PORTS[0]
        answers = await asyncio.gather(
            *(client.ask(target, self.patience, change) for client, change in zip(clients, changes, strict=True))
        )
        return next((kind for kind, answer in zip(BEHAVIOURS, answers, strict=False) if answer), BY_PORT)

    async def ports(self) -> str | None:
        """All at once, sent in order: so they leave the host."""
        clients = [await self.client() for _ in range(SOCKETS)]
        answers = await asyncio.gather(*(self.seen(client, self.first, PORTS[0]) for client in clients))
        found = [mapped for mapped in answers if mapped is not None]
        if len(found) < SOCKETS:
            return None
        if [port for _, port in found] == [client.port for client in clients]:
            return "preserving"
        steps = set()
        for public in {address for address, _ in found}:  # of a pool, each has a sequence of its own
            mine = [port for address, port in found if address == public]
            steps |= {b - a for a, b in itertools.pairwise(mine)}
        return "sequential" if all(0 < step <= STEP for step in steps) else "random"

    async def hairpin(self) -> bool:
        """Two sockets call each other by their outside addresses, again and again: the first calls open the way."""
        pair = [await self.client() for _ in range(2)]
        outside = [await self.seen(client, self.first, PORTS[0]) for client in pair]
        for _ in range(TRIES):
            for client, target in zip(pair, reversed(outside), strict=True):
                if target is not None:
                    client.transport.sendto(stun.Request(os.urandom(stun.TRANSACTION)).pack(), target)
            waiting = [asyncio.ensure_future(client.changed.wait()) for client in pair]
            done, pending = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if done:
                return True
        return False

    def local(self) -> str:
        """The address from which this host calls the server."""
        with inside(self._netns, partial(_socket, self._any)) as sock:
            sock.connect((self.first, PORTS[0]))
            name: str = sock.getsockname()[0]
            return name


async def behaviour(netns: int | str, addresses: Sequence[str], *, patience: float = FIRST) -> Behaviour:
    """Of what stands between a namespace and a server on these addresses: two, or one, which tells less.

    `patience`: seconds that a round trip may take before anything is known of it.
    """
    test = _Test(netns, addresses, patience)
    try:
        started = await test.start()
        if started is None:
            return Behaviour(udp=False)
        client, mapped = started
        translated = mapped[0] != test.local()
        ports = await test.ports()  # before anything else here takes one
        mapping, filtering, hairpin = await asyncio.gather(
            test.mapping(client, mapped), test.filtering(), test.hairpin()
        )
        if not translated:
            return Behaviour(True, False, None, filtering, None, None)
        return Behaviour(True, True, mapping, filtering, ports, hairpin)
    finally:
        for used in test.clients:
            used.transport.close()
