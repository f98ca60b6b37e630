"""Medians and intervals of paired ratios."""

from __future__ import annotations

import random
import statistics

DRAWS = 2000


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the ends of its 95 % interval by bootstrap."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return statistics.median(ratios), medians[DRAWS // 40], medians[-DRAWS // 40 - 1]


def show(ratios: list[float]) -> str:
    median, low, high = interval(ratios)
    return f"{median:5.3f} [{low:.3f}, {high:.3f}]"
