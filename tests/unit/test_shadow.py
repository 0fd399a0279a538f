"""Evidence of a shadow: who enters when, and the verdict."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.special import expit, logit

from churnops.experiments.evidence import EndRules
from churnops.experiments.shadow import DueCustomers, judge
from churnops.journal.outcomes import Outcomes
from churnops.journal.shadow_scores import DueScores
from churnops.wire import ShadowLook

HORIZON = timedelta(days=30)
DAY, NOW = 86_400_000_000, datetime(2026, 6, 1, tzinfo=UTC)
RULES = EndRules(required_gain=0.005, level=0.02)


def drawn(rows: int, champion: float, challenger: float, seed: int = 1) -> DueCustomers:
    """Draw customers, 100 each day; the numbers are the noise of the models' log-odds."""
    generator = np.random.default_rng(seed)
    probability = generator.beta(1, 4, rows)
    churned = (generator.random(rows) < probability).astype(np.float64)
    at = np.arange(rows) // 100 * DAY
    scores = (expit(logit(probability) + noise * generator.normal(size=rows)) for noise in (champion, challenger))
    return DueCustomers(at, churned, at + 30 * DAY, *scores, without_id=0)


def look(customers: DueCustomers) -> ShadowLook:
    return judge(customers, RULES, HORIZON, NOW, scored=customers.at.size)


def test_a_better_challenger_is_found_and_the_day_is_named():
    shown = look(drawn(6000, 0.6, 0.1))
    assert shown.verdict == "better"
    assert shown.reason.startswith("log loss is lower by ")
    assert shown.decided_on is not None
    assert shown.gain is not None
    assert shown.low is not None
    assert 0 < shown.low < shown.gain
    days = (shown.decided_on - datetime(1970, 1, 31, tzinfo=UTC).date()).days
    sooner, at_once = drawn(6000, 0.6, 0.1), 100 * (days + 1)
    first = DueCustomers(*(values[:at_once] for values in list(vars(sooner).values())[:5]), without_id=0)
    assert look(first).verdict == "better"
    assert look(first).reason == shown.reason


def test_a_worse_challenger_is_given_up():
    shown = look(drawn(6000, 0.1, 0.6))
    assert shown.verdict == "not better"
    assert shown.labels_needed is None
    assert shown.reason.startswith("log loss is higher by ")


def test_a_challenger_with_the_same_scores_is_given_up():
    same = drawn(1000, 0.3, 0.3)
    equal = DueCustomers(same.at, same.churned, same.known_at, same.champion, same.champion, without_id=0)
    assert look(equal).verdict == "not better"


def test_without_enough_outcomes_it_cannot_tell():
    customers = drawn(2000, 0.6, 0.1)
    assert look(DueCustomers.read([])).reason == "no customer's label horizon has ended yet"
    few = DueCustomers(*(values[:60] for values in list(vars(customers).values())[:5]), without_id=0)
    assert "at least 20 of each are needed" in look(few).reason
    customers.churned[::4] = np.nan
    unknown = look(customers)
    assert (unknown.verdict, unknown.labelled) == ("cannot tell", 1500)
    assert unknown.reason == (
        "the outcomes of 1,500 of 2,000 due customers are known, and 80% are needed: the others may differ"
    )


def test_an_undecided_shadow_says_what_is_needed():
    shown = look(drawn(600, 0.6, 0.3, seed=3))
    assert shown.verdict == "cannot tell"
    assert "neither proven nor excluded" in shown.reason
    assert shown.labels_needed
    assert shown.days_needed == -(-shown.labels_needed // 100)


def test_late_outcomes_are_counted():
    customers = drawn(1000, 0.3, 0.3)
    customers.known_at[:7] += 2 * DAY
    assert look(customers).late == 7


def page(customers: Sequence[str | None], at: Sequence[int], champion: Sequence[float]) -> DueScores:
    times, zeros = np.array(at), np.zeros(len(at))
    scores = np.array(champion)
    return DueScores(Outcomes(times, zeros, times), customers, [f"p{n}" for n in at], scores, scores)


def test_each_customer_enters_once_with_the_first_score():
    first = page(["a", "b", None, "a"], [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
    read = DueCustomers.read([first, page(["b", None, ""], [5, 6, 7], [0.5, 0.6, 0.7])])
    assert read.champion.tolist() == [0.1, 0.2, 0.3, 0.6, 0.7]
    assert read.at.tolist() == [1, 2, 3, 6, 7]
    assert read.without_id == 3
