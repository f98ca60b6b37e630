"""A * A of secure integers with its output, several times: few rounds of large messages."""

import sys

import numpy as np
from mpyc.runtime import mpc
from timed import timed


async def work():
    size = int(sys.argv[1])
    secint = mpc.SecInt(32)
    values = np.arange(size * size).reshape(size, size) % 1009
    a = mpc.input(secint.array(values), senders=0)
    for _ in range(int(sys.argv[2])):
        print(int((await mpc.output(a * a)).sum()))


mpc.run(timed(work))
