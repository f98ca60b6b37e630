"""Whole sessions between machines that are network namespaces (lab.py), over a network that is a switch:

alice   bob   carol   meet          flat: one network, addresses in the order of the names
  |      |      |      |
--+------+------+------+-- net      198.51.100.1, .2, ... and 2001:db8::1, ::2, ...

alice          bob          carol   behind routers: all three have the address 192.168.1.2
  |             |             |
alices-router bobs-router carols-router   meet
  | .1          | .2          | .3         | .4
--+-------------+-------------+------------+-- net      198.51.100.0/24
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate
from tests.sessions import lab
from tests.sessions.lab import Lab
from tests.sessions.parties import Party, Stage, stage

from comity.links.certificate import make_certificate

pytestmark = [pytest.mark.session, pytest.mark.lab, pytest.mark.timeout(60)]

NAMES = ("alice", "bob", "carol", "dave", "erin")
V4, V6 = "198.51.100.{}/24", "2001:db8::{}/64"
TWICE = """\
import sys
from mpyc.runtime import mpc
async def main():
    for turn in "first", "second":
        async with mpc:
            print(turn, await mpc.output(mpc.input(mpc.SecInt()(mpc.pid))), flush=True)
        sys.stdin.readline()
mpc.run(main())
"""
"""Starts MPyC's runtime twice, so that new channels are needed after what a test does in between."""


@pytest.fixture
def net() -> Iterator[Lab]:
    if reason := lab.missing():
        pytest.skip(reason)
    with lab.made() as made:
        made.switch("net")
        yield made


def flat(net: Lab, *names: str, families: tuple[str, ...] = (V4, V6)) -> None:
    for number, name in enumerate(names, 1):
        net.machine(name)
        if V6 not in families:
            net.without_ipv6(name)
        if V4 not in families:
            net.ip(name, "address", "del", "127.0.0.1/8", "dev", "lo")
        net.plug(name, "net", *(family.format(number) for family in families))


async def meet(
    s: Stage,
    net: Lab,
    machines: dict[str, str],
    *program: str,
    host: tuple[str, ...] = (),
    each: tuple[str, ...] = (),
    own: dict[str, tuple[str, ...]] | None = None,
    file: bool = False,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> list[Party]:
    """The parties on their machines, numbered in this order, each before its question about the words.

    Options: the host's, everybody's, and each party's own. `file`: the program is one, in the stage's folder.
    """
    own = own or {}
    link = ""
    for name, machine in machines.items():
        command = ["join"] if link else ["host", "-n", str(len(machines)), *host]
        argv = [*command, *each, *own.get(name, ()), *((link,) if link else ()), *(program if file or not link else ())]
        await s.start(name, *argv, prefix=net.on(machine), cwd=s.folder, stdin=stdin)
        if link:
            await s.parties[0].event("joined", len(s.parties) - 1)
        else:
            link = (await s.parties[0].event("invite"))["link"]
    return s.parties


def at_home(*names: str) -> dict[str, str]:
    """Everyone at a machine of that name."""
    return dict(zip(names, names, strict=True))


async def compute(s: Stage) -> None:
    """All say that the words are the same, and all end well with the same output."""
    checks = await s.agree()
    assert len({tuple(check["words"]) for check in checks}) == 1
    assert await s.ends() == [0] * len(s.parties), [party.events[-1] for party in s.parties]
    assert len({party.output for party in s.parties}) == 1 and s.parties[0].output


async def running(s: Stage, net: Lab, **options: Any) -> list[Party]:
    """Three parties whose program runs, and will not end by itself."""
    (s.folder / "twice.py").write_text(TWICE)
    pipe = asyncio.subprocess.PIPE
    await meet(s, net, at_home(*NAMES[:3]), "twice.py", file=True, stdin=pipe, **options)
    await s.agree()
    for party in s.parties:
        await party.prints("first [0, 1, 2]\n")
    return s.parties


def go_on(party: Party) -> None:
    assert party.process.stdin is not None
    party.process.stdin.write(b"\n\n")


async def test_three_machines_with_ipv6_only(net: Lab, tmp_path: Path) -> None:
    flat(net, *NAMES[:3], families=(V6,))
    async with stage(tmp_path) as s:
        await meet(s, net, at_home(*NAMES[:3]), "sum", "4")
        addresses = s.parties[0].all("invite")[0]["rendezvous"]
        assert [a.rpartition(":")[0] for a in addresses] == ["http://[2001:db8::1]", "http://[::1]"]
        await compute(s)


async def test_three_machines_with_ipv4_only(net: Lab, tmp_path: Path) -> None:
    flat(net, *NAMES[:3], families=(V4,))
    async with stage(tmp_path) as s:
        await meet(s, net, at_home(*NAMES[:3]), "sum", "4")
        addresses = s.parties[0].all("invite")[0]["rendezvous"]
        assert [a.rpartition(":")[0] for a in addresses] == ["http://198.51.100.1", "http://127.0.0.1"]
        await compute(s)


async def test_five_parties_on_three_machines(net: Lab, tmp_path: Path) -> None:
    flat(net, *NAMES[:3])
    machines = dict(zip(NAMES, ("alice", "bob", "bob", "carol", "alice"), strict=True))
    async with stage(tmp_path) as s:
        await meet(s, net, machines, "sum", "4")
        await compute(s)


def certificate(folder: Path) -> list[str]:
    """Options of comity serve for a self-signed one."""
    seed = os.urandom(32)
    key, der = Ed25519PrivateKey.from_private_bytes(seed), make_certificate(seed)
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ["--certificate", str(files[0]), "--key", str(files[1])]


@pytest.mark.parametrize("secure", [False, True])
async def test_a_session_outlives_its_rendezvous(net: Lab, tmp_path: Path, secure: bool) -> None:
    flat(net, *NAMES[:3], "meet")
    options = ["--listen", ":8787"]
    async with stage(tmp_path, net.on("meet")) as server, stage(tmp_path) as s:
        if secure:
            options += certificate(tmp_path)
            for name in NAMES[:3]:
                net.hosts(name, "127.0.0.1 localhost", "2001:db8::4 meet.example.net")
        serve = await server.start("meet", "serve", *options)
        serving = await serve.event("serving")
        where = ["--rendezvous", serving["addresses"][0]]
        if secure:
            where = ["--rendezvous", "https://meet.example.net:8787", "--certificate", serving["certificate"]]
        await running(s, net, host=tuple(where))
        serve.process.kill()
        await serve.end()
        for party in s.parties:
            go_on(party)
        assert await s.ends() == [0, 0, 0]
        assert {party.output for party in s.parties} == {"first [0, 1, 2]\nsecond [0, 1, 2]\n"}


def routers(net: Lab, **forwarded: bool) -> None:
    """Everyone behind a router that forwards port 7000 or nothing."""
    if reason := lab.missing("nft"):
        pytest.skip(reason)
    rule = "tcp dport 7000 dnat to 192.168.1.2"
    for number, (name, open_) in enumerate(forwarded.items(), 1):
        router = f"{name}s-router"
        net.router(router, "net", V4.format(number), "192.168.1.1/24", *([rule] if open_ else []))
        net.machine(name)
        net.plug(name, f"{router}-lan", "192.168.1.2/24")
        net.ip(name, "route", "add", "default", "via", "192.168.1.1")
    net.machine("meet")
    net.plug("meet", "net", V4.format(len(forwarded) + 1))


async def test_a_path_is_found_where_only_one_side_can_be_reached(net: Lab, tmp_path: Path) -> None:
    """alice and carol forwarded a port, bob did not: he dials both, so in one pair the lower and in one the higher."""
    routers(net, alice=True, bob=False, carol=True)
    net.hosts("bob", "198.51.100.1 alice.example.net")
    net.hosts("carol", "198.51.100.1 alice.example.net")
    async with stage(tmp_path, net.on("meet")) as server, stage(tmp_path) as s:
        serve = await server.start("meet", "serve")
        where = (await serve.event("serving"))["addresses"][0]
        own = {
            "alice": ("--listen", "7000", "--advertise", "alice.example.net:7000"),
            "carol": ("--listen", "7000", "--advertise", "198.51.100.3"),
        }
        await meet(s, net, at_home(*NAMES[:3]), "sum", "4", host=("--rendezvous", where), own=own)
        await compute(s)


async def test_a_path_that_does_not_exist_is_named(net: Lab, tmp_path: Path) -> None:
    flat(net, *NAMES[:3], families=(V4,))
    net.ip("bob", "route", "add", "blackhole", "198.51.100.3")
    async with stage(tmp_path) as s:
        alice, bob, carol = await meet(s, net, at_home(*NAMES[:3]), "sum", "4", each=("--give-up", "9"))
        await s.agree()
        codes = await s.ends()
        assert codes == [4, 5, 5]
        assert alice.error["message"] in ("bob left: no path to carol", "carol left: no path to bob")
        (waiting,) = alice.all("waiting")  # she reaches both, and learns that they have not started
        assert (waiting["names"], waiting["why"]) == (["bob", "carol"], "program")
        assert not any(party.all("running") for party in (bob, carol))
        assert bob.error["message"] == "no path to carol in 9 s"
        assert carol.error["message"] == "no path to bob in 9 s"
        for party, address, why in (
            (bob, "198.51.100.3", "a route of this machine drops it"),
            (carol, "198.51.100.2", "no answer"),
        ):
            tried, *advice = party.error["hints"]
            assert tried.startswith(f"tried {address}:") and tried.endswith(f": {why}")
            assert any("--advertise" in hint for hint in advice) and any("comity doctor" in hint for hint in advice)


async def test_a_pause_of_the_network_is_survived(net: Lab, tmp_path: Path) -> None:
    flat(net, *NAMES[:3])
    async with stage(tmp_path) as s:
        alice, bob, _carol = await running(s, net)
        waits = {party.name: len(party.all("waiting")) for party in s.parties}
        net.ip("net", "link", "set", "carol", "down")
        for party in alice, bob:
            assert (await party.event("waiting", waits[party.name] + 1))["why"] == "silence"
        net.ip("net", "link", "set", "carol", "up")
        for party in alice, bob:
            assert (await party.event("again"))["names"] == ["carol"]
        for party in s.parties:
            go_on(party)
        assert await s.ends() == [0, 0, 0]
        assert {party.output for party in s.parties} == {"first [0, 1, 2]\nsecond [0, 1, 2]\n"}


async def test_a_machine_that_falls_silent_is_named(net: Lab, tmp_path: Path) -> None:
    """Within 20 s on a machine that is not busy, where TCP alone would take 15 minutes."""
    flat(net, *NAMES[:3])
    async with stage(tmp_path) as s:
        alice, bob, carol = await running(s, net)
        net.ip("net", "link", "set", "carol", "down")
        go_on(alice)  # its program waits for the others', with nothing to send
        async with asyncio.timeout(30):
            assert await s.ends() == [4, 4, 4]
        for party in alice, bob:
            assert re.fullmatch(r"no answer from carol for 1[5-9] s", party.error["message"])
            told = [event["names"] for event in party.all("waiting") if event["why"] == "silence"]
            assert told == [["carol"]] * 2
        assert carol.error["hints"] == ["nobody answers: this machine's own network may be down"]
