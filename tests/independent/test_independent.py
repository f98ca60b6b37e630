"""Sessions of `comity` processes with a party that was written from docs/protocol.md alone."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from tests.sessions.parties import Party, Stage, stage

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]
ROOT = Path(__file__).parents[2]


def builtin(name: str) -> str:
    """A built-in demo's file, without importing anything."""
    package = importlib.util.find_spec("comity")
    assert package is not None and package.submodule_search_locations
    return str(Path(package.submodule_search_locations[0]) / "demos" / f"{name}.py")


async def independent(opened: Stage, name: str, *arguments: str) -> Party:
    """The other implementation, started as Stage starts `comity`."""
    theirs, ours = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.independent.party", "--answers", str(theirs), "--name", name),
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(theirs,),
        process_group=0,
    )
    os.close(theirs)
    party = Party(name, process, ours)
    party._tasks = [asyncio.create_task(party._read_events()), asyncio.create_task(party._read_output())]
    opened.parties.append(party)
    return party


@pytest.mark.parametrize("place", [1, 2])
async def test_a_party_written_from_the_document_takes_part(tmp_path: Path, place: int) -> None:
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", "--verify", "words", "sum", "4")
        link = (await alice.event("invite"))["link"]
        for number in (1, 2):
            if number == place:
                await independent(opened, "dave", "join", link, builtin("sum"), "4")
            else:
                await opened.start("bob", "join", link)
            await alice.event("joined", number)
        checks = await opened.agree()
        assert len({tuple(check["words"]) for check in checks}) == 1
        assert await opened.ends() == [0, 0, 0]
        assert len({party.output for party in opened.parties}) == 1 and alice.output


async def test_it_says_no_to_the_words_and_all_stop(tmp_path: Path) -> None:
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", "sum", "4")
        link = (await alice.event("invite"))["link"]
        await opened.start("bob", "join", link)
        dave = await independent(opened, "dave", "join", link, builtin("sum"), "4")
        for party in opened.parties:
            await party.event("check")
        dave.answer("n")
        assert await opened.ends() == [3, 3, 3]
        assert "dave says" in alice.error["message"]
        assert not any(party.output for party in opened.parties)


async def test_it_hosts_at_a_rendezvous(tmp_path: Path) -> None:
    async with stage(tmp_path) as opened:
        serve = await opened.start("serve", "serve", "--listen", "127.0.0.1:0")
        (address,) = (await serve.event("serving"))["addresses"]
        opened.parties.remove(serve)
        try:
            place = ("--rendezvous", address)
            dave = await independent(opened, "dave", *place, "host", builtin("sum"), "4")
            link = (await dave.event("invite"))["link"]
            for name in ("alice", "bob"):
                await opened.start(name, "join", link)
            checks = await opened.agree()
            assert len({tuple(check["words"]) for check in checks}) == 1
            assert await opened.ends() == [0, 0, 0]
            assert len({party.output for party in opened.parties}) == 1 and dave.output
        finally:
            opened.parties.append(serve)
