"""Columns that are determined by another one: a charge by the minutes, a plan by what is used of it.

They drift together, so monitoring shows them all and counts them once.
"""

import numpy as np
from numpy.typing import NDArray

from churnops.schema import Columns

MIN_ROWS = 30
SAMPLE = 1_000  # rows spread evenly over a table: they refute nearly every pair, so few need all rows

Values = NDArray[np.float64]


def linked_columns(columns: Columns) -> dict[str, str]:
    """Return, for each column that another one determines, the name of that one.

    A column is determined by another if it is a function of it that only rises or only falls, over all rows that have
    both: at least 30. A constant is determined by nothing. Of columns that determine each other, the one with more
    distinct values, then the first, is kept; chains lead to their beginning.

    Examples
    --------
    >>> minutes = np.arange(40.0)
    >>> linked_columns({"charge": np.round(minutes * 0.17), "minutes": minutes, "noise": minutes % 7})
    {'charge': 'minutes'}
    """
    distinct = {name: int(np.unique(values[~np.isnan(values)]).size) for name, values in columns.items()}
    ranked = sorted((name for name in columns if distinct[name] > 1), key=lambda name: -distinct[name])
    orders: dict[str, NDArray[np.intp]] = {}
    linked: dict[str, str] = {}
    for place, name in enumerate(ranked):
        for root in ranked[:place]:
            if root in linked:
                continue
            if root not in orders:
                orders[root] = np.argsort(columns[root], kind="stable")
            if _determines(columns[root], columns[name], orders[root]):
                linked[name] = root
                break
    return {name: linked[name] for name in columns if name in linked}


def _determines(root: Values, other: Values, order: NDArray[np.intp]) -> bool:
    """Whether `other` is a monotone function of `root`, which `order` sorts."""
    sample = order[:: max(order.size // SAMPLE, 1)]
    if not _is_monotone(root[sample], other[sample]):  # so the whole is not
        return False
    order = order[~(np.isnan(root) | np.isnan(other))[order]]
    if order.size < MIN_ROWS or other[order[0]] == other[order[-1]]:
        return False
    return _is_monotone(root[order], other[order])


def _is_monotone(root: Values, other: Values) -> bool:
    """Whether `other` only rises or only falls along the ascending `root`, with one value for each of its values."""
    both = ~(np.isnan(root) | np.isnan(other))
    x, y = root[both], other[both]
    up, down = y[1:] >= y[:-1], y[1:] <= y[:-1]
    return bool((up.all() or down.all()) and (up & down)[x[1:] == x[:-1]].all())
