"""Splits in time, of any table: later rows, a gap, and every customer on one side."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from churnops.data.time_split import MIN_OUTCOMES, Mask, Moments, forward_folds, split_in_time
from churnops.errors import DataError


@st.composite
def tables(draw: st.DrawFn) -> tuple[Moments, Mask]:
    """Draw rows of customers with and without ids, at few or at many different times."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rows = draw(st.integers(100, 400))
    step = draw(st.sampled_from([0.01, 1.0, 30.0]))
    at = np.floor(rng.uniform(0.0, 300.0, rows) / step) * step
    customers = rng.integers(0, draw(st.sampled_from([1, 20, 200, 5000])), rows).astype(np.uint64)
    return Moments(at, customers, draw(st.sampled_from([0.5, 30.0, 60.0]))), rng.random(rows) < 0.4


def assert_apart(moments: Moments, early: NDArray[np.generic], late: NDArray[np.generic]) -> None:
    assert moments.at[early].max() <= moments.at[late].min() - moments.gap
    both = np.intersect1d(moments.customers[early], moments.customers[late])
    assert not both[both != 0].size


@given(tables(), st.sampled_from([0.1, 0.2, 0.5]))
def test_no_customer_is_on_both_sides_and_the_gap_is_kept(table: tuple[Moments, Mask], fraction: float):
    moments, outcome = table
    try:
        split = split_in_time(moments, outcome, fraction, seed=1)
    except DataError:
        assume(False)
    assert_apart(moments, split.training, split.held_out)
    assert not (split.training & split.held_out).any()
    assert moments.at[split.held_out].min() >= split.cut
    for rows in (split.training, split.held_out):
        assert min(outcome[rows].sum(), (~outcome[rows]).sum()) >= MIN_OUTCOMES


@given(tables(), st.integers(1, 6))
def test_each_fold_scores_later_rows_of_other_customers(table: tuple[Moments, Mask], folds: int):
    moments, outcome = table
    try:
        made = forward_folds(moments, outcome, folds, seed=1)
    except DataError:
        assume(False)
    assert 1 <= len(made) <= folds
    for training, validation in made:
        assert_apart(moments, training, validation)
        for rows in (training, validation):
            assert min(outcome[rows].sum(), (~outcome[rows]).sum()) >= MIN_OUTCOMES
    validated = np.concatenate([validation for _, validation in made])
    assert np.unique(validated).size == validated.size
