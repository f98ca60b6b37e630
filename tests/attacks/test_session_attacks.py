"""Mallory in real sessions: she was invited, is verified by all, and cheats. alice and carol are honest.

Each story ends soon at both with an error that names her, and before the program has printed anything that depends on
what she did. Where one of them cannot see what she did, it learns it from the other.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from pathlib import Path

import pytest
from tests.attacks import mallory
from tests.attacks.session import RESULT, held_back, scene

from comity.core.limits import MAX_MESSAGE

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]

USAGE, STOP, PEER, PATH = 2, 3, 4, 5
HONEST = ("alice", "carol")


# -- in the ceremony ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("roster-of-a-guest", STOP, "mallory sent ROSTER where none may be"),
        ("reveals-early", PEER, "mallory sent REVEAL too early or too late"),
        ("reveals-twice", PEER, "mallory sent REVEAL twice"),
        ("reveals-something-else", STOP, "mallory revealed something else than it committed to"),
        ("agrees-to-something-else", STOP, "mallory agreed to another session"),
        ("oversized-hello", PEER, "hello has "),
        ("sealed-otherwise", STOP, "a message in the room was not sealed with this invitation"),
    ],
)
async def test_mallory_lies_before_any_word_is_shown(tmp_path: Path, kind: str, code: int, message: str) -> None:
    async with scene(tmp_path, kind) as s:
        await s.meet("alice", "mallory", "carol")
        for name, (ended, said) in (await s.end(*HONEST)).items():
            assert ended == code and said.startswith(message), (name, said)
            assert not s.parties[name].all("check")
        assert s.printed(*s.parties) == {""}


async def test_mallory_confirms_otherwise_than_she_said_she_would(tmp_path: Path) -> None:
    async with scene(tmp_path, "confirms-otherwise") as s:
        await s.meet("alice", "mallory", "carol")
        await s.agree("mallory")
        for code, message in (await s.end(*HONEST)).values():
            assert (code, message) == (PEER, "mallory confirmed otherwise than it had said it would")
        assert s.printed(*s.parties) == {""}


async def test_mallory_hosts_and_sends_a_second_roster(tmp_path: Path) -> None:
    async with scene(tmp_path, "roster-twice") as s:
        await s.meet("mallory", "alice", "carol")
        for code, message in (await s.end(*HONEST)).values():
            assert (code, message) == (PEER, "mallory sent ROSTER twice")


async def test_mallory_hosts_two_rooms_and_sits_in_each_with_a_puppet_of_whoever_is_in_the_other(
    tmp_path: Path,
) -> None:
    """Every signature holds and every message is in order: only people who call one another notice."""
    async with scene(tmp_path) as s, asyncio.TaskGroup() as group:
        rooms = {}
        for victim, puppet in (("alice", "carol"), ("carol", "alice")):
            host = await s.stage.start(
                f"host of {victim}", "host", "--rendezvous", s.rendezvous, "--name", "mallory", "sum", "4"
            )
            link = (await host.event("invite"))["link"]
            joins = (("join", "--name", name, link) for name in (victim, puppet))
            rooms[victim] = [host, *[await s.stage.start(f"{join[2]} of {victim}", *join) for join in joins]]
        seen = {}
        for victim, room in rooms.items():
            checks = [await party.event("check") for party in room]
            seen[victim] = checks[1]
            assert len({tuple(check["words"]) for check in checks}) == 1
        assert set(seen["alice"]["people"]) == {"mallory", "carol"} and set(seen["carol"]["people"]) == {
            "mallory",
            "alice",
        }
        assert seen["alice"]["words"] != seen["carol"]["words"]  # what they hear from one another
        for room in rooms.values():
            for party, answer in zip(room, "yny", strict=True):
                party.answer(answer)
        for room in rooms.values():
            group.create_task(_nobody_goes_on(room))


async def _nobody_goes_on(room: list) -> None:
    for party in room:
        assert await party.end() == STOP and "the words did not match" in party.error["message"]
        assert not party.output


# -- at her node -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["claims-another-seat", "node-is-silent"])
async def test_mallory_is_not_found(tmp_path: Path, kind: str) -> None:
    """Her prefaces claim the third party's seat, so nobody takes her channels; or her node takes them in silence."""
    async with scene(tmp_path, kind) as s, held_back() as (stdin, _):
        await s.meet("alice", "mallory", "carol", stdin=stdin)
        await s.agree()
        for code, message in (await s.end(*HONEST)).values():
            assert code in (PEER, PATH) and "mallory" in message
        assert s.printed(*s.parties) == {""}


async def test_mallory_gives_alices_channel_to_carol(tmp_path: Path) -> None:
    async with scene(tmp_path, "splices") as s:
        await s.meet("alice", "mallory", "carol")
        await s.agree()
        ended = await s.end(*HONEST)
        assert ended["alice"] == (STOP, "who answered for mallory has not mallory's key")
        assert ended["carol"] == (STOP, "who answered for mallory does not accept this party's certificate")
        assert s.printed(*s.parties) == {""}


@pytest.mark.parametrize(
    "kind", ["blames-another", "blames-nobody-that-is", "says-goodbye-without-end", "floods-the-node"]
)
async def test_mallorys_node_says_what_it_should_not(tmp_path: Path, kind: str) -> None:
    """While everyone's program computes; she is named, whomever she blames."""
    async with scene(tmp_path, kind) as s, held_back() as (stdin, _):
        await s.meet("alice", "mallory", "carol", stdin=stdin)
        await s.agree()
        for name, (code, said) in (await s.end(*HONEST)).items():
            assert code == PEER and "mallory" in said, (name, said)
        assert s.printed(*s.parties) == {""}


async def test_mallory_dials_without_end(tmp_path: Path) -> None:
    """For links that nobody has asked for yet: what is too much is closed, and the session goes on."""
    async with scene(tmp_path, "dials-without-end") as s, held_back() as (stdin, go):
        await s.meet("alice", "mallory", "carol", stdin=stdin)
        await s.agree()
        await s.parties["mallory"].event("dialled", 2)
        for name in HONEST:
            assert len(list(Path(f"/proc/{s.parties[name].process.pid}/fd").iterdir())) < 60
        go()
        assert {code for code, _ in (await s.end(*HONEST)).values()} == {0}
        assert s.printed(*HONEST) == {RESULT}


LOST = "the channel to mallory was lost"

# -- in her program's process ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("speaks-no-tls", PEER, "what answered for mallory does not speak this protocol's TLS"),
        ("other-certificate", STOP, "who answered for mallory has not mallory's key"),
        ("other-session", STOP, "mallory's hello is for another session"),
        ("claims-another-number", PEER, "mallory is party 1 and calls itself party 2"),
        (
            "announces-too-much",
            PEER,
            f"mallory announced a message of {MAX_MESSAGE + 1} bytes, {MAX_MESSAGE} are allowed",
        ),
        ("ends-inside-a-message", PEER, "mallory ended in the middle of a message"),
        ("pickles", PEER, "mallory sent what is no value"),
        ("sends-twice", PEER, "mallory used the counter of a message twice"),
        ("leaves-gaps", PEER, "mallory left out 7 bytes"),
    ],
)
async def test_mallorys_program_is_not_the_agreed_one(tmp_path: Path, kind: str, code: int, message: str) -> None:
    """Who saw it says what it was; the other may hear of it, or only that her program is gone. All name her."""
    async with scene(tmp_path, kind) as s:
        await s.meet("alice", "mallory", "carol")
        await s.agree()
        ended = await s.end(*HONEST)
        exact = [name for name, (_, said) in ended.items() if said.startswith(message)]
        told = [
            name
            for name, (c, said) in ended.items()
            if c == PEER and (said == LOST or (" left, because of " in said and "mallory" in said))
        ]
        assert exact and {*exact, *told} == set(HONEST), ended
        assert all(ended[name][0] == code for name in exact), ended
        assert RESULT not in s.printed(*HONEST)
        assert not s.mark.exists()


async def test_mallory_takes_the_channels_and_says_nothing_on_them(tmp_path: Path) -> None:
    """Her program may just be slow, so nobody ends it for them; but people know for whom they wait."""
    async with scene(tmp_path, "silent") as s:
        await s.meet("alice", "mallory", "carol")
        await s.agree()
        for name in HONEST:
            assert (await s.parties[name].event("waiting"))["names"] == ["mallory"]
        s.parties["alice"].process.send_signal(signal.SIGINT)
        assert await s.parties["alice"].end() == 130
        assert (await s.end("carol"))["carol"] == (PEER, "alice left: interrupted")
        assert s.printed(*HONEST) == {""}


def test_what_mallory_pickles_would_make_a_file(tmp_path: Path) -> None:
    """The story above can fail."""
    pickle.loads(mallory.hostile_pickle(str(tmp_path / "mark"))).close()  # noqa: S301 - it is ours
    assert (tmp_path / "mark").exists()


# -- names -------------------------------------------------------------------------------------------------------------


async def test_a_name_that_moves_the_cursor_is_refused_before_it_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path, "name-that-moves-the-cursor") as s:
        await s.meet("alice", "mallory", "carol")
        for code, message in (await s.end(*HONEST)).values():
            assert (code, message) == (PEER, "HELLO: name is too long or not printable")
        for name in HONEST:
            assert "\\u001b" not in str(s.parties[name].events) and not s.parties[name].talk


@pytest.mark.parametrize("name", ["a1ice", "аӏісе"])
async def test_a_name_that_looks_like_anothers_gets_no_seat(tmp_path: Path, name: str) -> None:
    """And disturbs nobody: who is meant to come still can."""
    async with scene(tmp_path) as s:
        await s.meet("alice", name)
        assert await s.end(name) == {name: (USAGE, f"the name {name} looks like alice, who is here already")}
        await s.join("bob")
        carol = await s.join("carol")
        await carol.event("check")
        assert {event["name"] for event in s.parties["alice"].all("joined")} == {"bob", "carol"}
