"""Confidence sequence of the mean paired difference of two models: bounds that hold at all looks together."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
OPTIMUM = 2_000
"""Number of pairs for which the bounds are narrowest; they hold for any number."""


def boundary(variance: ArrayLike, alpha: float, optimum: float) -> Floats:
    """Return the boundary that a sum of centred values with this total variance ever exceeds with probability `alpha`.

    Parameters
    ----------
    variance : array of shape (n,)
        Total variance of the sum at each look.
    alpha : float in (0, 1)
        Probability that the sum is above the boundary at any look.
    optimum : float above 0
        Total variance for which the boundary is narrowest.

    Notes
    -----
    One-sided normal mixture: Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 49 (2021) 1055-1080, equation 14. With estimated variances it holds
    asymptotically: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
    confidence sequences", Annals of Statistics 52 (2024) 2613-2640.

    Examples
    --------
    >>> boundary([100.0, 1000.0], alpha=0.05, optimum=100.0).round(1)
    array([27.8, 95.5])
    """
    total, width = np.asarray(variance, dtype=np.float64), 2 * math.log(1 / alpha)
    rho = optimum / (width + math.log(1 + width))
    result: Floats = np.sqrt(2 * (total + rho) * np.log(np.sqrt((total + rho) / rho) / (2 * alpha) + 1))
    return result


def half_width(pairs: ArrayLike, deviation: ArrayLike, alpha: float) -> Floats:
    """Return the distance of a one-sided bound from the mean difference, at each look.

    Parameters
    ----------
    pairs : array of shape (n,)
        Number of pairs so far, at least 1.
    deviation : array of shape (n,)
        Standard deviation of the differences so far.
    alpha : float in (0, 1)
        Probability that the true mean is ever on the wrong side of this bound.

    Notes
    -----
    The optimum is a number of pairs, so the bounds do not depend on the unit of the differences.

    Examples
    --------
    >>> half_width([500, 2000], [0.25, 0.25], alpha=0.025).round(4)
    array([0.0359, 0.017 ])
    """
    n, spread = np.asarray(pairs, dtype=np.float64), np.asarray(deviation, dtype=np.float64)
    return spread / n * boundary(n, alpha, OPTIMUM)


def log_losses(outcome: ArrayLike, probability: ArrayLike) -> Floats:
    """Return each customer's log loss in nats, shape (n,); a score of 0 or 1 is clipped as in the gate's metric.

    >>> log_losses([1, 0], [0.5, 0.5]).round(3)
    array([0.693, 0.693])
    """
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    smallest = np.finfo(np.float64).eps
    result: Floats = -np.log(np.clip(np.where(y == 1.0, p, 1 - p), smallest, 1.0))
    return result
