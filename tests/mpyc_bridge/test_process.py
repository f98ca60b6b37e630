"""Unmodified MPyC programs in real processes: everything that a program may do when all goes well."""

import asyncio
import importlib.util
import socket
import textwrap
from pathlib import Path

import pytest
from tests.mpyc_bridge.parties import Party, run, session, written

from comity.mpyc_bridge.process import Linked, Ready, Running
from comity.mpyc_bridge.program import FoundProgram, find

needs_numpy = pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="NumPy is not installed")
needs_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")

SUM = """
import sys
from mpyc.runtime import mpc

async def main():
    secint = mpc.SecInt(32)
    await mpc.start()
    total = mpc.sum(mpc.input(secint(mpc.pid + int(sys.argv[1]))))
    print(await mpc.output(total), len(mpc.parties), mpc.threshold)
    await mpc.shutdown()

mpc.run(main())
"""


def program(folder: Path, source: str, *arguments: str) -> FoundProgram:
    return written(folder, textwrap.dedent(source), *arguments)


def check_all(parties: list[Party], out: str) -> None:
    """Every party ended well, said nothing on its standard error, and printed this."""
    for party in parties:
        assert (party.error, party.err, party.code) == (None, "", 0)
        assert party.out == out


@pytest.mark.parametrize("m", [1, 2, 3, 5])
async def test_any_number_of_parties_get_the_same_result(tmp_path: Path, m: int) -> None:
    parties = await run(program(tmp_path, SUM, "10"), m)
    check_all(parties, f"{sum(10 + i for i in range(m))} {m} {(m - 1) // 2}\n")
    for party in parties:
        assert isinstance(party.events[0], Ready)
        linked = {event.peer for event in party.events if isinstance(event, Linked)}
        assert linked == {i for i in range(m) if i != party.number}
        assert [event.epoch for event in party.events if isinstance(event, Running)] == ([0] if m > 1 else [])


async def test_the_threshold_is_the_sessions(tmp_path: Path) -> None:
    check_all(await run(program(tmp_path, SUM, "0"), 3, threshold=0), "3 3 0\n")


@pytest.mark.parametrize("name", ["secretsanta", "sum", "sort"])
async def test_the_demos_run_and_agree(name: str) -> None:
    parties = await run(find(name, ()), 3)
    assert parties[0].out
    check_all(parties, parties[0].out)


async def test_a_program_may_enter_its_runtime_with_async_with(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        async def main():
            async with mpc:
                print(await mpc.transfer(mpc.pid))
        mpc.run(main())
    """
    check_all(await run(program(tmp_path, source), 3), "[0, 1, 2]\n")


async def test_a_program_may_start_its_runtime_again_and_again_with_other_thresholds(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        secint = mpc.SecInt(32)
        for t in (1, 0, 1, 0, 1):
            mpc.threshold = t
            mpc.run(mpc.start())
            print(t, mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid))))))
            mpc.run(mpc.shutdown())
    """
    parties = await run(program(tmp_path, source), 3)
    check_all(parties, "1 3\n0 3\n1 3\n0 3\n1 3\n")
    for party in parties:
        assert [event.epoch for event in party.events if isinstance(event, Running)] == [0, 1, 2, 3, 4]
        assert party.totals.epochs == 5


async def test_a_program_may_leave_its_runtime_running(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        print(mpc.run(mpc.transfer(mpc.pid)))
    """
    check_all(await run(program(tmp_path, source), 3), "[0, 1, 2]\n")


async def test_one_party_may_end_well_before_the_others_do_as_long_as_nobody_needs_it(tmp_path: Path) -> None:
    source = """
        import time
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        print(mpc.run(mpc.transfer(mpc.pid)))
        if mpc.pid:
            for _ in range(20):
                mpc.run(mpc.transfer(mpc.pid, sender_receivers=[(1, 2), (2, 1)]))
    """
    check_all(await run(program(tmp_path, source), 3), "[0, 1, 2]\n")


async def test_parties_that_leave_their_runtime_by_an_exception_may_start_again(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        async def main():
            for word in ("first", "second"):
                try:
                    async with mpc:
                        print(await mpc.transfer(word, senders=0))
                        raise KeyError(word)
                except KeyError as exc:
                    print(exc.args)
        mpc.run(main())
    """
    check_all(await run(program(tmp_path, source), 3), "first\n('first',)\nsecond\n('second',)\n")


async def test_a_module_runs_as_main_with_its_own_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool.py").write_text(
        "import sys\nimport beside\nfrom mpyc.runtime import mpc\n"
        "print(__name__, __spec__.name, __file__ == sys.argv[0], sys.argv[1:], beside.WORD, mpc.pid < 3)\n"
    )
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    monkeypatch.chdir(tmp_path)
    parties = await run(find("tool", ("-x", "1"), module=True), 3)
    check_all(parties, "__main__ tool True ['-x', '1'] found True\n")


async def test_a_package_runs_as_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tools" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "tools" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "word.py").write_text("WORD = 'relative'\n")
    (package / "__main__.py").write_text("from .word import WORD\nprint(__package__, __spec__.name, WORD)\n")
    monkeypatch.chdir(tmp_path)
    check_all(await run(find("tools.inner", (), module=True), 1), "tools.inner tools.inner.__main__ relative\n")


async def test_a_program_sees_what_plain_python_would_show_it(tmp_path: Path) -> None:
    (tmp_path / "asyncio.py").write_text(
        "raise SystemExit('the standard library was shadowed before the program ran')\n"
    )
    (tmp_path / "neighbour.py").write_text("WORD = 'neighbour'\n")
    source = """
        import os, sys
        import neighbour
        from mpyc.runtime import mpc
        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert __spec__ is None and __package__ is None and __file__ == sys.argv[0]
        assert sys.path[0] == os.path.dirname(os.path.abspath(__file__))
        print(neighbour.WORD, sys.argv[1:], eval("__debug__"), [n for n in os.environ if n.startswith("PYTHONPATH")])
    """
    found = program(tmp_path, source, "--flag", "-K9", "a b", "--", "ü")
    (party,) = await run(found, 1)
    check_all([party], "neighbour ['--flag', 'a b', '--', 'ü'] True []\n")
    ready = party.events[0]
    assert isinstance(ready, Ready) and ready.options["sec_param"] == "9"


async def test_a_program_reads_its_standard_input(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        first = input()
        mpc.run(mpc.start())
        print(mpc.run(mpc.transfer(first)), input())
        mpc.run(mpc.shutdown())
    """
    parties = await run(program(tmp_path, source), 2, stdin=b"one\ntwo\n")
    check_all(parties, "['one', 'one'] two\n")


@pytest.mark.parametrize("code", [0, 3])
async def test_a_programs_exit_code_is_kept(tmp_path: Path, code: int) -> None:
    source = f"""
        import sys
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        mpc.run(mpc.shutdown())
        sys.exit({code})
    """
    for party in await run(program(tmp_path, source), 3):
        assert (party.code, party.error, party.err) == (code, None, "")


async def test_a_program_may_end_with_a_word(tmp_path: Path) -> None:
    (party,) = await run(program(tmp_path, "raise SystemExit('not today')"), 1)
    assert (party.code, party.err) == (1, "not today\n")


@needs_numpy
async def test_arrays_travel(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        from mpyc.numpy import np
        async def main():
            secint, secfxp = mpc.SecInt(32), mpc.SecFxp(24, 10)
            async with mpc:
                a = mpc.input(secint.array(np.arange(12).reshape(3, 4)), senders=0)
                print((await mpc.output(a * a)).tolist())
                b = mpc.input(secfxp.array(np.array([0.5, -1.25])), senders=1)
                print((await mpc.output(b * b)).tolist())
                print((await mpc.transfer(np.arange(3), senders=2)).sum())
        mpc.run(main())
    """
    parties = await run(program(tmp_path, source), 3)
    check_all(parties, "[[0, 1, 4, 9], [16, 25, 36, 49], [64, 81, 100, 121]]\n[0.25, 1.5625]\n3\n")


LOOP = "import asyncio\nfrom mpyc.runtime import mpc\nprint(type(mpc._loop).__mro__[2].__module__)\n" + SUM.replace(
    "sys.argv[1]", "'1'"
)


async def test_asyncios_loop_serves_a_program_that_wants_it(tmp_path: Path) -> None:
    parties = await run(program(tmp_path, LOOP, "--no-uvloop"), 3)
    check_all(parties, "asyncio.unix_events\n6 3 1\n")


@needs_uvloop
async def test_uvloop_serves_where_it_is_installed(tmp_path: Path) -> None:
    check_all(await run(program(tmp_path, LOOP), 3), "uvloop\n6 3 1\n")


async def test_a_programs_own_connections_go_where_they_always_go(tmp_path: Path) -> None:
    source = """
        import asyncio
        from mpyc.runtime import mpc
        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()
        async def main():
            async with mpc, await asyncio.start_server(serve, "127.0.0.1") as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"own\\n")
                print(await mpc.transfer((await reader.read()).decode(), senders=0), end="")
                writer.close()
        mpc.run(main())
    """
    check_all(await run(program(tmp_path, source), 2), "own\n")


async def test_mpycs_log_goes_to_standard_error_and_only_when_asked_for(tmp_path: Path) -> None:
    for party in await run(program(tmp_path, SUM, "1"), 3, verbose=True):
        assert party.out == "6 3 1\n"
        assert "All 3 parties connected." in party.err


async def test_sets_have_the_same_order_at_all_parties(tmp_path: Path) -> None:
    source = "print([*{str(i) for i in range(100)}])"
    parties = await run(program(tmp_path, source), 3)
    check_all(parties, parties[0].out)


async def test_what_was_passed_is_counted_at_both_ends(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        for _ in range(5):
            mpc.run(mpc.transfer("word", senders=0))
        mpc.run(mpc.shutdown())
    """
    alice, bob, carol = await run(program(tmp_path, source), 3)
    for one, other in ((alice, bob), (bob, carol), (carol, alice)):
        (mine,) = (peer for peer in one.totals.peers if peer["party"] == other.number)
        (theirs,) = (peer for peer in other.totals.peers if peer["party"] == one.number)
        assert mine["bytes_sent"] == theirs["bytes_received"] > 0
        assert mine["bytes_received"] == theirs["bytes_sent"] > 0
        assert mine["messages_sent"] == theirs["messages_received"] == (6 if one is alice else 1)
        assert mine["messages_received"] == theirs["messages_sent"] == (6 if other is alice else 1)
    for party in (alice, bob, carol):
        assert 0 < party.totals.program_seconds < 10 and 0 < party.totals.cpu_seconds < 10
        assert 2 <= party.totals.rounds <= 20
        assert 10 << 20 < party.totals.peak_memory < 10 << 30


async def test_the_memory_counted_is_the_programs_and_not_its_nodes(tmp_path: Path) -> None:
    large = b"x" * (300 << 20)  # of this process, from which the program's is started
    (party,) = await run(program(tmp_path, "print(1)"), 1)
    assert party.totals.peak_memory < len(large)


async def test_who_starts_no_runtime_has_passed_nothing_to_anybody(tmp_path: Path) -> None:
    for party in await run(program(tmp_path, "print(1)"), 3):
        others = [i for i in range(3) if i != party.number]
        assert [peer["party"] for peer in party.totals.peers] == others
        assert all(peer["bytes_sent"] == peer["messages_sent"] == 0 for peer in party.totals.peers)


async def test_nothing_listens_and_no_descriptor_is_left(tmp_path: Path) -> None:
    source = """
        import glob, os
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        listening = set()
        for table in ("tcp", "tcp6"):
            with open(f"/proc/self/net/{table}") as file:
                listening |= {f"socket:[{line.split()[9]}]" for line in file if line.split()[3] == "0A"}
        own = {os.readlink(name) for name in glob.glob("/proc/self/fd/*") if os.path.lexists(name)}
        print(sorted(own & listening))
        mpc.run(mpc.shutdown())
    """
    before = [*Path("/proc/self/fd").iterdir()]
    check_all(await run(program(tmp_path, source), 3), "[]\n")
    assert len([*Path("/proc/self/fd").iterdir()]) == len(before)


async def test_the_first_channel_that_is_greeted_carries_and_the_others_are_closed(tmp_path: Path) -> None:
    async with session(program(tmp_path, SUM, "1"), 2) as running:
        ends = []
        for _ in range(3):
            mine, theirs = socket.socketpair()
            ends.append(mine)
            running.parties[1].process.give_channel(0, 0, 1, theirs)
        running.start()
        parties = await running.over()
        check_all(parties, "3 2 0\n")
        for end in ends:
            end.setblocking(False)
            async with asyncio.timeout(5):
                assert await asyncio.get_running_loop().sock_recv(end, 1) == b""
            end.close()
