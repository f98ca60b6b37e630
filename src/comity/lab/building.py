"""Builds a lab's machines, inside the leader: namespaces first, then cables, then addresses and rules, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from comity.core.addressing import Machine, Plan
from comity.core.topology import Topology
from comity.errors import ComityError
from comity.lab import batch, kernel
from comity.lab.delay import DelayCore
from comity.lab.inside import inside
from comity.lab.kernel import Spaces
from comity.lab.miniupnpd import PortMapping
from comity.lab.tun import open_tun

RUN = Path("/run/comity")
"""In memory of the lab's own: what belongs to machines, a folder each."""
SIDE_BY_SIDE = 4
"""Commands that build at the same time; more do not help on a few cores."""
BRIDGED = "bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"
"""Off, where the kernel has them: a bridge's packets would pass a router's rules twice, the first time as another's."""
CONGESTION = "cubic"
"""Of TCP, where this machine allows it (it may keep to its own): what most machines on the internet use."""


def home(name: str) -> Path:
    return RUN / name / "home"


def own_space(plan: Plan, kept: Sequence[Path]) -> dict[str, Spaces]:
    """Each machine's namespaces: an empty network; its own name, home, /tmp, /etc/hosts and resolver."""
    here = Spaces.current()
    kernel.cover("/run", kept)
    RUN.mkdir(mode=0o711)
    resolver = Path("/etc/resolv.conf").resolve()
    if not resolver.exists():
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.touch()
    congestion = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    found: dict[str, Spaces] = {}
    for machine in plan.machines:
        folder = RUN / machine.name
        home(machine.name).mkdir(mode=0o700, parents=True)
        (folder / "hosts").write_text(hosts_file(plan, machine.name))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0\n")
        with kernel.elsewhere(here):
            kernel.unshare(kernel.NEWNET | kernel.NEWUTS | kernel.NEWNS)
            kernel.set_hostname(machine.name)
            kernel.bind(str(folder / "hosts"), "/etc/hosts")
            kernel.bind(str(folder / "resolv.conf"), str(resolver))
            kernel.mount("sysfs", "/sys", "sysfs")
            kernel.mount("tmpfs", "/dev/shm", "tmpfs", options="mode=1777")  # noqa: S108 - its own
            kernel.cover("/tmp", kept)  # noqa: S108
            settings = batch.variables(machine)
            if CONGESTION in congestion.read_text().split():
                settings["ipv4/tcp_congestion_control"] = CONGESTION
            settings |= {key: "0" for key in BRIDGED if (Path("/proc/sys/net") / key).exists()}
            for key, value in settings.items():
                (Path("/proc/sys/net") / key).write_text(value)
            found[machine.name] = Spaces.current()
    return found


def congestion(netns: str) -> str:
    """What TCP uses on a machine."""
    return inside(netns, Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text).strip()


def hosts_file(plan: Plan, viewer: str) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for name, addresses in plan.names(viewer).items():
        lines += [f"{address} {name}" for address in addresses]
    return "".join(f"{line}\n" for line in lines)


async def connect(plan: Plan, spaces: dict[str, Spaces], core: DelayCore, rules: Callable[[Machine], str]) -> None:
    """Cables, devices, addresses, routes, rules. `rules`: nft's text for a router."""

    def space(name: str) -> str:
        return f"/proc/self/fd/{spaces[name].net}"

    async def build(machine: Machine) -> None:
        if machine.region:
            await core.attach(machine.name, machine.region, machine.networks, open_tun(space(machine.name)))
        within = [spaces[name] for name in _members(machine)]
        words = batch.links(machine, space) + batch.addresses(machine)
        await command(spaces[machine.name], "ip", "-batch", "-", text=words, share=within)
        if machine.kind == "router":
            await command(spaces[machine.name], "nft", "-f", "-", text=rules(machine))

    layer = [machine for machine in plan.machines if machine.region]
    while layer:  # who is behind a router has its cable from it
        await _each(layer, build)
        layer = [plan.machine(name) for machine in layer for name in _members(machine)]


def _members(machine: Machine) -> tuple[str, ...]:
    return machine.lan.members if machine.lan else ()


async def port_mapping(plan: Plan, spaces: dict[str, Spaces]) -> dict[str, PortMapping]:
    """The daemons of the routers that have such services, by the routers' names; they end with the lab."""
    wanted = [machine for machine in plan.machines if machine.services]
    started = await asyncio.gather(*(start_mapping(machine, spaces[machine.name]) for machine in wanted))
    return {machine.name: daemon for machine, daemon in zip(wanted, started, strict=True)}


async def start_mapping(router: Machine, spaces: Spaces) -> PortMapping:
    return await PortMapping.start(router.name, router.services, RUN / router.name, spaces.enter)


async def distances(topology: Topology, core: DelayCore) -> None:
    for i, row in enumerate(topology.matrix):
        for j, path in enumerate(row):
            await core.path(
                topology.regions[i],
                topology.regions[j],
                delay=path.rtt / 2000,
                jitter=path.jitter / 1000,
                loss=path.loss,
                rate=path.rate,
            )


def seconds(shape: Mapping[str, float]) -> dict[str, float]:
    """A path's or a line's words with milliseconds as the delay core takes them."""
    return {key: value / 1000 if key in ("delay", "jitter") else value for key, value in shape.items()}


async def _each(machines: Iterable[Machine], work: Callable[[Machine], Awaitable[None]]) -> None:
    turn = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(machine: Machine) -> None:
        async with turn:
            await work(machine)

    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(one(machine))


async def command(spaces: Spaces, *argv: str, text: str = "", share: Iterable[Spaces] = ()) -> str:
    """What a tool prints that runs on a machine. `share`: namespaces whose descriptors it is told of."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=[other.net for other in share],
        preexec_fn=lambda: kernel.setns(spaces.net, kernel.NEWNET),
    )
    said, failed = await process.communicate(text.encode())
    if process.returncode:
        raise ComityError(f"{' '.join(argv)}: {failed.decode(errors='replace').strip()}")
    return said.decode(errors="replace")
