"""Every behaviour of the table, or those whose names hold one of the given texts, and what came of them.

python -m tests.attacks.malicious [TEXT]... [--jobs N] [--write docs/hostile-behaviours.md]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import sys
import tempfile
from pathlib import Path

from tests.attacks.malicious.behaviours import TABLE
from tests.attacks.malicious.report import page
from tests.attacks.malicious.running import Honest, Result, rendezvous, run
from tests.attacks.malicious.table import Behaviour

ROOT = Path(__file__).parents[3]


async def play(chosen: list[Behaviour]) -> None:
    """One after another in this process, since mallory is in it; each result is a line of JSON on stdout."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # what she leaves behind is of no interest
    with tempfile.TemporaryDirectory() as folder:
        async with rendezvous() as address:
            for number, behaviour in enumerate(chosen):
                result = await run(behaviour, Path(folder, str(number)), address)
                print(packed(result), flush=True)


async def share(chosen: list[Behaviour], jobs: int) -> list[Result]:
    """All of them, side by side in as many processes."""
    free = list(reversed(chosen))
    results: list[Result] = []

    async def work() -> None:
        while free:
            part = [free.pop() for _ in range(min(8, len(free)))]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.attacks.malicious", "--play", *(behaviour.name for behaviour in part)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            assert process.stdout is not None
            async for text in process.stdout:
                results.append(unpacked(text))
                print(line(results[-1]), flush=True)
            assert await process.wait() == 0

    await asyncio.gather(*(work() for _ in range(jobs)))
    return sorted(results, key=lambda result: TABLE.index(result.behaviour))


def packed(result: Result) -> str:
    return json.dumps({**dataclasses.asdict(result), "behaviour": result.behaviour.name})


def unpacked(text: str | bytes) -> Result:
    fields = json.loads(text)
    name = fields.pop("behaviour")
    fields["parties"] = [Honest(**party) for party in fields["parties"]]
    (behaviour,) = (behaviour for behaviour in TABLE if behaviour.name == name)
    return Result(behaviour, **fields)


def newest(file: Path, results: list[Result]) -> list[Result]:
    """All that the file has, these included."""
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(f"{packed(result)}\n" for result in results)
    names = {behaviour.name for behaviour in TABLE}
    lines_there = file.read_text(encoding="utf-8").splitlines()
    found = {r["behaviour"]: text for text in lines_there if (r := json.loads(text))["behaviour"] in names}
    return [unpacked(found[behaviour.name]) for behaviour in TABLE if behaviour.name in found]


def line(result: Result) -> str:
    codes = " ".join(str(party.code) for party in result.parties)
    messages = " | ".join(party.message for party in result.parties)
    sizes = f"{result.seconds:5.1f} s  {result.node >> 20:4d} {result.program >> 20:4d} MiB"
    text = f"{result.behaviour.name:50} {codes:8} {sizes}  {messages}"
    return f"{text}\n    WRONG: {result.wrong}" if result.wrong else text


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--play", action="store_true", help="exactly these, in this process")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.play:
        logging.disable()
        asyncio.run(play([behaviour for behaviour in TABLE if behaviour.name in options.names]))
        return 0
    names = options.names or [""]
    chosen = [behaviour for behaviour in TABLE if any(name in behaviour.name for name in names)]
    results = asyncio.run(share(chosen, options.jobs))
    wrong = [result for result in results if result.wrong]
    print(f"{len(results)} behaviours, {len(wrong)} not as they must be")
    if options.results:
        results = newest(options.results, results)
    if options.write:
        options.write.write_text(page(results), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
