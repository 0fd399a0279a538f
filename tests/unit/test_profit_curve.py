"""The page's advice for an offer."""

import numpy as np
import pytest

from churnops.decision.profit import Offer, Proposal, Ranking, Resamples, advice, propose


def a_proposal(offer: Offer, threshold: float = 0.5, rows: int = 4000, seed: int = 1) -> Proposal:
    """Propose for customers whose scores are their true probabilities of leaving."""
    generator = np.random.default_rng(seed)
    score = generator.random(rows)
    outcome = generator.random(rows) < score
    resamples = Resamples.of(outcome, score, replicates=200, seed=seed)
    return propose(Ranking.of(outcome, score), resamples, offer, threshold, 0.95)


def test_a_far_threshold_is_advised_to_move_to_about_break_even():
    found = a_proposal(Offer(cost=10, value=100, success=0.5))  # pays from 0.2 on

    sentence = advice(found)

    assert found.setting == pytest.approx(0.2, abs=0.08)
    assert found.gain.low > 0
    assert sentence.startswith(f"Use the threshold {found.setting:.2f}")
    assert "more per 1,000 customers than the threshold 0.5 in force" in sentence


def test_a_gain_that_may_be_chance_changes_nothing():
    found = a_proposal(Offer(cost=10, value=100, success=0.5), threshold=0.21)

    assert found.best != found.deployed
    assert found.gain.low <= 0
    assert advice(found).startswith(
        "Keep the threshold 0.21 in force: another threshold has the highest profit on these customers"
    )


def test_an_offer_that_costs_more_than_it_brings_is_not_to_be_made():
    found = a_proposal(Offer(cost=100, value=10, success=0.5))

    assert found.contacted(found.best) == 0
    assert advice(found).startswith("Do not make this offer: it costs more")


def test_an_offer_much_cheaper_than_its_gain_is_for_everybody():
    outcome, score = np.ones(300), np.repeat([0.2, 0.4, 0.6], 100)
    resamples = Resamples.of(outcome, score, replicates=50, seed=1)
    found = propose(Ranking.of(outcome, score), resamples, Offer(1, 100, 1), 0.5, 0.95)

    assert found.setting == 0.1
    assert advice(found).endswith("That is everybody: the offer is cheap compared with its value.")


def test_everybody_has_no_threshold_where_a_score_is_0():
    outcome, score = np.ones(300), np.repeat([0.0, 0.2], 150)
    resamples = Resamples.of(outcome, score, replicates=50, seed=1)
    found = propose(Ranking.of(outcome, score), resamples, Offer(1, 100, 1), 0.5, 0.95)

    assert found.setting is None
    assert advice(found).startswith("Contact everybody: this is expected to bring 99,000 more per 1,000 customers")


def test_the_deployed_threshold_stays_where_no_other_is_better():
    outcome, score = np.repeat([0, 1], 200), np.repeat([0.1, 0.9], 200)
    resamples = Resamples.of(outcome, score, replicates=50, seed=1)
    found = propose(Ranking.of(outcome, score), resamples, Offer(1, 100, 1), 0.5, 0.95)

    assert (found.gain.value, found.gain.low, found.gain.high) == (0, 0, 0)
    assert advice(found) == (
        "Keep the threshold 0.5 in force: no other threshold brings more. The expected profit is 49,500 per "
        "1,000 customers."
    )


def test_a_change_is_rarely_advised_at_the_best_threshold():
    offer = Offer(cost=10, value=100, success=0.5)  # pays from 0.2 on, and 0.2 is deployed

    advised = sum(a_proposal(offer, 0.2, rows=400, seed=seed).gain.low > 0 for seed in range(100))

    assert advised <= 8


def test_the_corrected_gain_is_less_biased_than_the_observed_gain():
    offer, seen, told, true = Offer(cost=10, value=100, success=0.5), [], [], []
    for seed in range(100):
        found = a_proposal(offer, 0.3, rows=300, seed=seed)
        setting = 1.0 if found.setting is None else found.setting
        # Of customers with score s, the share s leaves: an integral from each threshold on.
        true.append(1000 * (50 * (0.09 - setting**2) / 2 - 10 * (0.3 - setting)))
        seen.append(found.profit[found.best] - found.profit[found.deployed])
        told.append(found.gain.value)

    assert np.mean(seen) - np.mean(true) > 200
    assert abs(np.mean(told) - np.mean(true)) < (np.mean(seen) - np.mean(true)) / 2


@pytest.mark.parametrize("numbers", [(-1, 1, 0.5), (1, -1, 0.5), (1, 1, 1.5), (np.nan, 1, 0.5), (1, np.inf, 0.5)])
def test_an_offer_that_makes_no_sense_is_refused(numbers):
    with pytest.raises(ValueError, match="an offer has a cost"):
        Offer(*numbers)


def test_an_offer_that_never_works_breaks_even_nowhere():
    assert Offer(10, 200, 0).break_even == np.inf
    assert Offer(0, 0, 0).break_even == 0
