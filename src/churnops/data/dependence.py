"""Columns that another column determines, as minutes determine a charge.

They drift together, so monitoring shows them all and counts them once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from churnops.schema import Columns

MIN_ROWS = 30
SAMPLE = 1_000  # rows spread evenly over a table: they refute most pairs, so few pairs need all rows

Values = NDArray[np.float64]


def linked_columns(columns: Columns) -> dict[str, str]:
    """Return the columns that another column determines, each with the name of that column.

    A column is determined if it is a monotone function of another column over all rows that have both values. At least
    30 of these rows must differ from its most frequent value. So a constant is not determined, and chance is excluded:
    a random order of such values is monotone with a probability of at most 2 / (60 choose 30), about 2 in 10^17. If two
    columns determine each other, only one is linked, to the one with more distinct values, or to the first if they have
    equally many. In a chain, each column is linked to the one that starts it.

    One column is sorted at a time, so memory does not grow with the number of columns.

    Examples
    --------
    >>> minutes = np.arange(40.0)
    >>> linked_columns({"charge": np.round(minutes * 0.17), "minutes": minutes, "noise": minutes % 7})
    {'charge': 'minutes'}
    """
    distinct = {}
    for name, values in columns.items():
        counts = np.unique(values[~np.isnan(values)], return_counts=True)[1]
        if counts.sum() - counts.max(initial=0) >= MIN_ROWS:  # other columns vary too little to be compared
            distinct[name] = counts.size
    ranked = sorted(distinct, key=lambda name: -distinct[name])
    linked: dict[str, str] = {}
    for place, root in enumerate(ranked):
        if root not in linked:
            others = [name for name in ranked[place + 1 :] if name not in linked]
            linked |= dict.fromkeys(_determined(columns, root, others), root)
    return {name: linked[name] for name in columns if name in linked}


def _determined(columns: Columns, root: str, others: Sequence[str]) -> list[str]:
    """Return those of `others` that are determined by `root`."""
    x = columns[root]
    rows = np.arange(0, x.size, max(x.size // SAMPLE, 1))
    rows = rows[np.argsort(x[rows], kind="stable")]
    likely = [name for name in others if _is_monotone(x[rows], columns[name][rows])]
    if not likely:
        return []
    order = np.argsort(x, kind="stable")
    return [name for name in likely if _determines(x, columns[name], order)]


def _determines(root: Values, other: Values, order: NDArray[np.intp]) -> bool:
    """Whether `other` is a monotone function of `root` and varies enough to be certain; `order` sorts `root`."""
    order = order[~(np.isnan(root) | np.isnan(other))[order]]
    x, y = root[order], other[order]
    if not _is_monotone(x, y):
        return False
    runs = np.diff(np.flatnonzero(y[1:] != y[:-1]), prepend=-1, append=y.size - 1)  # equal values stand together
    return bool(y.size - runs.max() >= MIN_ROWS)


def _is_monotone(root: Values, other: Values) -> bool:
    """Whether `other` only rises or only falls along the ascending `root`; equal roots must have equal values."""
    both = ~(np.isnan(root) | np.isnan(other))
    x, y = root[both], other[both]
    up, down = y[1:] >= y[:-1], y[1:] <= y[:-1]
    return bool((up.all() or down.all()) and (up & down)[x[1:] == x[:-1]].all())
