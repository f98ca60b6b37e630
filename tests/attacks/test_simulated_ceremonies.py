"""With check words of 8 bits the best that mallory can do is to be lucky; thousands of ceremonies a strategy:
python -m tools.simulate_ceremonies."""

import random

import pytest
from tests.attacks.gambler import STRATEGIES
from tests.attacks.weakened import CONTROLS, Control
from tools.simulate_ceremonies import BITS, interval, play, play_weakened

TRIES = 40
RARE = 1e-6
"""Seeds are fixed, and a change of any message makes other words: so few runs may fail for want of luck."""


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_cheat_succeeds_by_luck_alone_and_nothing_is_tried_again(name: str) -> None:
    tally = play(STRATEGIES[name], TRIES, random.Random(name))
    low, high = interval(tally.alike, tally.tries, 1 - RARE)
    assert tally.tries == TRIES and tally.again == 0
    assert low <= STRATEGIES[name].chance(2**-BITS) <= high
    assert tally.deceived <= tally.alike


def test_luck_is_followed_to_the_end() -> None:
    """With one bit: half of the tries succeed, and then two people hold different sessions."""
    tally = play(STRATEGIES["looks"], TRIES, random.Random(0), bits=1)
    low, high = interval(tally.alike, TRIES, 1 - RARE)
    assert low <= 0.5 <= high and tally.deceived == tally.alike > 0


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.title)
def test_the_same_cheat_wins_against_a_ceremony_that_is_weaker(control: Control) -> None:
    tally = play_weakened(control, control.quick + 1, random.Random(1))
    assert tally.deceived >= control.quick
    assert bool(tally.again) == (control.ceremony is not Control.ceremony)  # each of these says something twice
