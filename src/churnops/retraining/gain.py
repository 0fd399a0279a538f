"""Uncertainty of a measured gain: standard error, bounds, and the number of labels that would prove it."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from churnops.evaluation.delong import delong_difference
from churnops.evaluation.metrics import resampling_counts, weighted_metrics
from churnops.settings import GateMetric

POWER = 0.9  # probability of proving a gain, for `labels_needed`
REPLICATES = 2000
Floats = NDArray[np.float64]


def spread(y: Floats, p: Floats, q: Floats, metric: GateMetric, *, seed: int) -> tuple[float, float]:
    """Return the standard error and the skewness of a gain; the skewness is 0 unless the metric is log loss.

    Parameters
    ----------
    y, p, q : arrays of shape (n,)
        Outcomes (at least two of each), and the probabilities of champion and challenger.
    seed : int
        Seed of the bootstrap, for average precision.

    Notes
    -----
    The standard error is DeLong's for ROC-AUC, that of a mean for log loss, and a paired bootstrap's for average
    precision.
    """
    if metric == "roc_auc":
        return delong_difference(y, q, p).standard_error, 0.0
    if metric == "log_loss":
        smallest = np.finfo(np.float64).eps  # the metric clips at the same value
        before, after = (-np.log(np.clip(np.where(y == 1.0, s, 1 - s), smallest, 1 - smallest)) for s in (p, q))
        difference = before - after
        error = float(difference.std(ddof=1) / math.sqrt(y.size))
        third = float(((difference - difference.mean()) ** 3).mean())
        return error, third / y.size**2 / error**3 if error > 0 else 0.0
    replicated = np.concatenate(
        [
            weighted_metrics(y, q, counts)[metric] - weighted_metrics(y, p, counts)[metric]
            for counts in resampling_counts(y.size, REPLICATES, seed=seed)
        ]
    )
    return float(np.nanstd(replicated, ddof=1)), 0.0


def corrected(confidence: float, compared: int) -> float:
    """Return the level of a bound for the best of `compared` challengers, chosen on the same rows (Bonferroni).

    >>> round(corrected(0.95, 5), 4)
    0.99
    """
    return 1 - (1 - confidence) / compared


def bounds(gain: float, error: float, rarer: int, skewness: float = 0.0, *, level: float) -> tuple[float, float]:
    """Return the one-sided lower and upper bound of a gain.

    Parameters
    ----------
    rarer : int >= 2
        Number of customers of the rarer outcome; Student's t has one degree of freedom less.
    skewness : float
        Skewness of the gain, not of the customers' differences. Hall's transformation (Journal of the Royal Statistical
        Society B 54 (1992) 221-228) moves the bound on the side of the long tail outwards; no bound moves inwards.
    level : float in (0, 1)
        Probability with which each bound holds, such as the result of `corrected`.

    Examples
    --------
    >>> low, high = bounds(0.03, 0.01, 97, level=0.95)
    >>> round(low, 4), round(high, 4)
    (0.0134, 0.0466)
    >>> round(bounds(0.03, 0.01, 97, -0.3, level=0.95)[0], 4)
    0.0087
    """
    t = float(stdtrit(rarer - 1, level))
    return gain - max(t, _unskewed(t, skewness)) * error, gain + max(t, -_unskewed(-t, skewness)) * error


def _unskewed(t: float, skewness: float) -> float:
    """Invert Hall's transformation: return the studentised mean of skewed values that it maps to `t`."""
    if abs(skewness) < 1e-6:
        return t
    return 3 / skewness * (float(np.cbrt(1 + skewness * (t - skewness / 6))) - 1)


def labels_needed(
    gain: float,
    error: float,
    rows: int,
    *,
    min_improvement: float,
    level: float,
    low: float | None = None,
) -> int | None:
    """Return the total number of labels that proves a gain in 90 % of cases; None if no number does.

    Parameters
    ----------
    gain, error : float
        The gain and its standard error on `rows` customers. The error is assumed to shrink with the root of `rows`.
    min_improvement
        As in the settings.
    level : float in (0, 1)
        Probability with which the lower bound holds, such as the result of `corrected`.
    low
        Lower bound of the gain on these rows. With few or skewed customers it is more standard errors below the gain
        than for a normal distribution. This number of standard errors is assumed for more rows too, so an unproven gain
        always needs more labels.

    Notes
    -----
    For a normally distributed gain: it exceeds `min_improvement` in 90 % of cases if its standard error is at most
    (gain - min_improvement) / z(0.9); its lower bound exceeds 0 in 90 % of cases if the error is at most
    gain / (z(level) + z(0.9)).

    Examples
    --------
    >>> labels_needed(0.02, 0.01, 500, min_improvement=0.01, level=0.95)
    1071
    >>> labels_needed(0.01, 0.01, 500, min_improvement=0.01, level=0.95) is None
    True
    """
    if not (gain > min_improvement and error > 0):
        return None
    power, width = float(ndtri(POWER)), float(ndtri(level))
    if low is not None:
        width = max(width, (gain - low) / error)
    allowed = min((gain - min_improvement) / power, gain / (width + power))
    return math.ceil(rows * (error / allowed) ** 2)


def round_up(labels: int) -> int:
    """Round an estimated number of labels up to two digits.

    >>> round_up(1234), round_up(7)
    (1300, 7)
    """
    unit: int = 10 ** max(0, len(str(labels)) - 2)
    return -(-labels // unit) * unit
