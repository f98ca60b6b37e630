"""The table of behaviours: what mallory does, at which layer, and how it must end for the honest parties."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.attacks.malicious.party import Mallory

SOON = 10.0
"""Seconds within which a run ends that cannot go on."""

STOP, PEER, PATH = 3, 4, 5
INTERRUPTED = 130

Act = Callable[[Mallory], Coroutine[Any, Any, None]]
Prepare = Callable[[Mallory], None]


@dataclass(frozen=True)
class Goes:
    """It does no harm: both compute the right result. Or, in place of that, what her numbers make of it."""

    right: bool = True

    def __str__(self) -> str:
        return "goes on rightly" if self.right else "goes on, with other numbers"


@dataclass(frozen=True)
class Waits:
    """It could be an honest party that takes long: both say for whom they wait, until somebody presses Ctrl-C."""

    def __str__(self) -> str:
        return "waits, and says for whom"


@dataclass(frozen=True)
class Ends:
    """Both end and name her; whoever sees it itself ends with this code and message."""

    code: int
    message: str
    within: float = SOON
    or_else: str | None = None  # the other message of a race that is the kernel's to decide

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f", or {self.or_else}" if self.or_else else "")

    def fits(self, code: int, message: str) -> bool:
        return code == self.code and any(text in message for text in (self.message, self.or_else) if text)


@dataclass(frozen=True)
class Behaviour:
    name: str
    layer: str
    ends: Goes | Waits | Ends
    act: Act | None = None  # once every link stands and the others' programs run; then she computes on, or all wait
    prepare: Prepare = lambda mallory: None  # before the ceremony
    early: Act | None = None  # once the session stands, in place of `reach`
    turns: int = 1  # starts of the runtime
    loud: int = 0  # MiB that alice and carol send her unasked

    async def play(self, mallory: Mallory) -> None:
        await (self.early or Mallory.reach)(mallory)
        await mallory.linked.wait()
        if self.act is not None:
            await self.act(mallory)
        if not isinstance(self.ends, Waits):
            mallory.free.set()
