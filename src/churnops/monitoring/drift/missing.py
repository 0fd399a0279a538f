"""Test of the missing rate, for columns that every row should have."""

import numpy as np

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.chi_square import compare_counts
from churnops.monitoring.drift.finding import MIN_ROWS, Finding


def missing_rate_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
    """Test whether values are missing as often as in the reference: chi-square, Fisher's exact test for small counts.

    The effect is the batch's missing rate minus the reference's, in [-1, 1].

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.arange(100.0))
    >>> finding = missing_rate_test(reference, reference.count(np.append(np.arange(90.0), np.full(10, np.nan))))
    >>> finding.effect, round(finding.p_value, 4), finding.reason
    (0.1, 0.0012, '10.0% of the values are missing; in the reference 0.0%')
    """
    table = np.array([[profile.missing, profile.rows] for profile in (reference, batch)])
    rows = table.sum(axis=1).tolist()
    for side, count in zip(("reference", "batch"), rows, strict=True):
        if count < MIN_ROWS:
            reason = f"the {side} has {count} rows, at least {MIN_ROWS} are needed"
            return Finding("missing_rate", None, None, None, reason)
    before, now = reference.missing / rows[0], batch.missing / rows[1]
    statistic, p_value = compare_counts(table)
    reason = f"{now:.1%} of the values are missing; in the reference {before:.1%}"
    return Finding("missing_rate", statistic, p_value, now - before, reason)
