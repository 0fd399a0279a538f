"""Nine metrics of a churn model, with bootstrap intervals: one implementation for both.

Every metric is a function of a weight matrix `W` of shape (replicates, rows): how often each replicate holds
each row. The point estimate is `W = ones((1, rows))`, a bootstrap is multinomial counts, a weighted metric is
the weights themselves. Rows are sorted by probability once, whatever the number of replicates.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METRICS: tuple[str, ...] = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "calibration_error",
)
HIGHER_IS_BETTER: Mapping[str, bool] = {
    name: name not in ("log_loss", "brier", "calibration_error") for name in METRICS
}

METRIC_LABELS: Mapping[str, str] = {
    "roc_auc": "ROC-AUC",
    "average_precision": "PR-AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
"""Metrics in the order that tables show them, as they are written within a sentence."""

BINS = 10
_EDGES: Floats = np.arange(1, BINS) / BINS  # bin k holds k/10 <= probability < (k+1)/10, the last also 1
_BLOCK = 250_000  # weights held at a time: 2 MB, so the whole bootstrap stays near the cache and under 20 MB


@dataclass(frozen=True)
class Interval:
    """A metric and its percentile bootstrap interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: every metric of `METRICS` with its interval, and the confusion matrix."""

    rows: int
    positives: int
    threshold: float
    confidence: float
    replicates: int
    metrics: Mapping[str, Interval]
    confusion: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; what cannot be told (NaN) becomes None, as JSON has no NaN."""
        return {
            "rows": self.rows,
            "positives": self.positives,
            "threshold": self.threshold,
            "confidence": self.confidence,
            "replicates": self.replicates,
            "metrics": {
                name: {part: _or_none(getattr(interval, part)) for part in ("value", "low", "high")}
                for name, interval in self.metrics.items()
            },
            "confusion": dict(self.confusion),
        }


def evaluate(
    outcome: ArrayLike,
    probability: ArrayLike,
    *,
    threshold: float = 0.5,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int,
) -> Evaluation:
    """Measure a model on rows it was not fitted on, with percentile bootstrap intervals.

    Parameters
    ----------
    outcome : array of shape (rows,)
        1 for churned, 0 for stayed.
    probability : array of shape (rows,)
        The model's probability of churn, in [0, 1].
    threshold : float in [0, 1]
        A row is predicted to churn when `probability >= threshold` (compared in float64).
    replicates : int >= 1
        Bootstrap resamples.
    confidence : float in (0, 1)
        Share of replicates between `low` and `high`.
    seed : int
        Same data and seed, same intervals.

    Returns
    -------
    Evaluation
        `roc_auc` and `average_precision` are NaN when the outcomes are of one class: cannot tell, never 0.5.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, an outcome is not 0 or 1, or a number is out of its range.

    Notes
    -----
    Rows are resampled with replacement, classes together (not stratified), so the churn rate varies between
    replicates as it would between samples of customers: Efron and Tibshirani, *An Introduction to the
    Bootstrap* (1993), chapter 13. Replicates of one class only are left out of the intervals of `roc_auc` and
    `average_precision`. Resampling adds noise that raises `calibration_error`, so its replicates can all lie
    above the estimate; an interval is widened to hold its own estimate.

    Examples
    --------
    >>> found = evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], replicates=200, seed=42)
    >>> found.metrics["roc_auc"].value
    0.75
    >>> found.confusion
    {'tn': 2, 'fp': 0, 'fn': 1, 'tp': 1}
    """
    y, p, eps = _checked(outcome, probability)
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}: give at least 1 (1000 is usual)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a share between 0 and 1, such as 0.95")
    sample = _ScoredRows.of(y, p, eps, threshold)
    point = sample.metrics(np.ones((1, y.size)))[0]
    replicated = np.concatenate([sample.metrics(w) for w in resampling_counts(y.size, replicates, seed=seed)])
    return Evaluation(
        rows=y.size,
        positives=int(y.sum()),
        threshold=float(threshold),
        confidence=float(confidence),
        replicates=int(replicates),
        metrics={name: _interval(float(point[k]), replicated[:, k], confidence) for k, name in enumerate(METRICS)},
        confusion=_confusion(y, p >= threshold),
    )


def point_metrics(outcome: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> dict[str, float]:
    """Return every metric of `METRICS` without intervals; arguments, NaN and errors as in `evaluate`.

    Examples
    --------
    >>> point_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])["accuracy"]
    0.75
    """
    values = weighted_metrics(outcome, probability, np.ones((1, np.size(probability))), threshold)
    return {name: float(value[0]) for name, value in values.items()}


def weighted_metrics(
    outcome: ArrayLike, probability: ArrayLike, weight: ArrayLike, threshold: float = 0.5
) -> dict[str, Floats]:
    """Return every metric under every row of weights: the same counts for two models give paired replicates.

    Parameters
    ----------
    outcome, probability, threshold
        As in `evaluate`.
    weight : array of shape (replicates, rows)
        Finite, none negative, at least one positive in each replicate.

    Returns
    -------
    dict of arrays of shape (replicates,)
        By metric, equal to scikit-learn's function of that name with this `sample_weight`. Where there is
        nothing to divide by, `precision`, `recall` and `f1` are 0 as with `zero_division=0`; for outcomes
        of one class `roc_auc` and `average_precision` are NaN. `calibration_error` is the expected
        calibration error: the weighted mean of |observed rate - mean probability| over ten bins of equal
        width (Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017). Bin k holds
        k/10 <= p < (k+1)/10, the last one p = 1 too (Guo et al. close their bins on the right).

    Raises
    ------
    ValueError
        As `evaluate`, or if the weights have another shape or are not as said above.

    Examples
    --------
    >>> weighted_metrics([0, 1, 1], [0.2, 0.3, 0.9], [[1, 1, 1], [1, 0, 3]])["recall"].tolist()
    [0.5, 1.0]
    """
    y, p, eps = _checked(outcome, probability)
    w = np.asarray(weight, dtype=np.float64)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise ValueError(f"weight has shape {w.shape}: give (replicates, {y.size}), one weight a row")
    if not (np.isfinite(w).all() and (w >= 0).all() and (w.sum(axis=1) > 0).all()):
        raise ValueError("weight is negative, not finite or all zero in a replicate: give counts of rows")
    values = _ScoredRows.of(y, p, eps, threshold).metrics(w)
    return {name: values[:, k] for k, name in enumerate(METRICS)}


def resampling_counts(rows: int, replicates: int, *, seed: int) -> Iterator[Floats]:
    """Yield bootstrap counts in blocks of shape (some replicates, rows); a replicate's counts sum to `rows`.

    They depend on `rows` and `seed` alone: two models measured on the same rows see the same replicates.

    Examples
    --------
    >>> [block.sum(axis=1).tolist() for block in resampling_counts(5, 3, seed=1)]
    [[5.0, 5.0, 5.0]]
    """
    generator = np.random.default_rng(seed)
    most = max(1, _BLOCK // rows)
    for first in range(0, replicates, most):
        size = min(most, replicates - first)
        # Drawing rows and counting them is the multinomial, several times faster than `Generator.multinomial`.
        drawn = generator.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def roc_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Return (false_positive_rate, true_positive_rate), from (0, 0) to (1, 1).

    One point per distinct probability; a rate without rows to count (one class only) is NaN.

    Examples
    --------
    >>> [rate.tolist() for rate in roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])]
    [[0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0]]
    """
    hits, misses = _cumulative(outcome, probability)
    return (
        np.concatenate(([0.0], _ratio(misses, misses[-1], math.nan))),
        np.concatenate(([0.0], _ratio(hits, hits[-1], math.nan))),
    )


def precision_recall_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Return (recall, precision): the customary (0, 1), then a point per distinct probability, falling.

    Average precision is the area of the steps: precision k holds from recall k-1 to recall k. Recall is NaN
    when nobody churned.

    Examples
    --------
    >>> recall, precision = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> recall.tolist(), precision.round(3).tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.667, 0.5])
    """
    hits, misses = _cumulative(outcome, probability)
    return (
        np.concatenate(([0.0], _ratio(hits, hits[-1], math.nan))),
        np.concatenate(([1.0], hits / (hits + misses))),
    )


def calibration_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return (mean_probability, observed_rate, count) per bin of `calibration_error`; NaN in an empty bin.

    Examples
    --------
    >>> mean, observed, count = calibration_curve([0, 1, 1], [0.1, 0.2, 0.22])
    >>> mean[1:3].round(2).tolist(), observed[1:3].tolist(), count[:4].tolist()
    ([0.1, 0.21], [0.0, 1.0], [0, 1, 2, 0])
    """
    y, p, _ = _checked(outcome, probability)
    bins = np.searchsorted(_EDGES, p, side="right")
    count = np.bincount(bins, minlength=BINS)
    mean = _ratio(np.bincount(bins, weights=p, minlength=BINS), count, math.nan)
    observed = _ratio(np.bincount(bins, weights=y, minlength=BINS), count, math.nan)
    return mean, observed, count.astype(np.int64)


@dataclass(frozen=True)
class _ScoredRows:
    """What all replicates share: per row the terms of the sums, and the order by falling probability."""

    terms: Floats  # (7 + BINS, rows)
    order: NDArray[np.intp]  # (rows,)
    churned: Floats  # (rows,), in that order
    starts: NDArray[np.intp]  # (distinct probabilities,): where each run of equal probabilities begins

    @classmethod
    def of(cls, y: Floats, p: Floats, eps: float, threshold: float) -> "_ScoredRows":
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}: give a probability between 0 and 1")
        flagged = (p >= threshold).astype(np.float64)
        loss = -np.log(np.clip(np.where(y == 1, p, 1 - p), eps, 1 - eps))
        # A bin's weight times |observed - mean probability| is |sum of (y - p)|: one row a bin is enough.
        gaps = np.zeros((BINS, y.size))
        gaps[np.searchsorted(_EDGES, p, side="right"), np.arange(y.size)] = y - p
        terms = np.vstack((y, 1 - y, flagged, y * flagged, y == flagged, loss, (y - p) ** 2, gaps))
        order = np.argsort(-p, kind="stable")
        starts = np.flatnonzero(np.diff(p[order], prepend=np.inf))
        return cls(terms, order, y[order], starts)

    def metrics(self, weight: Floats) -> Floats:
        """Return shape (replicates, len(METRICS)) for weights of shape (replicates, rows)."""
        # Not `weight @ terms`: on a busy machine BLAS threads wait for each other (14 s, this takes 3 s).
        sums = np.einsum("rn,kn->rk", weight, self.terms)
        positives, negatives, flagged, hits, correct, loss, squared = sums[:, :7].T
        total = positives + negatives
        steps_up, steps_right = self.ranked(weight)
        up, right = np.cumsum(steps_up, axis=1), np.cumsum(steps_right, axis=1)
        # Trapezoids: a run of ties goes up and right at once, which counts a tie as half a right order.
        area = np.einsum("rg,rg->r", up - steps_up / 2, steps_right)
        precision_area = np.einsum("rg,rg->r", steps_up, _ratio(up, up + right, 0.0))
        average_precision = np.where(negatives > 0, _ratio(precision_area, positives, math.nan), math.nan)
        return np.column_stack(
            (
                correct / total,
                _ratio(hits, flagged, 0.0),
                _ratio(hits, positives, 0.0),
                _ratio(2 * hits, positives + flagged, 0.0),
                _ratio(area, positives * negatives, math.nan),
                average_precision,
                loss / total,
                squared / total,
                np.abs(sums[:, 7:]).sum(axis=1) / total,
            )
        )

    def ranked(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return the weight of churned and of stayed rows at each distinct probability, falling."""
        ordered = np.take(weight, self.order, axis=1)  # much faster than indexing
        churned = ordered * self.churned
        return (
            np.add.reduceat(churned, self.starts, axis=1),
            np.add.reduceat(ordered - churned, self.starts, axis=1),
        )


def _cumulative(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Return churned and stayed rows at or above each distinct probability, falling."""
    y, p, eps = _checked(outcome, probability)
    up, right = _ScoredRows.of(y, p, eps, 0.5).ranked(np.ones((1, y.size)))
    return np.cumsum(up[0]), np.cumsum(right[0])


def _checked(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats, float]:
    """Return both as float64, and the clipping of log loss: the precision the probabilities came in."""
    y, p = np.asarray(outcome), np.asarray(probability)
    if y.ndim != 1 or y.shape != p.shape:
        raise ValueError(f"outcome has shape {y.shape}, probability {p.shape}: give two of shape (rows,)")
    if y.size == 0:
        raise ValueError("outcome and probability are empty: give at least one row")
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        other = next(value for value in y.tolist() if value not in (0, 1) or isinstance(value, str))
        raise ValueError(f"outcome holds {other!r}: give 1 for churned and 0 for stayed")
    if p.dtype.kind not in "biuf":
        raise ValueError(f"probability is of type {p.dtype}: give numbers between 0 and 1")
    inside = (p >= 0) & (p <= 1)  # False for NaN
    if not inside.all():
        raise ValueError(f"probability holds {p[~inside][0]}: give finite numbers between 0 and 1")
    eps = np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps
    return y.astype(np.float64), p.astype(np.float64), float(eps)


def _interval(value: float, replicated: Floats, confidence: float) -> Interval:
    told = replicated[~np.isnan(replicated)]
    if math.isnan(value) or told.size == 0:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(told, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(value, min(float(low), value), max(float(high), value))


def _confusion(y: Floats, flagged: NDArray[np.bool_]) -> dict[str, int]:
    tn, fp, fn, tp = np.bincount((2 * y + flagged).astype(np.int64), minlength=4).tolist()
    return {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


def _ratio(part: NDArray[Any], whole: NDArray[Any], otherwise: float) -> Floats:
    """Divide, and say `otherwise` where there is nothing to divide by."""
    result: Floats = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return result


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
