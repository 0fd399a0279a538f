"""Lift: how many of the customers who churned are among those with the highest scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Lift:
    """Customers with the highest scores.

    Attributes
    ----------
    share
        Their share of all customers, in (0, 1].
    precision
        Share of them who churned.
    recall
        Their share of all customers who churned; NaN if nobody did.
    lift
        `precision`, divided by the churn rate of all customers; NaN if nobody churned.
    """

    share: float
    precision: float
    recall: float
    lift: float


def lift_table(outcome: ArrayLike, probability: ArrayLike, shares: Sequence[float] = SHARES) -> list[Lift]:
    """Return the lift of contacting each share of the customers, highest scores first.

    Customers with the same score are in random order; the numbers are the means over all orders.

    Parameters
    ----------
    outcome, probability : arrays of shape (rows,)
        1 for churned, 0 for stayed, and the probability of churn; at least one row.

    Examples
    --------
    >>> lift_table([1, 0, 0, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.8, *[0.1] * 8], [0.2])
    [Lift(share=0.2, precision=0.5, recall=0.5, lift=2.5)]
    """
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    _, place = np.unique(-p, return_inverse=True)
    customers = np.concatenate(([0.0], np.cumsum(np.bincount(place))))
    churned = np.concatenate(([0.0], np.cumsum(np.bincount(place, weights=y))))
    total = float(y.sum())
    table = []
    for share in shares:
        hits = float(np.interp(share * y.size, customers, churned))
        recall = hits / total if total else math.nan
        table.append(Lift(share, hits / (share * y.size), recall, recall / share))
    return table
