"""Counting by an index gives the counts of sorting, and both those of the definition, for any numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from churnops.data import cells
from churnops.data.cells import count_by_index, count_by_sorting, count_cells

Floats = NDArray[np.float64]
TINY = 5e-324
EDGES = [
    0.0,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    TINY,
    -TINY,
    2.2e-308,
    -2.2e-308,
    1.7976931348623157e308,
    -1.7e308,
    1.0,
    3.0,
]
NEAR = [np.nextafter(edge, to) for edge in (1.0, 3.0, TINY) for to in (-np.inf, np.inf)]
NUMBERS = st.sampled_from([*EDGES, *map(float, NEAR)]) | st.floats() | st.integers(-5, 5).map(float)


def points_of(values: Floats) -> Floats:
    return np.unique(values[~np.isnan(values)] + 0.0)


def defined(values: Floats, points: Floats) -> list[int]:
    counts = [0] * (2 * points.size + 1)
    for value in values[~np.isnan(values)]:
        counts[2 * int((points < value).sum()) + int((points == value).any())] += 1
    return counts


@settings(max_examples=400, deadline=None)
@given(st.lists(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=40), st.integers(1, 3))
def test_both_ways_of_counting_agree_with_the_definition(values: list[float], reference: list[float], step: int):
    given_values = np.array(values, dtype=np.float64)[::step]
    points = points_of(np.array(reference, dtype=np.float64))
    expected = defined(given_values, points), int(np.isnan(given_values).sum())
    counts, missing = count_by_sorting(given_values, points)
    assert (counts.tolist(), missing) == expected
    by_index = count_by_index(given_values, points)
    if by_index is not None:
        assert (by_index[0].tolist(), by_index[1]) == expected


KINDS = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal": lambda random, n: np.exp(3 * random.normal(size=n)),
    "negative": lambda random, n: -np.exp(3 * random.normal(size=n)),
    "ties": lambda random, n: np.round(random.normal(size=n), 1),
    "outliers": lambda random, n: np.where(random.random(n) < 1e-4, 1e300, random.normal(size=n)),
    "infinities": lambda random, n: np.where(random.random(n) < 0.01, -np.inf, random.normal(size=n)),
    "denormals": lambda random, n: random.integers(-50_000, 50_000, n) * TINY,
    "mixed": lambda random, n: random.normal(size=n) * 10.0 ** random.integers(-300, 300, n),
    "one": lambda random, n: np.full(n, 7.0),
}


@pytest.mark.parametrize("fast_sort", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_large_batches_are_counted_alike(kind: str, fast_sort: bool, monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(1)
    points = points_of(KINDS[kind](random, 20_000))
    values = KINDS[kind](random, 2 * 150_000)[::2]
    values[random.random(values.size) < 0.01] = np.nan
    values[:100] = random.choice(points, 100)
    values[100:200] = np.resize([-0.0, 0.0, np.inf, -np.inf, points[0], points[-1]], 100)
    values.flags.writeable = False
    counts, missing = count_by_sorting(values, points)
    assert counts.sum() + missing == values.size
    monkeypatch.setattr(cells, "sorting_is_faster", lambda: fast_sort)
    for result in (count_cells(values, points), count_by_index(values, points)):
        if kind != "mixed" or result is not None:
            assert result is not None
            assert np.array_equal(result[0], counts)
            assert result[1] == missing


def test_the_faster_way_is_measured_once():
    first, misses = cells.sorting_is_faster(), cells.sorting_is_faster.cache_info().misses
    assert cells.sorting_is_faster() is first
    assert cells.sorting_is_faster.cache_info().misses == misses
