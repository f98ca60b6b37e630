"""What her node says on its control links while everybody computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.attacks.malicious.channels import LOST, idles
from tests.attacks.malicious.frames import frame, goodbye
from tests.attacks.malicious.party import ALICE, CAROL, PEERS, Mallory, Wire
from tests.attacks.malicious.table import PEER, Act, Behaviour, Ends, Goes, Waits
from tests.independent.notation import ACK, DATA, FIN, GOODBYE, encode


def packed(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def said(*pieces: bytes, count: int = 1) -> Act:
    """These bytes as data, on each control link; then she idles, since a node may have better things to do."""

    async def act(mallory: Mallory) -> None:
        for wire in mallory.control.values():
            for _ in range(count):
                for piece in pieces:
                    wire.link.write(piece)
            wire.flush()
        await idles(mallory)

    return act


def on_each(act: Callable[[Wire], None], then: Act = idles) -> Act:
    async def run(mallory: Mallory) -> None:
        for wire in mallory.control.values():
            act(wire)
        await then(mallory)

    return run


async def pings_unread(mallory: Mallory) -> None:
    """She asks without end, and reads no answer."""
    for wire in mallory.control.values():
        wire.pause()
    ping = packed(encode({"ping": 2**53 - 2})) * 4000
    for _ in range(1000):
        for wire in mallory.control.values():
            if not wire.closed.is_set():
                wire.link.write(ping)
                wire.flush()
                async with asyncio.timeout(10):
                    await wire.drained()
        await asyncio.sleep(0)
        if all(wire.closed.is_set() for wire in mallory.control.values()):
            break
    await asyncio.Event().wait()


async def never_answers(mallory: Mallory) -> None:
    """She is heard, and answers nothing."""
    mallory.answers = lambda peer: False
    await asyncio.sleep(1)
    for _ in range(4):
        for wire in mallory.control.values():
            wire.link.write(packed(encode({"ping": 1})))
            wire.flush()
        await asyncio.sleep(0.5)


async def silent(mallory: Mallory) -> None:
    mallory.answers = lambda peer: False
    await asyncio.Event().wait()


async def leaves_and_computes_on(mallory: Mallory) -> None:
    """Her node is done; her program is not."""
    for wire in mallory.control.values():
        wire.goodbye("done")
    await idles(mallory)


async def half_closed(mallory: Mallory) -> None:
    mallory.answers = lambda peer: False
    for wire in mallory.control.values():
        await wire.end()
    await idles(mallory)


async def blames_the_other(mallory: Mallory) -> None:
    for peer in PEERS:
        mallory.control[peer].goodbye("protocol", str(CAROL if peer == ALICE else ALICE))
    await idles(mallory)


async def drips(mallory: Mallory) -> None:
    """A message of the largest size, a byte at a time."""
    for wire in mallory.control.values():
        wire.link.write((33 << 10).to_bytes(2, "big"))
        for _ in range(200):
            wire.link.write(b"[")
        wire.flush()
    await idles(mallory)


ERROR = Ends(PEER, "mallory")
MESSAGE = "a message of mallory's node"


def rests(act: Act, ends: Ends | Goes | Waits) -> Act:
    """Where the run must end, her program says nothing that it could end well with."""

    async def run(mallory: Mallory) -> None:
        await act(mallory)
        if isinstance(ends, Ends):
            await asyncio.Event().wait()

    return run


TABLE = [
    Behaviour(f"control: {name}", "control", ends, rests(act, ends))
    for name, ends, act in (
        ("50 pings at once", Goes(), said(packed(encode({"ping": 1})), count=50)),
        ("the highest ping there is", Goes(), said(packed(b'{"ping":9007199254740991}'))),
        (
            "pings without end, whose answers she does not read",
            Ends(PEER, "mallory's node asks again and again"),
            pings_unread,
        ),
        ("never answers, but is heard", Goes(), never_answers),
        ("falls silent", Waits(), silent),
        ("a ping above the highest", ERROR, said(packed(b'{"ping":9007199254740992}'))),
        ("a ping that is true", ERROR, said(packed(b'{"ping":true}'))),
        ("a ping that is a fraction", ERROR, said(packed(b'{"ping":1.5}'))),
        ("a ping of a thousand digits", ERROR, said(packed(b'{"ping":' + b"9" * 1000 + b"}"))),
        ("a pong that was never asked for", ERROR, said(packed(encode({"pong": 10_000})))),
        ("an old pong again and again", Goes(), said(packed(encode({"pong": 0})), count=1000)),
        (
            "a message of a later version",
            Ends(PEER, "mallory's node speaks a later version"),
            said(packed(encode({"message": {}}))),
        ),
        ("a thousand messages of a later version", ERROR, said(packed(encode({"message": {"a": 1}})), count=1000)),
        ("an object with nothing in it", ERROR, said(packed(b"{}"))),
        ("no object", ERROR, said(packed(b"[1]"))),
        ("no JSON", ERROR, said(packed(b"\xff\xfe"))),
        ("nothing", ERROR, said(packed(b""))),
        ("nested ten thousand deep", ERROR, said(packed(b"[" * 10_000 + b"]" * 10_000))),
        ("not canonical", ERROR, said(packed(b'{"ping": 1}'))),
        ("a key twice", ERROR, said(packed(b'{"ping":1,"ping":1}'))),
        ("a message above the limit", Ends(PEER, "mallory announces a message of 65535 bytes"), said(b"\xff\xff")),
        ("a message that never ends", Goes(), drips),
        ("half of a length, and a ping behind it", ERROR, said(b"\xff", packed(b'{"ping":1}'))),
        ("FIN", ERROR, on_each(frame(FIN))),
        ("an unknown frame", ERROR, on_each(frame(9))),
        (
            "a gap",
            Ends(PEER, "mallory left out 77 bytes"),
            on_each(lambda w: w.frame(DATA, b"a", offset=w.link.sent + 77)),
        ),
        (
            "2 000 frames that say nothing",
            Ends(PEER, "mallory sends frames that say nothing"),
            on_each(frame(ACK, count=2000)),
        ),
        ("the channel is reset", LOST, on_each(Wire.cut)),
        ("the channel is closed", LOST, on_each(Wire.close)),
        ("half closed", LOST, half_closed),
        ("TLS is ended", LOST, on_each(lambda wire: _end_tls(wire))),
        ("goodbye: done, and her program goes on", Goes(), leaves_and_computes_on),
        ("goodbye: interrupted", Ends(PEER, "mallory left: interrupted"), on_each(goodbye("interrupted"))),
        ("goodbye: declined", Ends(PEER, "mallory left: declined"), on_each(goodbye("declined"))),
        (
            "goodbye: error",
            Ends(PEER, "mallory left: the program there ended with an error"),
            on_each(goodbye("error")),
        ),
        ("goodbye: program", Ends(PEER, "mallory left: another program"), on_each(goodbye("program"))),
        ("goodbye: words", Ends(PEER, "mallory left: the words did not match"), on_each(goodbye("words"))),
        ("goodbye: protocol", Ends(PEER, "mallory left: somebody broke the protocol"), on_each(goodbye("protocol"))),
        ("goodbye: no path to whom she does not say", Ends(PEER, "mallory left: no path"), on_each(goodbye("path"))),
        ("goodbye in the other's name", ERROR, blames_the_other),
        ("goodbye blames herself", ERROR, on_each(goodbye("protocol", "1"))),
        ("goodbye blames a party in other digits", ERROR, on_each(goodbye("protocol", "\u0662"))),
        ("goodbye blames a party of 200 digits", ERROR, on_each(goodbye("protocol", "9" * 200))),
        (
            "goodbye that clears the terminal",
            ERROR,
            on_each(frame(GOODBYE, encode({"detail": "\x1b[2J", "reason": "error"}))),
        ),
        ("goodbye of 10 kB", ERROR, on_each(frame(GOODBYE, b"x" * 10_000))),
        ("10 000 goodbyes", Goes(), on_each(frame(GOODBYE, encode({"detail": "", "reason": "done"}), count=10_000))),
    )
]


def _end_tls(wire: Wire) -> None:
    try:
        wire.link.machine.unwrap()
    except OSError:
        wire.flush()
