"""Outcomes and probabilities, checked and prepared for metrics of many replicates at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
"""Metrics of a churn model, in the order of `ScoredRows.metrics`."""

BINS = 10
BIN_EDGES: Floats = np.arange(1, BINS) / BINS
"""Inner edges of the calibration bins: bin k holds k/10 <= probability < (k+1)/10, the last one also 1."""
_BLOCK = 100_000  # rows whose terms are kept: 14 MB


@dataclass(frozen=True)
class ScoredRows:
    """Rows prepared for many replicates, and their order by falling probability.

    Attributes
    ----------
    outcome, probability, flagged : array of shape (rows,)
        Checked outcomes and probabilities, and 1 for rows that are predicted to churn.
    eps : float
        Log loss clips probabilities by `eps`.
    order : array of shape (rows,)
        Indices of the rows by falling probability.
    churned : array of shape (rows,)
        Outcomes in that order.
    starts : array of shape (distinct probabilities,)
        First place of each run of equal probabilities in that order.
    """

    outcome: Floats
    probability: Floats
    flagged: Floats
    eps: float
    order: NDArray[np.intp]
    churned: Floats
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, y: Floats, p: Floats, eps: float, threshold: float | Floats) -> "ScoredRows":
        """Prepare checked outcomes and probabilities.

        `threshold` is one number, or one of each row, shape (rows,).
        """
        if not all(0 <= limit <= 1 for limit in (np.min(threshold), np.max(threshold))):
            raise ValueError(f"threshold is {threshold}: give a probability between 0 and 1")
        return cls._of(y, p, (p >= threshold).astype(np.float64), eps)

    @classmethod
    def _of(cls, y: Floats, p: Floats, flagged: Floats, eps: float) -> "ScoredRows":
        order = np.argsort(-p, kind="stable")
        starts = np.flatnonzero(np.diff(p[order], prepend=np.inf))
        return cls(y, p, flagged, eps, order, y[order], starts)

    def some(self, rows: NDArray[np.intp]) -> "ScoredRows":
        """Prepare some of the rows."""
        return ScoredRows._of(self.outcome[rows], self.probability[rows], self.flagged[rows], self.eps)

    @cached_property
    def _all_terms(self) -> Floats:
        return self._terms(slice(None))

    def _terms(self, rows: slice) -> Floats:
        """Return the terms of some rows in the sums of the metrics, shape (7 + BINS, rows)."""
        y, p, flagged = self.outcome[rows], self.probability[rows], self.flagged[rows]
        loss = -np.log(np.clip(np.where(y == 1, p, 1 - p), self.eps, 1 - self.eps))
        # A bin's weight times |observed - mean probability| is |sum of (y - p)|, so each bin needs one row of terms.
        gaps = np.zeros((BINS, y.size))
        gaps[np.searchsorted(BIN_EDGES, p, side="right"), np.arange(y.size)] = y - p
        return np.vstack((y, 1 - y, flagged, y * flagged, y == flagged, loss, (y - p) ** 2, gaps))

    def _sums(self, weight: Floats) -> Floats:
        """Return the weighted sums of the terms; those of many rows are computed block by block, to save memory."""
        # Not `weight @ terms`: on a busy machine BLAS threads wait for each other (14 s instead of 3 s).
        if self.outcome.size <= _BLOCK:
            sums: Floats = np.einsum("rn,kn->rk", weight, self._all_terms)
        else:
            blocks = (slice(start, start + _BLOCK) for start in range(0, self.outcome.size, _BLOCK))
            sums = sum(np.einsum("rn,kn->rk", weight[:, rows], self._terms(rows)) for rows in blocks)
        return sums

    def metrics(self, weight: Floats) -> Floats:
        """Return every metric, shape (replicates, metrics), for weights of shape (replicates, rows)."""
        sums = self._sums(weight)
        positives, negatives, flagged, hits, correct, loss, squared = sums[:, :7].T
        total = positives + negatives
        steps_up, steps_right = self.ranked(weight)
        up, right = np.cumsum(steps_up, axis=1), np.cumsum(steps_right, axis=1)
        area = _area(up, steps_up, steps_right)
        precision_area = np.einsum("rg,rg->r", steps_up, ratio(up, up + right, 0.0))
        average_precision = np.where(negatives > 0, ratio(precision_area, positives, math.nan), math.nan)
        return np.column_stack(
            (
                correct / total,
                ratio(hits, flagged, 0.0),
                ratio(hits, positives, 0.0),
                ratio(2 * hits, positives + flagged, 0.0),
                ratio(area, positives * negatives, math.nan),
                average_precision,
                loss / total,
                squared / total,
                np.abs(sums[:, 7:]).sum(axis=1) / total,
            )
        )

    def ordered_pairs(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return the weight of pairs in the right order, and of all pairs of a churned and a stayed row."""
        steps_up, steps_right = self.ranked(weight)
        area = _area(np.cumsum(steps_up, axis=1), steps_up, steps_right)
        return area, steps_up.sum(axis=1) * steps_right.sum(axis=1)

    def ranked(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return the weight of churned and of stayed rows at each distinct probability, from the highest down."""
        ordered = np.take(weight, self.order, axis=1)  # faster than indexing
        churned = ordered * self.churned
        return (
            np.add.reduceat(churned, self.starts, axis=1),
            np.add.reduceat(ordered - churned, self.starts, axis=1),
        )


@dataclass(frozen=True)
class RepeatedRows:
    """Prepared rows of each repeat, of which metrics are the mean; and the folds of each repeat."""

    outcome: Floats
    flagged: NDArray[np.bool_]
    repeats: Sequence[tuple[ScoredRows, Sequence[tuple[NDArray[np.intp], ScoredRows]]]]

    @classmethod
    def of(
        cls, outcome: ArrayLike, probability: ArrayLike, threshold: float | Floats, fold: NDArray[np.intp] | None
    ) -> "RepeatedRows":
        """Check and prepare the arguments of `evaluate`."""
        scores = np.atleast_2d(probability)
        thresholds = np.broadcast_to(threshold, scores.shape)
        repeats = []
        for repeat, (p, limit) in enumerate(zip(scores, thresholds, strict=True)):
            y, p, eps = checked(outcome, p)
            parts = [] if fold is None else [np.flatnonzero(fold[repeat] == k) for k in range(fold[repeat].max() + 1)]
            folds = [(rows, ScoredRows.of(y[rows], p[rows], eps, limit[rows])) for rows in parts]
            repeats.append((ScoredRows.of(y, p, eps, limit), folds))
        return cls(y, scores[0] >= thresholds[0], repeats)

    def some(self, rows: NDArray[np.intp]) -> "RepeatedRows":
        """Prepare some of the rows, without folds."""
        repeats: list[tuple[ScoredRows, Sequence[Any]]] = [(scored.some(rows), ()) for scored, _ in self.repeats]
        return RepeatedRows(self.outcome[rows], self.flagged[rows], repeats)

    def metrics(self, weight: Floats) -> Floats:
        """Return the mean of every metric, shape (replicates, metrics), for weights of shape (replicates, rows)."""
        values = []
        for rows, folds in self.repeats:
            metrics = rows.metrics(weight)
            if folds:
                right, pairs = np.sum([fold.ordered_pairs(weight[:, chosen]) for chosen, fold in folds], axis=0)
                metrics[:, METRICS.index("roc_auc")] = ratio(right, pairs, math.nan)
            values.append(metrics)
        mean: Floats = np.mean(values, axis=0)
        return mean


def _area(up: Floats, steps_up: Floats, steps_right: Floats) -> Floats:
    # Trapezoids: a run of ties goes up and right at once, so a tie counts as half a correct order.
    area: Floats = np.einsum("rg,rg->r", up - steps_up / 2, steps_right)
    return area


def checked(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats, float]:
    """Check outcomes and probabilities; return both as float64, and the `eps` by which log loss clips.

    `eps` is the machine epsilon of the probabilities' own type.

    Raises
    ------
    ValueError
        As in `evaluate`.
    """
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


def ratio(part: NDArray[Any], whole: NDArray[Any], otherwise: float) -> Floats:
    """Divide; the result is `otherwise` if the divisor is 0."""
    result: Floats = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return result
