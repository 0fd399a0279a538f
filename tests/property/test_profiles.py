"""Statistics computed from profiles equal those computed from rows by SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift import chi_square_test, ks_statistic, ks_test

TIED = st.integers(-3, 3).map(float)
VALUES = st.one_of(TIED, st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, np.inf, -np.inf]))
COLUMNS = st.lists(VALUES, min_size=1, max_size=60).map(np.array)


@given(COLUMNS, COLUMNS)
def test_the_ks_distance_is_scipys(reference: np.ndarray, batch: np.ndarray):
    with np.errstate(all="ignore"):  # SciPy's p-value divides by D = 0
        exact = stats.ks_2samp(reference, batch, method="asymp").statistic
    assert ks_statistic(ColumnProfile.fit(reference), ColumnProfile.fit(batch)) == pytest.approx(exact, abs=1e-15)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_the_ks_p_value_is_close_to_scipys(shift: float, rng: np.random.Generator):
    reference, batch = rng.normal(size=3000), rng.normal(shift, size=1500)
    found = ks_test("x", ColumnProfile.fit(reference), ColumnProfile.fit(batch), 0.05)
    assert found.p_value == pytest.approx(stats.ks_2samp(reference, batch, method="asymp").pvalue, rel=0.1, abs=1e-12)


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=2, max_size=6))
def test_chi_square_is_scipys(table: list[tuple[int, int]]):
    counts = np.array(table).T * 30  # no small cells
    profiles = [ColumnProfile(np.arange(len(table), dtype=float), row, 0) for row in counts]
    found = chi_square_test("x", *profiles, 0.05)
    exact = stats.chi2_contingency(counts, correction=False)
    assert found.statistic == pytest.approx(exact.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(exact.pvalue, rel=1e-9, abs=1e-300)


@given(st.lists(st.one_of(VALUES, st.just(np.nan)), max_size=60).map(lambda v: np.array(v, dtype=np.float64)))
def test_a_profile_counts_every_row_once(values: np.ndarray):
    profile = ColumnProfile.fit(values)
    assert profile.rows + profile.missing == values.size
    assert (np.diff(profile.points) > 0).all()
    for point, count in zip(profile.points, profile.counts, strict=True):
        assert (values == point).sum() == count


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_coarse_profile_keeps_the_rows(scores: list[float]):
    profile = ColumnProfile.fit(np.array(scores))
    coarse = profile.coarse(np.arange(1, 10) / 10)
    assert coarse.rows == profile.rows
    assert coarse.points.size <= 10
    for step, count in zip(coarse.points, coarse.counts, strict=True):
        assert count == sum(step / 10 <= score < (step + 1) / 10 or (step == 9 and score == 1) for score in scores)
