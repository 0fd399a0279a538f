"""Count values into the cells that a reference's points form: exact, in one pass, without sorting.

A uniform grid over the points says between which two of them a value must be looked for; a binary search between these
says where it is. The bucket of a value and that of a point come from the same formula, which never decreases with its
argument however it rounds. So a point in an earlier bucket is smaller, one in a later bucket larger, and what is found
is what a search over all points would find.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from churnops.compiled import compiled

MAX_BUCKETS = 2**18  # beyond it the index would no longer fit a core's cache

Floats = NDArray[np.float64]
_POINTS = types.Array(types.float64, 1, "C", readonly=True)  # takes those that may be written too
_VALUES = types.Array(types.float64, 1, "A", readonly=True)
_COUNTS = types.int64[::1]


class CellIndex:
    """Finds cells among `points`: ascending, distinct, not NaN; m of them form 2 m + 1 cells.

    Cell 2 i + 1 is point i, cell 2 i the gap below it, cell 2 m the gap above the last.
    """

    def __init__(self, points: Floats) -> None:
        self._points = np.ascontiguousarray(points)
        finite = points[np.isfinite(points)]
        self._low = float(finite[0]) if finite.size else 0.0
        with np.errstate(over="ignore"):  # a range beyond float64 has one bucket
            width = float(finite[-1]) - self._low if finite.size else 0.0
        buckets = min(max(2 * points.size, 1), MAX_BUCKETS)
        # A subnormal width would make the scale infinite, and inf * 0 is not a number.
        self._scale = buckets / width if np.finfo(np.float64).tiny < width < np.inf else 0.0
        if not np.isfinite(self._scale):
            self._scale = 0.0
        self._first = _index(self._points, self._low, self._scale, buckets)

    def count(self, values: Floats) -> tuple[NDArray[np.int64], int]:
        """Return how many `values` lie in each cell, shape (2 m + 1,), and how many are NaN."""
        counts = np.zeros(2 * self._points.size + 1, dtype=np.int64)
        return counts, int(_count(values, self._points, self._first, self._low, self._scale, counts))


@compiled("int64(float64, float64, float64, int64)")
def _bucket(value: float, low: float, scale: float, buckets: int) -> int:
    """Return a bucket from 0 to `buckets` - 1 that never decreases with `value`, which is not NaN."""
    place = (value - low) * scale
    if not place > 0.0:  # below the first point; or inf * 0, where there is one bucket
        return 0
    return buckets - 1 if place >= buckets else int(place)


@compiled(_COUNTS(_POINTS, types.float64, types.float64, types.int64))
def _index(points: Floats, low: float, scale: float, buckets: int) -> NDArray[np.int64]:
    """Return for each bucket the number of points in earlier ones, and at the end that of all."""
    first = np.empty(buckets + 1, np.int64)
    point = 0
    for bucket in range(buckets):
        while point < points.size and _bucket(points[point], low, scale, buckets) < bucket:
            point += 1
        first[bucket] = point
    first[buckets] = points.size
    return first


@compiled(types.int64(_VALUES, _POINTS, _COUNTS, types.float64, types.float64, _COUNTS))
def _count(
    values: Floats, points: Floats, first: NDArray[np.int64], low: float, scale: float, counts: NDArray[np.int64]
) -> int:
    """Add one to the cell of each value; return the number of NaN."""
    buckets, missing = first.size - 1, 0
    for value in values:
        if np.isnan(value):
            missing += 1
            continue
        bucket = _bucket(value, low, scale, buckets)
        start, stop = first[bucket], first[bucket + 1]
        while start < stop:  # to the first point at or above the value
            middle = (start + stop) // 2
            if points[middle] < value:
                start = middle + 1
            else:
                stop = middle
        cell = 2 * start
        if start < points.size and points[start] == value:
            cell += 1
        counts[cell] += 1
    return missing
