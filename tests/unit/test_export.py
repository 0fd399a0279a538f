"""The plain-array form of a fitted estimator answers exactly as the library that fitted it."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from churnops.data.preprocess import PreparedTable
from churnops.model import LinearModel, TreeEnsemble
from churnops.settings import FAMILIES
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export, strictly_below
from churnops.training.search import settings_to_try
from churnops.training.select import SelectedFeatures


@pytest.fixture(scope="module")
def matrix(features: SelectedFeatures, prepared: PreparedTable) -> NDArray[np.float64]:
    """The features of the whole table."""
    return features.build(prepared.imputer(prepared.columns))


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_estimators_own_probabilities_on_every_row(
    family: str, matrix: NDArray[np.float64], prepared: PreparedTable
):
    candidate = CANDIDATES[family]
    for params in settings_to_try(candidate, trials=3, seed=1):
        fitted = candidate.fit(params, matrix, prepared.outcome, seed=42)
        own = fitted.predict_proba(matrix)[:, 1]
        np.testing.assert_allclose(export(fitted).probability(matrix), own, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["decision_tree", "random_forest"])
def test_trees_grown_to_the_end_are_exact(family: str, matrix: NDArray[np.float64], prepared: PreparedTable):
    make = {"decision_tree": DecisionTreeClassifier, "random_forest": RandomForestClassifier}[family]
    extra = {"n_estimators": 20} if family == "random_forest" else {}
    fitted = make(random_state=0, **extra).fit(matrix, prepared.outcome)
    own = fitted.predict_proba(matrix)[:, 1]
    np.testing.assert_allclose(export(fitted).probability(matrix), own, rtol=0, atol=1e-12)


def test_a_linear_model_knows_the_mean_of_each_feature(matrix: NDArray[np.float64], prepared: PreparedTable):
    linear = export(CANDIDATES["logistic_regression"].fit({}, matrix, prepared.outcome, seed=0))
    assert isinstance(linear, LinearModel)
    np.testing.assert_allclose(linear.mean, matrix.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_covers_are_positive_and_shrink_along_every_path(
    family: str, matrix: NDArray[np.float64], prepared: PreparedTable
):
    """Loading requires this, so that no fitted model is refused."""
    for params in settings_to_try(CANDIDATES[family], trials=3, seed=2):
        trees = export(CANDIDATES[family].fit(params, matrix, prepared.outcome, seed=1))
        assert isinstance(trees, TreeEnsemble)
        arrays, parameters = trees.to_arrays(), trees.parameters()
        assert TreeEnsemble.from_arrays(arrays, parameters, matrix.shape[1]).link == trees.link


def with_gaps(rng: np.random.Generator, rows: int = 600) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    matrix = rng.normal(size=(rows, 5)).round(1)
    outcome = matrix[:, 0] + matrix[:, 1] ** 2 + rng.normal(size=rows) > 1
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    return matrix, outcome


def test_missing_values_go_where_the_library_sends_them(rng: np.random.Generator):
    matrix, outcome = with_gaps(rng)
    for fitted in (
        XGBClassifier(n_estimators=40, max_depth=5, n_jobs=1),
        DecisionTreeClassifier(max_depth=6),
        RandomForestClassifier(n_estimators=20, max_depth=6, random_state=1),
    ):
        fitted.fit(matrix, outcome)
        own = fitted.predict_proba(matrix)[:, 1]
        np.testing.assert_allclose(export(fitted).probability(matrix), own, rtol=0, atol=1e-6)


def test_values_on_and_next_to_a_threshold_fall_on_the_right_side(rng: np.random.Generator):
    matrix = rng.integers(0, 4, size=(400, 3)) / 3.0
    outcome = (matrix.sum(axis=1) + rng.normal(size=400) / 3) > 1.5
    for fitted in (DecisionTreeClassifier(max_depth=5), XGBClassifier(n_estimators=10, n_jobs=1)):
        fitted.fit(matrix, outcome)
        trees = export(fitted)
        assert isinstance(trees, TreeEnsemble)
        thresholds = trees.threshold[trees.feature >= 0].astype(np.float64)
        near = np.concatenate(
            [np.nextafter(thresholds, s).astype(np.float32) for s in (-np.inf, np.inf)] + [thresholds]
        )
        probe = np.repeat(near[:, None].astype(np.float64), 3, axis=1)
        np.testing.assert_allclose(trees.probability(probe), fitted.predict_proba(probe)[:, 1], rtol=0, atol=1e-6)


def test_strictly_below_asks_the_same_question_in_float32(rng: np.random.Generator):
    thresholds = np.concatenate([rng.normal(size=500), rng.normal(size=500).astype(np.float32), [0.0, -0.0, 1e30]])
    values = np.concatenate([thresholds, rng.normal(size=500)]).astype(np.float32)
    below = strictly_below(thresholds)
    np.testing.assert_array_equal(
        values[:, None] < below[None, :], values[:, None].astype(np.float64) <= thresholds[None, :]
    )


def test_pruned_and_single_leaf_trees(rng: np.random.Generator):
    matrix, outcome = rng.normal(size=(200, 3)), rng.random(200) < 0.3
    pruned = XGBClassifier(n_estimators=15, max_depth=5, gamma=2.0, n_jobs=1).fit(matrix, outcome)
    stumps = XGBClassifier(n_estimators=3, gamma=1e9, n_jobs=1).fit(matrix, outcome)
    leaf = DecisionTreeClassifier(min_samples_leaf=150).fit(matrix, outcome)
    for fitted in (pruned, stumps, leaf):
        own = fitted.predict_proba(matrix)[:, 1]
        np.testing.assert_allclose(export(fitted).probability(matrix), own, rtol=0, atol=1e-6)


def test_a_fold_with_one_outcome_only_is_certain_of_it():
    matrix = np.zeros((4, 1))
    for outcome, certain in ((np.ones(4, dtype=bool), 1.0), (np.zeros(4, dtype=bool), 0.0)):
        fitted = CANDIDATES["decision_tree"].fit({}, matrix, outcome, seed=0)
        np.testing.assert_array_equal(export(fitted).probability(matrix), certain)


def test_answering_needs_no_training_library():
    """Importing the model package, which loads and predicts, brings in none of the heavy libraries."""
    heavy = ["mlflow", "sklearn", "xgboost", "pandas", "polars", "matplotlib", "sqlalchemy"]
    code = f"import sys, churnops.model; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
