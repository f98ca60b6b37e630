"""direct between two machines that are network namespaces:

alice                        bob
[lo] [wire  A/64] ------- [wire  B/64] [lo]
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
ALICE, BOB = (f"comity-{os.getpid()}-{name}" for name in ("alice", "bob"))


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr}")


@pytest.fixture
def wire() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip"):
        pytest.skip("iproute2 is not installed")
    try:
        ip("netns", "add", ALICE)
    except RuntimeError as exc:
        pytest.skip(f"no network namespace can be made: {exc}")
    try:
        ip("netns", "add", BOB)
        ip("-n", ALICE, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", BOB)
        for name in (ALICE, BOB):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "wire", "up")
        yield
    finally:
        for name in (ALICE, BOB):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


async def start(namespace: str, me: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, str(Path(__file__).with_name("lab_party.py")), str(me)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def meet() -> list[str]:
    """What each of the two prints at the end, after their offers were passed on."""
    alice, bob = await start(ALICE, 0), await start(BOB, 1)
    try:
        for one, other in ((alice, bob), (bob, alice)):
            assert one.stdout and other.stdin
            other.stdin.write(await one.stdout.readline())
        outputs = await asyncio.gather(*(p.communicate() for p in (alice, bob)))
        assert [p.returncode for p in (alice, bob)] == [0, 0]
        return [out.decode().strip() for out, _ in outputs]
    finally:
        for process in (alice, bob):
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_two_machines_with_ipv6_only_meet(wire: None) -> None:
    for namespace, address in ((ALICE, "fd00:db8::a/64"), (BOB, "fd00:db8::b/64")):
        ip("-n", namespace, "address", "del", "127.0.0.1/8", "dev", "lo")
        ip("-n", namespace, "address", "add", address, "dev", "wire", "nodad")
    paths = await meet()
    assert [path.rpartition(":")[0] for path in paths] == ["[fd00:db8::b]", "[fd00:db8::a]"]
    assert [path.split()[1] for path in paths] == ["1", "0"]


async def test_two_machines_with_ipv4_only_meet(wire: None) -> None:
    for namespace, address in ((ALICE, "10.1.0.1/24"), (BOB, "10.1.0.2/24")):
        command = ["ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]
        await asyncio.to_thread(subprocess.run, command, check=True)
        ip("-n", namespace, "address", "add", address, "dev", "wire")
    paths = await meet()
    assert [path.rpartition(":")[0] for path in paths] == ["10.1.0.2", "10.1.0.1"]


async def test_an_address_that_both_have_for_themselves_leads_nobody_astray(wire: None) -> None:
    """As the bridge of a container runtime, which has one and the same address on every machine."""
    for namespace, address in ((ALICE, "10.1.0.1/24"), (BOB, "10.1.0.2/24")):
        ip("-n", namespace, "address", "add", "172.17.0.1/16", "dev", "lo")
        ip("-n", namespace, "address", "add", address, "dev", "wire")
    paths = await meet()
    assert [path.rpartition(":")[0] for path in paths] == ["10.1.0.2", "10.1.0.1"]
