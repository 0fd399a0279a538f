"""Test for categories that the reference lacks: whether they have more rows than chance explains."""

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.chernoff import log_tail
from churnops.monitoring.drift.finding import Finding, cannot_tell


def unseen_category_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
    """Test whether chance alone explains the number of rows with unseen categories.

    Statistic: the number of such rows. Effect: their share of the batch.

    Notes
    -----
    If nothing changed, every division of all rows between the two sides is equally likely. A category is unseen if all
    its rows are in the batch. The p-value bounds the probability of at least as many unseen rows by the sum of two
    parts: the probability that one category with so many rows is unseen, and Chernoff's bound (1952) for smaller
    categories. The sum is a bound, because one unseen category makes another less likely (negative association:
    Joag-Dev and Proschan, Annals of Statistics 11 (1983) 286-295). Each unseen row counts as a category of its own, the
    case in which many unseen rows are most likely.

    The estimate by Good (1953), the share of the reference's rows whose category occurs once, would be sharper. But
    it takes rows as independent, and rows of one unseen category come together. Such a test, at a level of 0.001,
    rejected 2 % of clean batches with a long tail of categories, and 17 % or more of batches ten times the reference.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.repeat([0.0, 1.0], [600, 400]))
    >>> finding = unseen_category_test(reference, reference.count(np.repeat([0.0, 1.0, 2.0], [60, 36, 4])))
    >>> finding.reason
    '4 of 100 rows (4.0%) have a category that the reference lacks'
    """
    if (short := cannot_tell("unseen_categories", reference, batch)) is not None:
        return short
    unseen, rows = batch.outside, batch.rows
    if unseen == 0:
        return Finding("unseen_categories", 0.0, 1.0, 0.0, "no category that the reference lacks")
    p_value = unseen_p_value(reference.at_points + batch.at_points, reference.rows, rows, unseen)
    reason = f"{unseen} of {rows} rows ({unseen / rows:.1%}) have a category that the reference lacks"
    return Finding("unseen_categories", float(unseen), p_value, unseen / rows, reason)


def unseen_p_value(seen: NDArray[np.int64], reference_rows: int, batch_rows: int, unseen: int) -> float:
    """Return an upper bound on the probability of at least `unseen` rows with unseen categories.

    Parameters
    ----------
    seen : int64, shape (m,)
        Rows of both sides together in each category that the reference has.
    unseen
        Rows of the batch with other categories, 1 or more.

    Examples
    --------
    >>> unseen_p_value(np.array([500, 500]), 900, 103, 3) < (103 / 1003) ** 3 * 1.001
    True
    """
    # An upper bound: when drawing without replacement, it is less likely that the batch gets all rows of a category.
    log_share = -np.log1p(reference_rows / batch_rows)
    seen = seen[(seen > 0) & (seen <= batch_rows)]
    alone = float(np.exp(seen[seen >= unseen] * log_share).sum())
    size, times = np.unique(np.append(seen[seen < unseen], 1), return_counts=True)
    times[0] += unseen - 1
    log_p = size * log_share
    log_q = np.log(-np.expm1(log_p))

    def cumulants(tilt: float) -> tuple[float, float]:
        """Return the logarithm of the moment generating function, and its derivative: the mean of the tilted rows."""
        log = np.logaddexp(log_q, log_p + tilt * size)
        return float((times * log).sum()), float((times * size * np.exp(log_p + tilt * size - log)).sum())

    return float(min(1.0, alone + np.exp(log_tail(cumulants, unseen))))
