"""Expected profit of a call list, and the interval in which the realised profit lies."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Basis = Literal["calibration and chance", "chance"]

FIRST_BIN = 30
"""Number of reference customers with the highest scores that form a bin; each following bin has twice as many."""

MIN_REFERENCE = 200
"""Number of reference customers from which on the model's calibration is judged by them."""

REPLICATES = 1000
TINY = 1e-12  # distance of a bin's mean score to 0 and 1
SINGLE = 2000  # customers up to which each one's outcome is drawn; the sum of more is close to normal


class Reference(NamedTuple):
    """Out-of-fold scores of labelled customers, and their outcomes (1 churned, 0 stayed); both of shape (m,)."""

    score: Floats
    outcome: Floats


class ListProfit(NamedTuple):
    """Expected profit of a list, and an interval of the realised profit.

    `basis` names what the interval accounts for. Success rate and value are taken as they are.
    """

    expected: float
    low: float
    high: float
    basis: Basis


def list_profit(
    probability: Floats, gain: Floats, cost: float, reference: Reference | None, *, confidence: float, seed: int
) -> ListProfit:
    """Return the expected profit of contacting customers, with an interval.

    Two things make the realised profit differ from the expected one. Calibration: reference customers with similar
    scores tell how many of them left, each bin with the uncertainty of its size (a beta distribution with Jeffreys'
    prior). The probabilities of a bin are moved to its rate. Chance: of customers with the same probability, some leave
    and others stay.

    Parameters
    ----------
    probability
        Shape (n,), n at least 1.
    gain
        Success rate × value of each customer, shape (n,).
    cost
        Cost of a contact.
    reference
        None or too few customers: the probabilities are taken as exact.

    Examples
    --------
    >>> profit = list_profit(np.full(400, 0.5), np.full(400, 10.0), 1.0, None, confidence=0.95, seed=1)
    >>> round(profit.expected), 1380 < profit.low < 1420, 1780 < profit.high < 1820
    (1600, True, True)
    """
    random = np.random.default_rng(seed)
    known = reference if reference is not None and reference.score.size >= MIN_REFERENCE else None
    if known is None:
        lines = _Lines(np.zeros(probability.size, dtype=np.intp), np.zeros((1, 1)), np.ones((1, 1)))
    else:
        lines = _calibrated(probability, known, random)
    expected = float(lines.rates(probability) @ gain) - cost * probability.size
    sums = _sums(probability, lines, gain, random) - cost * probability.size
    low, high = np.quantile(sums, ((1 - confidence) / 2, (1 + confidence) / 2))
    basis: Basis = "chance" if known is None else "calibration and chance"
    return ListProfit(expected, float(low), float(high), basis)


class _Lines(NamedTuple):
    """Draws of the churn rate by probability: a line in each bin, floor + slope × probability.

    `bins` has the bin of each customer; `floor` and `slope` have shape (replicates, bins).
    """

    bins: NDArray[np.intp]
    floor: Floats
    slope: Floats

    def rates(self, probability: Floats) -> Floats:
        """Return each customer's mean churn rate over the draws."""
        floor, slope = (values.mean(axis=0)[self.bins] for values in (self.floor, self.slope))
        rates: Floats = floor + slope * probability
        return rates


def _calibrated(probability: Floats, known: Reference, random: np.random.Generator) -> _Lines:
    """Draw the bins' churn rates, and move the probabilities so that the bins' reference customers have these means.

    For a lower rate the probabilities of a bin are multiplied, for a higher one their distances to 1 are: so they stay
    in order and in [0, 1]. One rate for a whole bin would be too low for a list that takes the highest scores of it.
    """
    order = np.argsort(-known.score, kind="stable")
    score, outcome = known.score[order], known.outcome[order]
    starts = FIRST_BIN * (2 ** np.arange(32) - 1)
    starts = starts[starts <= score.size - FIRST_BIN]
    rows = np.diff(np.append(starts, score.size))
    left, mean = (np.add.reduceat(values, starts) for values in (outcome, score))
    mean = np.clip(mean / rows, TINY, 1 - TINY)
    rates = random.beta(left + 0.5, rows - left + 0.5, (REPLICATES, starts.size))
    slope = np.minimum(rates / mean, (1 - rates) / (1 - mean))
    floor = np.where(rates > mean, 1 - slope, 0.0)
    lowest = score[starts[1:] - 1]  # of each bin but the last
    return _Lines(np.searchsorted(-lowest, -probability, side="left"), floor, slope)


def _sums(probability: Floats, lines: _Lines, gain: Floats, random: np.random.Generator) -> Floats:
    """Return draws of the total gain of the customers who leave, shape (replicates,)."""
    bins, floor, slope = lines
    draws, count = floor.shape
    if bins.size <= SINGLE:
        block = [
            random.random(bins.size) < floor[number % draws][bins] + slope[number % draws][bins] * probability
            for number in range(REPLICATES)
        ]
        return np.asarray(block, dtype=np.float64) @ gain
    total, weighted = (np.bincount(bins, gain * probability**power, count) for power in (0, 1))
    squares = [np.bincount(bins, gain**2 * probability**power, count) for power in (0, 1, 2)]
    variance = floor * (1 - floor) @ squares[0] + slope * (1 - 2 * floor) @ squares[1] - slope**2 @ squares[2]
    spread = np.sqrt(np.maximum(variance, 0))  # rounding may make zero negative
    drawn: Floats = floor @ total + slope @ weighted + spread * random.standard_normal(REPLICATES)
    return drawn
