"""Churn rates of the arms of a split, with intervals that hold at all looks together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from churnops.experiments.sequence import half_width

LEVEL = 0.05
"""Probability that an interval ever misses the true value."""
MAX_FACTOR = 1_000
"""Largest number of outcomes that a report asks for, as a multiple of the known ones."""


def rate_interval(churned: int, known: int) -> tuple[float, float]:
    """Return the interval of a churn rate, from the number of customers who left and of all with a known outcome.

    It has the rates that the beta-binomial mixture with a uniform prior does not refuse at `LEVEL`: Robbins,
    "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41 (1970).

    >>> [round(end, 3) for end in rate_interval(20, 100)]
    [0.093, 0.348]
    """
    if not known:
        return 0.0, 1.0

    def refused(rate: float) -> bool:
        stayed = known - churned
        evidence = betaln(1 + churned, 1 + stayed) - xlogy(churned, rate) - xlog1py(stayed, -rate)
        return bool(evidence > -np.log(LEVEL))

    middle = churned / known
    ends = []
    for outside in (0.0, 1.0):
        inside = middle
        if not refused(outside):
            inside = outside
        while abs(outside - inside) > 1e-6:
            between = (inside + outside) / 2
            inside, outside = (inside, between) if refused(between) else (between, outside)
        ends.append(inside)
    return ends[0], ends[1]


@dataclass(frozen=True)
class RateDifference:
    """Churn rate of the challenger's arm minus that of the champion's, with the ends of its interval.

    `labels_needed` is the number of further outcomes after which a difference of this size is certain; None if it is
    certain already, or too small to wait for.
    """

    value: float
    low: float
    high: float
    labels_needed: int | None


def rate_difference(challenger: ArrayLike, churned: ArrayLike, share: float) -> RateDifference | None:
    """Compare the churn rates of the arms; None with fewer than two outcomes in an arm.

    Parameters
    ----------
    challenger, churned : arrays of shape (n,)
        Whether each customer is in the challenger's arm, and 1 if the customer left, 0 if not; in the order in which
        their outcomes are due.
    share
        Share of the challenger, in (0, 1).

    Notes
    -----
    Each customer contributes the outcome minus the mean of the earlier ones, weighted by 1 over the probability of its
    arm, and negative in the champion's arm. The contributions have the difference as their mean, whatever the earlier
    ones were. The interval is an asymptotic confidence sequence of that mean (see `sequence.half_width`).
    """
    arm, outcome = np.asarray(challenger, dtype=np.bool_), np.asarray(churned, dtype=np.float64)
    if min(int(arm.sum()), int((~arm).sum())) < 2:
        return None
    pairs = np.arange(1, outcome.size + 1)
    earlier = np.concatenate([[0.5], np.cumsum(outcome)[:-1] / pairs[:-1]])
    part: NDArray[np.float64] = (outcome - earlier) * np.where(arm, 1 / share, -1 / (1 - share))
    value, deviation = float(part.mean()), float(part.std())
    half = float(half_width(outcome.size, deviation, LEVEL / 2))
    sizes = outcome.size * np.geomspace(1, MAX_FACTOR, 2000)
    certain = half_width(sizes, deviation, LEVEL / 2) < abs(value)
    needed = int(sizes[certain.argmax()]) - outcome.size if certain.any() and not certain[0] else None
    return RateDifference(value, value - half, value + half, needed)
