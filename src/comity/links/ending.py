"""How a link ends other than well."""

from __future__ import annotations

from comity.errors import PeerError


class Goodbye(PeerError):
    """another party said goodbye"""

    def __init__(self, name: str, reason: str, detail: str) -> None:
        super().__init__(f"{name} said goodbye: {reason}" + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail


def lost(name: str) -> PeerError:
    return PeerError(f"the channel to {name} was lost", hint=f"{name}'s machine or the network between ended it")
