"""Eve runs the rendezvous of real sessions: she may hold people up, and nothing else.

Where she changes what people see, they stop before any word, with an error of its own; where she only is a bad server,
the session goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from tests.attacks.eve import Eve, Passes, delaying, touching
from tests.attacks.session import RESULT, free_port, scene
from tests.sessions.parties import Party as Process

from comity.core.invitation import parse
from comity.errors import PeerError
from comity.mpyc_bridge.program import find
from comity.node import meeting
from comity.node.options import Options
from comity.node.party import Party
from comity.rendezvous.server import Server

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]

STOP, PEER, PATH = 3, 4, 5
NAMES = ("alice", "bob", "carol")


NOT_SEALED = "a message in the room was not sealed with this invitation"


def folder(above: Path, name: str) -> Path:
    below = above / name
    below.mkdir()
    return below


def flipped(body: bytes) -> list[bytes]:
    return [body[:-1] + bytes([body[-1] ^ 1])]


@pytest.mark.parametrize(
    ("passes", "victims", "code", "message"),
    [
        (touching("bob HELLO", flipped), NAMES, STOP, NOT_SEALED),
        (touching("alice ROSTER", lambda body: [], "bob"), ("bob",), PEER, "REVEAL too early or too late"),
        (delaying("alice REVEAL", "alice AGREE", "bob"), ("bob",), PEER, "AGREE too early or too late"),
        (
            touching("carol AGREE", lambda body: [body, body]),
            NAMES,
            PATH,
            "broke the protocol: its log is out of order",
        ),
    ],
    ids=["changes a key", "drops the roster", "turns the order round", "repeats a message"],
)
async def test_eve_changes_what_is_read(
    tmp_path: Path, passes: Passes, victims: tuple[str, ...], code: int, message: str
) -> None:
    async with Eve(NAMES, passes).serve() as address, scene(tmp_path, rendezvous=address) as s:
        await s.meet(*NAMES)
        ended = await s.end(*NAMES)
        for name, (exit_code, said) in ended.items():
            assert exit_code in ((code,) if name in victims else (STOP, PEER)), ended
            assert message in said or name not in victims, ended
        assert s.printed(*NAMES) == {""}


async def test_eve_cuts_every_connection_once_and_replays_the_whole_room_later(tmp_path: Path) -> None:
    """The first is only a nuisance. What she has seen then is of no use to her."""
    eve = Eve(NAMES, cut_after=2)
    async with eve.serve() as address, scene(tmp_path, rendezvous=address) as s:
        await s.meet(*NAMES)
        await s.agree()
        assert {code for code, _ in (await s.end(*NAMES)).values()} == {0}
        assert s.printed(*NAMES) == {RESULT} and eve.cuts == [1] * 6
    old = [post.body for room in eve.rooms.values() for post in room.posts]
    replaying = touching("alice OPEN", lambda body: [body, *old], "bob", "carol")
    async with Eve(NAMES, replaying).serve() as address, scene(tmp_path, rendezvous=address) as s:
        await s.meet(*NAMES)
        ended = await s.end("bob", "carol")
        for code, message in ended.values():
            assert (code, message) == (STOP, NOT_SEALED)
        assert s.printed(*NAMES) == {""}


async def test_eve_leads_two_sessions_into_one_room(tmp_path: Path) -> None:
    """What is not sealed with the own invitation is nobody's message, whoever posted it where."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(Eve(("alice", "alice"), one_room=True).serve())
        first = await stack.enter_async_context(scene(folder(tmp_path, "first"), rendezvous=address))
        await first.meet("alice")
        second = await stack.enter_async_context(scene(folder(tmp_path, "second"), rendezvous=address))
        await second.meet("alice")  # reads the opening of the other alice before her own
        for one in (first, second):
            assert (await one.end("alice"))["alice"] == (STOP, NOT_SEALED)
            assert one.printed("alice") == {""}


async def test_eve_leads_a_session_s_two_rooms_into_one(tmp_path: Path) -> None:
    """Signals and the ceremony are sealed differently, so neither is taken for the other."""
    async with Eve(NAMES * 2, one_room=True).serve() as address, scene(tmp_path, rendezvous=address) as s:
        await s.meet(*NAMES)
        await s.agree()
        ended = await s.end(*NAMES)
        assert {code for code, _ in ended.values()} <= {STOP, PEER, PATH}, ended
        assert (STOP, NOT_SEALED) in ended.values(), ended
        assert s.printed(*NAMES) == {""}


async def test_the_server_comes_back_empty_twice_and_the_session_goes_on(tmp_path: Path) -> None:
    listen = (("127.0.0.1", free_port()),)
    async with scene(tmp_path, rendezvous=f"http://127.0.0.1:{listen[0][1]}") as s:
        async with Server(listen):
            await s.meet(*NAMES[:2])
        async with Server(listen):  # nobody has a roster yet
            await asyncio.gather(*(hears(party, "came back empty") for party in s.parties.values()))
            await s.join("carol")
            await asyncio.gather(*(party.event("check") for party in s.parties.values()))
        async with Server(listen):  # everybody compares words
            await s.agree()
            assert {code for code, _ in (await s.end(*NAMES)).values()} == {0}
        assert s.printed(*NAMES) == {RESULT}


async def hears(party: Process, piece: str) -> None:
    """Until it says this of the rendezvous."""
    for number in count(1):
        if piece in (await party.event("rendezvous", number))["text"]:
            return


class Silent:
    """A person whom nobody asks."""

    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        """Heard."""

    detail = line

    def expect(self, question: str, /, *, option: str) -> None:
        """It may be asked."""

    async def ask(self, label: str, /, *lines: str, option: str, event: str = "question", **fields: object) -> bool:
        raise AssertionError("there is nothing to ask before all have agreed")


async def test_eve_stalls_and_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bob is shown everything but carol's AGREE. He lives in this process, where a minute is three seconds."""
    monkeypatch.setattr(meeting, "MACHINE_SECONDS", 3.0)
    withholding = touching("carol AGREE", lambda body: [], "bob")
    async with Eve(NAMES, withholding).serve() as address, scene(tmp_path, rendezvous=address) as s:
        await s.meet("alice")
        invited = await s.parties["alice"].event("invite")
        bob = Party(Options("bob"), Silent(), bytes(32))
        joining = asyncio.create_task(bob.join(parse(invited["link"]), find(str(tmp_path / "work.py"))))
        await s.parties["alice"].event("joined")
        await s.join("carol")
        with pytest.raises(PeerError, match="no answer from carol for 3 s"):
            await joining
        for code, message in (await s.end("alice", "carol")).values():
            assert (code, message) == (PEER, "bob left: an error there")
        assert s.printed("alice", "carol") == {""}
