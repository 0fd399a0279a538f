"""Encodings: what a model sees of a feature, and what nothing but its own rows decides."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder

from churnops.errors import BundleError
from churnops.features.encoding import (
    AS_IT_IS,
    CLIPPED,
    EQUAL,
    LOOKED_UP,
    MAX_ENCODED,
    EncodedColumn,
    Encoding,
    summed_by_owner,
)
from churnops.training.encode import LINEAR_LEVELS, ONE_HOT_LEVELS, FeatureKind, linear_encoding, tree_encoding
from tests.support.mixed_table import CITIES, customers

KINDS = tuple(map(FeatureKind, (0, 0, 4, CITIES, 0)))


def columns() -> list[EncodedColumn]:
    return [
        EncodedColumn(0, AS_IT_IS),
        EncodedColumn(0, CLIPPED, fill=2.0, low=1.0, high=3.0),
        EncodedColumn(1, EQUAL, low=1.0),
        EncodedColumn(1, EQUAL, low=np.nan),
        EncodedColumn(1, LOOKED_UP, table=(0.1, 0.2, 0.3, 0.4)),
    ]


def test_each_kind_of_column():
    encoded = Encoding.of(columns(), 2)(np.array([[5.0, 0.0], [np.nan, 1.0], [0.0, np.nan], [2.5, 2.0], [1.0, -1.0]]))
    expected = [
        [5.0, 3.0, 0.0, 0.0, 0.1],
        [np.nan, 2.0, 1.0, 0.0, 0.2],
        [0.0, 1.0, 0.0, 1.0, 0.3],
        [2.5, 2.5, 0.0, 0.0, 0.4],  # a level that the table does not have
        [1.0, 1.0, 0.0, 0.0, 0.4],
    ]
    np.testing.assert_array_equal(encoded, expected)


@given(st.lists(st.floats(allow_nan=True), min_size=2, max_size=2))
def test_any_number_is_encoded_within_the_table(values: list[float]):
    encoded = Encoding.of(columns(), 2)(np.array([values]))
    assert encoded[0, 4] in (0.1, 0.2, 0.3, 0.4)
    assert 1.0 <= encoded[0, 1] <= 3.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(owner=a["owner"] + 9), "outside the 2 features"),
        (lambda a: a.update(owner=a["owner"] - 2), "outside the 2 features"),
        (lambda a: a.update(kind=a["kind"] + 4), "unknown kind"),
        (lambda a: a.update(fill=a["fill"][:-1]), "differ in length"),
        (lambda a: a.update(start=a["start"] * 0), "do not fit"),
        (lambda a: a.update(start=a["start"][:-1]), "do not fit"),
        (lambda a: a.update(start=np.array([0, 4, 4, 4, 4, 4])), "missing or too short"),
        (lambda a: a.update(start=np.array([0, 9, 0, 0, 0, 4])), "missing or too short"),
        (lambda a: a.update(table=a["table"] * np.nan), "not finite"),
        (lambda a: a.update(low=a["low"] + np.inf), "not finite"),
        (lambda a: a.update(high=a["high"] - 9.0), "above its upper limit"),
        (lambda a: a.update({name: values[:0] for name, values in a.items()}), "0 columns"),
    ],
)
def test_a_forged_encoding_is_refused(change: Callable[[dict[str, Any]], None], reason: str):
    arrays = Encoding.of(columns(), 2).to_arrays()
    Encoding.from_arrays(dict(arrays), 2)
    change(arrays)
    with pytest.raises(BundleError, match=reason):
        Encoding.from_arrays(arrays, 2)


def test_an_encoding_is_bounded():
    arrays = Encoding.of([EncodedColumn(0, AS_IT_IS)] * (MAX_ENCODED + 1), 1).to_arrays()
    with pytest.raises(BundleError, match=f"at most {MAX_ENCODED}"):
        Encoding.from_arrays(arrays, 1)


def test_contributions_are_added_up_by_feature():
    contributions = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(
        summed_by_owner(contributions, np.array([2, 0, 2, 0, 1], np.int32), 4), [[4, 4, 2, 0], [14, 9, 12, 0]]
    )


def mixed(rows: int = 2000, seed: int = 0) -> tuple[Any, Any]:
    table, outcome = customers(rows, seed)
    return np.column_stack(list(table.values())), outcome


def test_trees_get_gaps_levels_and_rates():
    matrix, outcome = mixed()
    encoding, encoded = tree_encoding(matrix, outcome, KINDS, seed=3)
    assert ONE_HOT_LEVELS < CITIES
    assert encoding.kind.tolist() == [AS_IT_IS, AS_IT_IS, *[EQUAL] * 5, LOOKED_UP, CLIPPED]
    np.testing.assert_array_equal(encoded[:, 0], matrix[:, 0])
    np.testing.assert_array_equal(encoded[:, 6], np.isnan(matrix[:, 2]))
    assert len(encoding.table) == CITIES + 2


def test_a_gap_that_training_did_not_have_is_the_median_for_trees():
    matrix, outcome = mixed()
    encoding, encoded = tree_encoding(matrix, outcome, KINDS, seed=3)
    np.testing.assert_array_equal(encoded[:, 8], matrix[:, 4])
    assert encoding(np.full((1, 5), np.nan))[0, 8] == np.median(matrix[:, 4])


def test_a_linear_model_gets_numbers_without_gaps():
    matrix, outcome = mixed()
    encoding, encoded = linear_encoding(matrix, outcome, KINDS, seed=3)
    assert LINEAR_LEVELS < CITIES
    assert np.isfinite(encoded).all()
    np.testing.assert_array_equal(np.unique(encoding.owner), range(5))
    others = encoding(mixed(500, seed=9)[0] * 1000.0)
    assert np.abs(others).max() < 1000.0, "a linear score is flat beyond the training rows"


def test_rates_are_scikit_learns_and_a_training_rows_is_by_others():
    matrix, outcome = mixed()
    encoding, encoded = tree_encoding(matrix, outcome, KINDS, seed=3)
    place = encoding.kind.tolist().index(LOOKED_UP)
    rates = TargetEncoder(target_type="binary").fit(matrix[:, [3]], outcome).transform(matrix[:, [3]])[:, 0]
    np.testing.assert_allclose(encoding(matrix)[:, place], rates, rtol=1e-12)
    alone = np.unique(matrix[:, 3], return_counts=True)
    single = np.isin(matrix[:, 3], alone[0][alone[1] == 1])
    assert single.any()
    changed = outcome ^ single
    np.testing.assert_allclose(
        tree_encoding(matrix, changed, KINDS, seed=3)[1][single, place].mean(),
        encoded[single, place].mean(),
        atol=0.02,
    )


def test_missing_and_unknown_levels_have_rates_of_their_own():
    codes = np.repeat([0.0, 1.0, np.nan, 30.0, 2.0], 200)
    outcome = np.repeat([False, True, True, False, True], 200)
    encoding, _ = tree_encoding(codes[:, None], outcome, (FeatureKind(30),), seed=3)
    rates = encoding(np.array([[0.0], [1.0], [np.nan], [30.0], [29.0]]))[:, 0]
    np.testing.assert_allclose(rates, [0.0, 1.0, 1.0, 0.0, 0.6], atol=0.02)


def test_no_column_tells_a_rows_own_outcome():
    """With outcomes drawn at random, the encoded training rows say nothing about them."""
    matrix, _ = mixed(4000)
    outcome = np.random.default_rng(7).random(4000) < 0.3
    encoding, encoded = tree_encoding(matrix, outcome, KINDS, seed=3)
    rate = encoded[:, encoding.kind.tolist().index(LOOKED_UP)]
    assert abs(np.corrcoef(rate, outcome)[0, 1]) < 0.06


def test_a_customers_own_rows_are_not_in_the_rate_of_its_level():
    """Else a level of one customer would give away its outcome in every training row, and in no later one."""
    customers = np.repeat(np.arange(40), 5)
    outcome, codes = customers % 2 == 0, customers[:, None].astype(float)
    _, alone = tree_encoding(codes, outcome, (FeatureKind(40),), seed=3)
    _, apart = tree_encoding(codes, outcome, (FeatureKind(40),), seed=3, customers=customers)
    assert alone[outcome].mean() - alone[~outcome].mean() > 0.8
    assert abs(apart[outcome].mean() - apart[~outcome].mean()) < 0.1
    _, linear = linear_encoding(codes, outcome, (FeatureKind(101),), seed=3, customers=customers)
    assert abs(linear[outcome].mean() - linear[~outcome].mean()) < 0.4
