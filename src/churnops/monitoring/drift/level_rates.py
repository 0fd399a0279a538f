"""Test for categories that the model encodes by churn rates: whether customers moved to levels with other rates."""

from math import erf, exp, sqrt

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.chernoff import log_tail
from churnops.monitoring.drift.finding import Finding, cannot_tell
from churnops.monitoring.drift.rarity import few_rows

MIN_LEVEL_ROWS = 10
"""Levels with at most this number of rows, on both sides together, count as one: their rates are mostly chance."""
TOLERANCE = 0.05
"""Difference of the means, in standard deviations, that may remain because the reference's rows gave the rates."""

Floats = NDArray[np.float64]


def level_rate_test(reference: ColumnProfile, batch: ColumnProfile, rates: Floats) -> Finding:
    """Test whether the mean of the levels' churn rates is the same on both sides.

    Both sides are encoded by the same rates, those of the model. So the test is of the levels, and the batch's outcomes
    play no part. Statistic: the difference of the means, in standard deviations of a row. Effect: the
    Kolmogorov-Smirnov distance of two normal distributions that differ by it, in [0, 1].

    Parameters
    ----------
    rates
        Churn rate of each code, then that of missing and that of unknown codes; see `Bundle.level_rates`.

    Notes
    -----
    If nothing changed, every division of all rows between the sides is equally likely. So the smaller side is a sample
    of all rows without replacement, and Chernoff's bound for a sample with replacement holds (Hoeffding, "Probability
    inequalities for sums of bounded random variables", JASA 58 (1963) 13-30, theorem 4).

    But the rates depend on the division: they come from rows of the reference. A level's rate is 0 more often, the
    fewer rows it has there. So the distributions of the encoded values differ in clean batches too, and a
    Kolmogorov-Smirnov test of them rejects up to all of these. The mean differs much less, because the expected rate
    hardly depends on the number of rows. Rare levels count as one (see also `few_rows`), with the rate of unknown
    codes, and `TOLERANCE` covers the rest.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.repeat(np.arange(200.0), 20))
    >>> rates = np.append(np.tile([0.1, 0.2], 100), [0.15, 0.15])
    >>> finding = level_rate_test(reference, reference.count(np.repeat(np.arange(1.0, 200.0, 2), 20)), rates)
    >>> finding.p_value < 1e-9, finding.reason
    (True, 'mean churn rate of the levels, as the model has learned them: 20.0%; in the reference 15.0%')
    """
    if (short := cannot_tell("level_rates", reference, batch)) is not None:
        return short
    codes = rates.size - 2
    points = reference.points.astype(np.intp)
    together = reference.at_points + batch.at_points
    few = max(MIN_LEVEL_ROWS, few_rows(points.size, reference.rows, batch.rows))
    known = (together > few) & (points < codes)
    values = np.append(np.where(known, rates[np.minimum(points, codes)], rates[-1]), rates[-1])
    ours, theirs = (np.append(side.at_points, side.outside) / side.rows @ values for side in (reference, batch))
    reason = f"mean churn rate of the levels, as the model has learned them: {theirs:.1%}; in the reference {ours:.1%}"
    weights = np.append(together, reference.outside + batch.outside) / (reference.rows + batch.rows)
    centred = values - weights @ values
    if np.ptp(values[weights > 0.0]) == 0.0:
        return Finding("level_rates", 0.0, 1.0, 0.0, reason)
    deviation = sqrt(float(weights @ centred**2))
    difference = float(theirs - ours) / deviation
    p_value = _p_value(weights, centred / deviation, reference.rows, batch.rows, difference)
    return Finding("level_rates", difference, p_value, erf(abs(difference) / sqrt(8.0)), reason)


def _p_value(weights: Floats, scaled: Floats, reference_rows: int, batch_rows: int, difference: float) -> float:
    """Return an upper bound on the probability of a difference at least as far above `TOLERANCE`."""
    fewer, more = sorted((reference_rows, batch_rows))
    # Difference between the mean of the smaller side and that of all rows.
    excess = max(0.0, abs(difference) - TOLERANCE) * more / (fewer + more)
    smaller_is_higher = (difference > 0) == (batch_rows == fewer)
    values = scaled if smaller_is_higher else -scaled

    def cumulants(tilt: float) -> tuple[float, float]:
        shift = tilt * float(values.max())
        tilted = weights * np.exp(tilt * values - shift)
        return shift + float(np.log(tilted.sum())), float(tilted @ values / tilted.sum())

    return min(1.0, 2.0 * exp(fewer * log_tail(cumulants, excess)))
