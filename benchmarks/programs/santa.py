"""Secret Santa as in the demo, several times: many rounds of small messages."""

import sys

from mpyc.runtime import mpc
from timed import timed


async def work():
    secint = mpc.SecInt(16)
    for _ in range(int(sys.argv[2])):
        for n in range(2, int(sys.argv[1]) + 1):
            print(await mpc.output(mpc.random.random_derangement(secint, n)))


mpc.run(timed(work))
