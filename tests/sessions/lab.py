"""Machines, switches and routers out of network namespaces. Leaving the lab removes all of them, whatever happened.

A machine is a namespace with loopback; a switch is one with a bridge. A plug is a pair of interfaces between the two,
called `wire` at the machine and by the machine's name at the switch. What a killed run left behind, the next removes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FILES = Path("/etc/netns")
"""Where `ip netns exec` finds a namespace's own /etc/hosts."""
OFF = "net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6"


def missing(*tools: str) -> str | None:
    """Why there can be no lab here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in ("ip", *tools) if not shutil.which(tool)]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: apt install iproute2 nftables)"
    with ExitStack() as stack:
        try:
            Lab(stack).machine("probe")
        except RuntimeError as exc:
            return f"no network namespace can be made: {exc}"
    return None


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=text)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Lab:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def machine(self, name: str) -> None:
        run("ip", "netns", "add", space(name))
        self._stack.callback(_remove, space(name))
        self.ip(name, "link", "set", "lo", "up")

    def switch(self, name: str) -> None:
        self.machine(name)
        self.set(name, *OFF, value="1")  # it only passes on what others say
        self.ip(name, "link", "add", "bridge", "type", "bridge")
        self.ip(name, "link", "set", "bridge", "up")

    def plug(self, machine: str, switch: str, *addresses: str, at: str = "wire") -> None:
        self.ip(machine, "link", "add", at, "type", "veth", "peer", "name", machine, "netns", space(switch))
        self.ip(switch, "link", "set", machine, "master", "bridge", "up")
        for address in addresses:  # duplicate address detection would take a second
            self.ip(machine, "address", "add", address, "dev", at, *(["nodad"] if ":" in address else []))
        self.ip(machine, "link", "set", at, "up")

    def router(self, name: str, switch: str, public: str, inside: str, *rules: str) -> None:
        """A machine that hides everybody inside behind its public address; `rules` forward ports, in nft's words."""
        self.machine(name)
        self.switch(f"{name}-lan")
        self.plug(name, switch, public)
        self.plug(name, f"{name}-lan", inside, at="lan")
        self.set(name, "net/ipv4/ip_forward", value="1")
        forwarded = "\n".join(f"    iifname wire {rule}" for rule in rules)
        self.exec(
            name,
            *("nft", "-f", "-"),
            text=f"""table ip nat {{
  chain prerouting {{ type nat hook prerouting priority dstnat;
{forwarded}
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat;
    oifname wire masquerade
  }}
}}
table ip filter {{
  chain forward {{ type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname lan accept
    ct status dnat accept
  }}
}}
""",
        )

    def without_ipv6(self, name: str) -> None:
        self.set(name, *OFF, value="1")

    def hosts(self, name: str, *lines: str) -> None:
        """What this machine's /etc/hosts says."""
        folder = FILES / space(name)
        folder.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, folder)
        (folder / "hosts").write_text("".join(f"{line}\n" for line in lines))

    def set(self, name: str, *keys: str, value: str) -> None:
        """Variables below /proc/sys."""
        for key in keys:
            self.exec(name, "tee", f"/proc/sys/{key}", text=value)

    def ip(self, name: str, *words: str) -> None:
        run("ip", "-n", space(name), *words)

    def exec(self, name: str, *command: str, text: str = "") -> str:
        return run(*self.on(name), *command, text=text)

    def on(self, name: str) -> tuple[str, ...]:
        """What stands before a command to run it on this machine."""
        return ("ip", "netns", "exec", space(name))


def space(name: str) -> str:
    """The namespace of a machine of this process's lab."""
    return f"comity-{os.getpid()}-{name}"


def _remove(namespace: str) -> None:
    subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def _remove_left_behind() -> None:
    """Of processes that are gone."""
    for namespace in run("ip", "netns", "list").split():
        kind, _, rest = namespace.partition("-")
        pid = rest.partition("-")[0]
        if kind == "comity" and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _remove(namespace)
            shutil.rmtree(FILES / namespace, ignore_errors=True)


@contextmanager
def made() -> Iterator[Lab]:
    with ExitStack() as stack:
        _remove_left_behind()
        yield Lab(stack)
