"""MPyC programs as plain MPyC runs them: a process for each party, over ports of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from comity.mpyc_bridge.environment import child_environment


def free_ports(count: int) -> int:
    """The first of some ports in a row that nobody uses; where to look differs from process to process."""
    start = os.getpid() % 2000 * 16
    for base in range(20000 + start, 60000, 16):
        try:
            for port in range(base, base + count):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def run_plain(program: Path, *arguments: str, m: int, timeout: float = 15) -> list[subprocess.CompletedProcess[str]]:
    """What each party's process said and how it ended."""
    base = free_ports(m)
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), f"-M{m}", f"-I{party}", f"-B{base}", "--no-log", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(1),
        )
        for party in range(m)
    ]
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=timeout)
            ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in processes:
            with process:
                process.kill()
    return ended
