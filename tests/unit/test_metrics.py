"""The metrics against scikit-learn, at their edges, and the intervals around them."""

import json
import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as reference

from churnops.evaluation import (
    HIGHER_IS_BETTER,
    METRICS,
    evaluate,
    point_metrics,
    resampling_counts,
    weighted_metrics,
)
from churnops.evaluation.curves import calibration_curve, precision_recall_curve, roc_curve

Floats = NDArray[np.float64]


def customers(rows: int, seed: int, decimals: int | None = None) -> tuple[NDArray[np.int64], Floats]:
    """Outcomes with a 15 % churn rate and informative probabilities; `decimals` makes ties."""
    generator = np.random.default_rng(seed)
    outcome = (generator.random(rows) < 0.15).astype(np.int64)
    probability = np.where(outcome == 1, generator.beta(3, 2, rows), generator.beta(1, 5, rows))
    return outcome, probability if decimals is None else probability.round(decimals)


def sklearn_metrics(
    outcome: NDArray[np.int64], probability: Floats, threshold: float, weight: Floats
) -> dict[str, float]:
    flagged = (probability >= threshold).astype(int)
    given = {"sample_weight": weight}
    return {
        "accuracy": reference.accuracy_score(outcome, flagged, **given),
        "precision": reference.precision_score(outcome, flagged, zero_division=0, **given),
        "recall": reference.recall_score(outcome, flagged, zero_division=0, **given),
        "f1": reference.f1_score(outcome, flagged, zero_division=0, **given),
        "roc_auc": reference.roc_auc_score(outcome, probability, **given),
        "average_precision": reference.average_precision_score(outcome, probability, **given),
        "log_loss": reference.log_loss(outcome, probability, **given),
        "brier": reference.brier_score_loss(outcome, probability, **given),
    }


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_equals_scikit_learn_with_ties_and_weights(decimals: int | None, threshold: float) -> None:
    outcome, probability = customers(700, seed=3, decimals=decimals)
    generator = np.random.default_rng(4)
    weights = np.vstack(
        (np.ones(700), generator.random(700), generator.multinomial(700, np.full(700, 1 / 700)))
    ).astype(float)
    ours = weighted_metrics(outcome, probability, weights, threshold)
    for replicate, weight in enumerate(weights):
        for name, value in sklearn_metrics(outcome, probability, threshold, weight).items():
            assert ours[name][replicate] == pytest.approx(value, abs=1e-12), name


def test_log_loss_clips_confident_misses_as_scikit_learn_does() -> None:
    outcome = np.array([1, 0, 1])
    for kind, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        probability = np.array([0, 1, 1], dtype=kind)
        ours = point_metrics(outcome, probability)["log_loss"]
        assert ours == pytest.approx(reference.log_loss(outcome, probability), abs=tolerance)


def test_calibration_error_by_hand_and_bins_closed_on_the_left() -> None:
    # 0.0 alone; 0.1 and 0.19 together; 0.3 (less than 3 * 0.1 in floats) in [0.3, 0.4); 1.0 with 0.95.
    outcome, probability = [0, 1, 0, 1, 1, 0], [0.0, 0.1, 0.19, 0.3, 1.0, 0.95]
    mean, observed, count = calibration_curve(outcome, probability)
    assert count.tolist() == [1, 2, 0, 1, 0, 0, 0, 0, 0, 2]
    assert observed[[0, 1, 3, 9]].tolist() == [0, 0.5, 1, 0.5]
    assert np.isnan(mean[2])
    expected = (0 + 2 * (0.5 - 0.145) + 0.7 + 2 * (0.975 - 0.5)) / 6
    assert point_metrics(outcome, probability)["calibration_error"] == pytest.approx(expected, abs=1e-12)


def test_curves_are_those_of_scikit_learn() -> None:
    outcome, probability = customers(500, seed=5, decimals=2)
    wrong, right, _ = reference.roc_curve(outcome, probability, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(outcome, probability), (wrong, right), atol=1e-12)
    precision, recall, _ = reference.precision_recall_curve(outcome, probability)
    np.testing.assert_allclose(
        precision_recall_curve(outcome, probability), (recall[::-1], precision[::-1]), atol=1e-12
    )


@pytest.mark.parametrize("only", [0, 1])
def test_one_outcome_gives_no_ranking_metric_but_all_others(only: int) -> None:
    found = evaluate([only] * 4, [0.1, 0.6, 0.6, 0.9], replicates=50, seed=1)
    for name in ("roc_auc", "average_precision"):
        assert all(math.isnan(part) for part in vars(found.metrics[name]).values())
    assert found.metrics["accuracy"].value == (0.75 if only else 0.25)
    assert found.metrics["recall"].value == (0.75 if only else 0.0)
    assert math.isfinite(found.metrics["log_loss"].high)


def test_same_score_for_all_is_chance() -> None:
    values = point_metrics([0, 1, 1, 0, 0], [0.4] * 5)
    assert values["roc_auc"] == 0.5
    assert values["average_precision"] == pytest.approx(0.4)
    assert values["precision"] == values["recall"] == values["f1"] == 0
    assert values["calibration_error"] == pytest.approx(0, abs=1e-15)


def test_a_single_row_has_metrics_except_roc_auc() -> None:
    found = evaluate([1], [0.8], replicates=20, seed=0)
    accuracy = found.metrics["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (1, 1, 1)
    assert found.confusion == {"tn": 0, "fp": 0, "fn": 0, "tp": 1}
    assert math.isnan(found.metrics["roc_auc"].low)


def test_replicates_of_one_class_are_left_out_of_the_interval() -> None:
    # With one churner in ten, a third of the replicates have none; the others rank perfectly.
    found = evaluate([1] + [0] * 9, [0.9] + [0.1] * 9, replicates=200, seed=2)
    auc = found.metrics["roc_auc"]
    assert (auc.value, auc.low, auc.high) == (1, 1, 1)
    assert found.metrics["recall"].low == 0


def test_intervals_hold_their_point_and_follow_rows_and_confidence() -> None:
    outcome, probability = customers(400, seed=6)
    wide = evaluate(outcome, probability, replicates=300, seed=42)
    narrow = evaluate(outcome, probability, replicates=300, confidence=0.5, seed=42)
    many = evaluate(*customers(6400, seed=6), replicates=300, seed=42)
    assert tuple(wide.metrics) == METRICS == tuple(HIGHER_IS_BETTER)
    for name in METRICS:
        one, other, large = wide.metrics[name], narrow.metrics[name], many.metrics[name]
        assert one.low <= one.value <= one.high
        assert one.low <= other.low <= other.high <= one.high
        # Sixteen times the rows: a quarter of the width, give or take.
        assert 0.1 < (large.high - large.low) / (one.high - one.low) < 0.5, name


def test_an_interval_is_widened_to_include_its_point() -> None:
    generator = np.random.default_rng(8)
    probability = generator.random(300)
    outcome = generator.random(300) < probability  # calibrated by construction
    found = evaluate(outcome, probability, replicates=200, confidence=0.2, seed=8)
    error = found.metrics["calibration_error"]
    assert error.low == error.value < error.high


def test_about_nine_in_ten_90_percent_intervals_hold_the_truth() -> None:
    # Normal scores 1.5 standard deviations apart: AUC = Phi(1.5 / sqrt 2), accuracy half way Phi(0.75).
    truth = {"roc_auc": 0.8555, "accuracy": 0.7734}
    generator = np.random.default_rng(11)
    held = dict.fromkeys(truth, 0)
    for sample in range(150):
        outcome = generator.random(150) < 0.5
        score = generator.normal(1.5 * outcome)
        probability = 1 / (1 + np.exp(0.75 - score))
        found = evaluate(outcome, probability, replicates=200, confidence=0.9, seed=sample)
        for name, value in truth.items():
            held[name] += found.metrics[name].low <= value <= found.metrics[name].high
    assert all(0.83 <= times / 150 <= 0.96 for times in held.values()), held


def test_the_bootstrap_is_multinomial() -> None:
    counts = np.concatenate(list(resampling_counts(60, 6000, seed=9)))
    assert counts.shape == (6000, 60)
    assert (counts.sum(axis=1) == 60).all()
    # Each count is binomial(60, 1/60): mean 1, variance 1 - 1/60; two counts have covariance -1/60.
    assert counts.var(axis=0).mean() == pytest.approx(1 - 1 / 60, abs=0.02)
    assert np.cov(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 60, abs=0.05)


def test_seed_decides_and_blocks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, probability = customers(90, seed=7)
    first = evaluate(outcome, probability, replicates=100, seed=42)
    assert evaluate(outcome, probability, replicates=100, seed=42) == first
    assert evaluate(outcome, probability, replicates=100, seed=43) != first
    monkeypatch.setattr("churnops.evaluation.metrics._BLOCK", 7 * 90)
    for name, interval in evaluate(outcome, probability, replicates=100, seed=42).metrics.items():
        assert vars(interval) == pytest.approx(vars(first.metrics[name]), abs=1e-12)


def test_json_contains_the_confusion_matrix() -> None:
    outcome, probability = customers(250, seed=10)
    found = evaluate(outcome, probability, threshold=0.4, replicates=30, seed=1)
    matrix = reference.confusion_matrix(outcome, probability >= 0.4).ravel().tolist()
    assert list(found.confusion.values()) == matrix
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["confusion"] == found.confusion
    assert document["metrics"]["f1"]["value"] == found.metrics["f1"].value
    assert (document["rows"], document["positives"], document["threshold"]) == (250, outcome.sum(), 0.4)


def test_json_says_none_where_it_cannot_tell() -> None:
    document = evaluate([0, 0], [0.2, 0.3], replicates=10, seed=1).to_json()
    assert document["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("outcome", "probability", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], r"shape \(2,\), probability \(3,\)"),
        ([[0, 1]], [[0.1, 0.2]], r"shape \(1, 2\)"),
        ([], [], "empty"),
        ([0, 2], [0.1, 0.2], "outcome holds 2"),
        ([0, math.nan], [0.1, 0.2], "outcome holds nan"),
        (["0", "1"], [0.1, 0.2], "outcome holds '0'"),
        ([0, None], [0.1, 0.2], "outcome holds"),
        ([0, 1], [0.1, math.nan], "probability holds nan"),
        ([0, 1], [-0.1, 0.2], "probability holds -0.1"),
        ([0, 1], [0.1, math.inf], "probability holds inf"),
        ([0, 1], ["0.1", "0.2"], "probability is of type"),
    ],
)
def test_invalid_outcomes_or_probabilities_are_refused(
    outcome: ArrayLike, probability: ArrayLike, message: str
) -> None:
    for call in (point_metrics, roc_curve, precision_recall_curve, calibration_curve):
        with pytest.raises(ValueError, match=message) as caught:
            call(outcome, probability)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [{"threshold": 1.5}, {"threshold": math.nan}, {"replicates": 0}, {"confidence": 1.0}, {"confidence": 95}],
)
def test_refuses_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        evaluate([0, 1], [0.1, 0.2], seed=1, **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [[1, 1], [[1, 1, 1]], [[1, -1]], [[0, 0]], [[1, math.inf]]])
def test_refuses_weights_that_are_not_counts(weight: ArrayLike) -> None:
    with pytest.raises(ValueError, match="weight"):
        weighted_metrics([0, 1], [0.1, 0.2], weight)


def test_replicates_are_held_in_blocks() -> None:
    outcome, probability = customers(1667, seed=12)
    tracemalloc.start()
    evaluate(outcome, probability, replicates=300, seed=42)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_copies_of_a_customers_row_do_not_narrow_an_interval():
    rng = np.random.default_rng(5)
    outcome = rng.random(200) < 0.4
    scores = np.clip(0.3 * outcome + 0.6 * rng.random(200), 0, 1)
    once = evaluate(outcome, scores, seed=1).metrics
    numbers = np.repeat(np.arange(200), 4)
    copies = evaluate(np.repeat(outcome, 4), np.repeat(scores, 4), seed=1, customers=numbers).metrics
    for name in ("roc_auc", "log_loss"):
        assert copies[name].low == pytest.approx(once[name].low)
        assert copies[name].high == pytest.approx(once[name].high)


@pytest.mark.parametrize("copies", [1, 2])
def test_intervals_of_many_rows_come_from_a_part_of_them(monkeypatch: pytest.MonkeyPatch, copies: int):
    outcome, probability = (np.repeat(column, copies) for column in customers(6_000, seed=3))
    numbers = np.repeat(np.arange(6_000), copies) if copies > 1 else None
    whole = evaluate(outcome, probability, replicates=300, seed=1, customers=numbers).metrics
    monkeypatch.setattr("churnops.evaluation.metrics.MAX_RESAMPLED", 3_000)
    monkeypatch.setattr("churnops.evaluation.metrics._MIN_RARER", 10)
    monkeypatch.setattr("churnops.evaluation.scored_rows._BLOCK", 1_000)
    part = evaluate(outcome, probability, replicates=300, seed=1, customers=numbers).metrics
    for name, interval in whole.items():
        assert part[name].value == pytest.approx(interval.value, abs=1e-12)
        assert part[name].high - part[name].low == pytest.approx(interval.high - interval.low, rel=0.25)
    monkeypatch.setattr("churnops.evaluation.metrics._MIN_RARER", 10_000)  # the rarer outcome has fewer rows
    for name, interval in evaluate(outcome, probability, replicates=300, seed=1, customers=numbers).metrics.items():
        assert vars(interval) == pytest.approx(vars(whole[name]), abs=1e-9)
