"""comity lab as people call it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from comity.lab.namespaces import missing

WHY = missing()
in_a_lab = [pytest.mark.lab, pytest.mark.skipif(WHY is not None, reason=str(WHY))]
FILE = """
[rtt]
here = [1]
[hosts.ann]
region = "here"
[hosts.ben]
region = "here"
[hosts.meet]
region = "here"
"""


@pytest.fixture
def topology(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(FILE.replace("[rtt]", 'rendezvous = "meet"\n[rtt]'))
    return str(tmp_path / "small.toml")


def lab(*words: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
    """stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "comity", "lab", *words], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_a_drawing_needs_no_lab(tmp_path: Path) -> None:
    assert "alice-router" in lab("show", "two-near")[0]
    assert "party11" in lab("show", "world", "-n", "12")[0]
    assert lab("show", "two-near", "--svg", str(tmp_path / "x.svg")) == ("", "")
    assert (tmp_path / "x.svg").read_text().startswith("<svg")


def test_without_a_command_it_says_which_there_are() -> None:
    assert lab() == lab("--help")
    assert "Usage: comity lab" in lab()[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "nothing"), "there is no topology 'nothing'"),
        (("show", "grid", "-n", "20"), "grid has 9 hosts for parties, not 20"),
        (("run", "grid", "--on", "dora", "--", "true"), "there is no host 'dora'"),
        (("shell", "grid", "dora"), "there is no host 'dora'"),
        (("run", "grid"), "missing argument 'COMMAND...'"),
        (("run", "two-near", "ping", "-c", "1", "bob"), "no such option '-c'"),
        (("run", "two-near", "--faults", "/dev/null/x", "--", "true"), "'/dev/null/x'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(words: tuple[str, ...], why: str) -> None:
    out, err = lab(*words, code=2)
    assert out == ""
    assert why in err
    assert "machines in" not in err


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("1 fall ann", "line 1: 'fall' is none of"),
        ("meet/x cut ann", "line 1: nothing runs on meet"),
        ("0 cut meet\n1 kill meet", "line 2: nothing runs on meet"),
        ("#" * ((1 << 20) + 1), "too large"),
    ],
)
def test_a_script_is_read_before_anything_is_built(tmp_path: Path, topology: str, script: str, why: str) -> None:
    (tmp_path / "script").write_text(script)
    assert why in lab("run", topology, "--faults", str(tmp_path / "script"), "--", "true", code=2)[1]


class TestInALab:
    pytestmark = in_a_lab

    def test_one_host_has_the_streams_and_the_code(self, topology: str) -> None:
        out, err = lab("run", topology, "--on", "ann", "--", "sh", "-c", "cat; hostname; exit 7", stdin="in\n", code=7)
        assert out == "in\nann\n"
        assert re.search(r"Lab +.*: 4 machines in \d", err)
        assert re.search(r"Late +p50 .* of \d+ packets", err)
        assert "Lost" not in err

    def test_packets_that_were_lost_are_counted_by_reason(self, topology: str, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("ann/up cut ann\n")
        text = "[ $LAB_HOST = ben ] || { echo up; while ping -4 -c 1 -W 0.1 meet; do :; done; }"
        _, err = lab("run", topology, "--faults", str(tmp_path / "script"), "--", "sh", "-c", text)
        assert re.search(r"Lost +packets: \d+ on a line that was cut\n", err)

    def test_several_hosts_have_labels_and_the_first_code_counts(self, topology: str) -> None:
        out, _ = lab("run", topology, "--", "sh", "-c", "echo $LAB_HOST $LAB_NUMBER; exit $LAB_NUMBER", code=1)
        assert sorted(out.splitlines()) == ["ann | ann 0", "ben | ben 1"]

    def test_a_signal_is_a_code_of_128_and_more(self, topology: str) -> None:
        lab("run", topology, "--on", "ann", "--", "sh", "-c", "kill -9 $$", code=137)

    def test_events_for_scripts(self, topology: str) -> None:
        _, err = lab("run", "--json", topology, "--on", "ann", "--", "true")
        first, last = (json.loads(line) for line in err.splitlines())
        assert (first["event"], first["machines"], last["event"]) == ("lab", 4, "late")
        out, _ = lab("run", topology, "--on", "ann", "--", "cat", "/proc/sys/net/ipv4/tcp_congestion_control")
        assert first["congestion"] == out.strip()

    def test_faults_strike_while_commands_run(self, tmp_path: Path, topology: str) -> None:
        (tmp_path / "script").write_text("ann/up kill ben\nben/never cut ann\n")
        text = "if [ $LAB_HOST = ann ]; then echo up; else sleep 1000; fi"
        out, err = lab("run", topology, "--faults", str(tmp_path / "script"), "--", "sh", "-c", text, code=137)
        assert out == "ann | up\n"
        assert re.search(r"Fault +kill ben", err)
        assert re.search(r"Undone +did not happen before the end:\n +line 2, cut ann\n", err)
        (tmp_path / "script").write_text("0 reset ann\n")
        _, err = lab("run", topology, "--faults", str(tmp_path / "script"), "--on", "ann", "--", "sleep", "9", code=2)
        assert "fault in line 1, reset ann: ann has no router" in err

    def test_packets_are_captured(self, tmp_path: Path, topology: str) -> None:
        lab("run", topology, "--capture", str(tmp_path), "--on", "ann", "--", "ping", "-c", "1", "ben")
        assert (tmp_path / "ann.pcap").stat().st_size > 200

    def test_a_check_is_a_table(self, topology: str) -> None:
        out, _ = lab("check", topology)
        assert re.fullmatch(r"ok   path  inside here  \d\.\d\d ms   wanted 1 ms ± 0\.5\n", out)
        _, err = lab("check", "--json", topology)
        assert [json.loads(line).get("about") for line in err.splitlines()] == [None, "inside here", None]

    def test_a_shell_has_the_terminal(self, topology: str) -> None:
        """Ctrl-C is for the command in the foreground, and the shell goes on."""
        pid, terminal = pty.fork()
        if not pid:
            os.environ |= {"SHELL": "/bin/sh", "PS1": "# "}
            words = "-P", "-m", "comity", "lab", "shell", topology, "ann"
            os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - the point is that it has a terminal
        with os.fdopen(terminal, "r+b", 0) as screen:
            seen = b""

            def until(text: bytes) -> None:
                nonlocal seen
                while text not in seen:
                    seen += screen.read(4096)
                seen = seen.partition(text)[2]

            until(b"# ")
            screen.write(b"hostname; echo $((6 * 7))\n")
            until(b"\nann\r\n42")
            screen.write(b"sh -c 'echo slee\"\"ping; exec sleep 1000'\n")
            until(b"sleeping\r\n")
            screen.write(b"\x03")
            until(b"# ")
            screen.write(b"exit 5\n")
            until(b"Late")
            _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5

    def test_ctrl_c_ends_a_lab_that_is_being_built(self) -> None:
        words = "-P", "-m", "comity", "lab", "run", "two-near", "-n", "50", "--", "true"
        with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            assert re.fullmatch(r"Building +102 machines, .*\n", running.stderr.readline())
            running.send_signal(signal.SIGINT)
            assert re.fullmatch(r"Stopped +interrupted\n", running.stderr.read())
        assert running.returncode == 130

    def test_ctrl_c_ends_the_lab(self, topology: str) -> None:
        command = [
            sys.executable,
            "-P",
            "-m",
            "comity",
            "lab",
            "run",
            topology,
            "--",
            "sh",
            "-c",
            "echo on; sleep 1000",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None and running.stderr is not None
            assert running.stdout.readline().endswith("on\n")
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == 130
            assert "interrupted" in running.stderr.read()
