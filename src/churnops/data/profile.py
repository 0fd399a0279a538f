"""Profile: what monitoring knows of a column, as counts at its distinct values.

Needs only NumPy. The reference profile is fitted once, at training time, and travels in the bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.schema import Columns


@dataclass(frozen=True)
class ColumnProfile:
    """Distinct values (ascending), the number of rows at each, and the number of rows without a value.

    Examples
    --------
    >>> ColumnProfile.fit(np.array([2.0, 1.0, np.nan, 2.0]))
    ColumnProfile(points=array([1., 2.]), counts=array([1, 2]), missing=1)
    """

    points: NDArray[np.float64]
    counts: NDArray[np.int64]
    missing: int

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> "ColumnProfile":
        """Count the values of one column; -0.0 and 0.0 are one point."""
        known = values[~np.isnan(values)]
        points, counts = np.unique(known + 0.0, return_counts=True)
        return cls(points, counts.astype(np.int64), int(values.size - known.size))

    def coarse(self, edges: NDArray[np.float64]) -> "ColumnProfile":
        """Return the profile of the number of `edges` (ascending) at or below each value."""
        steps = np.searchsorted(edges, self.points, side="right").astype(np.float64)
        points, place = np.unique(steps, return_inverse=True)
        counts = np.bincount(place, weights=self.counts, minlength=points.size).astype(np.int64)
        return ColumnProfile(points, counts, self.missing)

    @property
    def rows(self) -> int:
        """Number of rows with a value."""
        return int(self.counts.sum())


Profile = Mapping[str, ColumnProfile]
"""Column profiles by name."""


def fit_profile(columns: Columns) -> dict[str, ColumnProfile]:
    """Profile every column."""
    return {name: ColumnProfile.fit(values) for name, values in columns.items()}
