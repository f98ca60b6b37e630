"""What a session costs beside plain MPyC: python -m benchmarks.session [--compiled] [BLOCKS] [PROGRAM ...]

Three parties on this machine, in each block every arm once in a shuffled order: plain MPyC, plain again (the A/A arm:
what chance alone does), MPyC's own --ssl, and a session by `comity host` and `comity join`. All with uvloop and the
same PRSS keys; the time is the program's own, from the end of its start-up, of its slowest party. Ratios are taken
within a block; shown are medians with 95 % bootstrap intervals. Also shown: a session's phases and memory.
`--compiled` runs all of it in .venv-compiled, with compiled links, and makes that first.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks import certificates
from benchmarks.ratios import show
from tests.sessions.parties import stage

from comity.core.record import Record, parse
from comity.links import COMPILED

FOLDER = Path(__file__).parent / "programs"
PROGRAMS = {"santa": ("santa.py", "8", "3"), "arrays": ("arrays.py", "256", "10")}
ARMS = ("plain", "plain again", "ssl", "session")
M = 3
SEED = "4711"


@dataclass(frozen=True)
class Result:
    seconds: float
    cpu: float
    memory: int
    output: str
    records: tuple[Record, ...] = ()


def read(outputs: list[str], records: tuple[Record, ...] = ()) -> Result:
    """Of all parties together: the slowest's time, the sum of the CPU's, the largest's memory."""
    figures = [[float(x) for x in out.rpartition("TOOK ")[2].split()] for out in outputs]
    said = {out.rpartition("TOOK ")[0] for out in outputs}
    if len(said) != 1:
        raise SystemExit("the parties' outputs differ")
    seconds, cpu, memory = zip(*figures, strict=True)
    return Result(max(seconds), sum(cpu), int(max(memory)), said.pop(), records)


def free_port() -> int:
    """The first of M ports in a row that nobody uses."""
    while True:
        port = random.randrange(20000, 30000)
        try:
            for i in range(M):
                socket.create_server(("127.0.0.1", port + i)).close()
        except OSError:
            continue
        return port


def plain(program: tuple[str, ...], folder: Path, *options: str) -> Result:
    port = free_port()
    environ = {**os.environ, "PYTHONHASHSEED": SEED}
    name, *arguments = program
    mpyc = (f"-M{M}", f"-B{port}", "--no-log", *options)
    command = [sys.executable, str(FOLDER / name), *mpyc]
    parties = [
        subprocess.Popen([*command, f"-I{i}", *arguments], cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)
        for i in range(M)
    ]
    return read([party.communicate(timeout=300)[0] for party in parties])


async def session(program: tuple[str, ...], folder: Path) -> Result:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        async with stage(Path(home)) as s:
            record = Path(home) / "records"
            options = ["--verify", "link", "--no-input", "--record", str(record)]
            await s.session(*program, own=True, cwd=FOLDER, host=options, join=options)
            if any(await s.ends()):
                raise SystemExit(f"a session failed: {[party.events[-1] for party in s.parties]}")
            records = tuple(parse(line) for line in record.read_text().splitlines())
            return read([party.output for party in s.parties], records)


def run(arm: str, program: tuple[str, ...], folder: Path) -> Result:
    if arm == "session":
        return asyncio.run(session(program, folder))
    return plain(program, folder, *(("--ssl",) if arm == "ssl" else ()))


def measure(name: str, blocks: int, folder: Path) -> None:
    program = PROGRAMS[name]
    results: dict[str, list[Result]] = {arm: [] for arm in ARMS}
    shuffle = random.Random(0)
    for block in range(blocks):
        for arm in shuffle.sample(ARMS, len(ARMS)):
            results[arm].append(run(arm, program, folder))
        print(f"\r{name}: block {block + 1} of {blocks}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if len({result.output for arm in ARMS for result in results[arm]}) != 1:
        raise SystemExit("the arms' outputs differ")
    kind = "compiled" if COMPILED else "not compiled"
    print(f"{' '.join(program)}, {M} parties, {blocks} blocks, {kind}: seconds; ratio to plain of time and CPU; memory")
    for arm in ARMS:
        mine, base = results[arm], results["plain"]
        time = show([a.seconds / b.seconds for a, b in zip(mine, base, strict=True)])
        cpu = show([a.cpu / b.cpu for a, b in zip(mine, base, strict=True)])
        seconds, memory = statistics.median(r.seconds for r in mine), statistics.median(r.memory for r in mine)
        print(f"  {arm:12} {seconds:6.3f} s  time {time}  cpu {cpu}  {memory / 1e6:5.0f} MB")
    other = show([a.seconds / b.seconds for a, b in zip(results["session"], results["ssl"], strict=True)])
    print(f"  session to ssl: time {other}")
    _phases([record for result in results["session"] for record in result.records])


def _phases(records: list[Record]) -> None:
    """From everybody's join to MPyC's links is what a session adds before the first byte, people aside."""
    hosts = [record for record in records if record.party == 0]
    setups = [record.phases["connected"] - record.phases["joined"] for record in hosts]
    joins = [record.phases["joined"] for record in records if record.party == M - 1]
    node = statistics.median(record.node_memory for record in records) / 1e6
    print(
        f"  set-up: the last joiner's command to the roster {statistics.median(joins):.2f} s; the roster to every link"
        f" {statistics.median(setups):.2f} s (worst {max(setups):.2f}); a node's memory {node:.0f} MB\n"
    )


def compiled(arguments: list[str]) -> NoReturn:
    root = FOLDER.parents[1]
    made = subprocess.run(["bash", "-c", ". tools/setup.sh && make_compiled"], cwd=root, check=False)
    if made.returncode:
        sys.exit(made.returncode)  # it has said why
    python = str(root / ".venv-compiled/bin/python")
    os.execv(python, [python, "-m", "benchmarks.session", *arguments])  # noqa: S606  # no shell, on purpose


def main(arguments: list[str]) -> None:
    if "--compiled" in arguments:
        compiled([argument for argument in arguments if argument != "--compiled"])
    blocks = int(arguments[0]) if arguments else 30
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder:
        certificates.write(Path(folder) / ".config", M)
        for name in arguments[1:] or PROGRAMS:
            measure(name, blocks, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
