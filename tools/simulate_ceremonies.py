"""How often cheats get through with check words of a few bits: python -m tools.simulate_ceremonies [CEREMONIES] [SEED]

Plays the strategies of tests/attacks/gambler.py, CEREMONIES of each (3000 when left out), and prints the table that
stands in docs/known-weaknesses.md. A strategy gets through when two honest people see the same words in different
sessions. The interval is that of Clopper and Pearson: exact, for independent tries. Exit code 1 when the chance lies
outside, when a node tried again by itself, or when a weaker ceremony held.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import islice
from math import exp, lgamma, log, log1p

from tests.attacks.gambler import STRATEGIES, Strategy, Try, World, short_words
from tests.attacks.weakened import CONTROLS, Control

BITS = 8
CONFIDENCE = 0.99
ALMOST_ALWAYS = 0.8
"""The share that a control must reach: a nonce that is used again cannot be known the first time."""


def below(successes: int, tries: int, chance: float) -> float:
    """The probability of at most so many successes."""
    if chance <= 0 or successes >= tries:
        return 1.0
    if chance >= 1:
        return 0.0
    return sum(
        exp(lgamma(tries + 1) - lgamma(k + 1) - lgamma(tries - k + 1) + k * log(chance) + (tries - k) * log1p(-chance))
        for k in range(successes + 1)
    )


def interval(successes: int, tries: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's: the chances under which neither so few nor so many successes are too rare."""
    tail = (1 - confidence) / 2
    low = 0.0 if not successes else _where(lambda chance: 1 - below(successes - 1, tries, chance) > tail)
    high = 1.0 if successes == tries else _where(lambda chance: below(successes, tries, chance) < tail)
    return low, high


def _where(above: Callable[[float], bool]) -> float:
    """The chance from which on it holds, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Tally:
    tries: int
    alike: int  # tries in which two honest people saw the same words in different sessions
    deceived: int  # of these, tries in which both then held a session
    again: int  # what nodes tried once more without a person

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.alike, self.tries)


def play(strategy: Strategy, tries: int, rng: random.Random, bits: int = BITS) -> Tally:
    with short_words(bits):
        return _tally(list(islice(strategy.play(World(rng)), tries)))


def play_weakened(control: Control, tries: int, rng: random.Random) -> Tally:
    with short_words(control.bits), control.weakened():
        return _tally(list(islice(control.play(control.world(rng)), tries)))


def _tally(tries: list[Try]) -> Tally:
    return Tally(len(tries), *(sum(getattr(one, name) for one in tries) for name in ("alike", "deceived", "again")))


def main(tries: int = 3000, seed: int = 1) -> bool:
    """Print the tables; whether all is as it should be."""
    good, lucky = True, 2**-BITS
    pooled = Tally(0, 0, 0, 0)  # of those that can only be lucky once
    print(f"| what mallory does | reveals | same words | 99 % interval | chance with {BITS} bits | second tries |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, strategy in STRATEGIES.items():
        tally = play(strategy, tries, random.Random(f"{seed} {name}"))
        low, high = tally.interval
        chance = strategy.chance(lucky)
        if chance == lucky:
            pooled += tally
        good &= low <= chance <= high and not tally.again
        print(
            f"| {strategy.title} | {tally.tries} | {tally.alike} | {low:.5f} to {high:.5f} | {chance:.5f} "
            f"| {tally.again} |",
            flush=True,
        )
    low, high = pooled.interval
    good &= low <= lucky <= high
    print(f"\n{pooled.alike} of {pooled.tries} with a chance of 1/{2**BITS}: {low:.5f} to {high:.5f}")
    print("\n| against a ceremony that is weaker | reveals | got through |")
    print("|---|---|---|", flush=True)
    for control in CONTROLS:
        tally = play_weakened(control, max(1, min(100, tries // 20)), random.Random(seed))
        good &= tally.deceived >= ALMOST_ALWAYS * tally.tries
        print(f"| {control.title} | {tally.tries} | {tally.deceived} |", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
