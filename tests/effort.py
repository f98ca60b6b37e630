"""How long the searches of the tests are: COMITY_EFFORT=20 makes them twenty times as long as ./check does."""

import os

import pytest

EFFORT = int(os.environ.get("COMITY_EFFORT", "1"))

patient = pytest.mark.timeout(60 + 60 * EFFORT)
"""For a test that searches: it has its own time, on a busy machine too."""


def examples(usual: int) -> int:
    return usual * EFFORT
