"""Fairness: a model's results for each group of a sensitive column, which is no input of the model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.evaluation.segments import MIN_ROWS, groups
from churnops.evaluation.wilson import wilson
from churnops.schema import Column

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

MAX_GROUPS = 100


@dataclass(frozen=True)
class Share:
    """A share of customers with Wilson's 95 % interval; the value is NaN without customers."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ComparedGroup:
    """Results for the customers with the same value of a sensitive column.

    Attributes
    ----------
    values
        The choice, or the quarter of a number's range.
    rows
        Number of customers.
    churned, expected
        Observed churn rate, and the mean probability.
    flagged
        Share of customers who are predicted to churn.
    hits
        Share of the customers who churned that was flagged.
    false_alarms
        Share of the customers who stayed that was flagged.
    """

    values: str
    rows: int
    churned: float
    expected: float
    flagged: float
    hits: Share
    false_alarms: Share


def group_results(
    values: Floats, column: Column, outcome: Mask, probability: Floats, threshold: float
) -> list[ComparedGroup]:
    """Return the results for each group of at least `MIN_ROWS` customers, `MAX_GROUPS` at most.

    Parameters
    ----------
    values
        Encoded sensitive column of n customers on whom the model was not trained.
    outcome, probability
        Shape (n,): whether the customer churned, and the model's probability.
    threshold
        Lowest probability of a customer who is predicted to churn.

    Examples
    --------
    >>> column = Column(name="gender", kind="flag", choices=("f", "m"), required=False, sensitive=True)
    >>> outcome = np.arange(200) % 4 == 0
    >>> results = group_results(np.arange(200) // 100 * 1.0, column, outcome, np.where(outcome, 0.9, 0.1), 0.5)
    >>> [(group.values, group.rows, group.flagged, group.hits.value) for group in results]
    [('f', 100, 0.25, 1.0), ('m', 100, 0.25, 1.0)]
    """
    flagged = probability >= threshold
    names, place = groups(values, column)
    counts = np.bincount(place, minlength=len(names))
    large = np.flatnonzero(counts >= MIN_ROWS)[:MAX_GROUPS]
    return [
        ComparedGroup(
            values=names[group],
            rows=int(counts[group]),
            churned=float(outcome[mask].mean()),
            expected=float(probability[mask].mean()),
            flagged=float(flagged[mask].mean()),
            hits=_share(flagged[mask & outcome]),
            false_alarms=_share(flagged[mask & ~outcome]),
        )
        for group, mask in ((group, place == group) for group in large)
    ]


def _share(flagged: Mask) -> Share:
    return Share(*(float(number) for number in wilson(flagged.sum(), flagged.size)))
