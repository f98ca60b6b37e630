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


def test_parties_need_a_public_host_to_meet(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[rtt]\nhere = [1]\n[nats.home]\n[spread]\nnats = ["home"]\n')
    _, events = demo("--on", str(tmp_path / "x.toml"), "sum", code=2)
    assert "has no public host where parties could meet" in str(events[-1]["message"])
