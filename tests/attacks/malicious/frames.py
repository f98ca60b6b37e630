"""What she says on a data link: hellos and frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.attacks.malicious.channels import LOST
from tests.attacks.malicious.party import ALICE, CAROL, PEERS, Mallory, RawLink, Wire
from tests.attacks.malicious.table import PEER, STOP, Act, Behaviour, Ends, Goes, Prepare, Waits
from tests.independent.links import Ends as LinkEnds
from tests.independent.notation import ACK, DATA, DATA_LINK, FIN, GOODBYE, Hello, encode, pack_goodbye

NEEDED = Ends(PEER, "mallory left while the program here still needs it")
WENT_ON = "mallory sent data after its end"
NEEDED_OR_WENT_ON = replace(NEEDED, or_else=WENT_ON)
"""She is left behind, or goes on with what the others had sent her before."""
KEY_FRAME = 18
"""Bytes that carol has of her before anything else: her number and a key."""


class Lie:
    """A hello that is compared with as the honest one, and said as another."""

    def __init__(self, honest: Hello, said: bytes) -> None:
        self._honest, self._said = honest, said

    def pack(self) -> bytes:
        return self._said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)


def hello(change: Callable[[Hello], bytes], *, last: bool = False) -> Prepare:
    """`last`: she says nothing after it."""

    def prepare(mallory: Mallory) -> None:
        def make(ends: LinkEnds, kind: int, epoch: int, number: int) -> RawLink:
            link = mallory.honest_link(ends, kind, epoch, number)
            if kind == DATA_LINK:
                link.mute = last
                link._mine = Lie(link._mine, change(link._mine))  # type: ignore[assignment]
            return link

        mallory.make_link = make

    return prepare


def other(**changes: Any) -> Prepare:
    return hello(lambda honest: Hello(**{**vars(honest), **changes}).pack())


def _cut(at: int, new: bytes) -> Prepare:
    """The honest hello with other bytes at a place."""
    return hello(lambda honest: honest.pack()[:at] + new + honest.pack()[at + len(new) :])


def framed(act: Callable[[Wire], None], at: tuple[int, ...] = PEERS) -> Act:
    async def run(mallory: Mallory) -> None:
        for peer in at:
            act(mallory.data[peer, 0])

    return run


def frame(kind: int, body: bytes = b"", count: int = 1, **changes: Any) -> Callable[[Wire], None]:
    def act(wire: Wire) -> None:
        wire.raw(wire.link.frame(kind, body, **changes) * count)
        wire.link._fin_sent |= kind == FIN  # or she would judge its acknowledgement
        if kind == DATA and "offset" not in changes:
            wire.link.count(len(body))

    return act


def _both(*acts: Callable[[Wire], None]) -> Callable[[Wire], None]:
    def act(wire: Wire) -> None:
        for each in acts:
            each(wire)

    return act


async def old_bytes(mallory: Mallory) -> None:
    """To carol, her greeting again, and otherwise than the first time: an offset means the same bytes for ever."""
    wire = mallory.data[CAROL, 0]
    for size in range(1, KEY_FRAME + 1):
        wire.frame(DATA, b"\xff" * size, offset=KEY_FRAME - size)
        wire.frame(DATA, b"\xff" * size, offset=0)


async def overlapping(mallory: Mallory) -> None:
    """From now on each frame begins with all that was said before, and the last byte comes alone."""
    for wire in mallory.data.values():
        wire.link.write = _Overlapping(wire)  # type: ignore[method-assign]


class _Overlapping:
    def __init__(self, wire: Wire) -> None:
        self._wire, self._before = wire, bytes(wire.link.sent)

    def __call__(self, data: bytes) -> None:
        link = self._wire.link
        self._before += data
        link.raw(link.frame(DATA, self._before[:-1], offset=0))
        link.raw(link.frame(DATA, self._before[-3:], offset=len(self._before) - 3))
        link.count(len(data))


async def backwards(mallory: Mallory) -> None:
    """Acknowledges everything, nothing, everything."""
    for wire in mallory.data.values():
        for _ in range(100):
            wire.frame(ACK)
            wire.frame(ACK, acknowledged=0)


async def nearly_idle(mallory: Mallory) -> None:
    """As many frames as may say nothing, and then, by computing on, something."""
    for wire in mallory.data.values():
        wire.raw(wire.link.frame(ACK) * 1000)


async def a_byte_a_frame(mallory: Mallory) -> None:
    for wire in mallory.data.values():
        wire.link.write = _ByteByByte(wire.link)  # type: ignore[method-assign]


class _ByteByByte:
    def __init__(self, link: RawLink) -> None:
        self._link, self._write = link, link.write

    def __call__(self, data: bytes) -> None:
        for byte in data:
            self._write(bytes([byte]))


def goodbye(reason: str, detail: str = "") -> Callable[[Wire], None]:
    return frame(GOODBYE, pack_goodbye(reason, detail))


async def blames_the_other(mallory: Mallory) -> None:
    for peer in PEERS:
        goodbye("protocol", str(CAROL if peer == ALICE else ALICE))(mallory.data[peer, 0])


UNKNOWN, IDLE = "of the unknown kind", Ends(PEER, "mallory sends frames that say nothing")

TABLE = [
    *(
        Behaviour(f"hello: {name}", "hello", ends, prepare=prepare)
        for name, ends, prepare in (
            ("another session", Ends(STOP, "mallory's hello is for another session"), other(transcript=b"t" * 32)),
            ("another sender", Ends(STOP, "mallory's hello is for another sender"), other(sender=7)),
            ("another receiver", Ends(STOP, "mallory's hello is for another receiver"), other(to=7)),
            ("another kind", Ends(STOP, "mallory's hello is for another kind"), other(kind=0)),
            ("another epoch", Ends(STOP, "mallory's hello is for another epoch"), other(epoch=1)),
            ("another channel", Ends(STOP, "mallory's hello is for another channel"), other(number=99)),
            ("expects what comes later", Ends(PEER, "mallory expects a link that goes on"), other(expected=5)),
            ("another version", Ends(PEER, "mallory speaks version 9 of links, not 1"), _cut(2, b"\x09")),
            (
                "something else",
                Ends(PEER, "mallory sent something else in place of a hello"),
                _cut(0, b"GET / HTTP/1.1"),
            ),
            ("twice", Ends(PEER, "mallory sent a frame"), hello(lambda mine: mine.pack() * 2)),
            ("half of it", Waits(), hello(lambda mine: mine.pack()[:40], last=True)),
            ("an incarnation of zeros", Goes(), other(incarnation=bytes(16))),
        )
    ),
    *(
        Behaviour(f"frame: {name}", "frame", ends, act)
        for name, ends, act in (
            ("unknown kind 4", Ends(PEER, UNKNOWN), framed(frame(4))),
            ("unknown kind 255", Ends(PEER, UNKNOWN), framed(frame(255, b"abc"))),
            (
                "another epoch",
                Ends(PEER, "mallory sent a frame of epoch 1, not 0"),
                framed(frame(DATA, b"abc", epoch=1)),
            ),
            ("an epoch far ahead", Ends(PEER, "mallory sent a frame of epoch"), framed(frame(ACK, epoch=2**32 - 1))),
            (
                "a gap of 1 byte",
                Ends(PEER, "mallory left out 1 bytes"),
                framed(lambda w: w.frame(DATA, b"a", offset=w.link.sent + 1)),
            ),
            ("the highest offset", Ends(PEER, "mallory left out"), framed(frame(DATA, b"abc", offset=2**64 - 1))),
            ("a FIN far ahead", Ends(PEER, "mallory left out"), framed(frame(FIN, offset=2**40))),
            ("old bytes, and others than before", Goes(), old_bytes),
            ("each begins with all that was said before", Goes(), overlapping),
            ("a byte in each", Goes(), a_byte_a_frame),
            ("no bytes", Ends(PEER, "mallory sent a frame of 0 bytes"), framed(frame(DATA))),
            ("a byte above the limit", Ends(PEER, "bytes, from 1 to"), framed(frame(DATA, b"a", length=(1 << 20) + 1))),
            ("4 GiB", Ends(PEER, "bytes, from 1 to"), framed(frame(DATA, b"a", length=2**32 - 1))),
            ("1 MiB is announced and never comes", Waits(), framed(frame(DATA, b"a", length=1 << 20))),
            ("FIN with a body", Ends(PEER, "of kind 2 with 3 bytes"), framed(frame(FIN, b"abc"))),
            ("ACK with 4 GiB", Ends(PEER, "of kind 3 with 4294967295 bytes"), framed(frame(ACK, length=2**32 - 1))),
            (
                "acknowledges what was never sent",
                Ends(PEER, "mallory acknowledges what was never sent"),
                framed(frame(ACK, acknowledged=2**64 - 1)),
            ),
            (
                "acknowledges a FIN that was never sent",
                Ends(PEER, "never sent"),
                framed(lambda w: w.frame(ACK, acknowledged=w.link.arrived + 1)),
            ),
            ("acknowledges forwards and backwards", Goes(), backwards),
            ("1 000 that say nothing, and then something", Goes(), nearly_idle),
            ("2 000 that say nothing", IDLE, framed(frame(ACK, count=2000))),
            ("2 000 old ones", IDLE, framed(frame(DATA, b"a", count=2000, offset=0), at=(CAROL,))),
            ("the deepest depth there is", Goes(), framed(frame(ACK, depth=2**32 - 1))),
            ("FIN at once", NEEDED_OR_WENT_ON, framed(frame(FIN))),
            ("FIN a thousand times", NEEDED_OR_WENT_ON, framed(frame(FIN, count=1000))),
            ("FIN two thousand times", Ends(PEER, "mallory"), framed(frame(FIN, count=2000))),
            (
                "FIN below what was sent",
                Ends(PEER, "mallory ended before what it has sent"),
                framed(frame(FIN, offset=3), at=(CAROL,)),
            ),
            (
                "data after FIN",
                Ends(PEER, WENT_ON),
                framed(_both(frame(FIN), frame(DATA, b"abc"))),
            ),
            # whether the FIN is read before the cut is seen is not ours to say
            ("FIN, and then the channel is cut", Ends(PEER, "mallory"), framed(_both(frame(FIN), Wire.cut))),
            ("goodbye: done", Ends(PEER, "mallory"), framed(goodbye("done"))),
            ("goodbye: words", Ends(PEER, "mallory"), framed(goodbye("words"))),
            ("goodbye: interrupted", Ends(PEER, "mallory"), framed(goodbye("interrupted"))),
            ("goodbye in the other's name", Ends(PEER, "mallory"), blames_the_other),
            ("goodbye blames herself", Ends(PEER, "mallory"), framed(goodbye("protocol", "1"))),
            ("goodbye blames a party that there is not", Ends(PEER, "mallory"), framed(goodbye("protocol", "9" * 200))),
            (
                "goodbye with 200 characters that turn round",
                Ends(PEER, "mallory"),
                framed(goodbye("error", "\u202e" * 200)),
            ),
            (
                "goodbye that clears the terminal",
                Ends(PEER, "mallory"),
                framed(frame(GOODBYE, encode({"detail": "\x1b[2J\x1b]0;x\x07", "reason": "error"}))),
            ),
            ("goodbye of 10 kB", Ends(PEER, "of kind 1 with"), framed(frame(GOODBYE, b"x" * 10_000))),
            (
                "goodbye for a reason that there is not",
                Ends(PEER, "mallory"),
                framed(frame(GOODBYE, encode({"detail": "", "reason": "bored"}))),
            ),
            ("goodbye that is no JSON", Ends(PEER, "mallory"), framed(frame(GOODBYE, b"\xff\xfe{"))),
            ("10 000 goodbyes", Ends(PEER, "mallory"), framed(frame(GOODBYE, pack_goodbye("error", ""), count=10_000))),
            ("the channel is reset", LOST, framed(Wire.cut)),
            ("the channel is closed", LOST, framed(Wire.close)),
            ("half a frame, and the channel is closed", LOST, framed(_both(frame(DATA, b"a", length=500), Wire.close))),
        )
    ),
]
