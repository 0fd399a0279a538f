"""How sure we can be of a ROC-AUC, and of the difference of two on the same rows, without resampling.

DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves", Biometrics 44 (1988) 837-845, by the mid-ranks of Sun and Xu, "Fast implementation of DeLong's algorithm",
IEEE Signal Processing Letters 21 (2014) 1389-1393: the time of three sorts instead of one comparison for every pair.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AUC:
    """A ROC-AUC with its standard error and interval; NaN where these cannot be told."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class AUCDifference:
    """ROC-AUC of the first score less that of the second, and its standard error."""

    value: float
    standard_error: float


def delong(outcome: ArrayLike, probability: ArrayLike, *, confidence: float = 0.95) -> AUC:
    """Return ROC-AUC with DeLong's standard error.

    Parameters
    ----------
    outcome : array of shape (n,)
        1 churned, 0 stayed.
    probability : array of shape (n,)
        Any finite score that is higher for likelier churners; equal ones count half.
    confidence : float in (0, 1)
        Of the interval, which is symmetric in log-odds and so stays between 0 and 1.

    Returns
    -------
    AUC
        Without at least one row of each outcome everything is NaN; with fewer than two of either, or where no pair
        disagrees (a value of 0 or 1, or one score for everybody), standard error and interval are.

    Raises
    ------
    ValueError
        If the shapes differ, an outcome is not 0 or 1, or a score is not finite.

    Examples
    --------
    >>> found = delong([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.4])
    >>> round(found.value, 3), round(found.standard_error, 3), round(found.low, 2), round(found.high, 2)
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
    """Compare two scores of the same rows: their ROC-AUCs are correlated, so their difference is known better.

    Parameters
    ----------
    outcome, first, second : arrays of shape (n,)
        As `outcome` and `probability` of `delong`.

    Returns
    -------
    AUCDifference
        NaN where there are fewer than two rows of either outcome. Scores of the same order differ by 0, with a
        standard error of 0.

    Raises
    ------
    ValueError
        As `delong`.

    Examples
    --------
    >>> found = delong_difference([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.4], [0.1, 0.2, 0.3, 0.8, 0.4])
    >>> round(found.value, 3), round(found.standard_error, 3)
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
    """Return for each churner the share of stayers below, and for each stayer the share of churners above."""
    churned, stayed = p[y], p[~y]
    if not (churned.size and stayed.size):
        return np.empty(churned.size), np.empty(stayed.size)
    everyone = _midranks(p)
    return (
        (everyone[y] - _midranks(churned)) / stayed.size,
        1.0 - (everyone[~y] - _midranks(stayed)) / churned.size,
    )


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
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
