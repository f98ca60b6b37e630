"""comity demo with every party on a host of its own: real NATs, emulated distances."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comity.lab.namespaces import missing

WHY = missing()
pytestmark = [
    pytest.mark.lab,
    pytest.mark.session,
    pytest.mark.timeout(90),
    pytest.mark.skipif(WHY is not None, reason=str(WHY)),
]


def demo(*words: str, code: int = 0) -> tuple[list[str], list[dict[str, object]]]:
    """The lines of output, and the events."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "comity", "demo", "--json", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout.splitlines(), [json.loads(line) for line in done.stderr.splitlines()]


def test_three_homes_behind_nats_hold_a_session_by_forwarded_ports(tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text(
        "import socket\nfrom mpyc.runtime import mpc\n"
        "async def main():\n    async with mpc:\n"
        "        print(await mpc.output(mpc.input(mpc.SecInt()(mpc.pid))), socket.gethostname())\n"
        "mpc.run(main())\n"
    )
    out, events = demo("--on", "two-near", str(tmp_path / "hosts.py"))
    assert sorted(out) == [f"{name:5} | [0, 1, 2] {name}" for name in ("alice", "bob", "carol")]
    said = {event["event"]: event for event in events}
    assert said["lab"]["machines"] == 8
    assert said["check"]["same"] is True
    assert said["late"]["packets"]


MIXED = """
rendezvous = "meet"
[rtt]
near = [2]
far = [30, 2]
[nats.carrier]
pool = 2
[nats.home]
[sites.house]
region = "far"
nats = ["carrier", "home"]
forwards = [{ port = 5000, host = "alice" }, { port = 5001, host = "bob" }]
[sites.both]
region = "near"
nats = ["home"]
families = [4, 6]
forwards = [{ port = 5000, host = "carol" }]
[hosts.alice]
site = "house"
[hosts.bob]
site = "house"
[hosts.carol]
site = "both"
[hosts.meet]
region = "near"
families = [4, 6]
"""


def test_two_parties_behind_a_carriers_nat_and_their_own_meet_a_third(tmp_path: Path) -> None:
    (tmp_path / "mixed.toml").write_text(MIXED)
    out, events = demo("--on", str(tmp_path / "mixed.toml"), "sum")
    assert sorted(out) == [f"{name:5} | sum 6" for name in ("alice", "bob", "carol")]
    assert {event["event"]: event for event in events}["agree"]["same"] is True


def test_by_ipv6_alone_a_party_is_reached_through_its_firewall(tmp_path: Path) -> None:
    six = MIXED.replace('nats = ["home"]\nfamilies = [4, 6]', "families = [6]").replace(
        'site = "house"', 'site = "both"'
    )
    six = six.replace('forwards = [{ port = 5000, host = "alice" }, { port = 5001, host = "bob" }]', "")
    (tmp_path / "six.toml").write_text(six)
    out, _ = demo("--on", str(tmp_path / "six.toml"), "-n", "2", "sum")
    assert sorted(out) == ["alice | sum 3", "bob   | sum 3"]


def test_faults_strike_a_session_that_goes_on(tmp_path: Path) -> None:
    """They wait for a party's event, or for a time that never comes."""
    (tmp_path / "script").write_text("bob/Running cut alice\nbob/Running +0.5 heal alice\n9999 cut bob\n")
    out, events = demo("--on", "one-region", "--faults", str(tmp_path / "script"), "secretsanta", "2")
    assert len(out) == 3
    assert [event["text"] for event in events if event["event"] == "fault"] == ["cut alice", "heal alice"]
    assert {event["event"]: event for event in events}["undone"]["faults"] == ["line 3, cut bob"]


def test_parties_need_a_public_host_to_meet(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[rtt]\nhere = [1]\n[nats.home]\n[spread]\nnats = ["home"]\n')
    _, events = demo("--on", str(tmp_path / "x.toml"), "sum", code=2)
    assert "has no public host where parties could meet" in str(events[-1]["message"])
