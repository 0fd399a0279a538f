"""Chi-square test of homogeneity, for categories, flags and labels; exact where counts are small."""

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

    Those that the reference does not have count as one more category. Those with few rows are counted together, see
    `compare_counts`. The effect is the population stability index of all of them, half a row added to each.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.repeat([0.0, 1.0], [80, 20]))
    >>> found = chi_square_test(reference, reference.count(np.repeat([0.0, 1.0], [60, 40])))
    >>> round(found.statistic, 3), round(found.p_value, 4), found.reason
    (9.524, 0.002, 'population stability index 0.191, p = 0.002')
    """
    if (short := cannot_tell("chi_square", reference, batch)) is not None:
        return short
    table = np.array([np.append(profile.at_points, profile.outside) for profile in (reference, batch)])
    statistic, p_value, note = compare_counts(table)
    effect = stability_index(table)
    reason = f"population stability index {effect:.3f}, p = {p_value:.2g}{note}"
    return Finding("chi_square", statistic, p_value, effect, reason)


def compare_counts(table: Counts) -> tuple[float | None, float, str]:
    """Compare two rows of counts.

    Parameters
    ----------
    table : int64, shape (2, k)
        No row is all zeros.

    Returns
    -------
    statistic : float or None
        Chi-square; None if Fisher's exact test decided.
    p_value : float
        Equal to `scipy.stats.chi2_contingency(table, correction=False)`'s if no cell is small, else that of the table
        in which the columns with small cells are one, together with the smallest of the others if it takes that.
        If even so there are but two columns, and a small cell: that of Fisher's exact test. 1 if there is one column.
    note : str
        What of this was needed, in words.

    Examples
    --------
    >>> statistic, p_value, note = compare_counts(np.array([[40, 60, 1, 0], [50, 45, 3, 2]]))
    >>> round(statistic, 3), round(p_value, 3), note
    (4.18, 0.041, ' (3 rare ones counted as one)')
    """
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0, " (there is one value only)"
    table, pooled = _without_small(table)
    note = f" ({pooled} rare ones counted as one)" if pooled > 1 else ""
    expected = _expected(table)
    if expected.min() < MIN_EXPECTED and table.shape[1] == 2:
        return None, fisher_p_value(table), f"{note} (exact test: small counts)"
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic)), note


def stability_index(table: Counts) -> float:
    """Return the population stability index of two rows of counts; half a row in each cell keeps an empty one finite.

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


def _without_small(table: Counts) -> tuple[Counts, int]:
    """Return the table with its small columns as one, as far as two columns are left, and how many these were.

    Which are pooled depends on the sums of the columns alone, so it favours neither row.
    """
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    expected = _expected(table).min(axis=0)
    small = int((expected < MIN_EXPECTED).sum())
    if 0.0 < expected[:small].sum() < MIN_EXPECTED:
        small += 1
    small = min(small, table.shape[1] - 1)
    if small < 2:
        return table, small
    return np.column_stack([table[:, :small].sum(axis=1), table[:, small:]]), small
