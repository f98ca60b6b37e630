"""A process's own peak, whoever started it."""

import subprocess
import sys

from comity.mpyc_bridge.memory import peak_memory

ASKS = "from comity.mpyc_bridge.memory import peak_memory; print(peak_memory())"


def test_what_was_used_once_stays() -> None:
    before = peak_memory()
    used = bytearray(before)
    used[:] = b"x" * before
    assert peak_memory() > before
    after = peak_memory()
    del used
    assert peak_memory() == after


def test_a_large_process_does_not_make_its_children_large() -> None:
    held = bytearray(128 << 20)
    child = subprocess.run([sys.executable, "-P", "-c", ASKS], capture_output=True, check=True, text=True)
    assert int(child.stdout) < len(held) < peak_memory()
