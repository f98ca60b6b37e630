"""docs/hostile-behaviours.md, from the results of a whole run."""

from __future__ import annotations

from tests.attacks.malicious.running import Result

HEAD = """# Hostile behaviours
"""


def page(results: list[Result]) -> str:
    return HEAD
