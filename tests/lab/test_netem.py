"""The same distance by the kernel's own netem and by the delay core, where the kernel has it."""

import pytest
from tests.lab.spaces import Space, missing, spaces

from comity.lab.delay import DelayCore
from comity.lab.echo import round_trips
from comity.lab.tun import open_tun

RTT = 0.08


def netem(device: str) -> list[str]:
    return ["tc", "qdisc", "add", "dev", device, "root", "netem", "delay", f"{RTT * 500:g}ms"]


def reason() -> str | None:
    why = missing("tc")
    if why:
        return why
    with spaces("probe") as (probe,):
        try:
            probe.run(*netem("lo"))
        except AssertionError as exc:
            return f"this kernel has no netem: {exc}"
    return None


WHY = reason()
pytestmark = [pytest.mark.lab, pytest.mark.skipif(WHY is not None, reason=str(WHY))]


async def median(source: Space, target: str) -> float:
    return (await round_trips({source.pid: [target]}, count=20))[source.pid][target].median


async def test_both_are_as_far() -> None:
    with spaces("a", "b", "c", "d") as (a, b, c, d):
        a.wire(b, "wan", "wan")
        for machine, address in ((a, "203.0.114.1"), (b, "203.0.114.2")):
            machine.up("wan", [f"{address}/24"])
            machine.run(*netem("wan"))
        core = await DelayCore.start()
        try:
            for machine, address in ((c, "203.0.115.1/32"), (d, "203.0.116.1/32")):
                await core.attach(machine.name, machine.name, [address], open_tun(machine.pid))
                machine.up("wan", [address], ["direct"])
            await core.path("c", "d", delay=RTT / 2)
            theirs, ours = await median(a, "203.0.114.2"), await median(c, "203.0.116.1")
        finally:
            await core.end()
    assert theirs == pytest.approx(RTT, abs=0.002)
    assert ours == pytest.approx(theirs, abs=0.001)
