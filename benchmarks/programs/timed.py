"""What both benchmark programs share: the same PRSS keys in every run, and the program's own time."""

import hashlib
import resource
import time

from mpyc.runtime import mpc


def same_keys():
    """Fixed PRSS keys, so that every run draws the same: insecure, for measurements only."""
    for subset in list(mpc._prss_keys):
        mpc._prss_keys[subset] = hashlib.sha256(repr(subset).encode()).digest()[:16]
    mpc.prfs.cache_clear()


async def timed(work):
    """Runs `work` between start and shutdown and prints seconds, CPU seconds and peak memory in bytes."""
    await mpc.start()
    same_keys()
    await mpc.transfer(None)  # everybody is here
    began, cpu = time.perf_counter(), time.process_time()
    await work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    await mpc.shutdown()
    print("TOOK", seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
