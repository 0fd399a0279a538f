"""The recipe for any table: an encoding for each kind of model, early stopping, and a blend.

Each family sees the features as suits it (`churnops.training.encode`). The number of boosted trees is read off one fit
per fold. A blend adds up the scores of a linear model, of stumps and of boosted trees, with weights learned on
out-of-fold scores. A fold never plays a part in what scores it, except that all folds together choose hyperparameters
and the number of trees.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from churnops.data.preprocess import Imputer
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.features.build import FeatureMatrix
from churnops.features.encoding import EQUAL, Encoding
from churnops.model import LinearModel
from churnops.model.blend import Blend, BlendPart
from churnops.model.linear import logistic
from churnops.schema import Columns
from churnops.training.encode import linear_encoding, tree_encoding
from churnops.training.export import export, export_boosters
from churnops.training.search import Fold, Search, Trial, Weighting

Matrix = NDArray[np.float64]
Params = Mapping[str, Any]
Form = Literal["linear", "trees"]

MAX_SEARCHED_ROWS = 30_000
"""Largest number of rows that the search uses."""
MAX_TREES = 1500
STOP_AFTER = 40
"""Trees without a lower log loss after which boosting stops."""
GROWTH = 0.6
"""The number of trees grows with this power of the number of rows."""
FAR_MORE_ROWS = 2.0
"""From this number of times the searched rows on, the number of trees is found again, on a tenth of the rows."""
SEEDS, FEW_ROWS = 2, 50_000
"""Boosted trees of up to 50,000 rows are fitted with two seeds, and averaged."""
AVERAGED = 3
"""A blend averages this number of best trials of boosted trees; only the best of more than 50,000 rows."""
PRIOR_INTERCEPT, PRIOR_SUM, PRIOR_WEIGHT = 0.1, 0.3, 0.3
"""Standard deviations of a blend's intercept around 0, of the sum of its weights around 1, and of each around equal."""
MAX_LINEAR_ROWS = 100_000
"""A linear model is fitted on at most this number of rows, drawn at random, because its coefficients are few."""
ALL_TRIALS = 1000
LEAST_WEIGHT = 0.01
"""A part of a blend with a smaller weight is left out."""

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
_BOOSTED = ("stumps", "xgboost")


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
class _Encoded:
    """Training rows as a family sees them: `matrix` has shape (n, m)."""

    encoding: Encoding
    matrix: Matrix
    rows: Rows


def _encode(form: Form, rows: Rows, levels: Sequence[int], seed: int) -> _Encoded:
    fit = linear_encoding if form == "linear" else tree_encoding
    return _Encoded(*fit(rows.matrix, rows.outcome, levels, seed), rows)


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
    encoded = _encode(FAMILIES[family].form, rows, levels, seed)
    if family == "logistic_regression":
        return Blend((BlendPart(encoded.encoding, _fit_linear(encoded, params)),))
    if family in _BOOSTED:
        return Blend((BlendPart(encoded.encoding, export_boosters(_boosters(encoded, params, seed))),))
    fitted = _forest(family, params, seed).fit(encoded.matrix, rows.outcome, sample_weight=rows.weight)
    return Blend((BlendPart(encoded.encoding, export(fitted)),))


def _forest(family: str, params: Params, seed: int) -> Any:
    make = DecisionTreeClassifier if family == "decision_tree" else RandomForestClassifier
    return make(random_state=seed, **params)


def _fit_linear(encoded: _Encoded, params: Params) -> LinearModel:
    """Fit a logistic regression to scaled numbers and unscaled levels, so that rare levels are drawn to the average."""
    matrix = encoded.matrix
    mean, spread = matrix.mean(axis=0), matrix.std(axis=0)
    scale = np.where((encoded.encoding.kind == EQUAL) | (spread == 0.0), 1.0, spread)
    regression = LogisticRegression(C=params["C"], solver="newton-cholesky")
    regression.fit((matrix - mean) / scale, encoded.rows.outcome, encoded.rows.weight)
    coefficients = regression.coef_[0] / scale
    return LinearModel(coefficients, float(regression.intercept_[0] - coefficients @ mean), mean)


def _boost(
    encoded: _Encoded,
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


def _boosters(encoded: _Encoded, params: Params, seed: int) -> list[xgboost.Booster]:
    """Fit the boosters of a final model: their scores are averaged."""
    size, seeds = encoded.rows.outcome.size, range(seed, seed + (SEEDS if encoded.rows.outcome.size <= FEW_ROWS else 1))
    growth = size / params["searched_rows"]
    if growth < FAR_MORE_ROWS:
        trees = max(1, round(params["n_estimators"] * growth**GROWTH))
        return [_boost(encoded, params, each, trees) for each in seeds]
    boosters = []
    for each in seeds:
        stop = np.random.default_rng(each).random(size) < 0.1
        training = replace(encoded, matrix=encoded.matrix[~stop], rows=encoded.rows.chosen(~stop))
        # Their churn rates of levels come from other rows, as those of the training rows.
        booster = _boost(training, params, each, 2 * MAX_TREES, (encoded.matrix[stop], encoded.rows.outcome[stop]))
        boosters.append(booster[: booster.best_iteration + 1])
    return boosters


def capped(folds: Sequence[Fold], seed: int) -> list[Fold]:
    """Return folds of at most 30,000 rows, drawn at random."""
    generator = np.random.default_rng(seed)

    def some(rows: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
        return rows if rows.size <= limit else np.sort(generator.permutation(rows)[:limit])

    limits = _limits(len(folds))
    return [(some(training, limits[0]), some(validation, limits[1])) for training, validation in folds]


def is_capped(folds: Sequence[Fold]) -> bool:
    """Whether `capped` leaves rows out."""
    return any(rows.size > limit for fold in folds for rows, limit in zip(fold, _limits(len(folds)), strict=True))


def _limits(folds: int) -> tuple[int, int]:
    """Return the largest numbers of training rows and of validation rows in a fold."""
    share = MAX_SEARCHED_ROWS // max(folds, 5)
    return MAX_SEARCHED_ROWS - share, share


@dataclass(frozen=True)
class RecipeSearch:
    """Comparison of the recipe's families on the same folds of the same rows.

    Attributes
    ----------
    columns, outcome
        Encoded training rows, and whether each churned.
    metric
        Name of the metric that chooses the best trial.
    weighting
        Weights of the training rows of a fold; validation rows have equal weights.
    pool
        Threads that run the fits; the result does not depend on their number.
    """

    build: FeatureMatrix
    columns: Columns
    outcome: NDArray[np.bool_]
    folds: Sequence[Fold]
    metric: str
    seed: int
    pool: ThreadPoolExecutor
    weighting: Weighting | None = None

    def search(self, family: str, trials: int, weighting: Weighting | None = None) -> Search:
        """Try the family's default hyperparameters, then changes of the best ones.

        A blend learns its weights from the best trials of its parts.
        """
        if weighting is not self.weighting:
            others = self._weighted.setdefault(id(weighting), replace(self, weighting=weighting))
            return others.search(family, trials, weighting)
        if family not in self._searches:
            if family == "blend":
                for name in PARTS:
                    self.search(name, ALL_TRIALS, weighting)
                self._searches[family] = self._blend()
            else:
                self._searches[family] = self._best(family, trials)
        return self._searches[family]

    @cached_property
    def _searches(self) -> dict[str, Search]:
        return {}

    @cached_property
    def _weighted(self) -> "dict[int, RecipeSearch]":
        return {}

    @cached_property
    def _rows(self) -> list[tuple[Rows, Rows]]:
        """Training and validation rows of each fold, with derived features imputed by the training rows."""
        pairs = []
        for training, validation in self.folds:
            weight = None if self.weighting is None else self.weighting(training)
            given, unseen = ({n: values[rows] for n, values in self.columns.items()} for rows in (training, validation))
            imputer = Imputer.fit(given, self.build.inputs)
            pairs.append(
                (
                    counted(Rows(self.build(imputer(given), given), self.outcome[training], weight)),
                    Rows(self.build(imputer(unseen), unseen), self.outcome[validation]),
                )
            )
        return pairs

    @cached_property
    def _encoded(self) -> Callable[[Form, int], _Encoded]:
        """Function from form and fold to the fold's encoded training rows; those of the last form are kept."""
        levels = levels_of(self.build)
        return lru_cache(maxsize=len(self.folds))(
            lambda form, fold: _encode(form, self._rows[fold][0], levels, self.seed)
        )

    def _best(self, family: str, trials: int) -> Search:
        known = FAMILIES[family]
        done = [self._trial(family, dict(known.default))]
        for change in known.changes[: trials - 1]:
            best = min(done, key=lambda pair: self._loss(pair[0]))
            done.append(self._trial(family, {**best[0].params, **change}))
        self._scores[family] = sorted(done, key=lambda pair: self._loss(pair[0]))
        return Search(tuple(trial for trial, _ in done), *self._scores[family][0])

    @cached_property
    def _scores(self) -> dict[str, list[tuple[Trial, Matrix]]]:
        """Trials of each family with their out-of-fold scores, the best first."""
        return {}

    def _loss(self, trial: Trial) -> float:
        return trial.mean(self.metric) * (-1.0 if HIGHER_IS_BETTER[self.metric] else 1.0)

    def _trial(self, family: str, params: dict[str, Any]) -> tuple[Trial, Matrix]:
        """Fit one choice of hyperparameters in every fold, and score the validation rows."""
        work = self._boosted if family in _BOOSTED else self._fitted
        scores, params = work(family, params)
        out_of_fold = np.full(self.outcome.size, np.nan)
        for (_, validation), fold in zip(self.folds, scores, strict=True):
            out_of_fold[validation] = fold
        return self._measured(params, out_of_fold), out_of_fold

    def _measured(self, params: dict[str, Any], out_of_fold: Matrix) -> Trial:
        return Trial(params, tuple(point_metrics(self.outcome[v], out_of_fold[v]) for _, v in self.folds))

    def _fitted(self, family: str, params: dict[str, Any]) -> tuple[list[Matrix], dict[str, Any]]:
        def scores(fold: int) -> Matrix:
            encoded, unseen = self._encoded(FAMILIES[family].form, fold), self._rows[fold][1]
            if family == "logistic_regression":
                return _fit_linear(encoded, params).probability(encoded.encoding(unseen.matrix))
            rows = encoded.rows
            forest = _forest(family, params, self.seed).fit(encoded.matrix, rows.outcome, sample_weight=rows.weight)
            return export(forest).probability(encoded.encoding(unseen.matrix))

        return list(self.pool.map(scores, range(len(self.folds)))), params

    def _boosted(self, family: str, params: dict[str, Any]) -> tuple[list[Matrix], dict[str, Any]]:
        """Boost in every fold until its validation rows get worse, and read off the best number of trees."""
        params = {name: value for name, value in params.items() if name not in ("n_estimators", "searched_rows")}

        def boost(fold: int) -> tuple[xgboost.Booster, Matrix, Matrix]:
            encoded, unseen = self._encoded(FAMILIES[family].form, fold), self._rows[fold][1]
            matrix, curve = encoded.encoding(unseen.matrix), dict[str, Any]()
            booster = _boost(encoded, params, self.seed, MAX_TREES, (matrix, unseen.outcome), curve)
            return booster, np.array(curve["stop"]["logloss"]), matrix

        fits = list(self.pool.map(boost, range(len(self.folds))))
        shortest = min(curve.size for _, curve, _ in fits)
        trees = int(np.argmin(np.mean([curve[:shortest] for _, curve, _ in fits], axis=0))) + 1
        scores = [
            booster.predict(xgboost.DMatrix(matrix, nthread=1), iteration_range=(0, trees)).astype(np.float64)
            for booster, _, matrix in fits
        ]
        searched = round(np.mean([training.outcome.size for training, _ in self._rows]))
        return scores, {**params, "n_estimators": trees, "searched_rows": searched}

    def _blend(self) -> Search:
        """Learn the weights; those that score a fold (or of a single fold, a fifth) are learned on the other rows."""
        trials = {name: self._scores[name][: self._averaged if name == "xgboost" else 1] for name in PARTS}
        scores = np.column_stack([np.mean([_log_odds(p) for _, p in tried], axis=0) for tried in trials.values()])
        known = ~np.isnan(scores[:, 0])
        groups = [validation for _, validation in self.folds]
        if len(groups) == 1:
            groups = np.array_split(np.random.default_rng(self.seed).permutation(groups[0]), 5)
        out_of_fold = np.full(self.outcome.size, np.nan)
        for group in groups:
            others = known.copy()
            others[group] = False
            intercept, weights = blend_weights(scores[others], self.outcome[others])
            out_of_fold[group] = logistic(intercept + scores[group] @ weights)
        intercept, weights = blend_weights(scores[known], self.outcome[known])
        params: dict[str, Any] = {"intercept": intercept}
        for (name, tried), weight in zip(trials.items(), weights, strict=True):
            for number, (trial, _) in enumerate(tried if weight > 0.0 else (), start=1):
                part = f"{name}{number}" if len(tried) > 1 else name
                params[f"{part}.weight"] = float(weight) / len(tried)
                params |= {f"{part}.{key}": value for key, value in trial.params.items()}
        trial = self._measured(params, out_of_fold)
        return Search((trial,), trial, out_of_fold)

    @property
    def _averaged(self) -> int:
        return AVERAGED if self.outcome.size <= FEW_ROWS else 1


def levels_of(build: FeatureMatrix) -> tuple[int, ...]:
    """Return the number of levels of each selected feature, 0 for a number."""
    inputs = {column.name: column for column in build.inputs}

    def levels(name: str) -> int:
        column = inputs.get(name)
        return len(column.choices) if column is not None and column.kind == "category" else 0

    return tuple(map(levels, build.selected))


def blend_weights(scores: Matrix, outcome: NDArray[np.bool_]) -> tuple[float, Matrix]:
    """Return the intercept and the weights, 0 or more, with the lowest log loss.

    Few rows hardly move the intercept away from 0, and the weights away from equal ones with the sum 1.

    Parameters
    ----------
    scores
        Log-odds by each part, shape (n, parts).
    outcome
        Shape (n,).
    """

    def loss(numbers: Matrix, columns: Matrix) -> tuple[float, Matrix]:
        total = numbers[0] + columns @ numbers[1:]
        error = logistic(total) - outcome
        beyond, apart = numbers[1:].sum() - 1.0, numbers[1:] - 1.0 / columns.shape[1]
        value = float(np.sum(np.logaddexp(0.0, total) - outcome * total))
        value += 0.5 * ((numbers[0] / PRIOR_INTERCEPT) ** 2 + (beyond / PRIOR_SUM) ** 2)
        value += 0.5 * float(apart @ apart) / PRIOR_WEIGHT**2
        slope = np.append(error.sum(), columns.T @ error)
        slope += np.append(numbers[0] / PRIOR_INTERCEPT**2, beyond / PRIOR_SUM**2 + apart / PRIOR_WEIGHT**2)
        return value / outcome.size, slope / outcome.size

    used = np.ones(scores.shape[1], dtype=np.bool_)
    while True:
        columns = scores[:, used]
        start = np.append(0.0, np.full(columns.shape[1], 1.0 / columns.shape[1]))
        bounds = [(None, None)] + [(0.0, None)] * columns.shape[1]
        solution = minimize(loss, start, (columns,), "L-BFGS-B", jac=True, bounds=bounds).x
        small = solution[1:] < LEAST_WEIGHT
        if not small.any() or small.all():
            break
        used[np.flatnonzero(used)[small]] = False
    weights = np.zeros(scores.shape[1])
    weights[used] = np.maximum(solution[1:], LEAST_WEIGHT)
    return float(solution[0]), weights


def _log_odds(probability: Matrix) -> Matrix:
    bounded = np.clip(probability, 1e-9, 1.0 - 1e-9)
    result: Matrix = np.log(bounded / (1.0 - bounded))
    return result
