"""Corpora: inputs that reach each part of the decoders, few and small, one text file for each target.

A line is one input in base64, in order. The seeds that a target makes itself are not among them.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import comity
from fuzzing.target import Target

FOLDER = Path(__file__).parent / "corpus"
SOURCE = str(Path(comity.__file__).parent)

Step = tuple[str, int, int, int]
"""From one line of a module to another, and about how often: the number of bits of the number of times."""


def kept(target: Target) -> list[bytes]:
    path = FOLDER / f"{target.name}.txt"
    return [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []


def everything(target: Target) -> list[bytes]:
    """The target's seeds and what is kept, once each."""
    return list(dict.fromkeys([*(seed[: target.size] for seed in target.seeds()), *kept(target)]))


def keep(target: Target, inputs: Iterable[bytes]) -> int:
    """Replace what is kept by as few of these as reach, beyond the seeds, all that these reach; returns how many."""
    reached = set[Step]()
    for seed in target.seeds():
        reached |= steps(target, seed[: target.size])
    chosen = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        found = steps(target, data)
        if found - reached:
            reached |= found
            chosen.append(data)
    lines = sorted(base64.b64encode(data).decode() for data in chosen)
    path = FOLDER / f"{target.name}.txt"
    path.unlink(missing_ok=True)
    if lines:
        path.write_text("".join(f"{line}\n" for line in lines))
    return len(chosen)


def steps(target: Target, data: bytes) -> set[Step]:
    """Which steps of comity's modules an input takes."""
    times = Counter[tuple[str, int, int]]()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(SOURCE):
            return None
        before = -frame.f_code.co_firstlineno

        def step(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            times[name, before, frame.f_lineno] += 1
            before = frame.f_lineno
            return step

        return step

    others = sys.gettrace()  # that of a debugger, or of what measures coverage
    sys.settrace(enter)
    try:
        target.check(data)
    finally:
        sys.settrace(others)
    return {(*step, count.bit_length()) for step, count in times.items()}


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """As files, which libFuzzer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)  # noqa: S324  # libFuzzer's names
