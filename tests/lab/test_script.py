"""Faults at their time."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lab.test_namespaces import TOPOLOGY, said, shell

from comity.core.faults import parse
from comity.core.topology import parse as read_topology
from comity.errors import UsageError
from comity.lab import miniupnpd
from comity.lab.namespaces import lab, missing
from comity.lab.script import Script

WHY = missing()
HERE = read_topology(TOPOLOGY, "test")


class Recorder:
    """In place of a lab: what it was asked for."""

    def __init__(self, refused: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        async def call(*names: object, **values: object) -> None:
            if name == self._refused:
                raise UsageError("not now")
            self.calls.append((name, *names, *values.items()))

        return call


async def played(text: str, *heard: tuple[str, str], refused: str = "") -> list[tuple[Any, ...]]:
    recorder = Recorder(refused)
    script = Script(recorder, parse(text, "script", HERE), lambda fault: None)  # type: ignore[arg-type]
    running = asyncio.create_task(script.run())
    script.started()
    for host, line in heard:
        await asyncio.sleep(0)
        script.heard(host, line)
    await running
    return recorder.calls


async def test_each_action_is_asked_of_the_lab() -> None:
    calls = await played(
        """
0 cut ann
0 heal ann
0 move ann north
0 line ann delay=5 loss=0.5
0 path north south rate=1e6
0 part ann meet
0 part
0 reset ann
0 kill ann
0 stop ann
0 go ann
0 restart meet
"""
    )
    assert calls == [
        ("cut", "ann"),
        ("heal", "ann"),
        ("move", "ann", "north"),
        ("line", "ann", ("delay", 5.0), ("loss", 0.5)),
        ("path", "north", "south", ("rate", 1e6)),
        ("part", ("ann",), ("meet",)),
        ("part",),
        ("reset", "ann"),
        ("signal", "ann", signal.SIGKILL),
        ("signal", "ann", signal.SIGSTOP),
        ("signal", "ann", signal.SIGCONT),
        ("restart", "meet"),
    ]


async def test_the_order_is_that_of_the_moments_and_then_of_the_lines() -> None:
    assert await played("0.02 cut ann\n0 cut ben\n0 heal ben\n") == [("cut", "ben"), ("heal", "ben"), ("cut", "ann")]


async def test_what_waits_for_a_line_waits_for_it_at_that_host() -> None:
    text = "ann/ready +0.01 cut ann\nben/ready cut ben\n"
    assert await played(text, ("meet", "ready"), ("ben", "it is ready now"), ("ann", "ready")) == [
        ("cut", "ben"),
        ("cut", "ann"),
    ]


async def test_nothing_happens_before_every_command_runs() -> None:
    recorder = Recorder()
    script = Script(recorder, parse("ann/up kill ben\n0 cut ben\n", "script", HERE), lambda fault: None)  # type: ignore[arg-type]
    running = asyncio.create_task(script.run())
    script.heard("ann", "up")
    for _ in range(10):
        await asyncio.sleep(0)
    assert recorder.calls == []
    script.started()
    await running
    assert sorted(recorder.calls) == [("cut", "ben"), ("signal", "ben", signal.SIGKILL)]


async def test_what_cannot_be_done_is_said_with_its_line() -> None:
    with pytest.raises(UsageError, match="fault in line 2, reset ann: not now"):
        await played("0 cut ann\n0 reset ann\n", refused="reset")


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_faults_do_what_they_say(tmp_path: Path) -> None:
    async def reached(count: int = 1) -> float | None:
        """Milliseconds, or None."""
        code, text = await said(made, "ann", "ping", "-4", "-q", "-c", str(count), "-i", "0.01", "-W", "0.3", "meet")
        return None if code else float(text.split("/")[-3])

    async with lab(HERE) as made:
        assert abs((await reached() or 0) - 20) < 3
        await made.cut("ann")
        assert await reached() is None
        await made.line("ann", delay=10)
        assert await reached() is None, "another line is still down"
        await made.heal("ben")
        assert abs((await reached() or 0) - 40) < 3, "ben is in ann's site"
        await made.line("ann")
        await made.move("ann", "north")
        assert abs((await reached() or 0) - 2) < 1.5
        await made.path("north", "north", delay=15)
        assert abs((await reached() or 0) - 30) < 3
        await made.part(["ann"], ["meet"])
        assert await reached() is None
        await made.part()
        await made.capture("meet", tmp_path / "meet.pcap")
        assert await reached() is not None
        await made.capture("meet", None)
        assert (tmp_path / "meet.pcap").stat().st_size > 200
        with pytest.raises(UsageError, match="meet has no router"):
            await made.reset("meet")


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_a_reset_router_forgets_its_connections() -> None:
    async with lab(HERE) as made:
        assert "1 received" in await shell(made, "ann", "ping -4 -c 1 meet")
        count = "cat /proc/sys/net/netfilter/nf_conntrack_count"
        before = int(await shell(made, "house-router", count))
        await made.reset("ann")
        assert int(await shell(made, "house-router", count)) < before


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_a_signal_goes_to_every_command_of_a_machine() -> None:
    async with lab(HERE) as made:
        jobs = [await made.start(name, ["sleep", "1000"]) for name in ("ann", "ann", "ben")]
        await made.signal("ann", signal.SIGKILL)
        assert [await job.wait() for job in jobs[:2]] == [-9, -9]
        assert not jobs[2].ended.done()


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_a_host_moves_to_another_site_and_back() -> None:
    cafe = '[sites.cafe]\nregion = "north"\nnats = ["home"]\n[hosts.cleo]\nsite = "cafe"\n'
    address = "ip -4 -br address show dev wan"
    async with lab(read_topology(TOPOLOGY + cafe, "test")) as made:
        assert "192.168.0.10/24" in await shell(made, "ann", address)
        await made.move("ann", "cafe")
        assert "192.168.1.254/24" in await shell(made, "ann", address)
        for name in ("meet", "192.168.1.10"):  # cleo
            assert "1 received" in await shell(made, "ann", f"ping -4 -c 1 -W 1 {name}")
        code, _ = await said(made, "ann", "ping", "-4", "-c", "1", "-W", "0.2", "192.168.0.11")
        assert code, "ben is elsewhere now"
        await made.cut("cleo")
        code, _ = await said(made, "ann", "ping", "-4", "-c", "1", "-W", "0.2", "meet")
        assert code, "her line is that of the site where she is"
        await made.move("ann", "house")
        assert "192.168.0.10/24" in await shell(made, "ann", address)
        assert "1 received" in await shell(made, "ann", "ping -4 -c 1 -W 1 192.168.0.11")
        with pytest.raises(UsageError, match="meet is a public host"):
            await made.move("meet", "cafe")


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_a_command_is_started_again_where_it_was(tmp_path: Path) -> None:
    lines, theirs = os.pipe()
    async with lab(HERE) as made:
        job = await made.start("meet", ["sh", "-c", "echo started; exec sleep 1000"], files=(0, theirs, theirs))
        os.close(theirs)
        with os.fdopen(lines) as output:
            assert await asyncio.to_thread(output.readline) == "started\n"
            await made.restart("meet")
            assert await asyncio.to_thread(output.readline) == "started\n"
            assert not job.ended.done()
            await made.signal("meet", signal.SIGTERM)
            assert await job.wait() == -signal.SIGTERM
            assert output.read() == ""
        with pytest.raises(UsageError, match="nothing runs on meet"):
            await made.restart("meet")


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
@pytest.mark.skipif(miniupnpd.missing() is not None, reason=str(miniupnpd.missing()))
async def test_a_reset_router_forgets_mapped_ports_too() -> None:
    text = TOPOLOGY.replace('nats = ["home"]', 'nats = ["home"]\nservices = ["pcp"]')
    mapped = "nft list chain inet lab prerouting_miniupnpd | grep -c dnat || true"
    script = "from tests.lab.pcp import ask; print(ask('192.168.0.10', '192.168.0.1', 17, 7000).port)"
    async with lab(read_topology(text, "test")) as made:
        for _ in range(2):  # the service is there again afterwards
            code, port = await said(made, "ann", sys.executable, "-c", script)
            assert (code, port) == (0, "7000\n")
            assert await shell(made, "house-router", mapped) == "1\n"
            await made.reset("ann")
            assert await shell(made, "house-router", mapped) == "0\n"
