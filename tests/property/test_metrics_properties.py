"""Properties of the metrics for any outcomes, probabilities and weights."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from churnops.evaluation import METRICS, evaluate, point_metrics, weighted_metrics
from churnops.evaluation.curves import calibration_curve, precision_recall_curve, roc_curve

Floats = NDArray[np.float64]
Rows = tuple[NDArray[np.int64], Floats, Floats]
LOOSE = 1e-10


@st.composite
def weighted_rows(draw: st.DrawFn) -> Rows:
    """Outcomes, probabilities (on a coarse grid, so that ties are common, or anywhere) and whole weights."""
    size = draw(st.integers(1, 40))
    anywhere = st.floats(0, 1, allow_nan=False)
    probability = st.integers(0, 16).map(lambda step: step / 16) | anywhere
    weight = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size).filter(any))
    return (
        np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))),
        np.array(draw(st.lists(probability, min_size=size, max_size=size))),
        np.array(weight, dtype=float),
    )


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(np.isclose(one[k], other[k], rtol=0, atol=LOOSE, equal_nan=True) for k in METRICS)


def under(rows: Rows, weight: Floats, threshold: float = 0.5) -> dict[str, float]:
    values = weighted_metrics(rows[0], rows[1], weight[None, :], threshold)
    return {name: float(value[0]) for name, value in values.items()}


@given(weighted_rows(), st.floats(0, 1))
def test_equals_scikit_learn(rows: Rows, threshold: float) -> None:
    outcome, probability, weight = rows
    flagged = (probability >= threshold).astype(int)
    ours = under(rows, weight, threshold)
    kwargs = {"sample_weight": weight}
    for name, function in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        assert math.isclose(ours[name], function(outcome, flagged, zero_division=0, **kwargs), abs_tol=1e-12), name
    expected = {
        "accuracy": reference.accuracy_score(outcome, flagged, **kwargs),
        "log_loss": reference.log_loss(outcome, probability, labels=[0, 1], **kwargs),
        "brier": reference.brier_score_loss(outcome, probability, pos_label=1, **kwargs),
    }
    if np.unique(outcome[weight > 0]).size == 2:
        expected["roc_auc"] = reference.roc_auc_score(outcome, probability, **kwargs)
        expected["average_precision"] = reference.average_precision_score(outcome, probability, **kwargs)
    else:
        assert math.isnan(ours["roc_auc"])
        assert math.isnan(ours["average_precision"])
    for name, value in expected.items():
        assert math.isclose(ours[name], value, rel_tol=1e-12, abs_tol=1e-12), name


@given(weighted_rows())
def test_a_weight_of_k_is_the_row_k_times(rows: Rows) -> None:
    outcome, probability, weight = rows
    times = weight.astype(int)
    assert same(under(rows, weight), point_metrics(np.repeat(outcome, times), np.repeat(probability, times)))


@given(weighted_rows(), st.randoms(use_true_random=False), st.floats(0.01, 100))
def test_the_order_of_rows_and_the_scale_of_weights_do_not_matter(rows: Rows, random: object, scale: float) -> None:
    outcome, probability, weight = rows
    order = list(range(outcome.size))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = (outcome[order], probability[order], weight[order])
    assert same(under(rows, weight), under(shuffled, shuffled[2] * scale))


@given(weighted_rows())
def test_the_other_class_mirrors_the_ranking_and_keeps_the_losses(rows: Rows) -> None:
    outcome, probability, _ = rows
    grid = np.round(probability * 64) / 64  # so that 1 - p is exact and ties stay ties
    one, other = point_metrics(outcome, grid), point_metrics(1 - outcome, 1 - grid)
    for name in ("roc_auc", "log_loss", "brier"):
        assert np.isclose(one[name], other[name], atol=LOOSE, equal_nan=True)


@given(weighted_rows())
def test_every_value_is_in_its_range(rows: Rows) -> None:
    for name, value in under(rows, rows[2]).items():
        assert math.isnan(value) or 0 <= value <= (40 if name == "log_loss" else 1 + LOOSE), name


@given(weighted_rows())
def test_areas_under_the_curves_are_the_metrics(rows: Rows) -> None:
    outcome, probability, _ = rows
    values = point_metrics(outcome, probability)
    wrong, right = roc_curve(outcome, probability)
    recall, precision = precision_recall_curve(outcome, probability)
    if not math.isnan(values["roc_auc"]):
        assert math.isclose(np.trapezoid(right, wrong), values["roc_auc"], abs_tol=LOOSE)
        area = float(np.sum(np.diff(recall) * precision[1:]))
        assert math.isclose(area, values["average_precision"], abs_tol=LOOSE)
    mean, observed, count = calibration_curve(outcome, probability)
    gap = np.nansum(np.abs(observed - mean) * count) / outcome.size
    assert count.sum() == outcome.size
    assert math.isclose(gap, values["calibration_error"], abs_tol=LOOSE)


@settings(max_examples=40)
@given(weighted_rows(), st.integers(0, 2**32 - 1))
def test_intervals_hold_their_point_and_the_seed_decides(rows: Rows, seed: int) -> None:
    outcome, probability, _ = rows
    found = evaluate(outcome, probability, replicates=40, seed=seed)
    again = evaluate(outcome, probability, replicates=40, seed=seed)
    assert found.to_json() == again.to_json()
    for name, interval in found.metrics.items():
        assert math.isnan(interval.low) or interval.low <= interval.value <= interval.high, name
