"""Errors at any threshold from a model's labelled scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churnops.evaluation.labelled_scores import LABELLED_SCORES, MAX_CELLS, LabelledScores
from churnops.monitoring.decline import judge_decline
from churnops.monitoring.performance import promised_at
from churnops.settings import MonitoringSettings

SCORES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, np.nextafter(0.5, 0), 1.0])), min_size=1
)


def confusion(outcome: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, int]:
    left, flagged = outcome == 1, score >= threshold
    parts = {"tn": ~left & ~flagged, "fp": ~left & flagged, "fn": left & ~flagged, "tp": left & flagged}
    return {name: int(mask.sum()) for name, mask in parts.items()}


@given(SCORES, st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7, 1.0]))
def test_few_scores_give_the_exact_errors_at_every_threshold(rows, threshold):
    outcome, score = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    kept = LabelledScores.read({LABELLED_SCORES: LabelledScores.of(outcome, score).to_json()})
    assert kept is not None
    assert kept.confusion(threshold) == confusion(outcome, score, threshold)


def test_many_scores_are_kept_in_cells_and_the_errors_stay_close(rng):
    score = rng.beta(1, 5, 50_000)
    outcome = rng.random(score.size) < score
    kept = LabelledScores.of(outcome, score)
    assert kept.lowest.size <= MAX_CELLS
    for threshold in (0.01, 0.1, 0.3, 0.6, 0.9):
        exact = confusion(outcome, score, threshold)
        assert all(abs(count - exact[name]) <= 25 for name, count in kept.confusion(threshold).items())


@pytest.mark.parametrize(
    "document", [None, {}, {"lowest": [0.1]}, {"lowest": [], "highest": [], "churned": [], "stayed": []}]
)
def test_damaged_or_missing_scores_are_none(document):
    assert LabelledScores.read({LABELLED_SCORES: document}) is None


def test_a_change_of_the_policy_does_not_alarm(rng):
    """A threshold is chosen on the evaluation; in production nothing has changed: false alarms stay rare."""
    settings, alarms, compared = MonitoringSettings(performance_threshold=None), 0, 0
    for _ in range(150):
        (then, before), (now, after) = drawn(rng, 600), drawn(rng, 800)
        metrics = {
            "held_out": {
                "rows": 600,
                "threshold": 0.5,
                "confidence": 0.95,
                "metrics": {"roc_auc": {"value": 0.8, "low": 0.76, "high": 0.84}},
                "confusion": confusion(then, before, 0.5),
            },
            LABELLED_SCORES: LabelledScores.of(then, before).to_json(),
        }
        profits = [(then[before >= p].sum() * 50 - (before >= p).sum() * 10, p) for p in np.arange(0.05, 0.95, 0.05)]
        threshold = float(max(profits)[1])
        promised = promised_at(metrics, threshold)
        decline = judge_decline(now, after, promised=promised, churn_threshold=threshold, settings=settings)
        assert decline.errors is not None
        compared += 1
        alarms += decline.errors.p_value < 0.05
    assert alarms / compared < 0.08


def test_without_labelled_scores_errors_are_not_compared_elsewhere(rng):
    outcome, score = drawn(rng, 500)
    held_out = {"rows": 500, "threshold": 0.5, "confusion": confusion(outcome, score, 0.5)}
    assert promised_at({"held_out": held_out}, 0.2) == held_out
    assert promised_at({}, 0.2) is None


def drawn(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and their true probabilities."""
    score = rng.beta(0.6, 2.4, rows)
    return (rng.random(rows) < score).astype(np.float64), score
