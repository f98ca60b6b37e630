"""Bare network namespaces, each held by a process that ends with this one: what the parts of a lab are tested in."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Space:
    """A network namespace. `pid`: of the process that holds it, which ends when its standard input does."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self._stack = stack
        holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.enter_context(holder)  # closes its input, and waits for its end
        assert holder.stdout is not None and holder.stdout.readline() == b"\n", "no namespace"
        self.pid = holder.pid
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(self.command(*command), check=False, capture_output=True, text=True, input=text)
        assert not done.returncode, f"{self.name}: {' '.join(command)}: {done.stderr}{done.stdout}"
        return done.stdout

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process that ends with the test."""
        process = subprocess.Popen(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    def set(self, key: str, value: str) -> None:
        """A variable below /proc/sys/net, if the kernel has it."""
        self.run("sh", "-c", f"test ! -e /proc/sys/net/{key} || echo {value} > /proc/sys/net/{key}")

    def wire(self, other: "Space", mine: str, theirs: str) -> None:
        self.run("ip", "link", "add", "name", mine, "type", "veth", "peer", "name", theirs, "netns", str(other.pid))

    def up(self, device: str, addresses: Sequence[str] = (), gateway: Sequence[str] = ()) -> None:
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", device, "up")
        for way in gateway:
            self.run("ip", "route", "add", "default", *(["dev", device] if way == "direct" else ["via", way]))


@contextmanager
def spaces(*names: str) -> Iterator[list[Space]]:
    with ExitStack() as stack:
        yield [Space(name, stack) for name in names]


def missing(*tools: str) -> str | None:
    """Why no namespaces can be made here; None: they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK) and not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    absent = [tool for tool in ("ip", "nsenter", "unshare", *tools) if not shutil.which(tool)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    try:
        with spaces("probe"):
            return None
    except (AssertionError, OSError) as exc:
        return f"no network namespace can be made: {exc}"
