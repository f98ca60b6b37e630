"""Labs with real namespaces: what machines see, how commands run, and what is left afterwards."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from comity.core.addressing import LAN, WAN
from comity.core.topology import parse
from comity.errors import ComityError, UsageError
from comity.lab.building import RUN
from comity.lab.namespaces import Job, Lab, lab, missing
from comity.lab.nat import TABLE

WHY = missing()
pytestmark = [pytest.mark.lab, pytest.mark.skipif(WHY is not None, reason=str(WHY))]

TOPOLOGY = """
[rtt]
north = [2]
south = [20, 2]

[nats.home]

[sites.house]
region = "south"
nats = ["home"]
families = [4, 6]

[hosts.ann]
site = "house"

[hosts.ben]
site = "house"

[hosts.meet]
region = "north"
families = [4, 6]
"""
KILL_CORE = """
import os, pathlib
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):  # the numbers are those of the lab alone
    if b"comity.lab.delaycore" in file.read_bytes().split(bytes(1)):
        os.kill(int(file.parent.name), 9)
"""
HOLD = Path(__file__).with_name("hold.py")


@asynccontextmanager
async def running() -> AsyncIterator[Lab]:
    async with lab(parse(TOPOLOGY, "test")) as made:
        yield made


async def said(made: Lab, machine: str, *argv: str, stdin: bytes = b"") -> tuple[int, str]:
    """Exit code and output, stderr with it."""
    ours, theirs = os.pipe()
    source, sink = os.pipe()
    os.write(sink, stdin)
    os.close(sink)
    job = await made.start(machine, argv, files=(source, theirs, theirs))
    os.close(theirs)
    os.close(source)
    code = await job.wait()
    with os.fdopen(ours, "rb") as file:
        return code, file.read().decode()


async def shell(made: Lab, machine: str, text: str) -> str:
    code, output = await said(made, machine, "sh", "-c", text)
    assert code == 0, output
    return output


async def test_hosts_are_machines_of_their_own() -> None:
    async with running() as made:
        assert (await shell(made, "ann", "hostname")).strip() == "ann"
        await shell(made, "ann", "echo secret > $HOME/file; echo secret > /tmp/file; echo secret > /dev/shm/file")
        assert await shell(made, "ben", "ls -A $HOME /tmp/file /dev/shm 2>&1 | grep -c secret || true") == "0\n"
        homes = await asyncio.gather(*(shell(made, name, "echo $HOME") for name in ("ann", "ben", "meet")))
        assert len(set(homes)) == 3
        assert "XDG" not in await shell(made, "ann", "env")
        processes = await shell(made, "ann", "ls -d /proc/[0-9]* | wc -l")
        assert int(processes) < 10, "only those of the lab are there"
        assert Path.cwd() == Path((await shell(made, "ann", "pwd")).strip())


async def test_shared_memory_and_agents_of_this_machine_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(Path.cwd() / "agent"))
    async with running() as made:
        assert await shell(made, "ann", "readlink /proc/self/ns/ipc") != f"{Path('/proc/self/ns/ipc').readlink()}\n"
        assert "SSH_AUTH_SOCK" not in await shell(made, "ann", "env")


async def test_names_lead_to_hosts_by_both_families_and_over_the_distance() -> None:
    async with running() as made:
        assert "2 received" in await shell(made, "ann", "ping -4 -c 2 -i 0.01 meet")
        assert "2 received" in await shell(made, "ann", "ping -6 -c 2 -i 0.01 meet")
        assert "2 received" in await shell(made, "ann", "ping -c 2 -i 0.01 ben")
        found = float((await shell(made, "ben", "ping -4 -c 5 -i 0.01 -q meet")).split("/")[-4].split()[-1])
        assert 20 <= found < 25
        assert await shell(made, "meet", "getent ahostsv4 ann | head -1 | cut -d' ' -f1") == "51.1.0.1\n"
        python = "import socket; print(socket.gethostbyname_ex('meet')[2])"
        assert "51.0.0.65" in (await said(made, "ann", sys.executable, "-c", python))[1]


async def test_its_resolver_answers_who_does_not_read_the_file_of_hosts() -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.53', 53));"
        "s.send(bytes.fromhex('000701000001000000000000046d6565740000010001')); print(s.recv(512)[-4:])"
    )
    async with running() as made:
        assert (await said(made, "ann", sys.executable, "-c", ask)) == (0, f"{bytes([51, 0, 0, 65])}\n")
        assert await shell(made, "ann", "grep nameserver /etc/resolv.conf") == "nameserver 127.0.0.53\n"


async def test_no_packet_leaves_the_lab() -> None:
    async with running() as made:
        machines = [machine.name for machine in made.plan.machines]
        for machine in machines:
            links = await shell(made, machine, "ip -o link | cut -d: -f2 | cut -d@ -f1 | xargs")
            assert set(links.split()) <= {"lo", "wan", "lan", "b0", "b1"}
        lost = "ping", "-c", "1", "-W", "0.2", "198.51.100.1"
        assert all(code for code, _ in await asyncio.gather(*(said(made, machine, *lost) for machine in machines)))


async def test_a_command_has_its_stdin_and_its_exit_code() -> None:
    async with running() as made:
        assert await said(made, "ann", "cat", stdin=b"to and fro") == (0, "to and fro")
        assert await said(made, "ann", "sh", "-c", "exit 7") == (7, "")
        assert await said(made, "ann", "sh", "-c", "kill -9 $$") == (-9, "")
        with pytest.raises(UsageError, match="nothing-like-it cannot be run on ann"):
            await made.start("ann", ["nothing-like-it"])
        with pytest.raises(UsageError, match="too many"):
            await made.start("ann", ["echo", "x" * 200_000])


async def test_a_signal_reaches_the_command_and_what_it_started() -> None:
    async with running() as made:
        ours, theirs = os.pipe()
        job = await made.start(
            "ann", ["sh", "-c", "trap 'exit 9' TERM; sh -c 'echo on; exec sleep 1000' & wait"], files=(0, theirs, 2)
        )
        os.close(theirs)
        with os.fdopen(ours, "rb") as file:
            assert await asyncio.to_thread(file.readline) == b"on\n"
            await job.signal(signal.SIGTERM)
            assert await job.wait() == 9
            assert file.read() == b"", "the sleep has gone, too"
        await job.signal(signal.SIGTERM)  # nobody is there any more, which is no error


async def test_what_still_runs_ends_with_the_lab() -> None:
    mark = f"COMITY_TEST={uuid.uuid4()}"
    job: Job
    async with running() as made:
        job = await made.start("ann", ["sleep", "1000"], env=dict([mark.split("=")]))
        assert family(mark)
    assert not family(mark)
    with pytest.raises(ComityError, match="the lab has ended"):
        await job.wait()


async def test_a_start_that_is_cancelled_in_the_middle_harms_nobody() -> None:
    async with running() as made:
        starting = asyncio.create_task(made.start("ann", ["true"]))
        await asyncio.sleep(0)  # it has been asked for, and nobody has answered
        starting.cancel()
        assert await asyncio.gather(starting, return_exceptions=True) != []
        assert await said(made, "ann", "echo", "on") == (0, "on\n")
        assert (await made.lateness()).packets >= 0


async def test_a_lab_that_dies_is_an_error_for_who_waits() -> None:
    with pytest.raises(ComityError, match="the lab has ended before it was left"):
        async with running() as made:
            job = await made.start("ann", ["sleep", "1000"])
            os.kill(made.pid, signal.SIGKILL)
            await job.wait()


async def test_what_is_kept_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    async with lab(parse(TOPOLOGY, "test"), kept=(tmp_path,)) as made:
        assert await shell(made, "ann", f"cat {tmp_path}/file; echo there > {tmp_path}/file") == "here"
    assert (tmp_path / "file").read_text() == "there\n"


def family(mark: str) -> dict[int, str]:
    """Every process whose environment has this mark, and its command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line:  # one that has died and is not yet buried has none
                    found[int(folder.name)] = line
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def gone(pid: int, deadline: float) -> bool:
    """Waits for the end of a process that need not be our child; False when the deadline comes first."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(process)


def traces() -> list[str]:
    """What a lab would have left in this machine's own namespaces; others may be at work here."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.split(":")[1].strip().partition("@")[0] for line in links}
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {RUN}" in line]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [*(names & {WAN, LAN, "b0"}), *mounts, *(t for t in tables if t.endswith(f" {TABLE}")), *RUN.glob("*")]


async def test_without_its_delay_core_a_lab_ends_and_says_so() -> None:
    async with running() as made:
        job = await made.start("ann", ["sleep", "1000"])
        await shell(made, "ann", f"{sys.executable} -c '{KILL_CORE}'")
        with pytest.raises(ComityError, match="the delay core has ended, and with it the lab's network"):
            await job.wait()


def attempt(victim: int, delay: float) -> float:
    """Starts a lab, kills one of its processes after `delay` seconds, or without one once it is up; returns when.

    Victims: 0 the owner, 1 unshare, 2 process 1, 3 the leader; one that is not there yet is the one above it.
    """
    mark = f"COMITY_TEST={uuid.uuid4()}"
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, HOLD],
        env={**os.environ, **dict([mark.split("=")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as held:
        if delay:
            time.sleep(delay)
        else:
            assert held.stdout is not None
            assert held.stdout.readline() == b"up\n"
        took = time.monotonic() - began
        there = family(mark)
        leaders = sorted(pid for pid, line in there.items() if "comity.lab.leader" in line and "unshare" not in line)
        outer = [pid for pid, line in there.items() if "unshare" in line]
        chain = [held.pid, *outer, *leaders[:2]]
        os.kill(chain[min(victim, len(chain) - 1)], signal.SIGKILL)
        held.wait(10)  # its owner notices, if it is not the one
        deadline = time.monotonic() + 5
        while (left := family(mark)) and gone(min(left), deadline):
            continue
        assert not left, (victim, delay)
    return took


@pytest.mark.skipif(os.geteuid() != 0, reason="reads other processes' environments")
@pytest.mark.timeout(60)
def test_whoever_is_killed_at_whatever_moment_nothing_is_left() -> None:
    with ThreadPoolExecutor(4) as pool:
        took = max(pool.map(attempt, range(4), [0.0] * 4))
        moments = [took * point / 20 for point in range(1, 21)]
        assert len(list(pool.map(attempt, [0, 1, 2, 3] * 5, moments))) == 20
    assert traces() == []
