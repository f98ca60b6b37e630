"""A lab that somebody kills: says `up` once a command runs there, and waits."""

import asyncio
import sys

from comity.core.topology import parse
from comity.lab.namespaces import lab

TEXT = """
[rtt]
here = [1]

[nats.plain]

[sites.home]
region = "here"
nats = ["plain"]

[hosts.ann]
site = "home"

[hosts.meet]
region = "here"
"""


async def main() -> None:
    async with lab(parse(TEXT, "held")) as made:
        job = await made.start("ann", ["sh", "-c", "echo up; sleep 1000 & setsid sleep 1000 & wait"], files=(0, 1, 2))
        await job.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
