"""Groups of columns that constrain each other, so that some combinations of values never occur in a table.

Two columns are in a group if some of their frequent values never occur together (messages without a plan, a minimum
above its maximum, only one of two values missing), or if one is a sum, product or ratio of others. Values from the same
row obey the group's rule, so the rule itself need not be known.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from churnops.schema import Columns

SAMPLE = 20_000
"""Number of rows of the sample, spread evenly over the table."""
MAX_COLUMNS = 300
"""Largest number of columns to compare. A wider table is one group, because the time grows with the square."""
MAX_CELLS, MAX_LEVELS = 8, 60
"""Largest number of quantile parts of a number, and largest number of parts of a choice: its rarest share the last."""
ROWS_PER_PAIR = 25
"""Expected number of rows in each pair of quantile parts of two independent numbers; it limits the number of parts."""
EXCEPTIONS = 0.02
"""A pair of parts counts as empty if it has at most this share of the rows expected of independent columns."""
EVIDENCE = 15.0
"""Evidence, in nats, that links two columns. An independent pair reaches it once in 3 million."""
LINEAR = 1e-4
"""Largest variance of a sum of columns, each of variance 1, that counts as constant: rounding leaves some."""
LOADING = 0.02  # smallest entry of the projection that links two columns
MIN_KNOWN = 0.8  # smallest share of known values in a column that is tested for sums

Values = NDArray[np.float64]
Cells = NDArray[np.intp]


def column_groups(columns: Columns, numbers: Collection[str]) -> list[tuple[str, ...]]:
    """Return groups of columns; columns of different groups may be combined freely.

    Parameters
    ----------
    columns
        Encoded columns of n rows; a missing value is a value of its own here.
    numbers
        Names of the columns whose values have an order; the others are choices.

    Returns
    -------
    list of tuple of str
        Groups; every column is in exactly one. A table of fewer than 100 rows is one group.

    Notes
    -----
    Each column's values are divided into parts (see `_cells`). If two columns are independent, the number of rows in a
    pair of parts is hypergeometric. The evidence is Chernoff's bound on how improbable all empty pairs together are.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> plan, calls = generator.integers(0, 2, 500) * 1.0, generator.poisson(9, 500) * 1.0
    >>> columns = {"plan": plan, "messages": plan * generator.integers(1, 50, 500), "calls": calls}
    >>> column_groups(columns, ["messages", "calls"])
    [('plan', 'messages'), ('calls',)]
    """
    names = list(columns)
    size = columns[names[0]].size if names else 0
    if len(names) > MAX_COLUMNS or size < 4 * ROWS_PER_PAIR:
        return [tuple(names)] if names else []
    rows = np.arange(0, size, max(size // SAMPLE, 1))
    table = {name: values[rows] for name, values in columns.items()}
    parts = int(min(max((rows.size / ROWS_PER_PAIR) ** 0.5, 2), MAX_CELLS))
    cells = {name: _cells(values, parts if name in numbers else None) for name, values in table.items()}
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, rows.size + 1)))])
    links = [
        pair for pair in combinations(names, 2) if _evidence(cells[pair[0]], cells[pair[1]], factorials) > EVIDENCE
    ]
    links += _sums(table, [name for name in names if name in numbers])
    return _joined(names, links)


def _cells(values: Values, parts: int | None) -> Cells:
    """Return each value's part: missing, a frequent value, or (for a number) a quantile of the other values."""
    known = ~np.isnan(values)
    distinct, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if parts is None:
        rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
        part = np.minimum(rank, MAX_LEVELS - 1)
    elif distinct.size <= parts:
        part = np.arange(distinct.size)
    else:
        common = counts * parts > counts.sum()
        others = np.where(common, 0, counts)
        quantile = (np.cumsum(others) - others / 2) * parts / max(int(others.sum()), 1)
        part = np.where(common, parts + np.cumsum(common), np.minimum(quantile.astype(np.intp), parts - 1))
    cells = np.zeros(values.size, np.intp)
    cells[known] = 1 + part[inverse]
    return np.unique(cells, return_inverse=True)[1].astype(np.intp)


def _evidence(first: Cells, second: Cells, factorials: Values) -> float:
    """Return, in nats, how improbable the empty pairs of parts would be if the columns were independent."""
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    n = first.size
    counts = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
    of_row, of_column = counts.sum(axis=1)[:, None], counts.sum(axis=0)[None, :]
    empty = counts <= EXCEPTIONS * of_row * of_column / n
    if not empty.any():
        return 0.0
    fixed = factorials[of_row] + factorials[n - of_row] + factorials[of_column] + factorials[n - of_column]
    rest = n - of_row - of_column
    seen = factorials[counts] + factorials[of_row - counts] + factorials[of_column - counts]
    improbable = (factorials[n] + seen + factorials[rest + counts] - fixed)[empty].sum()
    none = factorials[n - of_row] + factorials[n - of_column] - factorials[n] - factorials[np.maximum(rest, 0)]
    log_none = np.where(rest >= 0, np.minimum(none, 0.0), -np.inf)
    bounds = [s * improbable - np.log1p(np.exp((1 - s) * log_none) - np.exp(log_none)).sum() for s in (0.5, 0.9)]
    return float(max(bounds))


def _sums(table: Columns, numbers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of numbers in a sum, product or ratio that holds in every row."""
    full = [name for name in numbers if np.isfinite(table[name]).mean() >= MIN_KNOWN]
    yield from _collinear({name: table[name] for name in full})
    positive = [name for name in full if np.nanmin(table[name]) > 0]
    yield from _collinear({name: np.log(table[name]) for name in positive})


def _collinear(table: Columns) -> Iterator[tuple[str, str]]:
    names = [name for name, values in table.items() if np.nanstd(values) > 0]
    if len(names) < 2:
        return
    matrix = np.column_stack([table[name] for name in names])
    matrix = matrix[np.isfinite(matrix).all(axis=1)]
    if len(matrix) <= 2 * len(names):
        return
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    if not np.isfinite(matrix).all():  # a column of one value, or of values that are too large to square
        return
    variances, directions = np.linalg.eigh(matrix.T @ matrix / len(matrix))
    fixed = directions[:, variances < LINEAR]
    onto = np.abs(fixed @ fixed.T)  # the projection is zero between columns of different sums
    for i, j in combinations(range(len(names)), 2):
        if onto[i, j] > LOADING:
            yield names[i], names[j]


def _joined(names: Sequence[str], links: Collection[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return the connected components, in the order of their first columns."""
    group = {name: {name} for name in names}
    for first, second in links:
        if group[first] is not group[second]:
            merged = group[first] | group[second]
            for name in merged:
                group[name] = merged
    ordered = [tuple(other for other in names if other in group[name]) for name in names]
    return list(dict.fromkeys(ordered))
