"""The fuzzer's command: ./fuzz [SECONDS] [--target NAME]... [--jobs N]

Every target in turn, in rounds, each in a process of its own. What it finds is kept in fuzzing/work (inputs that reach
further; counts) and fuzzing/crashes. Seconds are of the processor, shared over the targets; a run that was ended goes
on with --resume.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from resource import struct_rusage

import fuzzing.targets  # noqa: F401  # fills TARGETS
from fuzzing import corpus
from fuzzing.target import TARGETS, Target

HERE = Path(__file__).parent
SLICE = 12.0
"""Seconds of the processor that a target has in one round for a share of 1."""
SHORTEST = 2.0
"""Seconds below which a slice is little but its start."""
ENOUGH = 5
"""Crashes of a target after which it is left out."""
STOPPED = (0, 72, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a worker that found nothing: at its end, or stopped (72 is libFuzzer's)."""

_MEMORY = re.compile(r"stat::peak_rss_mb: +(\d+)")
_STATUS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


@dataclass
class Result:
    """What a target has done in a run."""

    executions: int = 0
    seconds: float = 0.0  # of the processor
    coverage: int = 0  # edges, as libFuzzer counts them
    features: int = 0
    inputs: int = 0
    memory: int = 0  # MB at most, of the process
    crashes: list[str] = field(default_factory=list)  # what was raised, and the file of the input


class Run:
    """A run and its state, which is written after every slice."""

    def __init__(self, work: Path, resume: bool) -> None:
        self.work, self._path = work, work / "run.json"
        self.results: dict[str, Result] = {}
        if resume and self._path.exists():
            self.results = {name: Result(**value) for name, value in json.loads(self._path.read_text()).items()}

    def of(self, target: Target) -> Result:
        return self.results.setdefault(target.name, Result())

    @property
    def seconds(self) -> float:
        return sum(result.seconds for result in self.results.values())

    def save(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({name: asdict(result) for name, result in self.results.items()}, indent=1))
        draft.replace(self._path)


class Slice:
    """A target at work in a process of its own."""

    def __init__(self, run: Run, target: Target, seconds: float) -> None:
        self.target, self.seconds = target, seconds
        self._counter, self._log = run.work / f"{target.name}.count", run.work / f"{target.name}.log"
        command = [sys.executable, "-m", "fuzzing.worker", str(run.work), target.name]
        command += ["--seconds", f"{seconds:.1f}", "--seed", str(time.time_ns() % 2**31)]
        with self._log.open("w") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def end(self, run: Run, status: int, usage: struct_rusage) -> None:
        """Put down what it did. `status`: of the process, which is gone."""
        self.process.returncode = os.waitstatus_to_exitcode(status)
        result, text = run.of(self.target), self._log.read_text(errors="replace")
        if self._counter.exists():
            result.executions += int.from_bytes(self._counter.read_bytes(), sys.byteorder)
            self._counter.unlink()
        result.seconds += usage.ru_utime + usage.ru_stime
        if found := _STATUS.findall(text):
            result.coverage, result.features, result.inputs = map(int, found[-1])
        if took := _MEMORY.search(text):
            result.memory = max(result.memory, int(took[1]))
        if self.process.returncode not in STOPPED:
            result.crashes.append(_crash(self.target, self._log))
        run.save()


def _crash(target: Target, log: Path) -> str:
    """Say what happened and how to see it again."""
    text = log.read_text(errors="replace")
    what = re.search(r"Uncaught Python exception: ===\n(.*)", text)
    where = re.search(rf"written to (\S*{target.name}-\S+)", text)
    said = what[1] if what else text.strip().rpartition("\n")[2]
    again = f"./fuzz --target {target.name} --reproduce {where[1]}" if where else f"see {log}"
    print(f"\ncrash in {target.name}: {said}\n    {again}", flush=True)
    return f"{said} ({Path(where[1]).name if where else 'no input'})"


def fuzz(run: Run, targets: list[Target], seconds: float, jobs: int, show: Callable[[str], None]) -> None:
    """Until the run has had its seconds; whoever had least for its share is next, what crashes all the time is out."""
    each = min(SLICE, seconds / sum(target.share for target in targets))
    running = dict[int, Slice]()
    try:
        while True:
            left = seconds - run.seconds - sum(one.seconds for one in running.values())
            busy = {one.target.name for one in running.values()}
            ready = [t for t in targets if t.name not in busy and len(run.of(t).crashes) < ENOUGH]
            target = min(ready, key=lambda t: run.of(t).seconds / t.share, default=None)
            if target and len(running) < jobs and (left > 0 or not run.of(target).seconds):  # each has its turn
                one = Slice(run, target, max(SHORTEST, each * target.share))
                running[one.process.pid] = one
            elif running:
                show(progress(run, running.values(), seconds))
                pid, status, usage = os.wait4(-1, 0)
                running.pop(pid).end(run, status, usage)
            else:
                return
    finally:
        for pid, one in running.items():
            one.process.terminate()
            _, status, usage = os.wait4(pid, 0)
            one.end(run, status, usage)


def table(run: Run) -> str:
    rows = [("target", "executions", "a second", "edges", "features", "inputs", "MB", "crashes")]
    for name, r in run.results.items():
        rate = r.executions / r.seconds if r.seconds else 0
        reached = (str(r.coverage), str(r.features), str(r.inputs), str(r.memory))
        rows.append((name, f"{r.executions:,}", f"{rate:,.0f}", *reached, str(len(r.crashes))))
    total = sum(r.executions for r in run.results.values())
    found = sum(len(r.crashes) for r in run.results.values())
    rate = total / run.seconds if run.seconds else 0
    rows.append(("all", f"{total:,}", f"{rate:,.0f}", "", "", "", "", str(found)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{name:{widths[0]}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        for name, *cells in rows
    )


def progress(run: Run, running: Iterable[Slice], seconds: float) -> str:
    total = sum(result.executions for result in run.results.values())
    found = sum(len(result.crashes) for result in run.results.values())
    names = ", ".join(one.target.name for one in running)
    return f"{run.seconds:.0f} of {seconds:.0f} s, {total:,} executions, {found} crashes; now {names}"


def show(line: str) -> None:
    if sys.stdout.isatty():
        print(f"\r{line[:118]:118}", end="", flush=True)
    else:
        print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./fuzz", description="Fuzz every decoder with atheris.")
    parser.add_argument("seconds", nargs="?", type=float, default=300, help="of the processor, over all targets")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--resume", action="store_true", help="add to the counts of the last run")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run the target on one input")
    parser.add_argument("--keep", action="store_true", help="replace fuzzing/corpus by the best of what was found")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="where a run has its inputs and counts")
    said = parser.parse_args()
    targets = [TARGETS[name] for name in said.target or TARGETS]
    if said.reproduce:
        for target in targets:
            target.check(said.reproduce.read_bytes())
        print("nothing is wrong with it")
        return 0
    if said.keep:
        for target in targets:
            found = [path.read_bytes()[: target.size] for path in (said.work / target.name).glob("*")]
            print(f"{target.name}: {corpus.keep(target, [*corpus.kept(target), *found])} inputs")
        return 0
    said.work.mkdir(exist_ok=True)
    run = Run(said.work, said.resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        fuzz(run, targets, said.seconds, said.jobs, show)
    print("\n" + table(run))
    return 1 if any(result.crashes for result in run.results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
