"""What the command line says of one party's run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from comity.interfaces import Settings

DEFAULT_TRANSPORTS = ("direct",)
"""What a party offers unless it names one: those that need nothing but the network."""
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    name: str
    name_chosen: bool = False  # by the person, so it is never changed
    m: int = 3
    threshold: int = 1
    verify: str = "words"
    transports: tuple[str, ...] = DEFAULT_TRANSPORTS
    settings: Settings = field(default_factory=Settings)
    rendezvous: tuple[str, ...] = ()  # addresses; empty: in this process
    certificate: bytes = b""  # SHA-256 of the rendezvous's, if it has one of its own
    give_up: float = GIVE_UP_SECONDS
    record: Path | None = None
    verbose: bool = False
    allow_no_secrecy: bool = False
    include: tuple[str, ...] = ()  # patterns of files
    private: dict[int, str] = field(default_factory=dict, repr=False)  # arguments by their places
