"""Chi-square test of homogeneity, for categories, flags and labels; exact if counts are small."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.exact import fisher_p_value
from churnops.monitoring.drift.finding import Finding, cannot_tell

MIN_EXPECTED = 5.0
"""Expected count below which a cell is small (Cochran, "Some methods for strengthening the common chi-square tests",
Biometrics 10 (1954) 417-451)."""

Counts = NDArray[np.int64]


def chi_square_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
    """Test whether categories are as frequent in the batch as in the reference (Pearson 1900).

    Rare categories, and categories that the reference lacks, are counted as one, see `pool_small`. The effect
    is the population stability index of these counts.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.repeat([0.0, 1.0], [80, 20]))
    >>> finding = chi_square_test(reference, reference.count(np.repeat([0.0, 1.0], [60, 40])))
    >>> round(finding.statistic, 3), round(finding.p_value, 4), finding.reason
    (9.524, 0.002, 'population stability index 0.191')
    """
    if (short := cannot_tell("chi_square", reference, batch)) is not None:
        return short
    sides = (reference, batch)
    table, pooled = pool_small(
        np.array([side.at_points for side in sides]), np.array([[side.outside] for side in sides])
    )
    statistic, p_value = compare_counts(table)
    effect = stability_index(table)
    reason = f"population stability index {effect:.3f}"
    if pooled > 1:
        reason += f", {pooled} rare values counted as one"
    if table.shape[1] < 2:
        reason += ", there is one value only"
    return Finding("chi_square", statistic, p_value, effect, reason)


def pool_small(table: Counts, rest: Counts) -> tuple[Counts, int]:
    """Count columns with a small cell as one, so that the chi-square distribution holds.

    Parameters
    ----------
    table : int64, shape (2, k)
        Rows of reference and batch in each category that the reference has.
    rest : int64, shape (2, 1)
        Rows in other categories, which are always pooled. As a category of their own, they would be selected for
        having no row in the reference. With a long tail of categories, every clean batch would then seem to have
        drifted.

    Returns
    -------
    pooled : int64, shape (2, at most k + 1)
        Counts without empty columns. The first column pools the rest and all columns with a small cell. If it still
        has a small cell, it also pools the smallest other column. The largest column is never pooled.
    count : int
        Number of pooled columns; `rest`, unless empty, is one of them. Sums of both rows decide which columns are
        pooled, so neither side is favoured.

    Examples
    --------
    >>> pool_small(np.array([[40, 60, 2], [50, 45, 3]]), np.array([[0], [2]]))
    (array([[42, 60],
           [55, 45]]), 3)
    """
    table = table[:, table.sum(axis=0) > 0]
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    expected = _expected(np.column_stack([rest, table])).min(axis=0)
    small = int((expected[1:] < MIN_EXPECTED).sum())
    if 0.0 < expected[: 1 + small].sum() < MIN_EXPECTED:
        small += 1
    small = max(0, min(small, table.shape[1] - 1))
    rest_sum = rest + table[:, :small].sum(axis=1, keepdims=True)
    if not rest_sum.any():
        return table, 0
    return np.column_stack([rest_sum, table[:, small:]]), small + int(rest.any())


def compare_counts(table: Counts) -> tuple[float | None, float]:
    """Compare two rows of counts, shape (2, k); neither may be all zeros.

    Returns
    -------
    statistic : float or None
        Chi-square; None for two columns with a small cell, because Fisher's exact test is used for these.
    p_value : float
        Equal to `scipy.stats.chi2_contingency(table, correction=False)`'s, or `scipy.stats.fisher_exact(table)`'s.
        1 if all rows are in one column.

    Examples
    --------
    >>> statistic, p_value = compare_counts(np.array([[40, 60], [55, 45]]))
    >>> round(statistic, 3), round(p_value, 3)
    (4.511, 0.034)
    """
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    expected = _expected(table)
    if expected.min() < MIN_EXPECTED and table.shape[1] == 2:
        return None, fisher_p_value(table)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))


def stability_index(table: Counts) -> float:
    """Return the population stability index of two rows of counts; 0.5 is added to each cell to keep it finite.

    The index is Jeffreys' divergence (1946) of the shares, symmetric in the rows. Columns without rows do not count.

    Examples
    --------
    >>> round(stability_index(np.array([[90, 10], [80, 20]])), 3)
    0.078
    """
    smooth = table[:, table.sum(axis=0) > 0] + 0.5
    shares = smooth / smooth.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _expected(table: Counts) -> NDArray[np.float64]:
    expected: NDArray[np.float64] = np.outer(table.sum(axis=1), table.sum(axis=0) / table.sum())
    return expected
