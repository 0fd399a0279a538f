"""Training and serving agree: a customer has one score, to the last bit, alone or in a batch."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.model import Bundle
from churnops.schema import Columns
from churnops.settings import FAMILIES
from churnops.training.train import TrainedModels

CUSTOMERS = 3333


@pytest.fixture(scope="module", params=[*FAMILIES, "refit"])
def bundle(request: pytest.FixtureRequest, trained: TrainedModels) -> Bundle:
    return trained.refit if request.param == "refit" else trained.models[request.param].bundle


def take(columns: Columns, rows: list[int]) -> dict[str, NDArray[np.float64]]:
    return {name: values[rows] for name, values in columns.items()}


@pytest.fixture(scope="module")
def everyone(bundle: Bundle, prepared: PreparedTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features and probabilities of the whole table in one batch."""
    return bundle.matrix(bundle.imputer(prepared.columns)), bundle.predict(prepared.columns).probability


@given(rows=st.lists(st.integers(0, CUSTOMERS - 1), min_size=1, max_size=70), order=st.randoms(use_true_random=False))
def test_alone_in_a_batch_and_permuted_are_bit_identical(
    rows: list[int],
    order: Random,
    bundle: Bundle,
    prepared: PreparedTable,
    everyone: tuple[NDArray[np.float64], NDArray[np.float64]],
):
    features, probability = everyone
    names = list(prepared.columns)
    order.shuffle(names)
    batch = {name: take(prepared.columns, rows)[name] for name in names}
    np.testing.assert_array_equal(bundle.matrix(bundle.imputer(batch)), features[rows])
    np.testing.assert_array_equal(bundle.predict(batch).probability, probability[rows])
    alone = bundle.predict(take(prepared.columns, rows[:1])).probability
    np.testing.assert_array_equal(alone, probability[rows[:1]])


@given(row=st.integers(0, CUSTOMERS - 1), missing=st.sets(st.integers(0, 12)))
def test_one_customer_in_plain_numbers_has_bit_identical_reasons(
    row: int, missing: set[int], bundle: Bundle, prepared: PreparedTable
):
    columns = {c.name: prepared.columns[c.name][[row]] for c in bundle.schema.model_inputs}
    for place in missing:
        columns[list(columns)[place]] = np.array([np.nan])
    one = bundle.answer({name: float(values[0]) for name, values in columns.items()}, len(bundle.selected))
    many = bundle.explain(columns)
    assert one.probability == many.prediction.probability[0]
    assert one.churn is bool(many.prediction.churn[0])
    contributions = np.empty(len(bundle.selected))
    contributions[one.positions] = one.values
    np.testing.assert_array_equal(contributions[None, :], many.contributions)
    assert bundle.answers(columns, len(bundle.selected)) == [one]


@given(rows=st.lists(st.integers(0, CUSTOMERS - 1), min_size=1, max_size=20))
def test_columns_that_are_no_model_inputs_change_nothing(rows: list[int], bundle: Bundle, prepared: PreparedTable):
    required = {c.name for c in bundle.schema.model_inputs}
    batch = take(prepared.columns, rows)
    bare = {name: values for name, values in batch.items() if name in required}
    assert set(batch) - required >= {"state", "total_day_charge"}
    np.testing.assert_array_equal(bundle.predict(bare).probability, bundle.predict(batch).probability)


def test_strided_and_contiguous_columns_score_the_same(bundle: Bundle, prepared: PreparedTable):
    every_third = {name: values[::3] for name, values in prepared.columns.items()}
    contiguous = {name: values.copy() for name, values in every_third.items()}
    assert not next(iter(every_third.values())).flags.c_contiguous
    np.testing.assert_array_equal(bundle.predict(every_third).probability, bundle.predict(contiguous).probability)


def test_the_refit_was_fitted_on_the_features_it_serves(trained: TrainedModels, prepared: PreparedTable):
    """The constants learned again on all rows are the ones the matrix of the refit was built with."""
    medians = {
        c.name: float(np.median(prepared.columns[c.name])) for c in trained.refit.schema.model_inputs if c.numeric
    }
    assert {name: trained.refit.imputer.constants[name] for name in medians} == medians
