"""Explanations: equal to the SHAP library's, complete, repeatable, and an error where there is none."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from churnops.data.preprocess import PreparedTable
from churnops.errors import ChurnopsError, DataError
from churnops.model import Bundle, Explanation, TreeEnsemble
from churnops.settings import FAMILIES
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.select import SelectedFeatures
from churnops.training.train import TrainedModels

with warnings.catch_warnings():  # of the library's own colours
    warnings.simplefilter("ignore")
    import shap

Matrix = NDArray[np.float64]


@pytest.fixture(scope="module")
def matrix(features: SelectedFeatures, prepared: PreparedTable) -> Matrix:
    return features.build(prepared.imputer(prepared.columns))


def shap_values(fitted: Any, matrix: Matrix) -> tuple[Matrix, float]:
    """What the SHAP library says of class 1, and its expected value."""
    explainer = shap.TreeExplainer(fitted, feature_perturbation="tree_path_dependent")
    values = np.asarray(explainer.shap_values(matrix))
    return (values[..., 1] if values.ndim == 3 else values), float(np.ravel(explainer.expected_value)[-1])


FITS: dict[str, Callable[[], Any]] = {
    "XGBoost, 200 trees of depth 5": lambda: XGBClassifier(n_estimators=200, max_depth=5, n_jobs=1),
    "XGBoost, depth 9": lambda: XGBClassifier(n_estimators=15, max_depth=9, n_jobs=1),
    "XGBoost, stumps": lambda: XGBClassifier(n_estimators=40, max_depth=1, n_jobs=1),
    "tree grown to the end": lambda: DecisionTreeClassifier(random_state=0),
    "forest grown to the end": lambda: RandomForestClassifier(n_estimators=5, random_state=0),
    "tree of one leaf": lambda: DecisionTreeClassifier(min_samples_leaf=3000),
}


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_trees_equal_the_shap_library_on_every_row(family: str, matrix: Matrix, prepared: PreparedTable):
    fitted = CANDIDATES[family].fit(CANDIDATES[family].default, matrix, prepared.outcome, seed=42)
    check_against_shap(fitted, matrix)


@pytest.mark.parametrize("name", FITS)
def test_other_shapes_of_trees_equal_it_too(name: str, matrix: Matrix, prepared: PreparedTable):
    rows = matrix[:: 20 if "end" in name else 1]
    check_against_shap(FITS[name]().fit(matrix, prepared.outcome), rows)


def check_against_shap(fitted: Any, matrix: Matrix) -> None:
    trees = export(fitted)
    values, expected = shap_values(fitted, matrix)
    np.testing.assert_allclose(trees.contributions(matrix), values, rtol=0, atol=1e-4)
    assert trees.base_value == pytest.approx(expected, abs=1e-4)


def test_missing_values_equal_it_too(rng: np.random.Generator):
    matrix = rng.normal(size=(600, 5)).round(1)
    outcome = matrix[:, 0] + matrix[:, 1] ** 2 + rng.normal(size=600) > 1
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    check_against_shap(XGBClassifier(n_estimators=40, max_depth=5, n_jobs=1).fit(matrix, outcome), matrix)


def test_logistic_regression_equals_the_shap_library(matrix: Matrix, prepared: PreparedTable):
    fitted = CANDIDATES["logistic_regression"].fit({"C": 0.3}, matrix, prepared.outcome, seed=42)
    scaler, regression = (step for _, step in fitted.steps)
    scaled = scaler.transform(matrix)
    explainer = shap.LinearExplainer(regression, (np.zeros(matrix.shape[1]), np.eye(matrix.shape[1])))
    linear = export(fitted)
    np.testing.assert_allclose(linear.contributions(matrix), explainer.shap_values(scaled), rtol=0, atol=1e-9)
    assert linear.base_value == pytest.approx(explainer.expected_value)


@pytest.fixture(scope="module", params=FAMILIES)
def bundle(request: pytest.FixtureRequest, trained: TrainedModels) -> Bundle:
    return trained.models[request.param].bundle


def test_a_bundle_explains_what_it_predicts(bundle: Bundle, prepared: PreparedTable):
    explanation = bundle.explain(prepared.columns)
    prediction = bundle.predict(prepared.columns)
    np.testing.assert_array_equal(explanation.prediction.probability, prediction.probability)
    np.testing.assert_array_equal(explanation.prediction.churn, prediction.churn)
    assert explanation.contributions.shape == (prediction.probability.size, len(bundle.selected))
    score = explanation.base_value + explanation.contributions.sum(axis=1)
    if bundle.explanation_scale == "log-odds":
        assert bundle.algorithm in ("logistic_regression", "xgboost")
        score = 1.0 / (1.0 + np.exp(-score))
    np.testing.assert_allclose(score, prediction.probability, rtol=0, atol=1e-9)
    assert explanation.base_value == bundle.base_value


def test_the_base_value_is_the_average_over_the_training_rows(bundle: Bundle, prepared: PreparedTable):
    if bundle.algorithm == "xgboost":
        pytest.skip("its covers are Hessians, so its average counts a row by p (1 - p)")
    average = bundle.explain(prepared.rows(~prepared.held_out)).contributions.sum(axis=1).mean()
    assert average == pytest.approx(0.0, abs=0.005)  # each tree of the forest has seen a sample of the rows


def test_alone_in_a_batch_and_loaded_again_give_the_same_bits(bundle: Bundle, prepared: PreparedTable, tmp_path: Any):
    everyone = bundle.explain(prepared.columns).contributions
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    for row in (0, 7, 1500, 3332):
        alone = loaded.explain({name: values[[row]] for name, values in prepared.columns.items()})
        np.testing.assert_array_equal(alone.contributions[0], everyone[row])
    for rows in (slice(1000, 1003), slice(2000, 2004), slice(2040, 2060)):
        some = loaded.explain({name: values[rows] for name, values in prepared.columns.items()})
        np.testing.assert_array_equal(some.contributions, everyone[rows])


def test_walked_trees_have_the_same_bits_alone_and_in_a_batch(matrix: Matrix, prepared: PreparedTable):
    trees = export(DecisionTreeClassifier(random_state=0).fit(matrix, prepared.outcome))
    batch = trees.contributions(matrix[:101])
    for row in (0, 50, 100):
        np.testing.assert_array_equal(trees.contributions(matrix[[row]])[0], batch[row])


def test_no_rows_give_empty_explanations(bundle: Bundle, prepared: PreparedTable):
    explanation = bundle.explain({name: values[:0] for name, values in prepared.columns.items()})
    assert explanation.contributions.shape == (0, len(bundle.selected))
    assert explanation.top(bundle.selected)[0].shape == (0, 6)


def test_explain_refuses_the_same_inputs_as_predict(bundle: Bundle, prepared: PreparedTable):
    columns = {name: values[:2] for name, values in prepared.columns.items() if name != "account_length"}
    with pytest.raises(DataError, match="account_length"):
        bundle.explain(columns)


def test_an_explanation_that_overflows_is_an_error_never_zeros(trained: TrainedModels, prepared: PreparedTable):
    linear = trained.models["logistic_regression"].bundle
    columns = {name: values[:3].copy() for name, values in prepared.columns.items()}
    columns["total_day_minutes"][1] = np.finfo(np.float64).max
    certain = replace(linear, estimator=replace(linear.estimator, coefficients=np.full(len(linear.selected), 1e9)))
    assert certain.predict(columns).probability[1] == 1.0  # infinite log-odds are a score, but explain nothing
    with pytest.raises(ChurnopsError, match="row 2 has no explanation"):
        certain.explain(columns)


def test_a_tree_explanation_that_overflows_is_an_error(trained: TrainedModels, prepared: PreparedTable):
    xgboost = trained.models["xgboost"].bundle
    assert isinstance(xgboost.estimator, TreeEnsemble)
    trees = replace(xgboost.estimator, value=np.sign(xgboost.estimator.value) * 1.7e308)
    huge = replace(xgboost, estimator=trees)
    with pytest.raises(ChurnopsError, match="row 1 has no"):
        huge.explain({name: values[:3] for name, values in prepared.columns.items()})


def test_top_is_by_size_then_by_name(rng: np.random.Generator):
    names = ["d", "a", "c", "b"]
    contributions = np.array([[0.1, -0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.1, 0.2, -0.3, 0.4]])
    explanation = Explanation(None, 0.0, contributions)  # type: ignore[arg-type]
    positions, values = explanation.top(names, count=3)
    assert positions.tolist() == [[1, 0, 3], [1, 3, 2], [3, 2, 1]]
    np.testing.assert_array_equal(values, np.take_along_axis(contributions, positions, axis=1))
    assert explanation.top(names)[0].shape == (3, 4)
    assert explanation.top(names, count=0)[0].shape == (3, 0)
    many = Explanation(None, 0.0, rng.integers(-3, 4, size=(200, 9)) / 4.0)  # type: ignore[arg-type]
    names = [str(name) for name in rng.permutation(9)]
    for row, positions in enumerate(many.top(names, count=5)[0]):
        order = sorted(range(9), key=lambda i, row=row: (-abs(many.contributions[row, i]), names[i]))  # type: ignore[misc]
        assert positions.tolist() == order[:5]
