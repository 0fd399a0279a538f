"""Segments of customers for whom a model's probabilities are proven worse than for the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from churnops.schema import Column, Columns

MIN_ROWS = 50
"""Minimum number of customers in a segment, so that the t-test holds for skewed losses."""
QUARTILES = (0.25, 0.5, 0.75)
MISSING = "missing"

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Customers with the same choice, or with a number in the same quarter of its range.

    Attributes
    ----------
    column, values
        Name of the column, and the segment's values as a text.
    rows, churned
        Number of customers, and of those who churned.
    expected
        Number of customers whom the model expects to churn: the sum of the probabilities.
    log_loss, others
        Mean log loss in the segment, and of all other customers.
    p_value
        One-sided p-value that the log loss is not higher than that of the others, corrected for all tested segments.
    """

    column: str
    values: str
    rows: int
    churned: int
    expected: float
    log_loss: float
    others: float
    p_value: float


def worst_segments(
    columns: Columns,
    inputs: Sequence[Column],
    outcome: NDArray[np.bool_],
    probability: Floats,
    *,
    level: float = 0.05,
) -> list[Segment]:
    """Return the segments with a significantly higher log loss than the other customers, highest difference first.

    A segment is a choice, a missing value, or a quarter of a number's range between quartiles. It has at least
    `MIN_ROWS` customers, and at most half of all.

    Parameters
    ----------
    columns
        Encoded columns of n customers on whom the model was not trained.
    inputs
        Columns to search.
    outcome, probability
        Shape (n,): whether the customer churned, and the model's probability.
    level
        Highest probability of a segment in the result if the losses do not depend on the columns.

    Notes
    -----
    Welch's t-test, one-sided. Losses are skewed to the right, which makes the test of a high mean conservative, as long
    as the segment is not larger than the rest. The p-values are corrected for the number of segments by Holm
    (Scandinavian Journal of Statistics 6 (1979) 65-70), which holds for any dependence between them. Without a
    correction, a search finds a segment in noise nearly always.

    Examples
    --------
    >>> plan = Column(name="plan", kind="flag", choices=("No", "Yes"))
    >>> codes, outcome = np.tile([0.0, 0.0, 1.0], 200), np.tile([False, False, False, True], 150)
    >>> probability = np.where(codes == 1, 0.5, np.where(outcome, 0.9, 0.1))
    >>> [(s.column, s.values, s.rows, round(s.log_loss, 3)) for s in worst_segments(
    ...     {"plan": codes}, [plan], outcome, probability)]
    [('plan', 'Yes', 200, 0.693)]
    """
    inside = np.where(outcome, probability, 1 - probability)
    loss = -np.log(np.clip(inside, np.finfo(np.float64).eps, None))
    tested = [
        segment
        for column in inputs
        if column.name in columns
        for segment in _tested(column.name, *groups(columns[column.name], column), outcome, probability, loss)
    ]
    corrected = _holm([segment.p_value for segment in tested])
    proven = [
        replace(segment, p_value=p_value)
        for segment, p_value in zip(tested, corrected, strict=True)
        if p_value <= level
    ]
    return sorted(proven, key=lambda segment: segment.others - segment.log_loss)


def groups(values: Floats, column: Column) -> tuple[list[str], NDArray[np.intp]]:
    """Return the names of a column's groups, and the group of each customer, shape (n,).

    The groups are the choices and the other levels, the values of a number with up to four, or else its quarters
    between quartiles. The last group has the missing values. The names of a personal number's groups lack its lowest
    and highest value.

    >>> calls = Column(name="calls", kind="integer", nullable=True)
    >>> names, place = groups(np.array([1.0, 2.0, np.nan, 3.0, 4.0, 9.0]), calls)
    >>> names
    ['1 to 2', 'above 2, up to 3', 'above 3, up to 4', 'above 4, up to 9', 'missing']
    >>> place.tolist()
    [0, 0, 4, 1, 2, 3]
    """
    missing = np.isnan(values)
    if not column.numeric:
        names = list(column.levels)
        place = np.where(missing, len(names), values).astype(np.intp)
        return [*names, MISSING], place
    known = values[~missing]
    distinct = np.unique(known)
    if distinct.size <= len(QUARTILES) + 1:
        names, inner = [column.text(value) for value in distinct], distinct[:-1]
    else:
        edges = np.unique([distinct[0], *np.quantile(known, QUARTILES), distinct[-1]])
        first, *others = map(column.text, edges)
        names = [f"{first} to {others[0]}", *(f"above {low}, up to {high}" for low, high in pairwise(others))]
        if column.personal:  # the lowest and the highest value are those of single customers
            names[0], names[-1] = f"up to {others[0]}", f"above {others[-2]}" if len(others) > 1 else "any"
        inner = edges[1:-1]
    return [*names, MISSING], np.where(missing, len(names), np.searchsorted(inner, values))


def _tested(
    column: str, names: Sequence[str], place: NDArray[np.intp], outcome: Mask, probability: Floats, loss: Floats
) -> list[Segment]:
    """Compare each group with the rest; the p-values are not corrected yet."""
    mean = loss.mean()
    ones, churned, expected, total, squares = (
        np.bincount(place, weights, len(names)).astype(np.float64)
        for weights in (None, outcome, probability, loss - mean, (loss - mean) ** 2)
    )
    large = (ones >= MIN_ROWS) & (ones <= place.size / 2)
    others = ones.sum() - ones[large]
    inside, inside_error = _mean_and_error(ones[large], total[large], squares[large])
    outside, outside_error = _mean_and_error(others, total.sum() - total[large], squares.sum() - squares[large])
    error = inside_error + outside_error
    with np.errstate(divide="ignore", invalid="ignore"):  # without a difference between any two losses, the error is 0
        freedom = error**2 / (inside_error**2 / (ones[large] - 1) + outside_error**2 / (others - 1))
        p_values = np.where(error > 0, stdtr(freedom, (outside - inside) / np.sqrt(error)), 1.0)
    return [
        Segment(
            column=column,
            values=names[group],
            rows=int(ones[group]),
            churned=int(churned[group]),
            expected=float(expected[group]),
            log_loss=float(mean + inside[i]),
            others=float(mean + outside[i]),
            p_value=float(p_values[i]),
        )
        for i, group in enumerate(np.flatnonzero(large).tolist())
    ]


def _mean_and_error(count: Floats, total: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Return the mean of each group, and its squared standard error."""
    mean = total / count
    return mean, np.maximum(squares / count - mean**2, 0.0) / (count - 1)


def _holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm, in the given order.

    >>> _holm([0.03, 0.01, 0.5])
    [0.06, 0.03, 0.5]
    """
    values = np.array(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty(values.size)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    return [min(1.0, float(p_value)) for p_value in corrected]
