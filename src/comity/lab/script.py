"""Faults at their time: what `comity lab run --faults` and tests do to a lab while commands run in it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

from comity.core.faults import Fault
from comity.errors import UsageError
from comity.lab.namespaces import Lab

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "go": signal.SIGCONT}


async def perform(lab: Lab, fault: Fault) -> None:
    """One fault, now. Raises UsageError where it cannot be done."""
    names, values = [name for group in fault.names for name in group], dict(fault.values)
    if fault.action == "cut":
        await lab.cut(names[0])
    elif fault.action == "heal":
        await lab.heal(names[0])
    elif fault.action == "move":
        await lab.move(names[0], names[1])
    elif fault.action == "line":
        await lab.line(names[0], **values)
    elif fault.action == "path":
        await lab.path(names[0], names[1], **values)
    elif fault.action == "part":
        await lab.part(*fault.names)
    elif fault.action == "reset":
        await lab.reset(names[0])
    elif fault.action == "restart":
        await lab.restart(names[0])
    else:
        await lab.signal(names[0], SIGNALS[fault.action])


class Script:
    """Faults of one run. `said`: called for each, when it is done."""

    def __init__(self, lab: Lab, faults: Sequence[Fault], said: Callable[[Fault], None]) -> None:
        self._lab, self._said = lab, said
        self._waiting: dict[str, list[tuple[str, asyncio.Event]]] = {}
        self._left = {fault.line: fault for fault in faults}
        self._began, self._started = 0.0, asyncio.Event()
        starts: dict[tuple[str, str], list[Fault]] = {}
        for fault in faults:
            starts.setdefault((fault.host, fault.text), []).append(fault)
        self._plans = [(self._moment(*start), sorted(plan, key=_when)) for start, plan in starts.items()]

    def _moment(self, host: str, text: str) -> asyncio.Event:
        moment = asyncio.Event()
        if host:
            self._waiting.setdefault(host, []).append((text, moment))
        else:
            moment.set()
        return moment

    @property
    def left(self) -> tuple[Fault, ...]:
        """What has not been done yet."""
        return tuple(self._left.values())

    def started(self) -> None:
        """Every command runs: none can be missed by a fault, and seconds count from now."""
        self._began = asyncio.get_running_loop().time()
        self._started.set()

    def heard(self, host: str, line: str) -> None:
        """A line of output."""
        for text, moment in self._waiting.get(host, ()):
            if text in line:
                moment.set()

    async def run(self) -> None:
        """Until all is done; cancelled when there is nobody left to suffer. Raises UsageError."""
        tasks = [asyncio.create_task(self._follow(moment, plan)) for moment, plan in self._plans]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _follow(self, moment: asyncio.Event, plan: Sequence[Fault]) -> None:
        loop = asyncio.get_running_loop()
        await moment.wait()
        await self._started.wait()
        began = loop.time() if plan[0].host else self._began
        for fault in plan:
            await asyncio.sleep(began + fault.seconds - loop.time())
            try:
                await perform(self._lab, fault)
            except UsageError as exc:
                raise UsageError(f"fault in line {fault.line}, {fault}: {exc.message}", hint=exc.hints) from exc
            del self._left[fault.line]
            self._said(fault)


def _when(fault: Fault) -> tuple[float, int]:
    return fault.seconds, fault.line
