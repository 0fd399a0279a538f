"""Curves of a churn model: ROC, precision against recall, and calibration."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.evaluation.scored_rows import BIN_EDGES, BINS, Floats, ScoredRows, checked, ratio


def roc_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Return (false_positive_rate, true_positive_rate), from (0, 0) to (1, 1).

    One point for each distinct probability follows (0, 0). At these points, the false positive rate is NaN if nobody
    stayed, and the true positive rate is NaN if nobody churned.

    Examples
    --------
    >>> [rate.tolist() for rate in roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])]
    [[0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0]]
    """
    churned, stayed = _cumulative(outcome, probability)
    return (
        np.concatenate(([0.0], ratio(stayed, stayed[-1], math.nan))),
        np.concatenate(([0.0], ratio(churned, churned[-1], math.nan))),
    )


def precision_recall_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Return (recall, precision): the customary point (0, 1), then one per distinct probability, highest first.

    Average precision is the area below steps: point k gives the precision from recall k-1 to recall k. After the first
    point, recall is NaN if nobody churned.

    Examples
    --------
    >>> recall, precision = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> recall.tolist(), precision.round(3).tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.667, 0.5])
    """
    churned, stayed = _cumulative(outcome, probability)
    return (
        np.concatenate(([0.0], ratio(churned, churned[-1], math.nan))),
        np.concatenate(([1.0], churned / (churned + stayed))),
    )


def calibration_curve(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return (mean_probability, observed_rate, count) per bin of `calibration_error`; NaN in an empty bin.

    Examples
    --------
    >>> mean, observed, count = calibration_curve([0, 1, 1], [0.1, 0.2, 0.22])
    >>> mean[1:3].round(2).tolist(), observed[1:3].tolist(), count[:4].tolist()
    ([0.1, 0.21], [0.0, 1.0], [0, 1, 2, 0])
    """
    y, p, _ = checked(outcome, probability)
    bins = np.searchsorted(BIN_EDGES, p, side="right")
    count = np.bincount(bins, minlength=BINS)
    mean = ratio(np.bincount(bins, weights=p, minlength=BINS), count, math.nan)
    observed = ratio(np.bincount(bins, weights=y, minlength=BINS), count, math.nan)
    return mean, observed, count.astype(np.int64)


def _cumulative(outcome: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    """Count churned and stayed rows at or above each distinct probability, from the highest down."""
    y, p, eps = checked(outcome, probability)
    up, right = ScoredRows.of(y, p, eps, 0.5).ranked(np.ones((1, y.size)))
    return np.cumsum(up[0]), np.cumsum(right[0])
