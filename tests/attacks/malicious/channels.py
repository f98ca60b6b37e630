"""What she does with connections, prefaces, signals and the ceremony's room, before any link and beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from tests.attacks.malicious.party import ALICE, CAROL, PEERS, Mallory
from tests.attacks.malicious.table import PATH, PEER, Act, Behaviour, Ends, Goes
from tests.independent.notation import (
    CONTROL_LINK,
    DATA_LINK,
    PREFACE_SIZE,
    PROOF_SIZE,
    Malformed,
    Preface,
    decode,
    derive,
    encode,
    seal,
)

CROWD = 150


@contextlib.asynccontextmanager
async def connected(mallory: Mallory, peer: int) -> AsyncIterator[socket.socket]:
    with await mallory.open(peer) as sock:
        yield sock


async def _say(sock: socket.socket, *pieces: bytes, pause: float = 0.0) -> None:
    with contextlib.suppress(OSError):
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(sock, piece)
            await asyncio.sleep(pause)


async def _closed(sock: socket.socket) -> bool:
    """Whether the other side closes it, with no more than the answer to a preface."""
    heard = b""
    try:
        async with asyncio.timeout(8):
            while data := await asyncio.get_running_loop().sock_recv(sock, 1000):
                heard += data
        return len(heard) <= PREFACE_SIZE
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def refused(**changes: Any) -> Act:
    """Prefaces that differ from an honest one are closed without a word; at the same time all else goes on."""

    async def act(mallory: Mallory) -> None:
        for peer in PEERS:
            others = {"other": ALICE + CAROL - peer, "peer": peer}
            said = {name: others.get(value, value) if name == "sender" else value for name, value in changes.items()}
            for _ in range(3):
                async with connected(mallory, peer) as sock:
                    await _say(sock, mallory.preface(peer, **{"kind": DATA_LINK, "epoch": 0, "number": 9, **said}))
                    assert await _closed(sock)

    return act


def unwanted(kind: int, epoch: int) -> Act:
    """Channels that begin as they should, for links that there are not: closed when that is known."""

    async def act(mallory: Mallory) -> None:
        for peer in PEERS:
            for _ in range(3):
                async with connected(mallory, peer) as sock:
                    with contextlib.suppress(OSError, Malformed):
                        await mallory.greet(sock, peer, kind, epoch, 9)
                    assert await _closed(sock)

    return act


def raw(data: bytes, count: int = 3) -> Act:
    """Bytes that are no preface."""

    async def act(mallory: Mallory) -> None:
        for peer in PEERS:
            for _ in range(count):
                async with connected(mallory, peer) as sock:
                    await _say(sock, data)
                    assert await _closed(sock)

    return act


async def crowd_in_silence(mallory: Mallory) -> None:
    for peer in PEERS:
        for _ in range(2 * CROWD):
            await mallory.open(peer)


async def crowd_of_halves(mallory: Mallory) -> None:
    for peer in PEERS:
        for _ in range(CROWD):
            await _say(await mallory.open(peer), mallory.preface(peer, DATA_LINK, 0, 1)[:30])


async def crowd_that_resets(mallory: Mallory) -> None:
    for peer in PEERS:
        for number in range(2 * CROWD):
            sock = await mallory.open(peer)
            if number % 2:
                await _say(sock, mallory.preface(peer, DATA_LINK, 1, 1)[: number % PREFACE_SIZE])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


async def wrong_proofs(mallory: Mallory) -> None:
    """She repeats prefaces, as somebody could who has only seen one: it takes the key to answer the answer."""
    for peer in PEERS:
        for _ in range(5):
            async with connected(mallory, peer) as sock:
                await _say(sock, mallory.preface(peer, DATA_LINK, 1, 1))
                await mallory.direct._read(sock)
                await _say(sock, bytes(PROOF_SIZE))
                assert await _closed(sock)


async def no_proofs(mallory: Mallory) -> None:
    for peer in PEERS:
        for _ in range(CROWD):
            await _say(await mallory.open(peer), mallory.preface(peer, DATA_LINK, 1, 1))


async def slowly(mallory: Mallory) -> None:
    """Proper prefaces, three bytes at a time."""
    for peer in PEERS:
        async with connected(mallory, peer) as sock:
            said = mallory.preface(peer, DATA_LINK, 1, 3)
            await _say(sock, *(said[at : at + 3] for at in range(0, len(said), 3)), pause=0.05)


def more_channels(kind: int, epoch: int, count: int) -> Act:
    """Proper prefaces for what needs no channel any more, or not yet: some are taken, some not."""

    async def act(mallory: Mallory) -> None:
        for peer in PEERS:
            for number in range(count):
                sock = await mallory.open(peer)
                with contextlib.suppress(OSError, Malformed):
                    await mallory.greet(sock, peer, kind, epoch, 100 + number)

    return act


# -- instead of reaching anybody ---------------------------------------------------------------------------------------


def reaching(*first: Act) -> Act:
    """These, and then all as it should be."""

    async def early(mallory: Mallory) -> None:
        for act in first:
            await act(mallory)
        await mallory.reach()

    return early


async def idles(mallory: Mallory) -> None:
    """Longer than a lost channel waits for a word on its cause."""
    await asyncio.sleep(2.5)


async def never(mallory: Mallory) -> None:
    await asyncio.Event().wait()


def signals(make: Any, count: int, transport: str = "direct") -> Act:
    async def act(mallory: Mallory) -> None:
        mallory.listen()
        for peer in PEERS:
            for number in range(count):
                await mallory.signal(peer, make(mallory, number), transport)
        await mallory.posted()

    return act


async def forged_signals(mallory: Mallory) -> None:
    """Unsealed, sealed for nobody, from nobody, in another's name, cut, not canonical."""
    mallory.listen()
    session = mallory.session
    key = derive(session.transcript, b"", "signals")
    for box in ("", "00", "ff" * 60):
        for sender, to in ((1, 0), (2, 0), (0, 2), (1, 2), (63, 0), (0, 0)):
            await mallory.post(seal(key, encode({"from": sender, "to": to, "transport": "direct", "box": box}), b""))
    for body in (b"{}", b"[]", b"null", b'{"to": 0}', b"\xff", b"", os.urandom(40), b"[" * 40, b"1e400"):
        await mallory.post(seal(key, body, b""))
        await mallory.post(b"n" * 12 + body)


def leaves(reason: str) -> Act:
    """In the ceremony's room, when the session stands and nothing else does."""

    async def early(mallory: Mallory) -> None:
        ceremony = mallory._ceremony
        ceremony.leave(reason)
        for message in ceremony.out:
            await mallory._room.post(seal(ceremony.invitation.key, message, b"ceremony"))
        await never(mallory)

    return early


def _says_again(kind: str) -> Act:
    async def early(mallory: Mallory) -> None:
        ceremony = mallory._ceremony
        if kind == "confirm":
            ceremony.state = "COMPARING"
            ceremony.confirm()
        else:
            ceremony._say("hello", **{"from": ceremony.me.hex()})
        for message in ceremony.out:
            await mallory._room.post(seal(ceremony.invitation.key, message, b"ceremony"))
        await never(mallory)

    return early


def offering(change: Any) -> Any:
    """What she offers in place of her own candidates; `change` gets these."""

    def prepare(mallory: Mallory) -> None:
        def offer(honest: bytes) -> bytes:
            value = decode(honest)
            return encode({**value, "candidates": change(value["candidates"])})

        mallory.offer = offer
        mallory.dials = lambda peer, kind: False

    return prepare


def _many(candidates: list[Any]) -> list[Any]:
    """Ports of our own loopback that nobody listens at, and then hers."""
    closed = [{"advertised": True, "host": f"127.0.0.{host}", "port": 1} for host in range(2, 17)]
    return [*closed, *candidates]


def carried(first: Any, *, kind: int = DATA_LINK, at: tuple[int, ...] = PEERS) -> Any:
    """`first` gets the channels of this kind; the others are carried as they should be."""

    def prepare(mallory: Mallory) -> None:
        honest = mallory.carry

        async def carry(preface: Preface, sock: socket.socket) -> None:
            if preface.kind == kind and preface.sender in at:
                await first(mallory, preface, mallory.hold(sock))
            else:
                await honest(preface, sock)

        mallory.carry = carry

    return prepare


async def cuts(mallory: Mallory, preface: Preface, sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def keeps(mallory: Mallory, preface: Preface, sock: socket.socket) -> None:
    await asyncio.Event().wait()


async def babbles(mallory: Mallory, preface: Preface, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(sock, os.urandom(5000))
        await asyncio.Event().wait()


def two_channels(mallory: Mallory) -> None:
    """Where she chooses, she offers a second channel for the control link, and closes it when the first one stands."""
    honest = mallory.carry
    taken: list[socket.socket] = []

    async def carry(preface: Preface, sock: socket.socket) -> None:
        if preface.kind != CONTROL_LINK or preface.sender != CAROL or taken:
            await honest(preface, sock)
            return
        taken.append(sock)
        mallory.start(close(sock))  # and the next one is tried

    async def close(sock: socket.socket) -> None:
        await mallory.linked.wait()
        sock.close()

    mallory.carry = carry


LOST = Ends(PEER, "the channel to mallory was lost")
NO_TLS = Ends(PEER, "what answered for mallory does not speak this protocol's TLS")
NO_PATH = Ends(PATH, "no path to mallory in 4 s")

TABLE = [
    *(
        Behaviour(f"preface: {name}", "channel", Goes(), act)
        for name, act in (
            ("of another session", refused(tag=b"t" * 16)),
            ("in another's name", refused(sender="other")),
            ("in the receiver's own name", refused(sender="peer")),
            ("to another party", refused(to=1)),
            ("of the unknown kind 7", refused(kind=7)),
            ("for an epoch far ahead", unwanted(DATA_LINK, 2**32 - 1)),
            ("of a control link's epoch 1", unwanted(CONTROL_LINK, 1)),
            ("of another version", raw(b"cy\2" + bytes(PREFACE_SIZE - 3))),
            ("junk of 100 000 bytes", raw(b"GET / HTTP/1.1\r\n" + os.urandom(100_000))),
            ("300 connections that say nothing", crowd_in_silence),
            ("150 halves, held open", crowd_of_halves),
            ("300 that are reset, some half said", crowd_that_resets),
            ("with a wrong proof behind it", wrong_proofs),
            ("150 without a proof, held open", no_proofs),
            ("three bytes at a time", slowly),
            ("30 channels more for a data link that stands", more_channels(DATA_LINK, 0, 30)),
            ("30 channels more for a control link that stands", more_channels(CONTROL_LINK, 0, 30)),
            ("200 channels for the next epoch, which nobody wants", more_channels(DATA_LINK, 1, 200)),
        )
    ),
    Behaviour("never to be found", "channel", NO_PATH, early=never),
    Behaviour(
        "offers a port that nobody listens at",
        "channel",
        NO_PATH,
        prepare=offering(lambda mine: [{"advertised": False, "host": "127.0.0.1", "port": 1}]),
    ),
    Behaviour("offers no address", "channel", NO_PATH, prepare=offering(lambda mine: [])),
    Behaviour(
        "offers 17 addresses, one more than allowed", "channel", NO_PATH, prepare=offering(lambda mine: 17 * mine)
    ),
    Behaviour("offers 15 dead addresses before her own", "channel", Goes(), prepare=offering(_many)),
    Behaviour(
        "hostile offers before the true one",
        "signals",
        Goes(),
        early=reaching(signals(lambda m, i: (b"", b"{}", b"[" * 99, b"\xff" * 99, os.urandom(9))[i], 5)),
    ),
    Behaviour("forged and unreadable signals", "signals", Goes(), early=reaching(forged_signals)),
    Behaviour(
        "1 900 offers of other addresses before the true one",
        "signals",
        Goes(),
        early=reaching(signals(lambda m, i: b"{}", 1900)),
    ),
    Behaviour(
        "2 001 signals",
        "signals",
        Ends(PEER, "mallory floods the session with signals"),
        never,
        early=reaching(signals(lambda m, i: b"{}", 2001)),
    ),
    Behaviour(
        "40 signals of 16 KiB each for transports that do not exist",
        "signals",
        Goes(),
        early=reaching(signals(lambda m, i: bytes(16 << 10), 40, "nowhere")),
    ),
    *(
        Behaviour(
            f"leaves for reason {reason} when the session stands",
            "ceremony",
            Ends(code, "mallory"),
            early=leaves(reason),
        )
        for reason, code in (("interrupted", PEER), ("error", PEER), ("words", 3), ("protocol", PEER))
    ),
    Behaviour(
        "confirms again when the session stands",
        "ceremony",
        Ends(PEER, "mallory sent CONFIRM twice"),
        early=_says_again("confirm"),
    ),
    Behaviour("resets each data channel after its preface", "channel", LOST, prepare=carried(cuts)),
    Behaviour(
        "resets each control channel after its preface", "channel", NO_PATH, prepare=carried(cuts, kind=CONTROL_LINK)
    ),
    Behaviour("closes a spare control channel once the link stands", "channel", Goes(), idles, two_channels),
    Behaviour("noise in place of TLS on data channels", "channel", NO_TLS, prepare=carried(babbles)),
    Behaviour(
        "noise in place of TLS on control channels", "channel", NO_PATH, prepare=carried(babbles, kind=CONTROL_LINK)
    ),
    Behaviour("noise at carol alone", "channel", NO_TLS, prepare=carried(babbles, at=(CAROL,))),
    Behaviour("noise at alice alone", "channel", NO_TLS, prepare=carried(babbles, at=(ALICE,))),
    Behaviour("silence on control channels", "channel", NO_PATH, prepare=carried(keeps, kind=CONTROL_LINK)),
]
