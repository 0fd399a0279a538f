"""Finding: the result of one statistical test of one column."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from churnops.data.profile import ColumnProfile

TEST_LABELS: Mapping[str, str] = {
    "ks": "KS",
    "chi_square": "chi-square",
    "missing_rate": "missing values",
    "unseen_categories": "unseen choices",
    "rarity": "frequent and rare choices",
    "level_rates": "churn rates of the choices",
}
EFFECT_LABELS: Mapping[str, str] = {
    "ks": "distance",
    "chi_square": "stability index",
    "missing_rate": "difference of rates",
    "unseen_categories": "share of rows",
    "rarity": "distance of frequencies",
    "level_rates": "distance of rates",
}
"""Effect size of each test."""
MIN_ROWS = 30
"""Number of rows that each side needs; with fewer, a test cannot tell."""


@dataclass(frozen=True)
class Finding:
    """Result of a test.

    Attributes
    ----------
    test
        A key of `TEST_LABELS`.
    statistic
        Statistic of the test; None if it is unknown, or if an exact test has none.
    p_value
        Probability, in [0, 1], of a difference at least as large if nothing changed. None: cannot tell.
    effect
        Size of the difference, which does not grow with the number of rows: the KS distance in [0, 1], the population
        stability index, the difference of the missing rates in [-1, 1], the share of rows with unseen categories, or
        the distance that `level_rate_test` returns.
    reason
        The result in words.
    """

    test: str
    statistic: float | None
    p_value: float | None
    effect: float | None
    reason: str


def cannot_tell(test: str, reference: ColumnProfile, batch: ColumnProfile) -> Finding | None:
    """Return the finding of a test that has too few values; None if there are enough.

    Raises
    ------
    ValueError
        If the batch is not counted in the cells of the reference.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.arange(100.0))
    >>> cannot_tell("ks", reference, reference.count(np.append(np.full(80, np.nan), np.arange(20)))).reason
    'the batch has 20 values and 80 rows without one, at least 30 values are needed'
    """
    if reference.points is not batch.points and not np.array_equal(reference.points, batch.points):
        raise ValueError("the batch must be counted in the cells of the reference: reference.count(values)")
    for side, profile in (("reference", reference), ("batch", batch)):
        if profile.rows < MIN_ROWS:
            without = f" and {profile.missing} rows without one" if profile.missing else ""
            reason = f"the {side} has {profile.rows} values{without}, at least {MIN_ROWS} values are needed"
            return Finding(test, None, None, None, reason)
    return None
