"""Segments of customers for whom a model's probabilities are proven worse than for the others."""

from collections.abc import Iterator, Sequence
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
        _tested(column.name, values, mask, outcome, probability, loss)
        for column in inputs
        if column.name in columns
        for values, mask in slices(columns[column.name], column)
        if MIN_ROWS <= mask.sum() <= mask.size / 2
    ]
    corrected = _holm([segment.p_value for segment in tested])
    proven = [
        replace(segment, p_value=p_value)
        for segment, p_value in zip(tested, corrected, strict=True)
        if p_value <= level
    ]
    return sorted(proven, key=lambda segment: segment.others - segment.log_loss)


def slices(values: Floats, column: Column) -> Iterator[tuple[str, Mask]]:
    """Yield the choices of a column, or the quarters of a number's range, and missing values, each with its rows."""
    missing = np.isnan(values)
    yield MISSING, missing
    known = values[~missing]
    if not known.size:
        return
    if not column.numeric:
        for code, choice in enumerate(column.choices):
            yield choice, values == code
        return
    edges = np.unique([known.min(), *np.quantile(known, QUARTILES), known.max()])
    for low, high in pairwise(edges):
        first = low == edges[0]
        text = f"{low:.6g} to {high:.6g}" if first else f"above {low:.6g}, up to {high:.6g}"
        yield text, (values >= low if first else values > low) & (values <= high)


def _tested(name: str, values: str, mask: Mask, outcome: Mask, probability: Floats, loss: Floats) -> Segment:
    """Compare a segment with the rest; its p-value is not corrected yet."""
    inside, outside = loss[mask], loss[~mask]
    parts = inside.var(ddof=1) / inside.size, outside.var(ddof=1) / outside.size
    error, difference = sum(parts), inside.mean() - outside.mean()
    p_value = 1.0
    if error > 0:
        freedom = error**2 / (parts[0] ** 2 / (inside.size - 1) + parts[1] ** 2 / (outside.size - 1))
        p_value = float(stdtr(freedom, -difference / np.sqrt(error)))
    return Segment(
        column=name,
        values=values,
        rows=int(mask.sum()),
        churned=int(outcome[mask].sum()),
        expected=float(probability[mask].sum()),
        log_loss=float(inside.mean()),
        others=float(outside.mean()),
        p_value=p_value,
    )


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
