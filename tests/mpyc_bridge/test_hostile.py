"""Mallory holds alice's keys, speaks the link's protocol and says to bob's MPyC what alice's never would."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.mpyc_bridge.parties import NAMES, TRANSCRIPT, Party, Session, member, seed, session, written

from comity.core.codec import dumps
from comity.core.limits import MAX_MESSAGE
from comity.core.preface import DATA
from comity.errors import ComityError, PeerError, VerificationError
from comity.links.certificate import make_certificate
from comity.links.pairing import Pairing
from comity.links.stream import Depth, Stream, attach

ALICE, BOB = 0, 1
GREETING = ALICE.to_bytes(2, "little") + b"k" * 16  # her number and, for two parties, one PRSS key
FIRST = hash((1, 0))
"""MPyC's counter of a program's first message."""

WAITS = """
from mpyc.runtime import mpc
mpc.run(mpc.start())
print("started", flush=True)
print(mpc.run(mpc.transfer("word", senders=0)))
"""


class Mallory:
    """One end of a link, in alice's place."""

    def __init__(self, peer: int, channel: socket.socket, seat: int = ALICE, key: int = ALICE, epoch: int = 0) -> None:
        theirs = member(peer)
        pairing = Pairing(
            TRANSCRIPT,
            seat,
            peer,
            NAMES[peer],
            DATA,
            epoch,
            b"i" * 16,
            seed(key),
            make_certificate(seed(key)),
            theirs.certificate,
            theirs.session_key,
        )
        self.heard = bytearray()
        self.stands, self.finished, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error: ComityError | None = None
        self.stream = Stream(
            pairing,
            1,
            Depth(),
            ready=self.stands.set,
            data=self.heard.extend,
            ended=self._ended,
            finished=self.finished.set,
            timeout=None,
        )
        self.attaching = asyncio.ensure_future(attach(self.stream, channel))

    def _ended(self, error: ComityError | None) -> None:
        self.error = error
        self.over.set()

    async def say(self, *pieces: bytes) -> None:
        await self.attaching
        await self.stands.wait()
        for piece in pieces:
            self.stream.write(piece)


def message(counter: int, payload: bytes, length: int | None = None) -> bytes:
    return struct.pack("<qI", counter, len(payload) if length is None else length) + payload


Meet = Callable[[int, int, socket.socket], Mallory]


@contextlib.asynccontextmanager
async def bob_meets(folder: Path, meet: Meet, source: str = WAITS) -> AsyncIterator[tuple[Session, list[Mallory]]]:
    met: list[Mallory] = []
    async with session(written(folder, source), 2, present=(BOB,)) as running:

        def outsider(party: int, epoch: int, channel: socket.socket) -> None:
            channel.setblocking(False)
            met.append(meet(party, epoch, channel))

        running.outsider = outsider
        running.start()
        try:
            yield running, met
        finally:
            for mallory in met:
                mallory.stream.abort()
                await mallory.attaching


def as_alice(party: int, epoch: int, channel: socket.socket) -> Mallory:
    return Mallory(party, channel, epoch=epoch)


def check_refused(bob: Party, *words: str) -> None:
    assert isinstance(bob.error, PeerError)
    assert "alice" in bob.error.message and all(word in bob.error.message for word in words)
    assert bob.code == PeerError.exit_code and bob.err == ""
    assert "word" not in bob.out


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([b"\x01\x00", b"k" * 16], ["is party 0", "party 1"]),
        ([b"\x07\x00"], ["party 7"]),
        ([GREETING, message(5, b"", MAX_MESSAGE + 1)], [str(MAX_MESSAGE + 1)]),
        ([GREETING, message(5, b"", 2**32 - 1)], [str(2**32 - 1)]),
        ([GREETING, message(5, b"a"), message(5, b"b")], ["twice"]),
        ([GREETING + message(-9, b"a") * 2], ["twice"]),
    ],
)
async def test_what_mpyc_would_choke_on_never_reaches_it(tmp_path: Path, said: list[bytes], words: list[str]) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(*said)
        (bob,) = await running.over()
        check_refused(bob, *words)
        await met[0].over.wait()
        assert met[0].error is not None and "protocol" in met[0].error.message


async def test_what_alice_would_say_is_taken(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(GREETING, message(FIRST, dumps("a word")))
        await met[0].finished.wait()
        met[0].stream.finish()
        (bob,) = await running.over()
        assert (bob.code, bob.error, bob.err) == (0, None, "")
        assert bob.out == "started\na word\n"


async def test_a_value_that_is_none_of_the_codecs_is_refused_and_its_sender_named(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(GREETING, message(FIRST, b"cos\nsystem\n(S'echo word'\ntR."))
        (bob,) = await running.over()
        check_refused(bob, "no value")


async def test_a_peer_that_ends_in_the_middle_of_a_message_is_named(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(GREETING, message(5, b"abc", 9))
        met[0].stream.finish()
        (bob,) = await running.over()
        check_refused(bob, "middle of a message")


async def test_a_peer_that_finishes_while_it_is_needed_is_named(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(GREETING)
        met[0].stream.finish()
        (bob,) = await running.over()
        check_refused(bob, "still needs it")


async def test_a_lost_channel_is_named(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, as_alice) as (running, met):
        await met[0].say(GREETING)
        await met[0].stands.wait()
        met[0].stream.abort()
        (bob,) = await running.over()
        check_refused(bob, "channel", "lost")


async def test_somebody_with_other_keys_gets_no_link(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, lambda party, epoch, channel: Mallory(party, channel, key=2)) as (running, met):
        (bob,) = await running.over()
        assert isinstance(bob.error, VerificationError) and "alice" in bob.error.message
        assert bob.code == VerificationError.exit_code and bob.out == ""
        assert met[0].heard == b"" and not met[0].stands.is_set()


async def test_a_channel_for_another_epoch_is_refused(tmp_path: Path) -> None:
    async with bob_meets(tmp_path, lambda party, epoch, channel: Mallory(party, channel, epoch=7)) as (running, met):
        (bob,) = await running.over()
        assert isinstance(bob.error, VerificationError) and "epoch" in bob.error.message
        assert met[0].heard == b""


async def test_a_channel_that_keeps_dying_before_its_hello_is_given_up(tmp_path: Path) -> None:
    async with session(written(tmp_path, WAITS), 2, present=(BOB,)) as running:
        given = 0

        def outsider(party: int, epoch: int, channel: socket.socket) -> None:
            nonlocal given
            given += 1
            channel.close()
            running.made.clear()  # the node gives another one when it is asked to

        running.outsider = outsider
        running.start()
        (bob,) = await running.over()
        check_refused(bob, "channel", "lost")
        assert given == 4
