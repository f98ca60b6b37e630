"""Sections 10 and 11 of docs/protocol.md: the transport `direct`, its offers, and prefaces on its channels."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.independent.ceremony import check_list
from tests.independent.notation import (
    CONTROL_LINK,
    PREFACE_SIZE,
    PROOF_SIZE,
    Fault,
    Malformed,
    Preface,
    decode,
    digest,
    encode,
    fields,
    integer,
    octets,
    proof,
    read_preface,
    text,
)
from tests.independent.session import Session

GREET = 5
STAGGER = 0.1


def machine(tag: bytes) -> bytes:
    """The same for two parties of one session on one machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    namespace = Path("/proc/self/ns/net").stat().st_ino
    return digest("machine", tag, boot, namespace.to_bytes(8, "big"))[:16]


def check_host(value: Any) -> str:
    host: str = text(253)(value)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        label = "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
        if not re.fullmatch(rf"{label}(\.{label})*", host) or re.fullmatch(r"[0-9.]*", host):
            raise Malformed("neither an address nor a name") from None
        return host
    judge(address)
    if str(address) != host:
        raise Malformed("another text of an address")
    return host


def judge(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    bad = address.is_unspecified or address.is_multicast or address.is_link_local
    if isinstance(address, ipaddress.IPv4Address):
        bad = bad or address.is_reserved or address in ipaddress.ip_network("0.0.0.0/8")
    else:
        bad = bad or address.ipv4_mapped is not None or address.scope_id is not None
    if bad:
        raise Malformed("an address that nobody may offer")


def read_offer(data: bytes) -> tuple[bytes, list[dict[str, Any]]]:
    """The machine, and the candidates."""

    def advertised(value: Any) -> bool:
        if type(value) is not bool:
            raise Malformed("neither true nor false")
        return value

    offer = fields(decode(data), {"candidates": check_list, "machine": octets(0, 16), "version": integer(1, 1)})
    if len(offer["candidates"]) > 16 or len(offer["machine"]) not in (0, 16):
        raise Malformed("an offer of another form")
    form = {"advertised": advertised, "host": check_host, "port": integer(1, 65535)}
    return offer["machine"], [fields(candidate, form) for candidate in offer["candidates"]]


class Direct:
    """Dials the others, and answers them: each channel that stands is given to `stands` with its preface."""

    def __init__(self, session: Session, stands: Callable[[Preface, socket.socket], None]) -> None:
        self._session, self._stands = session, stands
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._numbers: Counter[tuple[int, int, int]] = Counter()
        self._candidates: dict[int, list[tuple[str, int]]] = {}
        self._keys = {party: session.pair_key(party, "preface") for party in session.others}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def offer(self) -> bytes:
        mine = {"advertised": False, "host": "127.0.0.1", "port": self._port}
        return encode({"candidates": [mine], "machine": machine(self._session.tag).hex(), "version": 1})

    def offered(self, party: int, data: bytes) -> None:
        """Another party's newest offer."""
        theirs, candidates = read_offer(data)
        here = theirs == machine(self._session.tag)
        usable = []
        for candidate in candidates:
            loopback = candidate["host"] == "::1" or candidate["host"].startswith("127.")
            if not loopback or (here and candidate["port"] != self._port):
                usable.append((not candidate["advertised"], loopback, candidate["host"], candidate["port"]))
        self._candidates[party] = [(host, port) for _, _, host, port in sorted(usable)]

    async def listen(self) -> None:
        while True:
            sock, _ = await self._loop.sock_accept(self._listener)
            task = asyncio.create_task(self._answer(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        self._listener.close()

    async def _read(self, sock: socket.socket, size: int = PREFACE_SIZE) -> bytes:
        data = b""
        async with asyncio.timeout(GREET):
            while len(data) < size:
                part = await self._loop.sock_recv(sock, size - len(data))
                if not part:
                    raise Malformed("no preface")
                data += part
        return data

    def _key(self, preface: Preface) -> bytes:
        if preface.tag != self._session.tag or preface.sender not in self._keys or preface.to != self._session.me:
            raise Malformed("a preface of another session")
        return self._keys[preface.sender]

    async def _answer(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            preface = read_preface(await self._read(sock), self._key)
            if preface.kind == CONTROL_LINK and preface.epoch:
                raise Malformed("a control link of another epoch")
            key, answer = self._keys[preface.sender], preface.answer(os.urandom(16))
            await self._loop.sock_sendall(sock, answer.pack(key))
            if await self._read(sock, PROOF_SIZE) != proof(key, preface, answer):
                raise Malformed("no proof")
        except (Fault, OSError, TimeoutError):
            sock.close()
            return
        self._stands(preface, sock)

    async def dial(self, party: int, kind: int, epoch: int) -> None:
        """One attempt, over all candidates."""
        sock = await self._connect(self._candidates.get(party, []))
        if sock is None:
            return
        self._numbers[party, kind, epoch] += 1
        number, nonce = self._numbers[party, kind, epoch], os.urandom(16)
        mine = Preface(self._session.tag, self._session.me, party, kind, epoch, number, nonce)
        try:
            await self._loop.sock_sendall(sock, mine.pack(self._keys[party]))
            theirs = read_preface(await self._read(sock), self._key)
            if theirs != mine.answer(theirs.nonce):
                raise Malformed("another preface than the answer")
            await self._loop.sock_sendall(sock, proof(self._keys[party], mine, theirs))
        except (Fault, OSError, TimeoutError):
            sock.close()
            return
        self._stands(theirs, sock)

    async def _connect(self, candidates: list[tuple[str, int]]) -> socket.socket | None:
        """Attempts start one after another; the first that connects wins."""
        addresses = [address for candidate in candidates for address in await self._resolve(*candidate)]
        tries = [asyncio.create_task(self._try(i * STAGGER, *found)) for i, found in enumerate(addresses[:16])]
        winner = None
        for done in asyncio.as_completed(tries):
            with suppress(OSError):
                winner = await done
                break
        for task in tries:
            task.cancel()  # a late one is closed below
        for late in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(late, socket.socket) and late is not winner:
                late.close()
        return winner

    async def _resolve(self, host: str, port: int) -> list[tuple[int, Any]]:
        """Families and addresses; those of names are judged again."""
        found = []
        with suppress(OSError):
            for family, _, _, _, address in await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                with suppress(Fault, ValueError):
                    judge(ipaddress.ip_address(address[0]))
                    found.append((int(family), address))
        return found[:4]

    async def _try(self, delay: float, family: int, address: Any) -> socket.socket:
        await asyncio.sleep(delay)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await self._loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
