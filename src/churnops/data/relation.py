"""Relation of a determined column to the column that determines it, recovered from their reference profiles."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile

Ranks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Relation:
    """Values that a column may have, given the value of the column that determines it.

    Attributes
    ----------
    points
        Ascending values of the determining column in the reference rows.
    before, after
        Bounds of the determined column from the nearest point at or below a value, and from the nearest point at or
        above it: one more than points, as a value may be below or above all of them.
    rises
        Whether the determined column rises with the determining one, or falls.
    step
        Smallest distance of two values of the determined column. Rounding may move a value by less.
    """

    points: list[float]
    before: list[float]
    after: list[float]
    rises: bool
    step: float

    @classmethod
    def of(cls, root: ColumnProfile, determined: ColumnProfile) -> Self | None:
        """Recover the relation of two columns of the same rows, of which `root` determines the other.

        `churnops.data.dependence` found it to be monotone, so the k-th smallest value of one column belongs to the k-th
        smallest or the k-th largest value of the other. All rows at a point of `root` must have one value: that decides
        between the two.

        Returns
        -------
        Relation or None
            None if values are missing or infinite, or if the profiles allow both directions or neither.

        Examples
        --------
        >>> minutes = np.array([0.0, 10.0, 10.0, 20.0, 30.0])
        >>> relation = Relation.of(ColumnProfile.fit(minutes), ColumnProfile.fit(minutes * 0.5))
        >>> relation.bounds(10.0), relation.bounds(12.0), relation.bounds(99.0)
        ((5.0, 5.0), (5.0, 10.0), (15.0, inf))
        """
        if root.missing or determined.missing or root.rows != determined.rows or determined.points.size < 2:
            return None
        if not np.isfinite(determined.points).all():
            return None
        rises, falls = _cells(root, determined, rises=True), _cells(root, determined, rises=False)
        if (rises is None) == (falls is None):
            return None
        cells = rises if rises is not None else falls
        assert cells is not None
        values = determined.points
        known = root.at_points > 0
        below = np.concatenate([[-np.inf], values])  # below the first value, and between two values
        above = np.concatenate([values, [np.inf]])
        at_point = cells % 2 == 1
        low = np.where(at_point, values[np.minimum(cells // 2, values.size - 1)], below[cells // 2])
        high = np.where(at_point, low, above[cells // 2])
        rising = rises is not None
        before = [-np.inf, *low.tolist()] if rising else [np.inf, *high.tolist()]
        after = [*high.tolist(), np.inf] if rising else [*low.tolist(), -np.inf]
        return cls(root.points[known].tolist(), before, after, rising, float(np.diff(values).min()))

    def bounds(self, value: float) -> tuple[float, float]:
        """Return the smallest and the largest value of the determined column, given the determining value."""
        before, after = self.before[bisect_right(self.points, value)], self.after[bisect_left(self.points, value)]
        return (before, after) if self.rises else (after, before)

    def allows(self, value: float, determined: float) -> bool:
        """Return whether the determined column may have a value, given the determining value.

        >>> minutes = np.array([0.0, 10.0, 10.0, 20.0, 30.0])
        >>> relation = Relation.of(ColumnProfile.fit(minutes), ColumnProfile.fit(minutes * 0.5))
        >>> [relation.allows(10.0, charge) for charge in (5.0, 5.004, 50.0)]
        [True, True, False]
        """
        low, high = self.bounds(value)
        return low - self.step < determined < high + self.step

    def broken_rows(self, values: NDArray[np.float64], determined: NDArray[np.float64]) -> Ranks:
        """Return the positions of rows for which `allows` is false; a missing value (NaN) breaks nothing.

        Parameters
        ----------
        values, determined
            Shape (n,).

        Examples
        --------
        >>> minutes = np.array([0.0, 10.0, 10.0, 20.0, 30.0])
        >>> relation = Relation.of(ColumnProfile.fit(minutes), ColumnProfile.fit(minutes * 0.5))
        >>> relation.broken_rows(np.array([10.0, 10.0, 10.0]), np.array([5.0, 50.0, np.nan]))
        array([1])
        """
        before = np.array(self.before)[np.searchsorted(self.points, values, side="right")]
        after = np.array(self.after)[np.searchsorted(self.points, values, side="left")]
        low, high = (before, after) if self.rises else (after, before)
        allowed = (low - self.step < determined) & (determined < high + self.step)
        return np.flatnonzero(~(allowed | np.isnan(values) | np.isnan(determined)))


def _cells(root: ColumnProfile, determined: ColumnProfile, *, rises: bool) -> Ranks | None:
    """Return the determined column's cell at each point of `root`; None if a point's rows would be in two cells."""
    ends = np.cumsum(root.counts)[1::2]
    first, last = ends - root.at_points, ends - 1
    known = root.at_points > 0
    ranks = np.stack([first[known], last[known]])
    if not rises:
        ranks = root.rows - 1 - ranks
    cells: Ranks = np.searchsorted(np.cumsum(determined.counts), ranks, side="right")
    return cells[0] if (cells[0] == cells[1]).all() else None
