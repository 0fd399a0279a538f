"""Profile of a column: exact counts at the points of a reference and in the gaps around them.

Needs no table library. The reference profile is fitted once, at training time, and travels in the bundle. Counts add
up, so profiles of batches, days and machines merge into the profile of all their rows. The two-sample
Kolmogorov-Smirnov statistic of the counts equals that of the rows, up to `ks_error` for a reference with a `limit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from churnops.data.cells import count_cells
from churnops.schema import Columns

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """Counts of one column.

    Attributes
    ----------
    points : float64, shape (m,)
        Ascending, distinct, never NaN; infinities are points like others, and -0.0 is 0.0. m may be 0.
    counts : int64, shape (2 m + 1,)
        Rows below the first point, at it, between the first and the second, at the second, ..., above the last.
    missing : int
        Rows without a value (NaN).

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.array([2.0, 1.0, np.nan, 2.0]))
    >>> reference.points, reference.counts, reference.missing
    (array([1., 2.]), array([0, 1, 0, 2, 0]), 1)
    >>> batch = reference.count(np.array([1.5, 2.0, 9.0]))
    >>> batch.counts
    array([0, 0, 1, 1, 1])
    >>> reference.merge(batch).counts
    array([0, 1, 1, 3, 1])
    """

    points: Floats
    counts: Counts
    missing: int

    @classmethod
    def fit(cls, values: Floats, limit: int | None = None) -> Self:
        """Return a column's profile, as a reference for other profiles.

        Parameters
        ----------
        values
            Shape (n,); n may be 0.
        limit
            Largest number of points, at least 2. They are spread evenly over the rows, so that a value with more than
            n / (`limit` - 1) rows is a point. The other values are counted in the gaps; see `ks_error`.

        Raises
        ------
        ValueError
            If `limit` is below 2: the smallest and the largest value are always points.
        """
        if limit is not None and limit < 2:
            raise ValueError(f"the limit is {limit}: a bounded profile needs at least 2 points")
        values = np.asarray(values, dtype=np.float64)
        known = values[~np.isnan(values)] + 0.0  # + 0.0 turns -0.0 into 0.0
        points = np.unique(known)
        if limit is not None and points.size > limit:
            points = np.unique(np.sort(known)[np.linspace(0, known.size - 1, limit).astype(np.intp)])
        return cls(points, *count_cells(values, points))

    def count(self, values: Floats) -> Self:
        """Return the profile of another batch, shape (n,), in the cells of this one."""
        return type(self)(self.points, *count_cells(values, self.points))

    def empty(self) -> Self:
        """Return the profile of no rows, in the cells of this one."""
        return type(self)(self.points, np.zeros_like(self.counts), 0)

    def merge(self, other: "ColumnProfile") -> Self:
        """Return the profile of the rows of both; the order of merges does not matter.

        Raises
        ------
        ValueError
            If the cells differ.
        """
        if self.points is not other.points and not np.array_equal(self.points, other.points):
            raise ValueError("profiles of different references cannot be merged")
        return type(self)(self.points, self.counts + other.counts, self.missing + other.missing)

    @property
    def rows(self) -> int:
        """Number of rows with a value."""
        return int(self.counts.sum())

    @property
    def at_points(self) -> Counts:
        """Rows at each point, shape (m,)."""
        return self.counts[1::2]

    @property
    def outside(self) -> int:
        """Number of rows whose value is no point; for a category, a choice that the reference lacks."""
        return int(self.counts[0::2].sum())

    @property
    def ks_error(self) -> float:
        """Largest error of a Kolmogorov-Smirnov distance to this reference, in [0, 1]; the distance is never too large.

        The distance is taken at all points. Between two points it can be larger by at most the share of this
        reference's rows between them: 0 unless the reference was fitted with a `limit`.
        """
        return float(self.counts[0::2].max() / max(self.rows, 1))


Profile = Mapping[str, ColumnProfile]
"""Column profiles by name."""


def fit_profile(columns: Columns, limit: int | None = None) -> dict[str, ColumnProfile]:
    """Return the profile of every column, as a reference for other profiles."""
    return {name: ColumnProfile.fit(values, limit) for name, values in columns.items()}


def count_profile(reference: Profile, columns: Columns) -> dict[str, ColumnProfile]:
    """Count a batch in the cells of a reference. A column that the batch lacks has no rows."""
    return {
        name: column.count(columns[name]) if name in columns else column.empty() for name, column in reference.items()
    }


def merge_profiles(one: Profile, other: Profile) -> dict[str, ColumnProfile]:
    """Merge two profiles of the same reference, column by column."""
    if one.keys() != other.keys():
        raise ValueError("profiles of different references cannot be merged")
    return {name: column.merge(other[name]) for name, column in one.items()}
