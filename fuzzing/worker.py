"""Targets under atheris, each in a process of its own: python -m fuzzing.worker FOLDER NAME... [options]

FOLDER/NAME holds the target's inputs as files; new ones that reach further are added. Only modules of comity are
instrumented. An input that takes LONGEST seconds of the processor, or much memory, is a finding. libFuzzer knows only
one run in a process and ends it; so for several, this one imports everything once, and each runs in a copy.
"""

from __future__ import annotations

import argparse
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import atheris

with atheris.instrument_imports(include=["comity"]):
    import fuzzing.targets  # noqa: F401  # fills TARGETS
    from fuzzing import corpus
    from fuzzing.target import TARGETS, Target
CRASHES = Path(__file__).parent / "crashes"
TICK = 0.5
"""Seconds of the processor between two looks at what goes on."""
LONGEST = 2.0
"""Seconds of the processor for one input; the slowest honest one takes some milliseconds."""
MEMORY = 1 << 30
"""Bytes that one input may take beyond what is in use at the start."""


class TooSlow(BaseException):
    """One input has taken too long; not an Exception, so that nothing under test swallows it."""


class Watch:
    """Counts executions, in a file that outlives this process; looks at the time, and ends the run when it is over."""

    def __init__(self, counter: Path, seconds: float) -> None:
        counter.write_bytes(bytes(8))
        with counter.open("r+b") as file:
            self.count: Any = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        self._seconds = seconds
        self._seen, self._alike = -1, 0

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, TICK, TICK)

    def _tick(self, number: int, frame: FrameType | None) -> None:
        count = self.count[0]
        self._alike = self._alike + 1 if count == self._seen else 0
        self._seen = count
        if self._alike * TICK > LONGEST:
            raise TooSlow(f"one input has taken more than {LONGEST:g} s")
        if self._seconds and time.process_time() > self._seconds:
            os.kill(os.getpid(), signal.SIGUSR1)  # libFuzzer ends in good order


def fuzz(target: Target, said: argparse.Namespace) -> None:
    """Does not return: libFuzzer ends the process."""
    watch = Watch(said.folder / f"{target.name}.count", said.seconds)
    count, check = watch.count, target.check

    def run(data: bytes) -> None:
        count[0] += 1
        check(data)

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, resource.RLIM_INFINITY))
    options = {
        "runs": len(corpus.everything(target)) + target.fresh if said.fresh else -1,
        "seed": said.seed,
        "max_len": target.size,
        "timeout": 10**6,  # none: the watch has its own, which stands still when this process does
        "rss_limit_mb": 4 * MEMORY >> 20,  # the limit above comes first
        "reload": 0,
        "print_final_stats": 1,
        "artifact_prefix": f"{said.crashes}/{target.name}-",
    }
    said.crashes.mkdir(exist_ok=True)
    corpus.unpack(corpus.everything(target), said.folder / target.name)
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(said.folder / target.name)], run)
    watch.start()
    atheris.Fuzz()


def main(targets: Iterable[Target] | None = None) -> int:
    """The number of targets that found something. `targets`: in place of those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--fresh", action="store_true", help="as many executions as the target says; else until killed")
    parser.add_argument("--seconds", type=float, default=0, help="of the processor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crashes", type=Path, default=CRASHES)
    said = parser.parse_args()
    targets = list(targets or (TARGETS[name] for name in said.names))
    if len(targets) == 1:
        fuzz(targets[0], said)
    found = 0
    for target in targets:
        sys.stdout.flush()
        process = os.fork()
        if not process:
            fuzz(target, said)
        _, status = os.waitpid(process, 0)
        found += os.waitstatus_to_exitcode(status) != 0
    return found


if __name__ == "__main__":
    sys.exit(main())
