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
from churnops.model import LinearModel, TreeEnsemble
from churnops.model.blend import Blend, BlendPart
from churnops.settings import Direction
from churnops.training.bounded import fit_bounded
from churnops.training.encode import Customers, FeatureKind, Kinds, linear_encoding, tree_encoding
from churnops.training.export import export, export_boosters

Matrix = NDArray[np.float64]
Params = Mapping[str, Any]
Form = Literal["linear", "trees", "trees_without_gaps"]

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
_BY_LEAF: Params = {
    "grow_policy": "lossguide",
    "max_leaves": 31,
    "max_depth": 0,
    "min_child_weight": 0.1,
    "colsample_bytree": 0.8,
}
"""Trees that grow where the loss falls most, as LightGBM's: unlike a level of depth, one branch may go far."""
_STUMPS: Params = {**_BOOSTING, "learning_rate": 0.1, "max_depth": 1, "subsample": 0.8, "colsample_bytree": 1.0}


@dataclass(frozen=True)
class RecipeFamily:
    """A family of the recipe.

    Attributes
    ----------
    default
        Hyperparameters of the first trial.
    ladders
        Ladders of hyperparameters, from simple models to flexible ones. The search walks one after another, from the
        step that the best hyperparameters so far are on: up as long as that helps, else down. It leaves out a ladder if
        they are on none of its steps.
    """

    form: Form
    default: Params
    ladders: Sequence[Sequence[Params]] = ()


FAMILIES: Mapping[str, RecipeFamily] = {
    "logistic_regression": RecipeFamily("linear", {"C": 0.3}, [[{"C": 0.03}, {"C": 0.3}, {"C": 3.0}]]),
    "decision_tree": RecipeFamily(
        "trees", {"max_depth": 6, "min_samples_leaf": 20}, [[{"max_depth": 4}, {"max_depth": 6}]]
    ),
    "random_forest": RecipeFamily(
        "trees",
        {"n_estimators": 60, "max_depth": 10, "max_features": "sqrt", "min_samples_leaf": 5, "max_samples": 0.5},
    ),
    "stumps": RecipeFamily("trees", _STUMPS),
    "xgboost": RecipeFamily(
        "trees",
        _BOOSTING,
        [
            [{"max_depth": 2}, {"max_depth": 3}, {"max_depth": 4}, {"max_depth": 6}, _BY_LEAF],
            [{"min_child_weight": 10.0}, {"min_child_weight": 1.0}],
            [{"subsample": 0.7}, {"subsample": 0.9}],
            [{"colsample_bytree": 0.6}, {"colsample_bytree": 0.8}],
        ],
    ),
}
PARTS = ("logistic_regression", "stumps", "xgboost")
"""Families that a blend adds up; a number after the name tells trials of one family apart."""
BOOSTED = ("stumps", "xgboost")


@dataclass(frozen=True)
class Rows:
    """Features with missing values, shape (n, k), outcomes, shape (n,), and weights, if not all rows have the same.

    `customers` has the number of each row's customer, if some have several rows.
    """

    matrix: Matrix
    outcome: NDArray[np.bool_]
    weight: Matrix | None = None
    customers: Customers = None

    def chosen(self, rows: NDArray[Any]) -> "Rows":
        """Return some of the rows, by mask or indices."""
        weight, customers = (None if of is None else of[rows] for of in (self.weight, self.customers))
        return Rows(self.matrix[rows], self.outcome[rows], weight, customers)

    def draw(self, share: float, seed: int) -> NDArray[np.bool_]:
        """Draw about this share of the rows at random, with all rows of a customer."""
        generator = np.random.default_rng(seed)
        if self.customers is None:
            return generator.random(self.outcome.size) < share
        numbers, places = np.unique(self.customers, return_inverse=True)
        return (generator.random(numbers.size) < share)[places]


@dataclass(frozen=True)
class EncodedRows:
    """Training rows as a family sees them.

    Attributes
    ----------
    rows
        Rows with the encoded matrix, shape (n, m); for a linear model, less the mean and divided by the scale of each
        column.
    directions
        Direction of each encoded column, as in `FeatureKind`; None if no feature has one.
    scaling
        Means and scales of a linear model's columns, each of shape (m,). The scale of a level is 1, so that rare levels
        are drawn to the average.
    """

    encoding: Encoding
    rows: Rows
    directions: NDArray[np.int8] | None
    scaling: tuple[Matrix, Matrix] | None = None


def form_of(family: str, kinds: Kinds) -> Form:
    """Return the form of a family; scikit-learn's trees accept either missing values or directions."""
    form = FAMILIES[family].form
    constrained = any(kind.direction for kind in kinds)
    return "trees_without_gaps" if constrained and form == "trees" and family not in BOOSTED else form


def encode(form: Form, rows: Rows, kinds: Kinds, seed: int) -> EncodedRows:
    """Fit the encoding of a form to training rows, and encode them."""
    scaling = None
    if form == "linear":
        encoding, matrix = linear_encoding(rows.matrix, rows.outcome, kinds, seed, customers=rows.customers)
        scaling = _scale(matrix, encoding)
    else:
        encoding, matrix = tree_encoding(
            rows.matrix, rows.outcome, kinds, seed, gaps=form == "trees", customers=rows.customers
        )
    directions = np.array([kind.direction for kind in kinds], np.int8)[encoding.owner]
    directions[encoding.kind == EQUAL] = 0  # columns of missing values
    return EncodedRows(encoding, replace(rows, matrix=matrix), directions if directions.any() else None, scaling)


def _scale(matrix: Matrix, encoding: Encoding) -> tuple[Matrix, Matrix]:
    """Scale the columns in place, and return their means and scales."""
    mean, spread = matrix.mean(axis=0), matrix.std(axis=0)
    scale = np.where((encoding.kind == EQUAL) | (spread == 0.0), 1.0, spread)
    matrix -= mean
    matrix /= scale
    return mean, scale


def counted(rows: Rows) -> Rows:
    """Leave out rows of weight 0; equal weights become None, other weights get the mean 1."""
    if rows.weight is None:
        return rows
    rows = rows.chosen(rows.weight > 0)
    assert rows.weight is not None
    equal = bool((rows.weight == rows.weight[0]).all())
    return replace(rows, weight=None if equal else rows.weight / rows.weight.mean())


def fit_family(family: str, params: Params, rows: Rows, kinds: Kinds, seed: int) -> Blend:
    """Fit a family with the hyperparameters of a trial; `kinds` has the kind of each feature."""
    rows = counted(rows)
    if family == "blend":
        parts = []
        for name in [key.removesuffix(".weight") for key in params if key.endswith(".weight")]:
            own = {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}
            weight = own.pop("weight")
            [part] = fit_family(name.rstrip("123"), own, rows, kinds, seed).parts
            parts.append(replace(part, weight=weight))
        return Blend(tuple(parts), params["intercept"])
    if family == "logistic_regression" and rows.outcome.size > MAX_LINEAR_ROWS:
        rows = rows.chosen(np.random.default_rng(seed).permutation(rows.outcome.size)[:MAX_LINEAR_ROWS])
    encoded = encode(form_of(family, kinds), rows, kinds, seed)
    if family == "logistic_regression":
        return Blend((BlendPart(encoded.encoding, fit_linear(encoded, params)),))
    if family in BOOSTED:
        return Blend((BlendPart(encoded.encoding, export_boosters(_boosters(encoded, params, seed))),))
    return Blend((BlendPart(encoded.encoding, fit_forest(family, encoded, params, seed)),))


def fit_forest(family: str, encoded: EncodedRows, params: Params, seed: int) -> LinearModel | TreeEnsemble:
    """Fit a tree or forest of scikit-learn."""
    make = DecisionTreeClassifier if family == "decision_tree" else RandomForestClassifier
    # A list, because scikit-learn changes the signs of an array of int8 in place, once for each tree.
    directions = None if encoded.directions is None else encoded.directions.tolist()
    estimator = make(random_state=seed, monotonic_cst=directions, **params)
    rows = encoded.rows
    return export(estimator.fit(rows.matrix, rows.outcome, sample_weight=rows.weight))


def fit_linear(encoded: EncodedRows, params: Params) -> LinearModel:
    """Fit a logistic regression to the rows of form `linear`."""
    assert encoded.scaling is not None
    rows, (mean, scale) = encoded.rows, encoded.scaling
    scaled = rows.matrix
    if encoded.directions is None:
        regression = LogisticRegression(C=params["C"], solver="newton-cholesky").fit(scaled, rows.outcome, rows.weight)
        intercept, coefficients = regression.intercept_[0], regression.coef_[0]
    else:
        intercept, coefficients = fit_bounded(scaled, rows.outcome, rows.weight, params["C"], encoded.directions)
    coefficients = coefficients / scale
    return LinearModel(coefficients, float(intercept - coefficients @ mean), mean)


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
    if encoded.directions is not None:
        given["monotone_constraints"] = tuple(encoded.directions.tolist())
    fixed = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "nthread": 1}
    # Takes less memory than a DMatrix, and the trees are the same.
    training = xgboost.QuantileDMatrix(rows.matrix, label=rows.outcome, weight=rows.weight, nthread=1)
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
        drawn = encoded.rows.draw(0.1, each)
        stop, training = encoded.rows.chosen(drawn), replace(encoded, rows=encoded.rows.chosen(~drawn))
        # Their churn rates of levels come from other rows, as those of the training rows.
        booster = boost(training, params, each, 2 * MAX_TREES, (stop.matrix, stop.outcome))
        boosters.append(booster[: booster.best_iteration + 1])
    return boosters


def kinds_of(build: FeatureMatrix, monotone: Mapping[str, Direction]) -> tuple[FeatureKind, ...]:
    """Return the kind of each selected feature; `monotone` has the directions of the settings."""
    inputs = {column.name: column for column in build.inputs}
    signs = {"increasing": 1, "decreasing": -1}

    def kind(name: str) -> FeatureKind:
        column = inputs.get(name)
        levels = len(column.choices) if column is not None and column.kind == "category" else 0
        return FeatureKind(levels, signs[monotone[name]] if name in monotone else 0)

    return tuple(map(kind, build.selected))
