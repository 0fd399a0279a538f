"""The recipe for any table: families of models, each with its own encoding of the features, and a blend.

`churnops.training.recipe_search` chooses hyperparameters, numbers of trees and the weights of the blend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from churnops.features.build import FeatureMatrix
from churnops.features.encoding import EQUAL, Encoding
from churnops.model import LinearModel
from churnops.model.blend import Blend, BlendPart
from churnops.training.encode import linear_encoding, tree_encoding
from churnops.training.export import export, export_boosters

Matrix = NDArray[np.float64]
Params = Mapping[str, Any]
Form = Literal["linear", "trees"]

MAX_TREES = 1500
STOP_AFTER = 40
"""Trees without a lower log loss after which boosting stops."""
GROWTH = 0.6
"""The number of trees grows with this power of the number of rows."""
FAR_MORE_ROWS = 2.0
"""From this number of times the searched rows on, the number of trees is found again, on a tenth of the rows."""
SEEDS, FEW_ROWS = 2, 50_000
"""Boosted trees of up to 50,000 rows are fitted with two seeds, and averaged."""
MAX_LINEAR_ROWS = 100_000
"""A linear model is fitted on at most this number of rows, drawn at random, because its coefficients are few."""

_BOOSTING: Params = {
    "learning_rate": 0.05,
    "max_depth": 3,
    "min_child_weight": 1.0,
    "subsample": 0.9,
    "colsample_bytree": 0.6,
    "reg_lambda": 3.0,
}
_STUMPS: Params = {**_BOOSTING, "learning_rate": 0.1, "max_depth": 1, "subsample": 0.8, "colsample_bytree": 1.0}


@dataclass(frozen=True)
class RecipeFamily:
    """A family of the recipe.

    Attributes
    ----------
    default
        Hyperparameters of the first trial.
    changes
        Changes of the best hyperparameters so far; each is one more trial.
    """

    form: Form
    default: Params
    changes: Sequence[Params] = ()


FAMILIES: Mapping[str, RecipeFamily] = {
    "logistic_regression": RecipeFamily("linear", {"C": 0.3}, [{"C": 0.03}, {"C": 3.0}]),
    "decision_tree": RecipeFamily(
        "trees", {"max_depth": 6, "min_samples_leaf": 20}, [{"max_depth": 4, "min_samples_leaf": 20}]
    ),
    "random_forest": RecipeFamily(
        "trees",
        {"n_estimators": 100, "max_depth": 10, "max_features": "sqrt", "min_samples_leaf": 5, "max_samples": 0.5},
    ),
    "stumps": RecipeFamily("trees", _STUMPS),
    "xgboost": RecipeFamily(
        "trees",
        _BOOSTING,
        [{"max_depth": 4}, {"max_depth": 2}, {"max_depth": 6}, {"min_child_weight": 10.0}, {"subsample": 0.7}],
    ),
}
PARTS = ("logistic_regression", "stumps", "xgboost")
"""Families that a blend adds up; a number after the name tells trials of one family apart."""
BOOSTED = ("stumps", "xgboost")


@dataclass(frozen=True)
class Rows:
    """Features with missing values, shape (n, k), outcomes, shape (n,), and weights, if not all rows have the same."""

    matrix: Matrix
    outcome: NDArray[np.bool_]
    weight: Matrix | None = None

    def chosen(self, rows: NDArray[Any]) -> "Rows":
        """Return some of the rows, by mask or indices."""
        return Rows(self.matrix[rows], self.outcome[rows], None if self.weight is None else self.weight[rows])


@dataclass(frozen=True)
class EncodedRows:
    """Training rows as a family sees them: `matrix` has shape (n, m)."""

    encoding: Encoding
    matrix: Matrix
    rows: Rows


def encode(form: Form, rows: Rows, levels: Sequence[int], seed: int) -> EncodedRows:
    """Fit the encoding of a form to training rows, and encode them."""
    fit = linear_encoding if form == "linear" else tree_encoding
    return EncodedRows(*fit(rows.matrix, rows.outcome, levels, seed), rows)


def counted(rows: Rows) -> Rows:
    """Leave out rows of weight 0; equal weights become None, other weights get the mean 1."""
    if rows.weight is None:
        return rows
    rows = rows.chosen(rows.weight > 0)
    assert rows.weight is not None
    equal = bool((rows.weight == rows.weight[0]).all())
    return replace(rows, weight=None if equal else rows.weight / rows.weight.mean())


def fit_family(family: str, params: Params, rows: Rows, levels: Sequence[int], seed: int) -> Blend:
    """Fit a family with the hyperparameters of a trial.

    Parameters
    ----------
    levels
        Number of levels of each feature, 0 for a number.
    """
    rows = counted(rows)
    if family == "blend":
        parts = []
        for name in [key.removesuffix(".weight") for key in params if key.endswith(".weight")]:
            own = {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}
            weight = own.pop("weight")
            [part] = fit_family(name.rstrip("123"), own, rows, levels, seed).parts
            parts.append(replace(part, weight=weight))
        return Blend(tuple(parts), params["intercept"])
    if family == "logistic_regression" and rows.outcome.size > MAX_LINEAR_ROWS:
        rows = rows.chosen(np.random.default_rng(seed).permutation(rows.outcome.size)[:MAX_LINEAR_ROWS])
    encoded = encode(FAMILIES[family].form, rows, levels, seed)
    if family == "logistic_regression":
        return Blend((BlendPart(encoded.encoding, fit_linear(encoded, params)),))
    if family in BOOSTED:
        return Blend((BlendPart(encoded.encoding, export_boosters(_boosters(encoded, params, seed))),))
    fitted = forest(family, params, seed).fit(encoded.matrix, rows.outcome, sample_weight=rows.weight)
    return Blend((BlendPart(encoded.encoding, export(fitted)),))


def forest(family: str, params: Params, seed: int) -> Any:
    """Return an unfitted tree or forest of scikit-learn."""
    make = DecisionTreeClassifier if family == "decision_tree" else RandomForestClassifier
    return make(random_state=seed, **params)


def fit_linear(encoded: EncodedRows, params: Params) -> LinearModel:
    """Fit a logistic regression to scaled numbers and unscaled levels, so that rare levels are drawn to the average."""
    matrix = encoded.matrix
    mean, spread = matrix.mean(axis=0), matrix.std(axis=0)
    scale = np.where((encoded.encoding.kind == EQUAL) | (spread == 0.0), 1.0, spread)
    regression = LogisticRegression(C=params["C"], solver="newton-cholesky")
    regression.fit((matrix - mean) / scale, encoded.rows.outcome, encoded.rows.weight)
    coefficients = regression.coef_[0] / scale
    return LinearModel(coefficients, float(regression.intercept_[0] - coefficients @ mean), mean)


def boost(
    encoded: EncodedRows,
    params: Params,
    seed: int,
    trees: int,
    stop: tuple[Matrix, NDArray[np.bool_]] | None = None,
    curve: dict[str, Any] | None = None,
) -> xgboost.Booster:
    """Boost trees; with `stop`, only until the log loss of its rows has not become lower for 40 trees.

    `stop` is an encoded matrix and its outcomes. `curve` receives this log loss after each tree.
    """
    given = {name: value for name, value in params.items() if name not in ("n_estimators", "searched_rows")}
    rows = encoded.rows
    fixed = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "nthread": 1}
    training = xgboost.DMatrix(encoded.matrix, label=rows.outcome, weight=rows.weight, nthread=1)
    watched = []
    if stop is not None:
        watched = [(xgboost.DMatrix(stop[0], label=stop[1], nthread=1), "stop")]
    return xgboost.train(
        {**fixed, "seed": seed, **given},
        training,
        trees,
        evals=watched,
        early_stopping_rounds=STOP_AFTER if stop is not None else None,
        evals_result=curve,
        verbose_eval=False,
    )


def _boosters(encoded: EncodedRows, params: Params, seed: int) -> list[xgboost.Booster]:
    """Fit the boosters of a final model: their scores are averaged."""
    size = encoded.rows.outcome.size
    seeds = range(seed, seed + (SEEDS if size <= FEW_ROWS else 1))
    growth = size / params["searched_rows"]
    if growth < FAR_MORE_ROWS:
        trees = max(1, round(params["n_estimators"] * growth**GROWTH))
        return [boost(encoded, params, each, trees) for each in seeds]
    boosters = []
    for each in seeds:
        stop = np.random.default_rng(each).random(size) < 0.1
        training = replace(encoded, matrix=encoded.matrix[~stop], rows=encoded.rows.chosen(~stop))
        # Their churn rates of levels come from other rows, as those of the training rows.
        booster = boost(training, params, each, 2 * MAX_TREES, (encoded.matrix[stop], encoded.rows.outcome[stop]))
        boosters.append(booster[: booster.best_iteration + 1])
    return boosters


def levels_of(build: FeatureMatrix) -> tuple[int, ...]:
    """Return the number of levels of each selected feature, 0 for a number."""
    inputs = {column.name: column for column in build.inputs}

    def levels(name: str) -> int:
        column = inputs.get(name)
        return len(column.choices) if column is not None and column.kind == "category" else 0

    return tuple(map(levels, build.selected))
