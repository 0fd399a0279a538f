"""Properties of the gate for any outcomes and scores."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from churnops.evaluation.delong import delong_difference
from churnops.evaluation.metrics import point_metrics
from churnops.retraining.gain import corrected, labels_needed
from churnops.retraining.gate import decide
from churnops.settings import RetrainingSettings

NO_GUARDS = {"max_log_loss_increase": 1e9, "max_calibration_error_increase": 1.0}
Comparison = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@st.composite
def comparisons(draw: st.DrawFn, least: int = 0) -> Comparison:
    """Outcomes and two scores, with ties and zeros and ones, of `least` or more customers of each outcome."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    churned, stayed = draw(st.integers(least, 60)), draw(st.integers(least, 60))
    outcome = generator.permutation(np.repeat([1, 0], [churned, stayed]))
    decimals = draw(st.sampled_from([1, 2, 12]))
    scores = []
    for _ in range(2):
        worth = draw(st.floats(0, 1))
        scores.append(np.clip(worth * outcome + (1 - worth) * generator.random(outcome.size), 0, 1).round(decimals))
    return outcome, scores[0], scores[1]


rules = st.builds(
    lambda metric, confidence, line: RetrainingSettings(metric=metric, confidence=confidence, min_improvement=line),
    st.sampled_from(["roc_auc", "log_loss"]),
    st.none() | st.floats(0.5, 0.999),
    st.floats(0, 0.3),
)


@given(comparisons(), rules, st.integers(1, 5))
def test_every_verdict_follows_from_its_numbers_and_is_json(given_rows: Comparison, rule: RetrainingSettings, k: int):
    found = decide(*given_rows, rule, compared=k, seed=1)
    json.dumps(found.to_json(), allow_nan=False)
    assert "nan" not in found.reason
    held = all(guard.held for guard in found.guards)
    if found.deploy:
        assert found.gain > rule.improvement
        assert held
        assert rule.confidence is None or found.low > 0
    elif found.verdict == "keep" and rule.confidence is not None:
        assert found.high <= rule.improvement or not held
    elif found.verdict == "cannot tell" and found.low is not None:
        assert found.high > rule.improvement
        assert found.low <= 0 or found.gain <= rule.improvement
    if found.labels_needed is not None:
        assert found.verdict == "cannot tell"
        assert found.labels_needed > found.rows


@given(comparisons(), rules)
def test_exchanging_the_models_changes_only_the_sign_of_the_gain(given_rows: Comparison, rule: RetrainingSettings):
    outcome, first, second = given_rows
    there, back = decide(outcome, first, second, rule, seed=1), decide(outcome, second, first, rule, seed=1)
    assert not (there.deploy and back.deploy)
    assert (there.champion, there.challenger) == (back.challenger, back.champion)
    if there.gain is not None:
        assert there.gain == -back.gain
    if there.low is not None:
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


@given(comparisons(least=20), st.floats(0.5, 0.999), st.integers(1, 5))
def test_the_bounds_of_roc_auc_are_delongs_error_times_students_t(given_rows: Comparison, confidence: float, k: int):
    outcome, first, second = given_rows
    found = decide(*given_rows, RetrainingSettings(confidence=confidence), compared=k, seed=1)
    difference = delong_difference(outcome, second, first)
    rarer = min(outcome.sum(), (1 - outcome).sum())
    half = stats.t(rarer - 1).ppf(1 - (1 - confidence) / k) * difference.standard_error
    assert found.gain == pytest.approx(difference.value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((difference.value - half, difference.value + half), abs=1e-9)
    assert found.champion == point_metrics(outcome, first)["roc_auc"]


@given(comparisons(least=20), st.floats(0.3, 3), st.floats(0.3, 3))
def test_only_the_order_of_scores_matters_to_roc_auc_without_guards(given_rows: Comparison, a: float, b: float):
    outcome, first, second = given_rows
    rule = RetrainingSettings(**NO_GUARDS)
    # Steps of 0.01 stay apart under these powers; nearer scores might round to the same.
    first, second = first.round(2), second.round(2)
    before = decide(outcome, first, second, rule, seed=1)
    after = decide(outcome, first**a, second**b, rule, seed=1)
    assert (after.verdict, after.gain, after.low) == (before.verdict, before.gain, before.low)


@given(comparisons(least=20), st.integers(1, 6))
def test_being_the_best_of_more_never_turns_a_verdict_into_deploy(given_rows: Comparison, k: int):
    fewer, more = (decide(*given_rows, RetrainingSettings(), compared=n, seed=1) for n in (k, k + 1))
    assert fewer.low >= more.low
    assert fewer.deploy or not more.deploy


@given(st.floats(0.0101, 0.5), st.floats(1e-4, 0.3), st.floats(0.5, 0.99), st.integers(1, 5))
def test_labels_needed_fall_with_the_gain_and_rise_with_its_error(gain: float, error: float, sure: float, k: int):
    def needed(gain: float, error: float, sure: float = sure, k: int = k) -> int:
        found = labels_needed(gain, error, 1000, min_improvement=0.01, level=corrected(sure, k))
        assert found is not None
        return found

    assert needed(gain * 1.5, error) <= needed(gain, error) <= needed(gain, error * 1.5)
    assert needed(gain, error) <= needed(gain, error, k=k + 1)
    assert needed(gain, error) <= needed(gain, error, sure=(1 + sure) / 2)
    assert labels_needed(0.01, error, 1000, min_improvement=0.01, level=sure) is None
    assert labels_needed(math.nan, error, 1000, min_improvement=0.01, level=sure) is None
