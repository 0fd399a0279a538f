"""Standard errors of a ROC-AUC, and of the difference of two on the same rows, without resampling.

Method: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
characteristic curves", Biometrics 44 (1988) 837-845. Mid-ranks as in Sun and Xu, "Fast implementation of DeLong's
algorithm", IEEE Signal Processing Letters 21 (2014) 1389-1393, take three sorts instead of a comparison of every pair.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AUC:
    """A ROC-AUC with its standard error and interval; NaN if undefined."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class AUCDifference:
    """ROC-AUC of the first score minus that of the second, and the standard error of the difference."""

    value: float
    standard_error: float


def delong(outcome: ArrayLike, probability: ArrayLike, *, confidence: float = 0.95) -> AUC:
    """Compute a ROC-AUC with DeLong's standard error.

    Parameters
    ----------
    outcome : array of shape (n,)
        1 churned, 0 stayed.
    probability : array of shape (n,)
        Finite scores, higher for customers who are more likely to churn. Ties count half.
    confidence : float in (0, 1)
        Confidence of the interval, which is symmetric in log-odds and so stays between 0 and 1.

    Returns
    -------
    AUC
        All values are NaN if an outcome has no row. Only the standard error and the interval are NaN if an outcome has
        one row, if the ROC-AUC is 0 or 1, or if all scores are equal.

    Raises
    ------
    ValueError
        If the shapes differ, an outcome is not 0 or 1, or a score is not finite.

    Examples
    --------
    >>> auc = delong([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.4])
    >>> round(auc.value, 3), round(auc.standard_error, 3), round(auc.low, 2), round(auc.high, 2)
    (0.75, 0.289, 0.13, 0.98)
    """
    y, p = _checked(outcome, probability)
    churned, stayed = _placements(y, p)
    value = float(churned.mean()) if churned.size and stayed.size else math.nan
    if churned.size < 2 or stayed.size < 2:
        return AUC(value, math.nan, math.nan, math.nan)
    error = math.sqrt(churned.var(ddof=1) / churned.size + stayed.var(ddof=1) / stayed.size)
    if error == 0.0 or not 0.0 < value < 1.0:
        return AUC(value, math.nan, math.nan, math.nan)
    half = float(ndtri((1 + confidence) / 2)) * error / (value * (1 - value))
    return AUC(value, error, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def delong_difference(outcome: ArrayLike, first: ArrayLike, second: ArrayLike) -> AUCDifference:
    """Compare two scores of the same rows.

    Two ROC-AUCs on the same rows are usually positively correlated, so their difference has a smaller standard error
    than on different rows.

    Parameters
    ----------
    outcome, first, second : arrays of shape (n,)
        As `outcome` and `probability` of `delong`.

    Returns
    -------
    AUCDifference
        NaN if an outcome has fewer than two rows. Two scores that rank the rows alike have a difference and a
        standard error of 0.

    Raises
    ------
    ValueError
        As in `delong`.

    Examples
    --------
    >>> difference = delong_difference([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.4], [0.1, 0.2, 0.3, 0.8, 0.4])
    >>> round(difference.value, 3), round(difference.standard_error, 3)
    (-0.25, 0.289)
    """
    y, p = _checked(outcome, first)
    _, q = _checked(outcome, second)
    churned, stayed = (one - other for one, other in zip(_placements(y, p), _placements(y, q), strict=True))
    if churned.size < 2 or stayed.size < 2:
        return AUCDifference(math.nan, math.nan)
    # The variance of the differences is var(first) + var(second) - 2 cov(first, second).
    error = math.sqrt(churned.var(ddof=1) / churned.size + stayed.var(ddof=1) / stayed.size)
    return AUCDifference(float(churned.mean()), error)


def _placements(y: NDArray[np.bool_], p: Floats) -> tuple[Floats, Floats]:
    """Return the share of stayed rows below each churned row, and the share of churned rows above each stayed row."""
    churned, stayed = p[y], p[~y]
    if not (churned.size and stayed.size):
        return np.empty(churned.size), np.empty(stayed.size)
    everyone = _midranks(p)
    return (
        (everyone[y] - _midranks(churned)) / stayed.size,
        1.0 - (everyone[~y] - _midranks(stayed)) / churned.size,
    )


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values get the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _checked(outcome: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise ValueError(f"outcome has shape {y.shape}, the scores {p.shape}: give two of shape (rows,)")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("an outcome is neither 0 nor 1: give 1 for churned and 0 for stayed")
    if not np.isfinite(p).all():
        raise ValueError("a score is not finite: give numbers")
    return y == 1.0, p
