"""Every behaviour of the table: `python -m tests.attacks.malicious [NAME…]`, `--write FILE` for the record of it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.attacks.malicious.behaviours import TABLE
from tests.attacks.malicious.running import Result, rendezvous, run


async def every(names: list[str], jobs: int) -> list[Result]:
    chosen = [behaviour for behaviour in TABLE if not names or any(name in behaviour.name for name in names)]
    free = asyncio.Semaphore(jobs)
    with tempfile.TemporaryDirectory() as folder:
        async with rendezvous() as address:

            async def one(number: int) -> Result:
                async with free:
                    result = await run(chosen[number], Path(folder, str(number)), address)
                    print(line(result), flush=True)
                    return result

            return await asyncio.gather(*map(one, range(len(chosen))))


def line(result: Result) -> str:
    codes = " ".join(str(party.code) for party in result.parties)
    messages = " | ".join(party.message for party in result.parties)
    sizes = f"{result.seconds:5.1f} s  {result.node >> 20:4d} {result.program >> 20:4d} MiB"
    text = f"{result.behaviour.name:40} {codes:8} {sizes}  {messages}"
    return f"{text}\n    WRONG: {result.wrong}" if result.wrong else text


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    results = asyncio.run(every(options.names, options.jobs))
    wrong = [result for result in results if result.wrong]
    print(f"{len(results)} behaviours, {len(wrong)} not as they must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
