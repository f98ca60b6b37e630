"""A lab for the time of a command, and what people are told of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from comity.cli.talk import Talk
from comity.core.addressing import plan
from comity.core.topology import Topology
from comity.errors import UsageError
from comity.lab.namespaces import Lab, lab, missing

MANY = 100
"""Machines: from here on people would wonder whether anything happens."""
LOST = {
    "loss": "by the loss of a path or a line",
    "queue": "in full buffers",
    "down": "on a line that was cut",
    "partition": "between hosts that were parted",
    "foreign source": "with an address of somebody else as their source",
    "unread": "that came faster than they could be read",
    "refused": "that a device did not take",
}
"""Why a delay core drops packets that were to go somewhere, in people's words."""


@asynccontextmanager
async def entered(
    talk: Talk, topology: Topology, *, kept: Sequence[Path] = (), strict: bool = True
) -> AsyncIterator[Lab]:
    """Raises UsageError where there can be none, UnreachableError where a strict one is off."""
    why = missing()
    if why:
        raise UsageError("there can be no lab on this machine", hint=why)
    machines = len(plan(topology).machines)
    if machines >= MANY:
        talk.line("Building", f"{machines} machines, which takes a while", event="building", machines=machines)
    began = time.perf_counter()
    async with lab(topology, kept=kept, strict=strict) as made:
        seconds = time.perf_counter() - began
        text = f"{topology.name}: {machines} machines in {seconds:.1f} s, TCP uses {made.congestion}"
        if not made.realtime:
            text += "; the delay core has no real-time priority, so delays vary when this machine is busy"
        fields: dict[str, object] = {"realtime": made.realtime, "congestion": made.congestion}
        talk.line("Lab", text, event="lab", machines=machines, seconds=round(seconds, 3), **fields)
        try:
            yield made
        finally:
            late = await made.lateness()
            shown = f"p50 {_us(late.p50)}, p99 {_us(late.p99)}, at most {_us(late.max)}, of {late.packets} packets"
            latest = {"p50": late.p50, "p99": late.p99, "max": late.max}
            talk.line("Late", shown, event="late", packets=late.packets, **latest)
            lost = Counter[str]()
            for uplink in (await made.counts()).values():
                lost.update({reason: uplink[reason] for reason in LOST if uplink.get(reason)})
            if lost:
                shown = ", ".join(f"{count} {LOST[reason]}" for reason, count in lost.most_common())
                talk.line("Lost", f"packets: {shown}", event="lost", reasons=dict(lost))


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"
