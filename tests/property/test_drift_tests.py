"""Drift tests: SciPy's numbers from the rows behind the profiles, and few false alarms where nothing has changed."""

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift import (
    MIN_ROWS,
    chi_square_test,
    ks_statistic,
    ks_test,
    missing_rate_test,
    rarity_test,
    unseen_category_test,
)
from churnops.monitoring.drift.chi_square import MIN_EXPECTED, compare_counts, pool_small, stability_index
from churnops.monitoring.drift.exact import fisher_p_value, stratified_p_value
from churnops.monitoring.drift.kolmogorov import kolmogorov_tail
from churnops.monitoring.drift.ks import MAX_PATHS, two_sample_p_value
from churnops.monitoring.drift.scores import score_distance
from churnops.monitoring.drift.unseen import unseen_p_value

ALL = (ks_test, chi_square_test, missing_rate_test, unseen_category_test, rarity_test)
TIED = st.integers(-3, 3).map(float)
VALUE = st.one_of(TIED, st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, np.inf, -np.inf]))
COLUMN = st.lists(VALUE, min_size=1, max_size=60).map(np.array)
WITH_NAN = st.lists(st.one_of(VALUE, st.just(np.nan)), max_size=8).map(np.array)
REPEATS = st.integers(0, 40)
SEEDS = st.integers(0, 2**32 - 1)


def profiles(reference: np.ndarray, batch: np.ndarray) -> tuple[ColumnProfile, ColumnProfile]:
    fitted = ColumnProfile.fit(reference)
    return fitted, fitted.count(batch)


@given(COLUMN, COLUMN)
def test_the_ks_distance_is_scipys_bit_by_bit(reference: np.ndarray, batch: np.ndarray):
    with np.errstate(all="ignore"):  # SciPy's p-value divides by D = 0
        exact = stats.ks_2samp(reference, batch, method="asymp").statistic
    assert ks_statistic(*profiles(reference, batch)) == exact


SCORES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40).map(np.array)


@given(SCORES, SCORES, st.floats(0.0, 2.0))
def test_the_score_distance_is_at_most_that_of_the_rows(reference: np.ndarray, batch: np.ndarray, slack: float):
    with np.errstate(divide="ignore"):
        ours, theirs = (np.log(values) - np.log1p(-values) for values in (reference, batch))
    lower = max(np.mean(theirs <= x) - np.mean(ours <= x + slack) for x in theirs)
    higher = max(np.mean(ours <= x) - np.mean(theirs <= x + slack) for x in ours)
    found = score_distance(*profiles(reference, batch), slack)
    assert 0.0 <= found <= max(lower, higher, 0.0) + 1e-12
    assert found <= ks_statistic(*profiles(reference, batch)) + 1e-12


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=40), st.floats(-0.29, 0.29))
def test_scores_that_all_move_within_the_slack_are_equal(scores: list[float], move: float):
    reference = np.array(scores)
    assert score_distance(*profiles(reference, expit(logit(reference) + move))) == 0.0


@given(COLUMN, COLUMN, st.integers(2, 10))
def test_a_bounded_reference_finds_the_distance_but_for_its_error(reference: np.ndarray, batch: np.ndarray, most: int):
    bounded = ColumnProfile.fit(reference, most)
    exact = ks_statistic(*profiles(reference, batch))
    assert exact - bounded.ks_error - 1e-12 <= ks_statistic(bounded, bounded.count(batch)) <= exact + 1e-12


@given(st.integers(1, 120), st.integers(1, 120), st.floats(0, 5), SEEDS)
def test_the_ks_p_value_of_small_samples_is_scipys(n: int, m: int, shift: float, seed: int):
    rng = np.random.default_rng(seed)
    try:
        exact = stats.ks_2samp(rng.normal(size=n), rng.normal(shift, size=m), method="exact")
    except RuntimeWarning:  # SciPy gives up on some, and takes the asymptotic p-value in place of the exact one
        reject()
    assert two_sample_p_value(n, m, exact.statistic) == pytest.approx(exact.pvalue, rel=1e-9, abs=0)


def test_a_distance_of_all_but_one_has_no_tail():
    assert kolmogorov_tail(10_000, 1 - 2**-53) == 0.0


def test_a_tiny_exact_p_value_keeps_its_digits():
    """All of one sample above all of the other: two paths of all."""
    assert two_sample_p_value(400, 300, 1.0) == pytest.approx(2 / math.comb(700, 300), rel=1e-9, abs=0)


def test_the_ks_p_value_of_large_samples_is_scipys(rng: np.random.Generator):
    for n, m in ((2000, 2000), (2000, 2001), (100_000, 35)):
        x, y = rng.normal(size=n), rng.normal(0.1, size=m)
        found = ks_test(*profiles(x, y))
        scipys = stats.ks_2samp(x, y, method="exact" if n * m <= MAX_PATHS else "asymp")
        assert found.p_value == pytest.approx(scipys.pvalue, rel=1e-9, abs=0)
        assert found.statistic == found.effect == pytest.approx(scipys.statistic, rel=1e-15)


def _distances(rows: int) -> Iterator[float]:
    """Return distances in all regions and at their borders."""
    for scale in (1e-4, 0.01, 0.05, 0.1, 0.2, 0.5, 0.7546, 0.7547, 1, 2.1999, 2.2001, 3.999, 4.001, 9, 40, 150, 340):
        yield (scale / rows) ** 0.5
    for reach in (0.49, 0.5, 0.51, 0.9, 1, 1.01, 1.7, 2, 2.3, rows - 1, rows):
        yield reach / rows
    for border in (0.99, 1.01):
        yield border * (1.4 / rows) ** (2 / 3)
    yield from (0.0, 0.499, 0.5, 0.501, 0.9, 0.999, 1.0, 1.5)


@pytest.mark.parametrize(
    "rows", [1, 2, 3, 4, 7, 15, 20, 60, 139, 140, 141, 300, 1000, 1001, 3000, 9999, 10_001, 50_000, 100_001]
)
def test_the_one_sample_distribution_is_scipys(rows: int):
    compared = 0
    for distance in _distances(rows):
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            exact = float(stats.kstwo.sf(distance, rows))
        if exact >= 1e-300 or exact == 0.0:
            assert kolmogorov_tail(rows, distance) == pytest.approx(exact, rel=1e-9, abs=1e-300), distance
            compared += exact > 0.0
    assert compared >= 15


def test_the_tail_of_a_million_rows_is_scipys():
    assert kolmogorov_tail(1_000_000, 0.003) == pytest.approx(float(stats.kstwo.sf(0.003, 1_000_000)), rel=1e-9, abs=0)


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_the_one_sample_distribution_never_rises(rows: int, one: float, other: float):
    near, far = sorted((one, other))
    assert 0.0 <= kolmogorov_tail(rows, far) <= kolmogorov_tail(rows, near) + 1e-6 <= 1.0 + 1e-6


@pytest.mark.parametrize(("n", "m"), [(400, 150), (3000, 3000)])  # the exact p-value, and the limit's
def test_ks_under_a_tolerance_rarely_rejects_what_is_tolerated(n: int, m: int, rng: np.random.Generator):
    """Uniform on [0, 1) against uniform on [0.1, 1.1): exactly 0.1 apart, from 0.1 to 1."""
    found = [
        ks_test(*profiles(rng.random(n), rng.random(m) + shift), tolerance=0.1).p_value
        for shift in (0.1, 0.2)
        for _ in range(400)
    ]
    rejected = np.array(found).reshape(2, 400) <= 0.05
    assert rejected[0].mean() <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
    assert rejected[1].mean() > 0.3


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=2, max_size=6))
def test_chi_square_is_scipys(table: list[tuple[int, int]]):
    counts = np.array(table).T * 1500  # no small cells
    statistic, p_value = compare_counts(counts)
    exact = stats.chi2_contingency(counts, correction=False)
    assert statistic == pytest.approx(exact.statistic, rel=1e-9, abs=1e-9)
    assert p_value == pytest.approx(exact.pvalue, rel=1e-9, abs=1e-300)


@given(st.tuples(*[st.integers(0, 300)] * 4))
def test_fishers_test_is_scipys(cells: tuple[int, int, int, int]):
    table = np.array(cells).reshape(2, 2)
    assert fisher_p_value(table) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-9, abs=1e-300)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8), st.integers(0, 20))
def test_small_cells_are_pooled_until_none_is_left_or_it_is_exact(table: list[tuple[int, int]], unseen: int):
    """Against the tables that the rule allows, by its words: unseen ones and the smallest, as few as it takes."""
    counts, rest = np.array([*table, (9, 1)]).T, np.array([[0], [unseen]])
    columns = sorted((counts[:, i] for i in range(counts.shape[1]) if counts[:, i].sum()), key=sum)
    pooled, _ = pool_small(counts, rest)
    _, p_value = compare_counts(pooled)
    assert (pooled.sum(axis=1) == counts.sum(axis=1) + rest[:, 0]).all()
    if len(columns) == 1 and not unseen:
        assert p_value == 1.0
        return
    for few in range(len(columns)):
        first = sum(columns[:few], rest[:, 0])
        merged = np.array([*([first] if first.any() else []), *columns[few:]]).T
        expected = stats.contingency.expected_freq(merged)
        if expected.min() >= MIN_EXPECTED:
            assert p_value == pytest.approx(stats.chi2_contingency(merged, correction=False).pvalue, rel=1e-9)
            return
    assert p_value == pytest.approx(stats.fisher_exact(merged).pvalue, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8))
def test_the_stability_index_is_a_distance_without_direction(table: list[tuple[int, int]]):
    counts = np.array([*table, (1, 1)]).T
    index = stability_index(counts)
    assert index == pytest.approx(stability_index(counts[::-1]), abs=1e-12)
    assert index == pytest.approx(stability_index(np.insert(counts, 1, 0, axis=1)), abs=1e-12)
    assert index >= -1e-15
    assert stability_index(np.array([counts[0], counts[0]])) == 0.0


def _zipf(exponent: float, categories: int) -> np.ndarray:
    weight = np.arange(1.0, categories + 1) ** -exponent
    return weight / weight.sum()


LONG_TAILS = [
    (_zipf(1.2, 5000), 1000, 1000),
    (_zipf(1.2, 5000), 1000, 10_000),
    (_zipf(2, 500), 300, 3000),
    (_zipf(2, 500), 2000, 60),
    (np.array([0.6, 0.397, 0.003]), 1000, 10_000),
]


@pytest.mark.parametrize(("shares", "n", "m"), LONG_TAILS)
def test_long_tailed_categories_raise_no_more_alarms_than_the_level(
    shares: np.ndarray, n: int, m: int, rng: np.random.Generator
):
    points, alarms, batches = np.arange(float(shares.size)), Counter[str](), 1000
    for _ in range(batches):
        reference, batch = profiles(
            np.repeat(points, rng.multinomial(n, shares)), np.repeat(points, rng.multinomial(m, shares))
        )
        for test in (chi_square_test, unseen_category_test, rarity_test):
            for level in (0.05, 0.002):
                p_value = test(reference, batch).p_value
                assert p_value is not None
                alarms[f"{test.__name__} {level}"] += p_value <= level
    for name, count in alarms.items():
        level = float(name.split()[1])
        assert count <= stats.binom.ppf(0.999, batches, level), name


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5).filter(lambda sizes: 4 <= sum(sizes) <= 10), st.data())
def test_the_p_value_of_unseen_categories_bounds_that_of_all_deals(sizes: list[int], data: st.DataObject):
    """Every way to deal the rows of these categories to both sides: no p-value is below its own share of them."""
    rows = np.repeat(np.arange(len(sizes)), sizes)
    n = data.draw(st.integers(1, rows.size - 1))
    deals = list(itertools.combinations(range(rows.size), n))
    p_values = []
    for dealt in deals:
        counts = np.bincount(rows[list(dealt)], minlength=len(sizes))
        unseen = int(np.array(sizes)[counts == 0].sum())
        p_values.append(unseen_p_value(np.array(sizes)[counts > 0], n, rows.size - n, unseen) if unseen else 1.0)
    for p_value in set(p_values):
        share = sum(other <= p_value for other in p_values) / len(deals)
        assert share <= p_value * (1 + 1e-9)


@given(WITH_NAN, REPEATS, WITH_NAN, REPEATS)
def test_no_batch_is_too_strange_for_a_finding(reference: np.ndarray, times: int, batch: np.ndarray, again: int):
    sides = profiles(np.tile(reference, times), np.tile(batch, again))
    for test in ALL:
        found = test(*sides)
        assert found.reason
        enough = min(side.rows + (side.missing if test is missing_rate_test else 0) for side in sides) >= MIN_ROWS
        assert (found.p_value is not None) == (found.effect is not None) == enough
        if found.p_value is not None:
            assert 0.0 <= found.p_value <= 1.0
            assert np.isfinite(found.effect)


@given(WITH_NAN, st.integers(1, 40))
def test_a_batch_like_the_reference_is_no_difference(values: np.ndarray, times: int):
    side = ColumnProfile.fit(np.tile(values, times))
    for test in ALL:
        found = test(side, side)
        assert found.p_value in (None, pytest.approx(1.0))
        assert found.effect in (None, 0.0)


@given(st.lists(st.integers(1, 12), min_size=8, max_size=8))
def test_the_stratified_p_value_is_that_of_all_pairs_of_tables(cells: list[int]):
    first, second = np.array(cells).reshape(2, 2, 2)
    shares = []
    for table in (first, second):
        rows, columns = table.sum(axis=1), table.sum(axis=0)
        cell = stats.hypergeom(int(table.sum()), int(columns[0]), int(rows[0]))
        shares.append([cell.pmf(count) for count in range(13 * 2)])
    total = first[0, 0] + second[0, 0]
    expected = sum(a * b for (i, a), (j, b) in itertools.product(*map(enumerate, shares)) if i + j >= total)
    assert stratified_p_value(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-12)
