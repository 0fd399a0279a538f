"""Monotone constraints: raising an input never moves the score against its direction, whatever the model."""

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from churnops.errors import SettingsError
from churnops.model import Bundle
from churnops.training.bounded import fit_bounded
from churnops.training.train import train_models
from tests.support.mixed_table import customers, prepare, settings

FAMILIES = ("logistic_regression", "decision_tree", "random_forest", "xgboost", "blend")
DIRECTIONS = {"age": "increasing", "spend": "increasing", "online": "decreasing", "spend_by_age": "decreasing"}
"""In the data, the score falls with age and rises with `online`."""


@lru_cache(maxsize=2)
def bundles(*, constrained: bool) -> dict[str, Bundle]:
    chosen = settings(folds=2, monotone=DIRECTIONS if constrained else {})
    prepared, features = prepare(*customers(1200), chosen)
    trained = train_models(prepared, features, chosen)
    return {name: model.bundle for name, model in trained.models.items()} | {"refit": trained.refit}


def largest_steps(bundle: Bundle, seed: int) -> tuple[float, float]:
    """Return the largest step of a score against and along a direction, when one feature of a customer is raised.

    Values are those of customers, others between them, and far ones. The other features stay the same, gaps included.
    """
    rng = np.random.default_rng(seed)
    columns, _ = customers(60, seed=seed + 50)
    matrix = bundle.matrix(bundle.imputer(columns), columns)
    against = along = 0.0
    for feature, way in DIRECTIONS.items():
        place = bundle.selected.index(feature)
        known = matrix[~np.isnan(matrix[:, place]), place]
        values = np.unique(np.concatenate([known, rng.uniform(known.min(), known.max(), 40), [-1e6, 1e6]]))
        raised = np.repeat(matrix, values.size, axis=0)
        raised[:, place] = np.tile(values, len(matrix))
        steps = np.diff(bundle.estimator.probability(raised).reshape(len(matrix), values.size), axis=1)
        steps *= 1.0 if way == "increasing" else -1.0
        against, along = max(against, float(-steps.min())), max(along, float(steps.max()))
    return against, along


@pytest.mark.parametrize("family", [*FAMILIES, "refit"])
def test_a_score_never_moves_against_its_direction(family: str):
    constrained, free = bundles(constrained=True)[family], bundles(constrained=False)[family]
    assert max(largest_steps(constrained, seed)[0] for seed in range(3)) <= 1e-12
    assert largest_steps(constrained, 0)[1] > 0.001, "the score must still depend on the features"
    assert largest_steps(free, 0)[0] > 0.001, "the data must ask for the opposite"
    assert constrained.lineage["monotone"] == DIRECTIONS
    assert "monotone" not in free.lineage


@pytest.mark.parametrize("weights", ["equal", "different"])
def test_bounds_that_nothing_touches_leave_the_regression_as_it_is(weights: str):
    rng = np.random.default_rng(3)
    matrix: NDArray[np.float64] = rng.normal(size=(600, 4))
    outcome = rng.random(600) < 1.0 / (1.0 + np.exp(1.0 - matrix @ [1.0, -0.7, 0.4, 0.0]))
    weight = None if weights == "equal" else rng.uniform(0.2, 3.0, 600)
    theirs = LogisticRegression(C=0.3, solver="newton-cholesky", tol=1e-10).fit(matrix, outcome, weight)
    intercept, coefficients = fit_bounded(matrix, outcome, weight, 0.3, np.array([1, -1, 0, 0], np.int8))
    np.testing.assert_allclose(coefficients, theirs.coef_[0], atol=1e-5)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)
    bounded = fit_bounded(matrix, outcome, weight, 0.3, np.array([-1, 1, 0, 0], np.int8))[1]
    assert bounded[0] == bounded[1] == 0.0


@pytest.mark.parametrize(
    ("monotone", "others", "message"),
    [
        ({"plan": "increasing"}, {}, "'plan': a category has no order"),
        ({"aeg": "increasing"}, {}, "'aeg': there is no such column or derived feature: did you mean 'age'"),
        ({"churn": "increasing"}, {}, "'churn': it is no input of the models"),
        ({"age": "up"}, {}, "monotone.age"),
        ({"age": "increasing"}, {"recipe": "report", "families": ["xgboost"]}, "needs training.recipe: general"),
    ],
)
def test_a_direction_that_cannot_hold_is_refused(monotone, others, message):
    with pytest.raises(SettingsError, match=message) as error:
        settings(monotone=monotone, **others)
    assert "\n" not in str(error.value)
