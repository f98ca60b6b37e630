"""The control link of two nodes, on real channels."""

import asyncio
import socket
from typing import Any

import pytest
from tests.links.ends import SocketRogue, on_every_loop, tcp_pair
from tests.links.parties import ALICE, BOB, CAROL, NUMBER, certificate_of, pairing, seed

from comity.core import preface
from comity.core.encoding import Malformed, encode
from comity.core.frames import ACK, DATA, parse_goodbye
from comity.core.limits import MAX_NODE_MESSAGE, MAX_NODE_MESSAGES, MAX_PINGS
from comity.errors import PeerError, VerificationError
from comity.links import control
from comity.links.control import ControlLink
from comity.links.link import Goodbye


def over(me: int, peer: int, sock: socket.socket, **changes: Any) -> Any:
    return ControlLink.over(sock, pairing(me, peer, kind=preface.CONTROL, **changes), NUMBER)


class ControlRogue(SocketRogue):
    """Says whatever it likes on a control link."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(ALICE, BOB, sock)
        self.offset = 0

    async def open(self) -> None:
        await self.greet(kind=preface.CONTROL)
        await self.say(self.frame(ACK))

    async def raw(self, data: bytes) -> None:
        await self.say(self.frame(DATA, data, self.offset))
        self.offset += len(data)

    async def message(self, value: Any) -> None:
        body = value if isinstance(value, bytes) else encode(value)
        await self.raw(len(body).to_bytes(2, "big") + body)

    def said(self) -> bytes:
        return b"".join(piece[4] for piece in self.frames_heard() if piece[0] == DATA)


@on_every_loop
async def test_messages_go_both_ways_in_order() -> None:
    mine, theirs = tcp_pair()
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs) as bob:
        await asyncio.gather(alice.ready(), bob.ready())
        assert 0 < alice.round_trip < 5 and 0 < bob.round_trip < 5
        assert alice.peer_incarnation == bytes([BOB]) * 16
        for i in range(200):
            alice.send({"n": i, "text": "ü" * i})
        bob.send({})
        inbox = bob.messages()
        assert [await anext(inbox) for _ in range(200)] == [{"n": i, "text": "ü" * i} for i in range(200)]
        assert await anext(alice.messages()) == {}
        alice.goodbye("done")
        assert [m async for m in inbox] == []
        assert [m async for m in alice.messages()] == []


@on_every_loop
async def test_the_largest_message_fits_and_a_larger_one_is_refused_at_once() -> None:
    mine, theirs = tcp_pair()
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs) as bob:
        await bob.ready()
        most = "x" * (MAX_NODE_MESSAGE - len(encode({"message": {"a": ""}})))
        with pytest.raises(ValueError, match="are allowed"):
            alice.send({"a": most + "x"})
        alice.send({"a": most})
        assert await anext(bob.messages()) == {"a": most}


@on_every_loop
async def test_heartbeats_go_by_themselves_and_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "BEAT", 0.01)
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await rogue.listen(lambda: rogue.said().count(b'{"ping":1}') == 3)
        at_hello = bob.round_trip
        await rogue.message({"pong": 1})
        await rogue.listen(lambda: rogue.said().count(b'{"ping":2}') == 3)
        measured = bob.round_trip
        assert measured != at_hello and measured > 0.015, "from the first time it was asked"
        await rogue.message({"pong": 1})
        await rogue.message({"pong": 0})
        await rogue.message({"ping": 7})
        await rogue.listen(lambda: b'{"pong":7}' in rogue.said())
        assert bob.round_trip == measured, "an answer counts once"
    theirs.close()


@on_every_loop
async def test_silence_grows_while_a_node_says_nothing_and_one_byte_ends_it() -> None:
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await bob.ready()
        bob._heard -= 100
        assert bob.silence > 100
        await rogue.message({"ping": 5})
        await rogue.listen(lambda: b'{"pong":5}' in rogue.said())
        assert bob.silence < 50
    theirs.close()


@pytest.mark.parametrize("reason", ["error", "interrupted", "declined", "protocol"])
@on_every_loop
async def test_a_goodbye_comes_after_the_messages_before_it(reason: str) -> None:
    mine, theirs = tcp_pair()
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs) as bob:
        await asyncio.gather(alice.ready(), bob.ready())
        alice.send({"blame": 2})
        await asyncio.sleep(0)
        alice.goodbye(reason, "why")
        got = []
        with pytest.raises(Goodbye) as said:
            async for message in bob.messages():
                got.append(message)  # noqa: PERF401
        assert got == [{"blame": 2}]
        assert (said.value.reason, said.value.detail) == (reason, "why")
        with pytest.raises(Goodbye):
            await anext(bob.messages())
        with pytest.raises(Goodbye):
            await bob.ready()


@on_every_loop
async def test_a_message_of_the_same_turn_leaves_before_its_goodbye() -> None:
    mine, theirs = tcp_pair()
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs) as bob:
        await asyncio.gather(alice.ready(), bob.ready())
        alice.send({"last": True})
        alice.goodbye("done")
        assert [m async for m in bob.messages()] == [{"last": True}]


@on_every_loop
async def test_a_node_that_vanishes_is_a_lost_channel() -> None:
    mine, theirs = tcp_pair()
    async with over(BOB, ALICE, mine) as bob:
        rogue = ControlRogue(theirs)
        await rogue.open()
        await bob.ready()
        theirs.close()
        with pytest.raises(PeerError, match="the channel to alice was lost"):
            await anext(bob.messages())


@on_every_loop
async def test_another_party_never_gets_ready() -> None:
    mine, theirs = tcp_pair()
    carol = {"seed": seed(CAROL), "certificate": certificate_of(seed(CAROL))}
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs, **carol) as bob:
        with pytest.raises(VerificationError, match="has not bob's key"):
            await alice.ready()
        with pytest.raises(VerificationError):
            await anext(bob.messages())


@pytest.mark.parametrize(
    "value",
    [
        {"hello": 1},
        {"message": 5},
        {"message": {}, "more": 1},
        {"ping": "1"},
        {"ping": -1},
        {"ping": 1, "pong": 1},
        {"pong": 99},
        [],
        "message",
        b"{",
        b'{"message": {}}',
        b"\xff\xff",
        b"",
    ],
)
@on_every_loop
async def test_a_malformed_message_ends_it_and_the_sender_hears_why(value: Any) -> None:
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await rogue.message(value)
        with pytest.raises(Malformed):
            await anext(bob.messages())
        await rogue.listen()
        assert parse_goodbye(rogue.frames_heard()[-1][4])[0] == "protocol"
        theirs.close()


@on_every_loop
async def test_an_announced_message_that_is_too_long_is_not_waited_for() -> None:
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await rogue.raw((MAX_NODE_MESSAGE + 1).to_bytes(2, "big"))
        with pytest.raises(Malformed, match=f"of {MAX_NODE_MESSAGE + 1} bytes"):
            await anext(bob.messages())
        theirs.close()


@on_every_loop
async def test_messages_that_nobody_reads_do_not_pile_up() -> None:
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        for i in range(MAX_NODE_MESSAGES + 1):
            await rogue.message({"message": {"i": i}})
        await rogue.listen()
        with pytest.raises(PeerError, match="alice's node sends more than"):
            async for _ in bob.messages():
                pass
        theirs.close()


@on_every_loop
async def test_endless_pings_end_it() -> None:
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await bob.ready()
        ping = len(encode({"ping": 1})).to_bytes(2, "big") + encode({"ping": 1})
        await rogue.raw(ping * (MAX_PINGS + 1))
        with pytest.raises(PeerError, match="alice's node asks again and again"):
            await anext(bob.messages())
        theirs.close()


@on_every_loop
async def test_pings_of_a_node_that_does_not_read_the_answers_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_NODE_UNSENT", 1 << 16)
    monkeypatch.setattr(control, "MAX_PINGS", 1 << 40)
    mine, theirs = tcp_pair()
    rogue = ControlRogue(theirs)
    async with over(BOB, ALICE, mine) as bob:
        await rogue.open()
        await bob.ready()
        ping = len(encode({"ping": 1})).to_bytes(2, "big") + encode({"ping": 1})
        while not bob._ended.is_set():
            try:
                await rogue.raw(ping * 8000)
            except OSError:
                break  # the channel was cut
        await bob._ended.wait()
        with pytest.raises(PeerError, match="alice does not take its bytes"):
            await anext(bob.messages())
        theirs.close()


@on_every_loop
async def test_leaving_after_a_goodbye_gives_it_time_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_NODE_UNSENT", 1 << 30)
    mine, theirs = tcp_pair()
    rogue, said = ControlRogue(theirs), asyncio.Event()

    async def say_much_and_leave() -> None:
        async with over(BOB, ALICE, mine) as bob:
            await rogue.open()
            await bob.ready()
            while not bob._stream._paused:
                bob.send({"x": "x" * 30_000})
                await asyncio.sleep(0)
            bob.goodbye("error", "at the end of a full channel")
            said.set()

    leaving = asyncio.ensure_future(say_much_and_leave())
    await said.wait()
    await rogue.listen()
    assert parse_goodbye(rogue.frames_heard()[-1][4]) == ("error", "at the end of a full channel")
    await leaving
    theirs.close()


@on_every_loop
async def test_leaving_ends_readers_and_cuts_the_channel() -> None:
    mine, theirs = tcp_pair()
    async with over(ALICE, BOB, mine) as alice, over(BOB, ALICE, theirs) as bob:
        await asyncio.gather(alice.ready(), bob.ready())
        reader = asyncio.ensure_future(_drain(alice))
        await asyncio.sleep(0)
    assert await reader == []


async def _drain(link: ControlLink) -> list[dict[str, Any]]:
    return [message async for message in link.messages()]


@on_every_loop
async def test_leaving_before_anybody_is_there_leaves_nothing() -> None:
    mine, theirs = tcp_pair()
    async with over(BOB, ALICE, mine) as bob:
        assert bob.round_trip is None
    assert await asyncio.get_running_loop().sock_recv(theirs, 1) == b""
    with pytest.raises(PeerError, match="lost"):
        await bob.ready()
    theirs.close()
