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
FOLDER = Path(__file__).parent
FAILS = """
from mpyc.runtime import mpc
mpc.run(mpc.start())
print(mpc.run(mpc.output(mpc.input(mpc.SecInt(16)(mpc.pid)))), flush=True)
mpc.run(mpc.transfer("all have printed"))
assert mpc.pid != 1
mpc.run(mpc.transfer("nobody gets this of everyone"))
mpc.run(mpc.shutdown())
"""


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
        cwd=FOLDER.parents[1],
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


async def compare(parties: list[Party], answers: str) -> None:
    """All see the same words, and then answer."""
    checks = [await party.event("check") for party in parties]
    assert len({tuple(check["words"]) for check in checks}) == 1
    for party, answer in zip(parties, answers, strict=True):
        party.answer(answer)


async def test_it_joins_and_computes_the_sum(tmp_path: Path) -> None:
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", "--verify", "words", "sum", "4")
        link = (await alice.event("invite"))["link"]
        dave = await independent(opened, "dave", "join", link, builtin("sum"), "4")
        await alice.event("joined")
        bob = await opened.start("bob", "join", link)
        await compare([alice, dave, bob], "yyy")
        assert await opened.ends() == [0, 0, 0], [party.talk for party in opened.parties]
        assert alice.output == dave.output == bob.output != ""


async def test_it_passes_every_value_as_the_last_party(tmp_path: Path) -> None:
    values = str(FOLDER / "values.py")
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", values)
        link = (await alice.event("invite"))["link"]
        bob = await opened.start("bob", "join", link, values)
        await alice.event("joined")
        dave = await independent(opened, "dave", "join", link, values)
        await compare([alice, bob, dave], "yyy")
        assert await opened.ends() == [0, 0, 0], [party.talk for party in opened.parties]
        assert alice.output == bob.output == dave.output != ""


async def test_it_hosts_at_a_rendezvous(tmp_path: Path) -> None:
    async with stage(tmp_path) as opened:
        serve = await opened.start("serve", "serve", "--listen", "127.0.0.1:0")
        (address,) = (await serve.event("serving"))["addresses"]
        dave = await independent(opened, "dave", "--rendezvous", address, "host", builtin("sum"), "4")
        link = (await dave.event("invite"))["link"]
        parties = [dave, *[await opened.start(name, "join", link) for name in ("alice", "bob")]]
        await compare(parties, "yyy")
        assert [await party.end() for party in parties] == [0, 0, 0], [party.talk for party in parties]
        assert len({party.output for party in parties}) == 1 and dave.output


async def test_it_says_no_to_the_words_and_all_stop(tmp_path: Path) -> None:
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", "sum", "4")
        link = (await alice.event("invite"))["link"]
        bob = await opened.start("bob", "join", link)
        dave = await independent(opened, "dave", "join", link, builtin("sum"), "4")
        await compare([alice, bob, dave], "yyn")
        assert await opened.ends() == [3, 3, 3]
        assert "dave says" in alice.error["message"] and "dave says" in bob.error["message"]
        assert not any(party.output for party in opened.parties)


async def test_its_program_fails_and_the_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    program = str(tmp_path / "fails.py")
    async with stage(tmp_path) as opened:
        alice = await opened.start("alice", "host", "-n", "3", program)
        link = (await alice.event("invite"))["link"]
        dave = await independent(opened, "dave", "join", link, program)
        await alice.event("joined")
        bob = await opened.start("bob", "join", link, program)
        await compare([alice, dave, bob], "yyy")
        assert await opened.ends() == [4, 6, 4]
        assert alice.error["message"] == bob.error["message"] == "dave left: the program there ended with an error"
        assert alice.output == dave.output == bob.output == "[0, 1, 2]\n"
