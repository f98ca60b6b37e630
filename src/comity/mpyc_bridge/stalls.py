"""For whom the program waits, and since when: looked at once a second, from a timer of the program's own loop.

It waits for a peer while it has asked MPyC for a message that has not come, or while the peer does not take what is
sent to it, and neither changes. What the program does between two looks does not matter, and a loop that was busy for
longer was not waiting: then the time counts from its next look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LOOK_SECONDS = 1.0
"""Between two looks."""

LATE_SECONDS = 3.0
"""Between two looks of a loop that was busy, with the program's own work or because its process was stopped."""

WORTH_SECONDS = 2.0
"""Of waiting, to be told."""

START, MESSAGE, UNREAD = REASONS = ("start", "message", "unread")
"""The peer's program has not started its runtime again; it owes a message; it does not take what is sent to it."""


@dataclass(frozen=True)
class State:
    """What the program has of a peer and wants of it. `reason`: why it waits, or nothing if it does not."""

    reason: str
    arrived: int  # messages
    taken: int  # bytes


class Stalls:
    """Keeps since when each peer's state is the same; times are in seconds, of any one clock."""

    def __init__(self) -> None:
        self._looked = float("-inf")
        self._since: dict[int, tuple[State, float]] = {}

    def look(self, now: float, states: Iterable[tuple[int, State]]) -> Mapping[int, tuple[str, float]]:
        """`states`: of peers. Returns for whom the program waits: the reason, and for how long."""
        if now - self._looked > LATE_SECONDS:
            self._since.clear()
        self._looked = now
        before, self._since = self._since, {}
        for peer, state in states:
            if state.reason:
                last, since = before.get(peer, (None, now))
                self._since[peer] = state, since if _same(last, state) else now
        waits = {peer: (state.reason, now - since) for peer, (state, since) in self._since.items()}
        return {peer: wait for peer, wait in waits.items() if wait[1] >= WORTH_SECONDS}


def _same(last: State | None, state: State) -> bool:
    """Whether nothing has come of what was waited for."""
    if last is None or last.reason != state.reason:
        return False
    return last.taken == state.taken if state.reason == UNREAD else last.arrived == state.arrived
