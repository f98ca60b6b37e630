import pytest
from tools.simulate_ceremonies import below, interval


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    assert interval(0, 10, 0.95) == pytest.approx((0, 1 - 0.025**0.1))
    assert interval(10, 10, 0.95) == pytest.approx((0.025**0.1, 1))
    assert interval(5, 20, 0.95) == pytest.approx((0.08657, 0.49105), abs=1e-5)
    low, high = interval(40, 10_000)
    assert below(40, 10_000, high) == pytest.approx(0.005) == 1 - below(39, 10_000, low)
