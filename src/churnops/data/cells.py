"""Exact counts of values in the cells of a reference: its points, and the gaps around them.

Two methods give the same counts, and a process measures once which is faster. One sorts the values and walks along
values and points. It is fast if NumPy sorts with vector instructions that suit the processor; otherwise it takes up to
ten times as long. The other finds each value in an index of the points, in about the same time on every machine.
"""

import time
from collections.abc import Callable
from functools import cache

import numpy as np
from numba import types
from numpy.typing import NDArray

from churnops.compiled import compiled

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Buckets = NDArray[np.int32]
_FLOATS = types.Array(types.float64, 1, "A", readonly=True)  # also accepts writable arrays
_BITS = types.Array(types.int64, 1, "A", readonly=True)
_POINTS = types.Array(types.float64, 1, "C", readonly=True)

FEW = 100_000
"""Number of values up to which they are always sorted, because an index would not save time."""
PER_POINT = 4
"""Buckets of the index for each point."""
MAX_SHARED = 4.0
"""Largest mean number of points in a point's bucket, itself included. Beyond it, the values are sorted."""


def count_cells(values: Floats, points: Floats) -> tuple[Counts, int]:
    """Return how many values lie in each cell, and how many are NaN.

    Parameters
    ----------
    values
        Shape (n,), in any order.
    points
        Shape (m,): ascending, distinct, not NaN. Cell 2 i + 1 is point i, cell 2 i the gap below it, cell 2 m the gap
        above the last.

    Returns
    -------
    counts : int64, shape (2 m + 1,)
    missing : int

    Examples
    --------
    >>> count_cells(np.array([2.0, np.nan, 1.0, 2.5]), np.array([1.0, 2.0]))
    (array([0, 1, 0, 1, 1]), 1)
    """
    values, points = np.asarray(values, dtype=np.float64), np.ascontiguousarray(points, dtype=np.float64)
    if values.size <= max(FEW, points.size) or sorting_is_faster():
        return count_by_sorting(values, points)
    return count_by_index(values, points) or count_by_sorting(values, points)


def count_by_sorting(values: Floats, points: Floats) -> tuple[Counts, int]:
    """Return what `count_cells` returns, by sorting the values."""
    counts = np.zeros(2 * points.size + 1, dtype=np.int64)
    return counts, int(_walk(np.sort(values), points, counts))


def count_by_index(values: Floats, points: Floats) -> tuple[Counts, int] | None:
    """Return what `count_cells` returns, from an index of the points; None if too many points share a bucket.

    The index sorts the points into buckets of equal width on the scale of the values. If these are too full, it uses
    buckets of equal width on the scale of the values' bits, which is nearly logarithmic; None if these are too full as
    well.
    """
    if points.size == 0:
        return None
    buckets = PER_POINT * points.size
    for bucket_of in (_linear, _logarithmic):
        sizes = np.bincount(bucket_of(points, points, buckets), minlength=buckets)
        if float(sizes @ sizes) <= MAX_SHARED * points.size:
            first = np.append(0, np.cumsum(sizes)).astype(np.int32)
            counts = np.zeros(2 * points.size + 1, dtype=np.int64)
            return counts, int(_look_up(values, bucket_of(values, points, buckets), points, first, counts))
    return None


@cache
def sorting_is_faster() -> bool:
    """Whether counting by sorting takes less time with this processor and NumPy. The first call measures it."""
    random = np.random.default_rng(0)
    values, points = random.normal(size=2**17), np.unique(random.normal(size=2**14))
    return _seconds(count_by_sorting, values, points) < _seconds(count_by_index, values, points)


def _seconds(count: Callable[[Floats, Floats], object], values: Floats, points: Floats) -> float:
    """Return the CPU time of a count: the shortest of three runs."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        count(values, points)
        times.append(time.thread_time() - start)
    return min(times)


def _linear(values: Floats, points: Floats, buckets: int) -> Buckets:
    """Return each value's bucket; all buckets have equal width. NaN gets any number.

    The first and the last thousandth of the points share the buckets at the ends, so an outlier changes no width.
    """
    finite = points[np.isfinite(points)]
    ends = finite[[finite.size // 1000, -1 - finite.size // 1000]] if finite.size else np.zeros(2)
    low = float(ends[0])
    with np.errstate(over="ignore", divide="ignore"):
        factor = float(buckets / (ends[1] - ends[0]))
    result = np.empty(values.size, dtype=np.int32)
    _scale(values, low, factor if np.isfinite(factor) else 0.0, float(buckets - 1), result)
    return result


def _logarithmic(values: Floats, points: Floats, buckets: int) -> Buckets:
    """Return each value's bucket on the scale of the bits, between the first and the last point; any number for NaN."""
    ends = np.empty(2, dtype=np.uint64)
    _keys((points[[0, -1]] + 0.0).view(np.int64), ends)
    shift = max(int(ends[1] - ends[0]).bit_length() - buckets.bit_length() + 1, 0)
    result = np.empty(values.size, dtype=np.int32)
    _shift(values.view(np.int64), ends, shift, buckets - 1, result)
    return result


@compiled(types.int64(_FLOATS, _POINTS, types.int64[::1]))
def _walk(values: Floats, points: Floats, counts: Counts) -> int:
    """Add sorted values (NaN last) to the counts of their cells; return the number of NaN."""
    place = 0
    for point in range(points.size):
        start = place
        while place < values.size and values[place] < points[point]:
            place += 1
        counts[2 * point] += place - start
        start = place
        while place < values.size and values[place] == points[point]:
            place += 1
        counts[2 * point + 1] += place - start
    known = values.size
    while known > place and np.isnan(values[known - 1]):
        known -= 1
    counts[2 * points.size] += known - place
    return int(values.size - known)


@compiled(types.int64(_FLOATS, types.int32[::1], _POINTS, types.int32[::1], types.int64[::1]))
def _look_up(values: Floats, buckets: Buckets, points: Floats, first: Buckets, counts: Counts) -> int:
    """Add the values to their cells; return the number of NaN.

    A larger value never has a smaller bucket. So the first point at or above a value lies in the value's bucket, or is
    the first point of the later buckets.
    """
    missing = 0
    for row in range(values.size):
        value = values[row]
        if np.isnan(value):
            missing += 1
            continue
        point, end = first[buckets[row]], first[buckets[row] + 1]
        while point < end and points[point] < value:
            point += 1
        counts[2 * point + (point < points.size and points[point] == value)] += 1
    return missing


@compiled(types.void(_FLOATS, types.float64, types.float64, types.float64, types.int32[::1]))
def _scale(values: Floats, low: float, factor: float, last: float, result: Buckets) -> None:
    for row in range(values.size):
        scaled = (values[row] - low) * factor
        result[row] = np.int32(min(scaled, last)) if scaled > 0.0 else np.int32(0)  # 0 for NaN, as inf * 0 gives


@compiled(types.void(_BITS, types.uint64[::1]))
def _keys(bits: NDArray[np.int64], result: NDArray[np.uint64]) -> None:
    """Write integers that sort like the floats with these bits."""
    top = np.uint64(1 << 63)
    for row in range(bits.size):
        result[row] = np.uint64(~bits[row]) if bits[row] < 0 else np.uint64(bits[row]) | top


@compiled(types.void(_BITS, types.uint64[::1], types.int64, types.int64, types.int32[::1]))
def _shift(bits: NDArray[np.int64], ends: NDArray[np.uint64], shift: int, last: int, result: Buckets) -> None:
    top, places = np.uint64(1 << 63), np.uint64(shift)
    for row in range(bits.size):
        raw = bits[row]
        if raw == np.int64(-(2**63)):  # -0.0 is 0.0
            raw = np.int64(0)
        key = np.uint64(~raw) if raw < 0 else np.uint64(raw) | top
        if key <= ends[0]:
            result[row] = 0
        elif key >= ends[1]:
            result[row] = np.int32(min((ends[1] - ends[0]) >> places, np.uint64(last)))
        else:
            result[row] = np.int32(min((key - ends[0]) >> places, np.uint64(last)))
