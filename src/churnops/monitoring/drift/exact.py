"""Fisher's exact test of two rates: it holds for counts of any size."""

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
    rows, columns, total = table.sum(axis=1).tolist(), table.sum(axis=0).tolist(), int(table.sum())
    lowest, highest = max(0, rows[0] + columns[0] - total), min(rows[0], columns[0])
    corner = np.arange(lowest, highest, dtype=np.float64)
    # Ratios of successive tables' probabilities. They keep digits that sums of factorials' logarithms would lose.
    ratio = (rows[0] - corner) * (columns[0] - corner) / ((corner + 1) * (total - rows[0] - columns[0] + corner + 1))
    log = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    probability = np.exp(log - log.max())
    place = int(table[0, 0]) - lowest
    if alternative == "greater":
        return min(1.0, float(probability[place:].sum() / probability.sum()))
    equal = 1.0 + 1e-10  # tables of the same probability may differ by rounding
    return min(1.0, float(probability[probability <= probability[place] * equal].sum() / probability.sum()))
