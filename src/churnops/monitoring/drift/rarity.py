"""Test for categories with many choices: whether customers moved between frequent and rare choices."""

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.finding import Finding, cannot_tell
from churnops.monitoring.drift.ks import two_sample_p_value

MANY_CHOICES = 100
"""Number of choices above which a category has this test. With so many, the chi-square test pools most of them."""
MAX_EXPECTED = 0.1
"""Expected number of rows by which the batch may exceed the reference because its rare choices are unseen."""

Counts = NDArray[np.int64]


def rarity_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
    """Test whether rows of frequent and rare choices are as many in the batch as in the reference.

    Statistic and effect: the Kolmogorov-Smirnov distance of the frequencies of the rows' choices.

    Notes
    -----
    Each choice is ranked by its number of rows on both sides together. If nothing changed, every division of all rows
    between the sides is equally likely and has the same ranks. So the p-value of the two-sample test holds; ranks
    repeat, so it is too large rather than too small. Frequencies of the reference alone would select choices that are
    frequent there by chance, and a clean batch would seem to have moved to rare ones.

    The rows of unseen choices are known only together, so all choices with few rows count as one, see `few_rows`.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.repeat(np.arange(200.0), 10))
    >>> finding = rarity_test(reference, reference.count(np.repeat(np.arange(10.0), 50)))
    >>> finding.p_value < 1e-9, finding.reason
    (True, 'frequent and rare choices: the distributions are up to 0.950 apart')
    """
    if (short := cannot_tell("rarity", reference, batch)) is not None:
        return short
    few = few_rows(reference.points.size, reference.rows, batch.rows)
    frequency = np.maximum(reference.at_points + batch.at_points, few)
    ranks, rank = np.unique(np.append(frequency, few), return_inverse=True)
    ours = np.bincount(rank, weights=np.append(reference.at_points, 0), minlength=ranks.size).cumsum()
    theirs = np.bincount(rank, weights=np.append(batch.at_points, batch.outside), minlength=ranks.size).cumsum()
    distance = float(np.abs(ours / reference.rows - theirs / batch.rows).max())
    p_value = two_sample_p_value(reference.rows, batch.rows, distance)
    reason = f"frequent and rare choices: the distributions are up to {distance:.3f} apart"
    return Finding("rarity", distance, p_value, distance, reason)


def few_rows(choices: int, reference_rows: int, batch_rows: int) -> int:
    """Return the number of rows up to which choices count as one.

    A choice with n rows is unseen, which means that all n are in the batch, with a probability of at most s^n, where s
    is the batch's share of all rows. The number is the smallest n for which `choices` such choices are expected to
    have at most `MAX_EXPECTED` unseen rows.

    >>> few_rows(2833, 20_000, 2_000), few_rows(2833, 2_000, 2_000)
    (5, 20)
    """
    share = batch_rows / (reference_rows + batch_rows)
    few = 1
    while choices * few * share**few > MAX_EXPECTED:
        few += 1
    return few
