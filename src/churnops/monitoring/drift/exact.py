"""Exact tests of two rates, in one table (Fisher) and in two strata together: they hold for counts of any size."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def fisher_p_value(table: NDArray[np.int64], alternative: Literal["two-sided", "greater"] = "two-sided") -> float:
    """Return the p-value of a table of two rows and two columns, equal to that of `scipy.stats.fisher_exact`.

    It is the probability, given the sums of rows and columns, of all tables that are not more probable than this one
    (Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98 (1935) 39-82). One-sided,
    it is that of all tables whose first cell is not smaller (*Statistical Methods for Research Workers*, 1934, section
    21.02).

    Parameters
    ----------
    table : int64, shape (2, 2)
    alternative
        "greater" if only a higher rate of the first column in the first row counts.

    Examples
    --------
    >>> round(fisher_p_value(np.array([[3, 1], [1, 3]])), 4)
    0.4857
    >>> round(fisher_p_value(np.array([[3, 0], [1, 3]]), "greater"), 4)
    0.1143
    """
    probability, lowest = _first_cell(table)
    place = int(table[0, 0]) - lowest
    if alternative == "greater":
        return min(1.0, float(probability[place:].sum() / probability.sum()))
    equal = 1.0 + 1e-10  # tables of the same probability may differ by rounding
    return min(1.0, float(probability[probability <= probability[place] * equal].sum() / probability.sum()))


def stratified_p_value(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the p-value of "in neither stratum is the rate of the first column higher in the first row".

    It is the probability, given the sums of rows and columns of both tables, that the sum of their first cells is not
    smaller (Gart, "Point and interval estimation of the common odds ratio in the combination of 2 x 2 tables with fixed
    marginals", Biometrika 57 (1970) 471-475). Time and memory are linear in the counts.

    Parameters
    ----------
    first, second : int64, shape (2, 2)

    Examples
    --------
    >>> round(stratified_p_value(np.array([[3, 0], [1, 3]]), np.array([[0, 0], [5, 5]])), 4)
    0.1143
    """
    (ours, low), (theirs, other_low) = _first_cell(first), _first_cell(second)
    tail = np.append(np.cumsum(theirs[::-1])[::-1], 0.0)  # of at least `other_low` plus the index
    needed = int(first[0, 0] + second[0, 0]) - other_low - (low + np.arange(ours.size))
    both = float((ours * tail[np.clip(needed, 0, theirs.size)]).sum())
    return min(1.0, both / float(ours.sum() * theirs.sum()))


def _first_cell(table: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """Return the relative probabilities of a table's first cell, given its sums, and the cell's smallest value."""
    rows, columns, total = table.sum(axis=1).tolist(), table.sum(axis=0).tolist(), int(table.sum())
    lowest, highest = max(0, rows[0] + columns[0] - total), min(rows[0], columns[0])
    corner = np.arange(lowest, highest, dtype=np.float64)
    # Ratios of successive tables' probabilities. They keep digits that sums of factorials' logarithms would lose.
    ratio = (rows[0] - corner) * (columns[0] - corner) / ((corner + 1) * (total - rows[0] - columns[0] + corner + 1))
    log = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    return np.exp(log - log.max()), lowest
