"""Whole sessions with private arguments and included files: what others see of them, and what nobody does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sessions.parties import stage

pytestmark = [pytest.mark.session, pytest.mark.timeout(90)]

SECRETS = {"alice": "471108150000017", "bob": "471108150000029", "carol": "471108150000043"}
NAMES = tuple(SECRETS)

ADD = """
import sys
from mpyc.runtime import mpc

async def main():
    await mpc.start()
    if mpc.pid == 0:
        open(sys.argv[1]).read()
    open(__file__[:-6] + "rates.csv").read()
    print(await mpc.output(mpc.sum(mpc.input(mpc.SecInt(64)(int(sys.argv[2]))))), sys.argv[3])
    await mpc.shutdown()

mpc.run(main())
"""


def shown_by_ps() -> bytes:
    """Command line and environment of every process that we may look at."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((folder / name).read_bytes())
            except OSError:  # it has ended, or is not ours
                continue
    return b"".join(found)


async def test_a_private_argument_reaches_the_program_and_nothing_else(tmp_path: Path) -> None:
    record, gate = tmp_path / "records.jsonl", tmp_path / "gate"
    os.mkfifo(gate)
    folders = {name: tmp_path / f"at-{name}" for name in NAMES}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "add.py").write_text(ADD)
        (folder / "rates.csv").write_text(name)
        (tmp_path / f"{name}.txt").write_text(SECRETS[name] + "\n")

    def options(name: str) -> list[str]:
        return ["--record", str(record), "-v", "--private", f"2={tmp_path}/{name}.txt"]

    program = ("add.py", str(gate), "EUR")
    async with stage(tmp_path) as s:
        alice = await s.start("alice", "host", *options("alice"), *program, cwd=folders["alice"])
        link = (await alice.event("invite"))["link"]
        for name in NAMES[1:]:
            await s.start(name, "join", *options(name), link, *program, cwd=folders[name])
        await s.agree()
        for party in s.parties:
            await party.event("running")
        writing = await asyncio.to_thread(open, gate, "w")  # alice's program waits here
        visible = shown_by_ps()
        writing.close()
        assert await s.ends() == [0, 0, 0]
        assert b"add.py" in visible and str(gate).encode() in visible
        assert {party.output for party in s.parties} == {f"{sum(map(int, SECRETS.values()))} EUR\n"}
        shown = [alice.all("program")[0], *(party.all("session")[0] for party in s.parties[1:])]
        for said, party in zip(shown, s.parties, strict=True):
            assert said["arguments"] == [str(gate), None, "EUR"]
            assert [w["text"] for w in party.all("warning")] == [
                "rates.csv is read but not agreed on: --include rates.csv"
            ]
            told = repr((party.events, party.talk, party.output)).encode()
            kept = b"".join(
                path.read_bytes() for path in (tmp_path / f"home-{party.name}").rglob("*") if path.is_file()
            )
            for secret in SECRETS.values():
                assert secret.encode() not in told + kept + visible + record.read_bytes()


async def test_a_joiner_without_a_program_is_asked_for_each_hole(tmp_path: Path) -> None:
    (tmp_path / "four.txt").write_text("4")
    async with stage(tmp_path) as s:
        fills = ["--private", f"1={tmp_path}/four.txt"]
        host = await s.start("alice", "host", *fills, "sum")
        link = (await host.event("invite"))["link"]
        bob = await s.start("bob", "join", link)
        carol = await s.start("carol", "join", *fills, link)
        question = await bob.event("question")
        assert (question["question"], question["option"]) == ("your argument 1 of sum", "--private 1=FILE")
        bob.answer("4")
        await s.agree()
        assert await s.ends() == [0, 0, 0]
        assert {party.output for party in s.parties} == {"sum 60\n"}
        assert not carol.all("question")


async def test_files_that_only_one_includes_are_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "add.py").write_text("print(open('rates.csv').read())\n")
    (tmp_path / "rates.csv").write_text("1")
    async with stage(tmp_path) as s:
        options = ["--allow-no-secrecy", "-n", "2", "--include", "rates.csv"]
        host = await s.start("alice", "host", *options, "add.py", cwd=tmp_path)
        link = (await host.event("invite"))["link"]
        bob = await s.start("bob", "join", "--allow-no-secrecy", link, "add.py", cwd=tmp_path)
        assert await bob.end() == 3
        assert "file rates.csv is absent here and " in bob.error["hints"][0]
        assert "--include rates.csv" in bob.error["hints"][1]
        await host.end()
        assert host.output == bob.output == ""


def test_a_demo_asks_for_every_party(tmp_path: Path) -> None:
    source = ADD.replace("open(sys.argv[1])", "sys.stdin").replace('    open(__file__[:-6] + "rates.csv").read()\n', "")
    (tmp_path / "add.py").write_text(source)
    reading, writing = os.pipe()
    os.write(writing, b"3\n4\n")
    os.close(writing)
    command = [sys.executable, "-P", "-m", "comity", "demo", "-n", "2", "--answers", str(reading), "--private", "2=-"]
    done = subprocess.run(
        [*command, "add.py", "x", "EUR"], cwd=tmp_path, capture_output=True, text=True, pass_fds=(reading,), timeout=60
    )
    os.close(reading)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["alice | 7 EUR", "bob   | 7 EUR"]
    assert "argument 2 is private at everyone" in done.stderr
    assert "Private    argument 2 of bob" in done.stderr
