"""Nine metrics of a churn model and their bootstrap intervals, from one implementation.

A metric is a function of a weight matrix of shape (replicates, rows), which counts each row in each replicate. A
matrix of ones, of shape (1, rows), gives the point estimate; multinomial counts give a bootstrap; other weights give a
weighted metric. Rows are sorted by probability once for all replicates.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.evaluation.scored_rows import METRICS, Floats, RepeatedRows, ScoredRows, checked

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
"""Labels of metrics within a sentence, in the order of tables."""

MAX_RESAMPLED = 20_000
"""Number of rows or customers above which a bootstrap resamples a random part."""
_MIN_RARER = 1_000
_BLOCK = 250_000  # weights in a block: 2 MB, which fit into the cache; a bootstrap needs less than 20 MB


@dataclass(frozen=True)
class Interval:
    """A metric and its percentile bootstrap interval; NaN if the metric is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """Every metric of `METRICS` with its interval, and the confusion matrix.

    Attributes
    ----------
    rows, positives
        Number of customers, and of those who churned.
    threshold
        Lowest probability of a customer who is predicted to churn.
    confidence
        Confidence of the intervals, in (0, 1).
    replicates
        Number of bootstrap resamples.
    confusion
        Customers by outcome and prediction, under `tn`, `fp`, `fn` and `tp`; of a repeated cross-validation, those of
        its first repeat.
    repeats, folds
        Numbers of repeats and folds of the cross-validation that scored the rows; no folds if they were held out.
    """

    rows: int
    positives: int
    threshold: float
    confidence: float
    replicates: int
    metrics: Mapping[str, Interval]
    confusion: Mapping[str, int]
    repeats: int = 1
    folds: int = 0

    @property
    def method(self) -> str:
        """Name of the cross-validation, in which a row is scored by a fit that was not trained on it."""
        if self.repeats == 1:
            return f"cross-validation, {self.folds} folds"
        return f"repeated cross-validation, {self.repeats} x {self.folds} folds"

    @property
    def basis(self) -> str:
        """End of a sentence on a metric: "on held-out customers", or "by" the cross-validation."""
        return f"by {self.method}" if self.folds else "on held-out customers"

    @property
    def customers(self) -> str:
        """The evaluated customers, with their number."""
        if not self.folds:
            return f"{self.rows:,} held-out customers"
        return f"{self.rows:,} customers by {self.method}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; NaN becomes None, because JSON has no NaN."""
        return ({"repeats": self.repeats, "folds": self.folds} if self.folds else {}) | {
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
    threshold: float | Floats = 0.5,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int,
    fold: NDArray[np.intp] | None = None,
    customers: NDArray[np.intp] | None = None,
) -> Evaluation:
    """Measure a model on rows that it was not fitted on, with percentile bootstrap intervals.

    Parameters
    ----------
    outcome : array of shape (rows,)
        1 for churned, 0 for stayed.
    probability : array of shape (rows,) or (repeats, rows)
        The model's probability of churn, in [0, 1]. Of several repeats, a metric is the mean of its values.
    threshold : float in [0, 1], or array of the shape of `probability`
        Lowest probability of a row that is predicted to churn, compared in float64. The evaluation has the mean.
    replicates : int >= 1
        Number of bootstrap resamples.
    confidence : float in (0, 1)
        Share of replicates between `low` and `high`.
    seed : int
        Seed of the resampling: the same data and seed give the same intervals.
    fold : array of the shape of `probability`
        Fold that scored the row, from 0, if the probabilities come from a cross-validation.
    customers : array of shape (rows,)
        Number of the row's customer, if some have several rows.

    Returns
    -------
    Evaluation
        `roc_auc` and `average_precision` are NaN, never 0.5, if all outcomes are the same.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, an outcome is neither 0 nor 1, or a number is out of its range.

    Notes
    -----
    Rows, or customers with all their rows, are resampled with replacement and without stratification, so the churn rate
    varies between replicates as between samples of customers: Efron and Tibshirani, *An Introduction to the Bootstrap*
    (1993), chapter 13. The intervals of `roc_auc` and `average_precision` leave out replicates with only one outcome.
    In a cross-validation, `roc_auc` compares rows of the same fold only, because scores by fits of different folds have
    different levels, which would lower it (Forman and Scholz, SIGKDD Explorations 12 (2010) 49-57). Its intervals are
    wider than those of resampled rows, because another table would also give another model: by the factor for the
    standard error of Nadeau and Bengio, Machine Learning 52 (2003) 239-281. Resampling adds
    noise that raises `calibration_error`, so all its replicates can lie above the estimate. An interval is widened
    until it contains its point estimate.

    If there are more than 20,000 rows or customers, a random part of them is resampled: 20,000, or more until about
    1,000 have the rarer outcome. The deviations of these replicates are multiplied by the square root of the part's
    share, because standard errors fall with the square root of the number of rows: Politis, Romano and Wolf,
    *Subsampling* (1999), chapter 2. The estimates are those of all rows. A cross-validation resamples all rows.

    Examples
    --------
    >>> evaluation = evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], replicates=200, seed=42)
    >>> evaluation.metrics["roc_auc"].value
    0.75
    >>> evaluation.confusion
    {'tn': 2, 'fp': 0, 'fn': 1, 'tp': 1}
    """
    sample = RepeatedRows.of(outcome, probability, threshold, fold)
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}: give at least 1 (1000 is usual)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a share between 0 and 1, such as 0.95")
    y = sample.outcome
    point = sample.metrics(np.ones((1, y.size)))[0]
    drawn = np.arange(y.size) if customers is None else np.unique(customers, return_inverse=True)[1]
    chosen = None if fold is not None else _chosen(y, drawn, seed)
    part = sample if chosen is None else sample.some(chosen)
    drawn = drawn if chosen is None else np.unique(drawn[chosen], return_inverse=True)[1]
    counts = resampling_counts(int(drawn.max()) + 1, replicates, seed=seed)
    replicated = np.concatenate([part.metrics(w if customers is None else w[:, drawn]) for w in counts])
    if chosen is not None:
        deviation = replicated - part.metrics(np.ones((1, chosen.size)))[0]
        replicated = point + math.sqrt(chosen.size / y.size) * deviation
    folds = 0 if fold is None else int(fold.max()) + 1
    # Nadeau and Bengio: the variance of a mean over folds, times 1 + folds x (rows of a fold / rows of its fit).
    widening = math.sqrt(1 + folds / (folds - 1)) if folds else 1.0
    intervals = {name: _interval(float(point[k]), replicated[:, k], confidence) for k, name in enumerate(METRICS)}
    return Evaluation(
        rows=y.size,
        positives=int(y.sum()),
        threshold=float(np.mean(threshold)),
        confidence=float(confidence),
        replicates=int(replicates),
        metrics={name: _wider(interval, widening, name) for name, interval in intervals.items()},
        confusion=_confusion(y, sample.flagged),
        repeats=len(sample.repeats),
        folds=folds,
    )


def point_metrics(
    outcome: ArrayLike, probability: ArrayLike, threshold: float = 0.5, fold: NDArray[np.intp] | None = None
) -> dict[str, float]:
    """Return every metric of `METRICS` without intervals; arguments, NaN and errors as in `evaluate`.

    Examples
    --------
    >>> point_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])["accuracy"]
    0.75
    >>> point_metrics([0, 1], [[0.1, 0.9], [0.9, 0.1]])["roc_auc"]
    0.5
    """
    sample = RepeatedRows.of(outcome, probability, threshold, fold)
    point = sample.metrics(np.ones((1, sample.outcome.size)))[0]
    return dict(zip(METRICS, point.tolist(), strict=True))


def weighted_metrics(
    outcome: ArrayLike, probability: ArrayLike, weight: ArrayLike, threshold: float = 0.5
) -> dict[str, Floats]:
    """Return every metric for each replicate's weights; two models with the same weights give paired replicates.

    Parameters
    ----------
    outcome, probability, threshold
        As in `evaluate`.
    weight : array of shape (replicates, rows)
        Weights of the rows: finite, not negative, and at least one positive in each replicate.

    Returns
    -------
    dict of arrays of shape (replicates,)
        Values by metric, equal to scikit-learn's function of that name with this `sample_weight`. `precision`,
        `recall` and `f1` are 0 if their denominator is 0, as with `zero_division=0`. `roc_auc` and
        `average_precision` are NaN if all outcomes are the same. `calibration_error` is the expected calibration
        error: the weighted mean of |observed rate - mean probability| over ten bins of equal width (Naeini, Cooper
        and Hauskrecht, AAAI 2015; Guo et al., ICML 2017). The bins are closed on the left; those of Guo et al. are
        closed on the right.

    Raises
    ------
    ValueError
        As in `evaluate`, or if the weights have another shape or other values.

    Examples
    --------
    >>> weighted_metrics([0, 1, 1], [0.2, 0.3, 0.9], [[1, 1, 1], [1, 0, 3]])["recall"].tolist()
    [0.5, 1.0]
    """
    y, p, eps = checked(outcome, probability)
    w = np.asarray(weight, dtype=np.float64)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise ValueError(f"weight has shape {w.shape}: give (replicates, {y.size}), one weight per row")
    if not (np.isfinite(w).all() and (w >= 0).all() and (w.sum(axis=1) > 0).all()):
        raise ValueError("weight is negative, not finite or all zero in a replicate: give counts of rows")
    values = ScoredRows.of(y, p, eps, threshold).metrics(w)
    return {name: values[:, k] for k, name in enumerate(METRICS)}


def resampling_counts(rows: int, replicates: int, *, seed: int) -> Iterator[Floats]:
    """Yield bootstrap counts in blocks of shape (some replicates, rows); a replicate's counts sum to `rows`.

    Counts depend only on `rows` and `seed`, so two models that are measured on the same rows get the same replicates.

    Examples
    --------
    >>> [block.sum(axis=1).tolist() for block in resampling_counts(5, 3, seed=1)]
    [[5.0, 5.0, 5.0]]
    """
    generator = np.random.default_rng(seed)
    limit = max(1, _BLOCK // rows)
    for first in range(0, replicates, limit):
        size = min(limit, replicates - first)
        # Drawing rows and counting them gives the multinomial, several times faster than `Generator.multinomial`.
        drawn = generator.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def _chosen(y: Floats, drawn: NDArray[np.intp], seed: int) -> NDArray[np.intp] | None:
    """Return the rows that a bootstrap resamples, given the number of each row's customer; None for all rows."""
    units, rarer = int(drawn.max()) + 1, min(y.sum(), y.size - y.sum())
    size = max(MAX_RESAMPLED, math.ceil(units * _MIN_RARER / rarer) if rarer else 0)
    if size >= units:
        return None
    chosen = np.zeros(units, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(units)[:size]] = True
    return chosen[drawn].nonzero()[0]


def _interval(value: float, replicated: Floats, confidence: float) -> Interval:
    defined = replicated[~np.isnan(replicated)]
    if math.isnan(value) or defined.size == 0:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(value, min(float(low), value), max(float(high), value))


def _wider(interval: Interval, factor: float, metric: str) -> Interval:
    """Move the ends of an interval away from its value, within the range of the metric."""
    if factor == 1.0 or math.isnan(interval.low):
        return interval
    value, highest = interval.value, math.inf if metric == "log_loss" else 1.0
    low, high = value - factor * (value - interval.low), value + factor * (interval.high - value)
    return Interval(value, max(0.0, low), min(highest, high))


def _confusion(y: Floats, flagged: NDArray[np.bool_]) -> dict[str, int]:
    tn, fp, fn, tp = np.bincount((2 * y + flagged).astype(np.int64), minlength=4).tolist()
    return {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
