"""Whole sessions in separate processes: the same commands as people run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.sessions.parties import stage

from comity.core.record import PHASES, parse

pytestmark = [pytest.mark.session, pytest.mark.timeout(90)]


async def test_three_parties_see_the_same_words_and_compute_the_same(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        record = tmp_path / "records.jsonl"
        await s.session("secretsanta", "4", host=["--record", str(record)], join=["--record", str(record)])
        checks = await s.agree()
        assert await s.ends() == [0, 0, 0]
        assert len({tuple(check["words"]) for check in checks}) == 1
        outputs = {party.output for party in s.parties}
        assert len(outputs) == 1 and outputs.pop().startswith("2 [1, 0]\n3 ")
        records = [parse(line + "\n") for line in record.read_text().splitlines()]
        assert sorted(r.party for r in records) == [0, 1, 2] and len({r.session for r in records}) == 1
        for r in records:
            assert (r.outcome, r.error, r.exit, r.m, r.t, r.transport) == ("done", "", 0, 3, 1, "direct")
            assert set(r.phases) == set(PHASES) and r.rounds > 20 and r.peak_memory > 10_000_000
            assert all(peer.bytes_sent > 100 and peer.round_trip_ms and peer.path == "direct" for peer in r.peers), r


@pytest.mark.parametrize("m", [1, 2, 5])
async def test_other_numbers_of_parties(tmp_path: Path, m: int) -> None:
    names = ("alice", "bob", "carol", "dave", "erin")[:m]
    async with stage(tmp_path) as s:
        await s.session("sum", "4", names=names, host=["--allow-no-secrecy"], join=["--allow-no-secrecy"])
        if m > 1:
            await s.agree()
        assert await s.ends() == [0] * m
        assert len({party.output for party in s.parties}) == 1
        assert bool(s.parties[0].all("warning")) == (m == 2)


async def test_two_parties_are_asked_whether_they_go_on_without_secrecy(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "-n", "2", "sum", "4")
        assert "no secrecy" in json.dumps(await host.event("question"))
        host.answer("n")
        assert await host.end() == 2 and "not without secrecy" in host.error["message"]


async def test_one_no_ends_it_for_all_with_exit_3(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sum", "4")
        for party, said in zip(s.parties, "yny", strict=True):
            await party.event("check")
            party.answer(said)
        assert await s.ends() == [3, 3, 3]
        assert s.parties[1].error["message"] == "the words did not match"
        assert s.parties[0].error["message"] == "bob says that the words did not match"
        assert not any(party.output for party in s.parties)


async def test_a_program_that_fails_at_one_party_ends_all_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(
        "from mpyc.runtime import mpc\n"
        "async def main():\n"
        "    await mpc.start()\n"
        "    if mpc.pid == 2:\n"
        "        raise ValueError('not my day')\n"
        "    print(await mpc.output(mpc.input(mpc.SecInt()(mpc.pid))))\n"
        "    await mpc.shutdown()\n"
        "mpc.run(main())\n"
    )
    async with stage(tmp_path) as s:
        await s.session("fails.py", own=True, cwd=tmp_path)
        await s.agree()
        codes = await s.ends()
        failed = [party for party, code in zip(s.parties, codes, strict=True) if code == 6]
        assert sorted(codes) == [4, 4, 6] and "ValueError: not my day" in "\n".join(failed[0].talk)
        for party, code in zip(s.parties, codes, strict=True):
            if code == 4:
                assert party.error["message"] == f"{failed[0].name} left: the program there ended with an error"


@pytest.mark.parametrize("victim", [0, 2])
async def test_a_program_that_fails_before_any_link_stands_ends_all_at_once(tmp_path: Path, victim: int) -> None:
    (tmp_path / "early.py").write_text(
        "import sys\n"
        "from mpyc.runtime import mpc\n"
        f"if mpc.pid == {victim}:\n"
        "    sys.exit('no data here')\n"
        "mpc.run(mpc.start())\n"
        "mpc.run(mpc.shutdown())\n"
    )
    async with stage(tmp_path) as s:
        await s.session("early.py", own=True, cwd=tmp_path)
        await s.agree()
        began = time.monotonic()
        codes = await s.ends()
        assert sorted(codes) == [4, 4, 6] and time.monotonic() - began < 10
        (failed,) = (party for party, code in zip(s.parties, codes, strict=True) if code == 6)
        for party, code in zip(s.parties, codes, strict=True):
            if code == 4:
                assert party.error["message"].startswith(f"{failed.name} left: ")


@pytest.mark.parametrize("victim", [0, 1])
async def test_an_interrupt_ends_all_and_names_who_left(tmp_path: Path, victim: int) -> None:
    async with stage(tmp_path) as s:
        await s.session("sort", "40")
        await s.agree()
        for party in s.parties:
            await party.event("running")
        s.parties[victim].process.send_signal(signal.SIGINT)
        codes = await s.ends()
        assert codes[victim] == 130 and [c for i, c in enumerate(codes) if i != victim] == [4, 4]
        for i, party in enumerate(s.parties):
            if i != victim:
                assert party.error["message"] == f"{s.parties[victim].name} left: interrupted"


async def test_an_interrupt_while_the_words_are_compared_ends_all(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sum", "4")
        for party in s.parties:
            await party.event("check")
        s.parties[2].process.send_signal(signal.SIGINT)
        assert await s.ends() == [4, 4, 130]
        assert s.parties[0].error["message"] == f"{s.parties[2].name} left: interrupted"
        assert any("spent" in hint for hint in s.parties[0].error["hints"])


async def test_a_party_that_vanishes_is_named(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sort", "40")
        await s.agree()
        for party in s.parties:
            await party.event("running")
        os.killpg(s.parties[1].process.pid, signal.SIGKILL)  # node and program
        codes = await s.ends()
        assert codes == [4, -9, 4]
        assert s.parties[0].error["message"] == "the channel to bob was lost"


async def test_a_node_that_is_killed_takes_its_program_with_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sort", "40")
        await s.agree()
        for party in s.parties:
            await party.event("running")
        node = s.parties[1].process.pid
        (program,) = (pid for pid in members(node) if pid != node)
        watched = os.pidfd_open(program)
        try:
            s.parties[1].process.kill()
            codes = await s.ends()
            assert codes == [4, -9, 4] and "bob" in s.parties[0].error["message"]
            gone = asyncio.Event()
            asyncio.get_running_loop().add_reader(watched, gone.set)
            async with asyncio.timeout(5):
                await gone.wait()
            asyncio.get_running_loop().remove_reader(watched)
        finally:
            os.close(watched)


def members(group: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            pid, _, rest = path.read_text().partition(" ")
            if int(rest.rpartition(") ")[2].split()[2]) == group:
                found.append(int(pid))
    return found


@pytest.mark.parametrize(
    ("theirs", "hint"),
    [
        (("sum", "5"), "argument 1 is 4 here and 5 at bob"),
        (("sum",), "1 argument here and 0 at bob"),
        (("sort", "4"), "the program is sum here and sort at bob"),
        (("sum", "4", "--no-prss"), "1 argument here and 2 at bob"),
    ],
)
async def test_a_different_program_is_named_at_both_sides(tmp_path: Path, theirs: tuple[str, ...], hint: str) -> None:
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "-n", "2", "--allow-no-secrecy", "sum", "4")
        link = (await host.event("invite"))["link"]
        await s.start("bob", "join", "--allow-no-secrecy", link, *theirs)
        assert await s.ends() == [3, 3]
        assert host.error["message"].startswith("bob has a different program: ")
        assert host.error["hints"][0].startswith(hint)
        assert s.parties[1].error["message"].startswith("alice has a different program: ")


async def test_a_program_that_is_not_built_in_is_never_taken_from_the_host(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("print('hello')\n")
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "-n", "2", "--allow-no-secrecy", "own.py", cwd=tmp_path)
        link = (await host.event("invite"))["link"]
        bob = await s.start("bob", "join", link, cwd=tmp_path)
        assert await bob.end() == 2
        assert bob.error["message"] == "alice runs own, which is not built in"


async def test_a_fourth_party_finds_the_session_full(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sum", "4", names=("alice", "bob", "carol"))
        checks = [await party.event("check") for party in s.parties]
        assert checks
        link = s.parties[0].all("invite")[0]["link"]
        dave = await s.start("dave", "join", link)
        assert await dave.end() == 4 and "full" in dave.error["message"]
        for party in s.parties[:3]:
            party.answer("y")
        codes = [await party.end() for party in s.parties[:3]]
        assert codes == [0, 0, 0], [(party.events[-1], party.talk) for party in s.parties]


async def test_who_cannot_answer_any_more_is_no_cheat_to_the_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.session("sum", "4")
        for party in s.parties:
            await party.event("check")
        s.parties[0].answer("perhaps")
        assert await s.ends() == [2, 4, 4]
        assert s.parties[1].error["message"] == "alice left: an error there"


async def test_nobody_is_invited_to_a_rendezvous_that_does_not_answer(tmp_path: Path, unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "--rendezvous", address, "sum", "4")
        assert await host.end() == 5 and not host.all("invite") and not host.all("rendezvous")
        assert host.error["message"] == f"no rendezvous answers: {address}: connection refused"
        assert "comity serve" in host.error["hints"][0]
        doctor = await s.start("alice", "doctor", "--rendezvous", address)
        assert await doctor.end() == 5
        found = [finding for finding in doctor.all("finding") if not finding["fine"]]
        assert [finding["about"] for finding in found] == ["rendezvous"] and address in found[0]["lines"][0]


async def test_machines_of_one_owner_need_no_answers_with_verify_link(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        options = ["--verify", "link", "--no-input"]
        await s.session("sum", "4", host=options, join=options)
        assert await s.ends() == [0, 0, 0]
        for guest in s.parties[1:]:
            assert [e["text"] for e in guest.all("warning")] == ["alice accepts whoever holds the invitation"]


@pytest.mark.parametrize("late", [0, 2])
async def test_a_program_may_start_its_runtime_long_after_the_others(tmp_path: Path, late: int) -> None:
    """As one that reads its data first: 3 s here, though a path is given up after 2."""
    (tmp_path / "late.py").write_text(
        "import time\n"
        "from mpyc.runtime import mpc\n"
        "async def main():\n"
        f"    time.sleep(3 * (mpc.pid == {late}))\n"
        "    async with mpc:\n"
        "        print(await mpc.output(mpc.input(mpc.SecInt()(mpc.pid))))\n"
        "mpc.run(main())\n"
    )
    async with stage(tmp_path) as s:
        short = ["--give-up", "2"]
        await s.session("late.py", own=True, cwd=tmp_path, host=short, join=short)
        await s.agree()
        assert await s.ends() == [0, 0, 0]
        assert {party.output for party in s.parties} == {"[0, 1, 2]\n"}
