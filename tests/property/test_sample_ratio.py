"""The sample-ratio test and the assignment of arms, for any numbers and ids."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom

from churnops.experiments.assignment import arm_of, challengers, draw
from churnops.experiments.sample_ratio import CUSTOMERS, LEVEL, judge_ratio, log_evidence

shares = st.floats(0.01, 0.99)
experiments = st.integers(1, 2**40)


@given(experiments, shares, st.lists(st.none() | st.text(max_size=5), max_size=20))
def test_many_customers_get_the_arms_that_each_gets_alone(experiment: int, share: float, ids: list[str | None]):
    alone = [arm_of(experiment, share, id_) == "challenger" for id_ in ids]

    assert challengers(experiment, share, ids).tolist() == alone
    assert not any(challengers(experiment, 0.0, ids))


@given(experiments, st.text(min_size=1), shares, shares)
def test_a_larger_share_keeps_the_customers_of_a_smaller_one(experiment: int, customer: str, one: float, other: float):
    low, high = sorted((one, other))

    assert arm_of(experiment, low, customer) == "champion" or arm_of(experiment, high, customer) == "challenger"
    assert 0.0 <= draw(experiment, customer) < 1.0


def test_arms_never_change_between_versions():
    places = [round(draw(experiment, id_), 12) for experiment, id_ in ((1, "C-1"), (1, "é"), (2, "C-1"), (2**40, "0"))]

    assert places == [0.656026864447, 0.505737976775, 0.32294287013, 0.84872819089]


def test_the_arms_of_two_experiments_are_independent():
    ids = [f"C-{number}" for number in range(20_000)]
    one, other = (challengers(experiment, 0.3, ids) for experiment in (1, 2))

    assert abs(one.mean() - 0.3) < 0.015
    assert abs((one & other).mean() - 0.09) < 0.01


@given(shares, st.integers(1, 300))
def test_the_evidence_of_planned_shares_is_a_martingale(share: float, count: int):
    challenger = np.arange(count + 1)

    expected = np.exp(log_evidence(count - challenger, challenger, share)) @ binom.pmf(challenger, count, share)

    assert np.isclose(expected, 1.0)


def test_the_evidence_is_the_mixture_of_likelihoods():
    a, b = CUSTOMERS * 0.8, CUSTOMERS * 0.2

    def ratio(p: float) -> float:
        return float(beta.pdf(p, b, a) * (p / 0.2) ** 30 * ((1 - p) / 0.8) ** 70)

    assert np.isclose(float(np.exp(log_evidence(70, 30, 0.2))), quad(ratio, 0, 1, points=[0.2])[0])


def test_a_lost_part_of_an_arm_is_a_mismatch():
    assert judge_ratio(10_000, 10_000, 0.5).p_value == 1.0
    assert not judge_ratio(0, 0, 0.2).mismatch
    assert judge_ratio(10_000, 9_200, 0.5).p_value < LEVEL
