"""What a fuzz target is: one decoder, and all that must hold for whatever it is given.

A target is a function of the bytes that a fuzzer chose. It returns, whether they are accepted or properly refused, and
raises anything else for a finding. It needs no atheris, so that a corpus can be replayed wherever the tests run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors"

Check = Callable[[bytes], None]
Seeds = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Target:
    name: str
    about: str  # the function's first line
    check: Check
    seeds: Seeds  # inputs to begin with, most of them accepted ones
    size: int  # bytes of the longest input
    share: int  # of the time of a run: 1 for most
    fresh: int  # executions in ./check, beside those of the corpus: a tenth of a second


TARGETS: dict[str, Target] = {}
"""Every target by name, once fuzzing.targets is imported."""


def target(seeds: Seeds, *, size: int, fresh: int, share: int = 1) -> Callable[[Check], Check]:
    """Make a function a target; its name is the function's."""

    def register(check: Check) -> Check:
        name = check.__name__
        assert name not in TARGETS
        TARGETS[name] = Target(name, (check.__doc__ or "").partition("\n")[0], check, seeds, size, share, fresh)
        return check

    return register


@cache
def vectors(name: str) -> Any:
    """A file of vectors/."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def cut(data: bytes, places: bytes) -> list[bytes]:
    """The data in pieces, each as long as a byte of `places` says, and what is left; no piece is empty."""
    pieces, at = [], 0
    for size in places:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])
    return [piece for piece in pieces if piece]


def text(data: bytes) -> str:
    """Any text at all, halves of characters included, from any bytes."""
    return data.decode("utf-8", "surrogateescape")
