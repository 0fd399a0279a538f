"""Churn rates of a split's arms, and their difference."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churnops.experiments.rates import LEVEL, rate_difference, rate_interval


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_interval_has_the_rate_and_is_symmetric(churned: int, stayed: int):
    low, high = rate_interval(churned, churned + stayed)
    other_low, other_high = rate_interval(stayed, churned + stayed)

    assert 0.0 <= low <= high <= 1.0
    assert np.allclose([low, high], [1 - other_high, 1 - other_low], atol=1e-5)
    if churned + stayed:
        assert low - 1e-5 <= churned / (churned + stayed) <= high + 1e-5


def test_intervals_miss_at_most_as_often_as_promised():
    generator = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        churned = np.cumsum(generator.random(500) < 0.2)
        looks = (rate_interval(int(churned[n - 1]), n) for n in range(20, 501, 40))
        missed += any(not low <= 0.2 <= high for low, high in looks)

    assert missed <= 200 * LEVEL


def test_equal_arms_differ_at_most_as_often_as_promised():
    generator = np.random.default_rng(4)
    wrong = 0
    for _ in range(300):
        arm, churned = generator.random(4000) < 0.2, generator.random(4000) < 0.15
        looks = (rate_difference(arm[:n], churned[:n], 0.2) for n in range(200, 4001, 200))
        wrong += any(look is not None and (look.low > 0 or look.high < 0) for look in looks)

    assert wrong <= 300 * LEVEL


def test_a_difference_names_the_outcomes_that_it_needs():
    generator = np.random.default_rng(5)
    arm = generator.random(40_000) < 0.5
    churned = generator.random(40_000) < np.where(arm, 0.12, 0.15)
    early, late = (rate_difference(arm[:n], churned[:n], 0.5) for n in (2_000, 40_000))

    assert early is not None
    assert late is not None
    assert early.low < -0.03 < early.high
    assert early.labels_needed is None or early.labels_needed > 0
    assert late.high < 0
    assert late.labels_needed is None
    assert rate_difference(arm[:1], churned[:1], 0.5) is None
