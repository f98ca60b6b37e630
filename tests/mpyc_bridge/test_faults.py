"""Programs that go wrong: everybody ends within seconds, knows who it was, and shows no more than the program's own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.mpyc_bridge.parties import NAMES, TRANSCRIPT, Party, files_of, member, run, seed, session, written

from comity.errors import ComityError, PeerError, UsageError
from comity.links.certificate import make_certificate
from comity.mpyc_bridge import control
from comity.mpyc_bridge.child import Child
from comity.mpyc_bridge.process import Ended, Fault, Running
from comity.mpyc_bridge.program import FoundProgram

SOON = 5.0
"""Seconds within which every party has to end."""

BUSY = """
import sys
from mpyc.runtime import mpc
mpc.run(mpc.start())
print("started", flush=True)
while True:
    mpc.run(mpc.transfer(mpc.pid))
"""


def program(folder: Path, source: str, *arguments: str) -> FoundProgram:
    return written(folder, textwrap.dedent(source), *arguments)


def check_left(party: Party, name: str) -> None:
    """This party's program was ended by a fault of a peer's, and its standard error is clean."""
    assert isinstance(party.error, PeerError)
    assert name in party.error.message
    assert party.code == PeerError.exit_code
    assert party.err == ""
    (fault,) = (event for event in party.events if isinstance(event, Fault))
    assert fault.peer == NAMES.index(name)


@pytest.mark.parametrize("loop", ["--no-uvloop", "-K30"])
async def test_an_exception_at_one_party_ends_the_others_and_names_it(tmp_path: Path, loop: str) -> None:
    source = """
        from mpyc.runtime import mpc
        async def main():
            await mpc.start()
            await mpc.transfer(mpc.pid)
            if mpc.pid == 1:
                raise KeyError("bob's own trouble")
            await mpc.transfer(mpc.pid)
        mpc.run(main())
    """
    alice, bob, carol = await run(program(tmp_path, source, loop), 3)
    assert (bob.code, bob.error) == (1, None)
    lines = bob.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == 'KeyError: "bob\'s own trouble"'
    assert "program.py" in lines[1]
    assert "comity" not in bob.err and "runpy" not in bob.err and "mpyc_bridge" not in bob.err
    for party in (alice, carol):
        check_left(party, "bob")


@pytest.mark.parametrize("loop", ["--no-uvloop", "-K30"])
@pytest.mark.parametrize("result", ["type(x)", "None"])
async def test_an_exception_in_a_coroutine_of_mpycs_ends_everybody(tmp_path: Path, loop: str, result: str) -> None:
    source = f"""
        from mpyc.runtime import mpc
        @mpc.coroutine
        async def trouble(x):
            await mpc.returnType({result})
            x = await mpc.gather(x)
            await mpc.transfer(1)
            if mpc.pid == 1:
                raise KeyError("deep inside")
            return x
        async def main():
            await mpc.start()
            trouble(mpc.SecInt(32)(3))
            await mpc.transfer(1)
            if mpc.pid == 1:
                await mpc.transfer(1, senders=[0, 2])
            else:
                await mpc.transfer(1, senders=1)
        mpc.run(main())
    """
    alice, bob, carol = await run(program(tmp_path, source, loop), 3)
    assert bob.code in (1, 6)
    assert "deep inside" in bob.err and "AttributeError" not in bob.err
    check_left(alice, "bob")
    check_left(carol, "bob")


async def test_an_exception_before_the_runtime_starts_is_only_the_programs(tmp_path: Path) -> None:
    (party,) = await run(program(tmp_path, "import mpyc.runtime\n1 / 0\n"), 1)
    assert party.code == 1
    assert party.err.splitlines()[1:2] == [f'  File "{tmp_path}/program.py", line 2, in <module>']
    assert party.err.splitlines()[-1] == "ZeroDivisionError: division by zero"


async def test_a_program_that_is_no_python_shows_where(tmp_path: Path) -> None:
    (party,) = await run(program(tmp_path, "print('so far')\nelse:\n"), 1)
    assert party.code == 1 and party.out == ""
    assert "line 2" in party.err and "SyntaxError" in party.err and "Traceback" not in party.err


async def test_leaving_the_runtime_by_an_exception_is_no_good_end_for_the_others(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        async def main():
            async with mpc:
                await mpc.transfer(mpc.pid)
                if mpc.pid == 2:
                    raise KeyError("carol")
                await mpc.transfer(mpc.pid)
        mpc.run(main())
    """
    alice, bob, carol = await run(program(tmp_path, source), 3)
    assert carol.code == 1
    check_left(alice, "carol")
    check_left(bob, "carol")


async def test_a_party_that_ends_well_too_early_is_named_by_who_needs_it(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        mpc.run(mpc.start())
        mpc.run(mpc.transfer(mpc.pid))
        if mpc.pid != 1:
            mpc.run(mpc.transfer(mpc.pid))
    """
    alice, bob, carol = await run(program(tmp_path, source), 3)
    for party in (alice, bob, carol):
        assert isinstance(party.error, PeerError) and party.code == PeerError.exit_code
    assert any(party.error is not None and party.error.message.startswith("bob left while") for party in (alice, carol))


async def test_sys_exit_with_a_code_while_others_compute_ends_them(tmp_path: Path) -> None:
    source = BUSY.replace("while True:", "if mpc.pid == 0: sys.exit(3)\nwhile True:")
    alice, bob, carol = await run(program(tmp_path, source), 3)
    assert (alice.code, alice.error, alice.err) == (3, None, "")
    check_left(bob, "alice")
    check_left(carol, "alice")


def test_a_runtime_that_starts_while_its_process_leaves_took_no_time() -> None:
    """Links go on until goodbyes have left. A node refuses a negative time, and kills whom it cannot understand."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        child: Any = Child(left)
        child._task = SimpleNamespace(m=2, number=0)
        child._epochs = SimpleNamespace(began=2.0, stopped=None, links=[], depth=SimpleNamespace(value=0), count=1)
        child._report_totals(1.0)
        totals = control.parse(control.receive(right)[0])
    assert isinstance(totals, control.Totals) and totals.program_seconds == 0


async def test_a_killed_process_ends_the_others(tmp_path: Path) -> None:
    async with session(program(tmp_path, BUSY), 3) as running:
        running.start()
        victim = running.parties[1]
        await victim.until(Running)
        os.kill(victim.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        await running.over()
        assert time.monotonic() - killed < SOON
        assert victim.code == -signal.SIGKILL
        for i in (0, 2):
            assert isinstance(running.parties[i].error, PeerError)
        assert any("bob" in str(running.parties[i].error) for i in (0, 2))


async def test_a_process_that_is_told_to_end_says_goodbye(tmp_path: Path) -> None:
    async with session(program(tmp_path, BUSY), 3) as running:
        running.start()
        await running.parties[0].until(Running)
        asked = time.monotonic()
        await running.parties[0].process.end()
        await running.over()
        assert time.monotonic() - asked < SOON
        assert running.parties[0].code == 128 + signal.SIGTERM
        assert running.parties[0].error is None and running.parties[0].err == ""
        for i in (1, 2):
            check_left(running.parties[i], "alice")
            error = running.parties[i].error
            assert isinstance(error, PeerError) and "interrupted" in error.message


async def test_nobody_but_its_watcher_asks_how_a_process_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks first gets the only answer: the exit code would be lost, and asyncio would say so on the terminal."""
    async with session(program(tmp_path, BUSY), 3) as running:
        running.start()
        await running.parties[0].until(Running)
        monkeypatch.delattr("subprocess.Popen.poll")
        await running.parties[0].process.end()
        await running.over()
        monkeypatch.undo()
        assert running.parties[0].code == 128 + signal.SIGTERM


async def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    source = """
        import signal
        from mpyc.runtime import mpc
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mpc.run(mpc.start())
        while True:
            pass
    """
    async with session(program(tmp_path, source), 2) as running:
        running.start()
        for party in running.parties.values():
            await party.until(Running)
        await asyncio.gather(*(party.process.end(grace=0.2) for party in running.parties.values()))
        for party in await running.over():
            assert party.code == -signal.SIGKILL


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    try:\n        mpc.run(mpc.transfer(1))\n    except BaseException:\n        print('go on')",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nmpc.run(mpc.transfer(1))",
    ],
)
async def test_a_program_cannot_outlive_a_fault(tmp_path: Path, body: str) -> None:
    source = "from mpyc.runtime import mpc\nmpc.run(mpc.start())\nif mpc.pid == 0:\n    1 / 0\n" + body
    async with session(program(tmp_path, source), 2) as running:
        running.start()
        await running.parties[0].until(Ended)
        ended = time.monotonic()
        _, bob = await running.over()
        assert time.monotonic() - ended < SOON
        assert isinstance(bob.error, PeerError) and bob.code == PeerError.exit_code


async def test_interrupting_the_terminal_is_the_nodes_affair(tmp_path: Path) -> None:
    source = BUSY.replace("while True:", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(3):")
    for party in await run(program(tmp_path, source), 2):
        assert (party.code, party.err, party.out) == (0, "", "started\n")


async def test_interrupting_the_terminal_while_the_process_still_starts_is_the_nodes_affair(tmp_path: Path) -> None:
    source = "from mpyc.runtime import mpc\nmpc.run(mpc.start())\nprint('started')\n"
    async with session(program(tmp_path, source), 2) as running:
        for party in running.parties.values():
            os.kill(party.process.pid, signal.SIGINT)  # its interpreter is not there yet
        running.start()
        for party in await running.over():
            assert (party.code, party.err, party.out) == (0, "", "started\n")


async def test_a_value_that_cannot_be_sent_is_named_and_ends_everybody(tmp_path: Path) -> None:
    source = """
        from mpyc.runtime import mpc
        class Own: pass
        async def main():
            await mpc.start()
            print(await mpc.transfer(Own() if mpc.pid == 0 else 1))
        mpc.run(main())
    """
    alice, bob, carol = await run(program(tmp_path, source), 3)
    assert isinstance(alice.error, ComityError) and "Own" in alice.error.message
    assert alice.code == alice.error.exit_code and alice.err == ""
    check_left(bob, "alice")
    check_left(carol, "alice")


@pytest.mark.parametrize("argument", ["-P", "-Clocal.ini", "--ssl", "-T2", "-I0", "-M4", "--inde=2", "-L"])
async def test_arguments_that_change_the_parties_are_refused(tmp_path: Path, argument: str) -> None:
    async with session(program(tmp_path, BUSY, argument), 3, present=(1,)) as running:
        (party,) = await running.over()
        assert isinstance(party.error, UsageError)
        assert party.code == UsageError.exit_code and party.out == ""


async def test_a_program_that_is_gone_is_named(tmp_path: Path) -> None:
    other = files_of(program(tmp_path, "print('another')"))
    for found in (
        FoundProgram("file", str(tmp_path / "none.py"), "none", ()),
        FoundProgram("module", "no_such_module_here", "no_such_module_here", ()),
    ):
        async with session(found, 1, agreed=other) as running:
            running.start()
            (party,) = await running.over()
        assert isinstance(party.error, UsageError) and found.name in party.error.message
        assert party.out == ""


NODE = """
import asyncio, sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.mpyc_bridge.parties import session, written
from comity.mpyc_bridge.process import Running
async def main():
    program = written(Path({folder!r}), Path({source!r}).read_text())
    async with session(program, 2) as running:
        running.start()
        for party in running.parties.values():
            await party.until(Running)
        print(*(party.process.pid for party in running.parties.values()), flush=True)
        await running.over()
asyncio.run(main())
"""


@pytest.mark.parametrize("work", ["mpc.run(mpc.transfer(1))", "sum(range(100000))", "time.sleep(60)"])
async def test_a_process_does_not_outlive_its_node(tmp_path: Path, work: str) -> None:
    source = tmp_path / "source.py"
    source.write_text(f"import time\nfrom mpyc.runtime import mpc\nmpc.run(mpc.start())\nwhile True:\n    {work}\n")
    script = NODE.format(path=[str(Path.cwd()), *sys.path], folder=str(tmp_path), source=str(source))
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert node.stdout is not None
    pids = [int(pid) for pid in (await node.stdout.readline()).split()]
    assert len(pids) == 2
    children = [os.pidfd_open(pid) for pid in pids]
    node.kill()
    await node.communicate()
    async with asyncio.timeout(2.5):
        for child in children:
            await ended(child)


async def ended(process: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(process, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)


async def test_a_node_that_dies_before_the_session_leaves_nothing(tmp_path: Path) -> None:
    async with session(program(tmp_path, BUSY), 2) as running:
        party = running.parties[0]
        party.process._sock.shutdown(2)
        await running.parties[1].process.end()
        await running.over()
        assert party.out == "" and party.code != 0


async def test_keys_of_another_session_are_refused_and_named(tmp_path: Path) -> None:
    async with session(program(tmp_path, BUSY), 2) as running:
        running.start_party(0)
        members = (member(0), member(1))
        running.parties[1].process.give_session(b"U" * 32, seed(1), make_certificate(seed(1)), members)
        running.connect(0, 0, (1,))
        alice, bob = await running.over()
        assert {type(alice.error).__name__, type(bob.error).__name__} & {"VerificationError"}
        assert 3 in (alice.code, bob.code)
        assert TRANSCRIPT != b"U" * 32 and alice.out == bob.out == ""
