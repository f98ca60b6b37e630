"""How a child of the node is started: the same for the probe and for the program's process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SCRUBBED = ("MPYC_", "PYTHON", "READTHEDOCS")
"""MPyC's switches, the interpreter's, and the variable that makes MPyC skip its set-up: in these honest parties could
differ without seeing it."""


def child_environment(hash_seed: int) -> dict[str, str]:
    """The environment of a child. `hash_seed`, 32 bits and the same for all parties, fixes the order of sets.

    MPyC must not set uvloop's policy: the loop is ours.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SCRUBBED)}
    return {**kept, "PYTHONHASHSEED": str(hash_seed), "MPYC_NOUVLOOP": "1"}


def child_command(module: str) -> list[str]:
    """The argument list that runs a module of ours; -P keeps files of the current folder from standing in for it."""
    return [sys.executable, "-P", "-m", module]


@contextmanager
def shielded() -> Iterator[None]:
    """A child started in here does not hear the terminal's Ctrl-C until it unblocks SIGINT: its interpreter would end
    with a traceback while it starts. This process hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
