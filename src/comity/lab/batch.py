"""The words that make a machine: lines for `ip -batch`, variables of the kernel. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from comity.core.addressing import LAN, WAN, Interface, Machine
from comity.lab.tun import QUEUE

BRIDGED = "b"
"""Interfaces of a router towards the machines inside: b0, b1, ..., joined by the bridge `lan`."""
BRIDGE_ADDRESS = "02:00:00:00:00:01"
"""Of every bridge: without one of its own it takes the lowest of its cables', and changes it when they come and go."""


def links(machine: Machine, space: Callable[[str], str]) -> str:
    """A router's inside: a bridge, and a cable to each machine there. `space`: how ip finds a machine's namespace."""
    return "".join(f"{line}\n" for line in _links(machine, space))


def _links(machine: Machine, space: Callable[[str], str]) -> Iterator[str]:
    yield "link set lo up"
    if not machine.lan:
        return
    yield f"link add {LAN} address {BRIDGE_ADDRESS} type bridge"
    for i, member in enumerate(machine.lan.members):
        yield from _cable(i, member, space)


def _cable(i: int, member: str, space: Callable[[str], str]) -> Iterator[str]:
    yield f"link add {BRIDGED}{i} type veth peer name {WAN} netns {space(member)}"
    yield f"link set {BRIDGED}{i} master {LAN} up"


def cable(i: int, member: str, space: Callable[[str], str]) -> str:
    """One more in a router; its other end is the member's wan, which must not be there."""
    return "".join(f"{line}\n" for line in _cable(i, member, space))


def addresses(machine: Machine) -> str:
    """Addresses and routes, once every interface is there."""
    return "".join(f"{line}\n" for line in _addresses(machine))


def _addresses(machine: Machine) -> Iterator[str]:
    for interface in filter(None, (machine.lan, machine.wan)):
        for address in interface.addresses:  # duplicate address detection would take a second
            yield f"address add {address} dev {interface.name}{' nodad' if ':' in address else ''}"
        device = interface.name == WAN and machine.region
        yield f"link set {interface.name} {f'txqueuelen {QUEUE} ' if device else ''}up"
    yield from _ways_out(machine.wan)
    for network, via in machine.routes:
        yield f"route add {network} via {via}"


def _ways_out(wan: Interface) -> Iterator[str]:
    for gateway in wan.gateways:
        yield f"route add {_everywhere(gateway)} via {gateway}"
    if not wan.gateways:
        for network in sorted({_everywhere(address) for address in wan.addresses}):
            yield f"route add {network} dev {wan.name}"


def _everywhere(address: str) -> str:
    return "::/0" if ":" in address else "0.0.0.0/0"


def variables(machine: Machine) -> dict[str, str]:
    """Below /proc/sys/net, before there is any interface but loopback."""
    known = [*machine.wan.addresses, *(machine.lan.addresses if machine.lan else ())]
    found = {"ipv4/ping_group_range": "0 0"}
    if any(":" in address for address in known):
        found |= {
            f"ipv6/conf/{which}/{what}": "0" for which in ("all", "default") for what in ("accept_ra", "accept_dad")
        }
    else:
        found |= {f"ipv6/conf/{which}/disable_ipv6": "1" for which in ("all", "default")}
    if machine.kind == "router":
        found |= {"ipv4/ip_forward": "1", "ipv4/conf/all/send_redirects": "0"}  # hairpin goes out where it came from
        if any(":" in address for address in known):
            found |= {"ipv6/conf/all/forwarding": "1"}
    return found
