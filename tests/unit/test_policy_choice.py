"""Choosing a policy: intervals that account for picking the best, and the same profits however many customers."""

import numpy as np
import pytest

from churnops.decision.choice import LabelledCustomers, Segments, choose
from churnops.decision.policy import DecisionPolicy
from churnops.decision.policy_text import advice
from churnops.decision.totals import Totals
from churnops.words import percent

POLICY = DecisionPolicy(threshold=0.5, cost=10.0, value=200.0, success_rate=0.25)


def customers(rows: int, seed: int, *, spread: bool = False) -> LabelledCustomers:
    """Return customers whose scores are exact, worth 200 each, or 200 on average."""
    random = np.random.default_rng(seed)
    score = random.beta(0.5, 3, rows)
    value = random.gamma(2.0, 100.0, rows) if spread else np.full(rows, 200.0)
    return LabelledCustomers((random.random(rows) < score).astype(float), score, value)


@pytest.mark.parametrize("spread", [False, True])
def test_the_interval_of_the_picked_policy_covers_its_true_profit(spread: bool):
    rows, cases = 400, 200
    everybody = np.sort(np.random.default_rng(0).beta(0.5, 3, 500_000))[::-1]
    brought = np.append(0.0, np.cumsum(everybody * 50.0 - 10.0)) * rows / everybody.size

    def true_profit(threshold: float) -> float:
        return float(brought[np.searchsorted(-everybody, -threshold, side="right")])

    policy = POLICY.model_copy(update={"value": "bill"}) if spread else POLICY
    covered = gains = 0
    for seed in range(cases):
        choice = choose(customers(rows, seed, spread=spread), policy, 0.5, confidence=0.95, seed=seed)
        assert choice.threshold is not None
        truth = true_profit(choice.threshold)
        covered += choice.best.low <= truth <= choice.best.high
        gains += choice.gain[1] <= truth - true_profit(0.5) <= choice.gain[2]
    assert covered >= 0.95 * cases
    assert gains >= 0.95 * cases


def test_totals_have_the_covariance_of_drawn_customers():
    random = np.random.default_rng(0)
    number, cell = random.normal(0.3, 1.0, 500), random.integers(0, 4, 500)
    groups = np.tri(4, dtype=np.bool_)
    made = Totals.of(number, cell, groups, confidence=0.95, seed=1)
    members = np.stack([np.isin(cell, np.flatnonzero(group)) * number for group in groups])
    np.testing.assert_allclose(made.value, members.sum(axis=1))
    np.testing.assert_allclose(np.cov(made.errors.T), np.cov(members) * 500, rtol=0.15)
    low, high = made.interval
    assert ((high - low) > 2 * 1.96 * members.std(axis=1) * np.sqrt(500)).all()  # wider than one interval alone


def test_the_best_point_of_the_curve_is_picked():
    known = customers(5_000, 1)
    choice = choose(known, POLICY, 0.5, confidence=0.95, seed=1)
    contacts = [point.contacts for point in choice.curve]
    assert contacts == sorted(contacts)
    assert (choice.nobody.contacts, choice.nobody.profit, choice.nobody.high) == (0, 0.0, 0.0)
    assert choice.everybody.contacts == 5_000
    assert choice.best.profit == max(point.profit for point in choice.curve)
    assert choice.threshold is not None
    chosen = known.score >= choice.threshold
    assert choice.best.contacts == chosen.sum()
    assert choice.best.profit == pytest.approx(50 * known.outcome[chosen].sum() - 10 * chosen.sum())
    assert choice.in_force.contacts == (known.score >= 0.5).sum()
    assert choice.gain[0] < choice.best.profit - choice.in_force.profit
    assert f"at least {percent(choice.threshold)}: " in advice(choice, POLICY)


def test_segments_add_up_and_unknown_levels_are_in_none():
    known = customers(1_000, 2)
    codes = np.arange(1_000) % 3 - 1
    choice = choose(known, POLICY, 0.5, Segments(["a", "b"], codes), confidence=0.95, seed=1)
    assert [(one.name, one.customers) for one in choice.segments] == [("a", 333), ("b", 333)]
    flagged = (known.score >= 0.5) & (codes == 0)
    assert choice.segments[0].contacts == flagged.sum()


def test_a_contact_that_never_pays_is_for_nobody():
    policy = DecisionPolicy(threshold=0.1, cost=100.0, value=200.0, success_rate=0.25)
    choice = choose(customers(2_000, 3), policy, 0.5, confidence=0.95, seed=1)
    assert (choice.best.contacts, choice.threshold) == (0, None)
    assert "Contact nobody" in advice(choice, policy)
