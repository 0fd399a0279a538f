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
    prior). Chance: of customers with the same probability, some leave and others stay.

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
        bins, rates = np.arange(probability.size), probability[None, :]
        expected = float(probability @ gain)
    else:
        bins, rates = _rates(probability, known, random)
        expected = float(rates.mean(axis=0)[bins] @ gain)
    sums = _sums(bins, rates, gain, random) - cost * probability.size
    low, high = np.quantile(sums, ((1 - confidence) / 2, (1 + confidence) / 2))
    basis: Basis = "chance" if known is None else "calibration and chance"
    return ListProfit(expected - cost * probability.size, float(low), float(high), basis)


def _rates(probability: Floats, known: Reference, random: np.random.Generator) -> tuple[NDArray[np.intp], Floats]:
    """Return each customer's bin, and draws of the bins' churn rates, shape (replicates, bins)."""
    order = np.argsort(-known.score, kind="stable")
    score, outcome = known.score[order], known.outcome[order]
    starts = FIRST_BIN * (2 ** np.arange(32) - 1)
    starts = starts[starts <= score.size - FIRST_BIN]
    left = np.add.reduceat(outcome, starts)
    rows = np.diff(np.append(starts, score.size))
    rates = random.beta(left + 0.5, rows - left + 0.5, (REPLICATES, starts.size))
    lowest = score[starts[1:] - 1]  # of each bin but the last
    return np.searchsorted(-lowest, -probability, side="left"), rates


def _sums(bins: NDArray[np.intp], rates: Floats, gain: Floats, random: np.random.Generator) -> Floats:
    """Return draws of the total gain of the customers who leave, shape (replicates,)."""
    if bins.size <= SINGLE:
        block = [random.random(bins.size) < rates[number % len(rates)][bins] for number in range(REPLICATES)]
        return np.asarray(block, dtype=np.float64) @ gain
    total, squares = (np.bincount(bins, weight, rates.shape[1]) for weight in (gain, gain**2))
    spread = np.sqrt((rates * (1 - rates)) @ squares)
    drawn: Floats = rates @ total + spread * random.standard_normal(REPLICATES)
    return drawn
