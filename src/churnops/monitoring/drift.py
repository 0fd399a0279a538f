"""Does a batch differ from the reference? One test a kind of column, all with the same result.

Numbers: two-sample Kolmogorov-Smirnov; the statistic, computed from profiles, is exactly SciPy's. Categories, flags
and labels: chi-square test of homogeneity.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from churnops.data.profile import ColumnProfile

MIN_ROWS = 30


@dataclass(frozen=True)
class DriftTest:
    """Outcome of one test.

    Attributes
    ----------
    test
        "ks", "chi_square", or "cannot tell".
    statistic, p_value
        None when it cannot be told.
    effect
        Size of the difference: KS distance D in [0, 1] for numbers, population stability index for categories.
    drifted
        None when it cannot be told.
    reason
        The verdict in words.
    """

    name: str
    test: Literal["ks", "chi_square", "cannot tell"]
    statistic: float | None
    p_value: float | None
    effect: float | None
    drifted: bool | None
    reason: str


def ks_statistic(reference: ColumnProfile, batch: ColumnProfile) -> float:
    """Return the two-sample Kolmogorov-Smirnov distance D, exactly that of the rows behind the profiles.

    Examples
    --------
    >>> fit = ColumnProfile.fit
    >>> ks_statistic(fit(np.array([1.0, 2.0, 3.0, 4.0])), fit(np.array([3.0, 4.0, 5.0, 6.0])))
    0.5
    """
    points = np.concatenate([reference.points, batch.points])
    return float(np.abs(_cdf(reference, points) - _cdf(batch, points)).max())


def _cdf(profile: ColumnProfile, points: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulative = np.concatenate([[0], np.cumsum(profile.counts)])
    return cumulative[np.searchsorted(profile.points, points, side="right")] / profile.rows


def ks_test(
    name: str, reference: ColumnProfile, batch: ColumnProfile, level: float, *, floor: float = 0.0
) -> DriftTest:
    """Two-sample Kolmogorov-Smirnov test; p-value from the limiting distribution (Smirnov 1939).

    A distance below `floor` is no drift, however many rows make it significant.
    """
    if (short := _too_few(name, reference, batch)) is not None:
        return short
    statistic = ks_statistic(reference, batch)
    effective = reference.rows * batch.rows / (reference.rows + batch.rows)
    p_value = float(kolmogorov(np.sqrt(effective) * statistic))
    return _verdict(name, "ks", statistic, p_value, statistic, level, floor)


def chi_square_test(name: str, reference: ColumnProfile, batch: ColumnProfile, level: float) -> DriftTest:
    """Pearson's chi-square test of homogeneity over the choices that occur (Pearson 1900)."""
    if (short := _too_few(name, reference, batch)) is not None:
        return short
    choices = np.union1d(reference.points, batch.points)
    table = np.stack([_counts(reference, choices), _counts(batch, choices)])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    p_value = float(chdtrc(choices.size - 1, statistic)) if choices.size > 1 else 1.0
    return _verdict(name, "chi_square", statistic, p_value, _stability_index(table), level)


def _counts(profile: ColumnProfile, choices: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.zeros(choices.size)
    counts[np.searchsorted(choices, profile.points)] = profile.counts
    return counts


def _stability_index(table: NDArray[np.float64]) -> float:
    """Return the population stability index; half a count more in every cell keeps an empty one finite."""
    shares = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _verdict(
    name: str, test: Literal["ks", "chi_square"], statistic: float, p_value: float, effect: float, level: float,
    floor: float = 0.0,
) -> DriftTest:  # fmt: skip
    drifted = p_value < level and effect >= floor
    reason = f"p = {p_value:.3g} is {'below' if p_value < level else 'not below'} {level:g}"
    if floor > 0.0:
        reason += f", effect {effect:.3f} is {'below' if effect < floor else 'not below'} {floor:g}"
    return DriftTest(name, test, statistic, p_value, effect, drifted, reason)


def _too_few(name: str, reference: ColumnProfile, batch: ColumnProfile) -> DriftTest | None:
    rows = min(reference.rows, batch.rows)
    if rows >= MIN_ROWS:
        return None
    return DriftTest(name, "cannot tell", None, None, None, None, f"{rows} values, at least {MIN_ROWS} are needed")
