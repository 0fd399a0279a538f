"""Profit, thresholds and resamples equal those of counting customers one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churnops.decision.profit import Offer, Ranking, Resamples, advice, propose
from churnops.evaluation.metrics import resampling_counts


@st.composite
def customers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and scores, with ties, zeros, ones and neighbours that differ in the last bit."""
    score = st.one_of(
        st.sampled_from([0.0, 0.1, 0.3, 0.30711, 0.5, 1.0, np.nextafter(0.5, 0), np.nextafter(1, 0), 5e-324]),
        st.floats(0, 1),
    )
    rows = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=1, max_size=40))
    return np.array([outcome for outcome, _ in rows]), np.array([score for _, score in rows])


# Whole costs and values, and shares of them that binary fractions hold: sums are exact in any order.
offers = st.builds(Offer, st.integers(0, 50), st.integers(0, 400), st.sampled_from([0.0, 0.125, 0.5, 0.75, 1.0]))
thresholds = st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.0]))


def brute_force(outcome: np.ndarray, score: np.ndarray, offer: Offer, threshold: float) -> float:
    """Add up what each contacted customer brings."""
    profit = 0.0
    for left, probability in zip(outcome, score, strict=True):
        if probability >= threshold:
            profit += (offer.success * offer.value if left else 0.0) - offer.cost
    return profit


@given(customers(), offers)
def test_profit_at_a_threshold_is_the_sum_over_contacted_customers(rows, offer):
    ranking = Ranking.of(*rows)

    profit = offer.profit(ranking.contacted, ranking.churned)

    assert profit.tolist() == [brute_force(*rows, offer, threshold) for threshold in ranking.thresholds]


@given(customers(), offers, thresholds)
def test_any_threshold_contacts_the_customers_of_its_looked_up_one(rows, offer, threshold):
    outcome, score = rows
    ranking = Ranking.of(outcome, score)
    position = ranking.at(threshold)

    assert ranking.contacted[position] == (score >= threshold).sum()
    assert ranking.churned[position] == outcome[score >= threshold].sum()
    assert offer.profit(ranking.contacted, ranking.churned)[position] == brute_force(*rows, offer, threshold)


@given(customers(), offers)
def test_no_threshold_beats_the_best_and_no_equal_one_contacts_fewer(rows, offer):
    ranking = Ranking.of(*rows)
    best = ranking.best(offer)
    profits = [brute_force(*rows, offer, threshold) for threshold in ranking.thresholds]

    assert profits[best] == max(profits)
    assert all(profit < profits[best] for profit in profits[best + 1 :])


@given(customers(), offers)
def test_the_proposed_setting_contacts_exactly_the_best_customers(rows, offer):
    outcome, score = rows
    ranking = Ranking.of(outcome, score)
    for position in range(ranking.thresholds.size):
        setting = ranking.setting(position)
        if setting is not None:
            assert 0 < setting < 1
            assert ranking.at(setting) == position
            assert np.array_equal(score >= setting, score >= ranking.thresholds[position])


@given(customers())
def test_a_setting_is_missing_only_if_no_number_in_0_to_1_would_do(rows):
    ranking = Ranking.of(*rows)
    for position, threshold in enumerate(ranking.thresholds):
        below = ranking.thresholds[position - 1] if position else 0.0
        if ranking.setting(position) is None:
            assert threshold == 0.0 or below >= np.nextafter(1.0, 0.0)


@given(customers(), st.floats(0, 1))
def test_the_share_reached_is_that_of_the_highest_scored_customers(rows, share):
    outcome, score = rows
    ranking = Ranking.of(outcome, score)
    if outcome.sum() == 0:
        assert np.isnan(ranking.reached(share))
        return
    for threshold in np.unique(score):
        contacted = score >= threshold
        reached = ranking.reached(contacted.mean())
        assert np.isclose(reached, outcome[contacted].sum() / outcome.sum(), rtol=1e-12)
    assert 0 <= ranking.reached(share) <= 1
    assert ranking.reached(0.0) == 0
    assert ranking.reached(1.0) == 1


@given(customers(), offers, st.integers(0, 1000))
def test_a_resample_is_the_ranking_of_the_customers_that_were_drawn(rows, offer, seed):
    outcome, score = rows
    ranking = Ranking.of(outcome, score)
    resamples = Resamples.of(outcome, score, replicates=5, seed=seed)
    drawn = np.concatenate(list(resampling_counts(score.size, 5, seed=seed))).astype(int)
    best = resamples.best(offer)
    for replicate, counts in enumerate(drawn):
        again = np.repeat(outcome, counts), np.repeat(score, counts)
        profits = [brute_force(*again, offer, threshold) for threshold in ranking.thresholds]
        found = offer.profit(resamples.contacted[replicate], resamples.churned[replicate])
        assert found.tolist() == profits
        assert best[replicate] == len(profits) - 1 - int(np.argmax(profits[::-1]))


@given(customers(), offers, st.floats(0.01, 0.99), st.integers(0, 1000))
def test_a_proposal_holds_together_whatever_the_customers(rows, offer, threshold, seed):
    ranking = Ranking.of(*rows)
    found = propose(ranking, Resamples.of(*rows, replicates=20, seed=seed), offer, threshold, 0.95)

    assert found.profit[found.best] >= found.profit[found.deployed]
    assert found.gain.low <= found.gain.value <= found.gain.high
    assert found.gain.value <= found.profit[found.best] - found.profit[found.deployed] + 1e-9
    assert advice(found)
