"""Search of the recipe for any table: hyperparameters, numbers of trees, and the weights of a blend.

The number of boosted trees is read off one fit per fold. A blend adds up the scores of a linear model, of stumps and of
boosted trees, with weights learned on out-of-fold scores. A fold plays no part in what scores it, except that all folds
together choose hyperparameters and the number of trees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xgboost
from numpy.typing import NDArray

from churnops.cluster import Workers
from churnops.data.preprocess import Imputer
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.features.build import FeatureMatrix
from churnops.model.linear import logistic
from churnops.schema import Columns
from churnops.training.blend_weights import blend_weights
from churnops.training.encode import Customers, Kinds
from churnops.training.recipe import (
    BOOSTED,
    FAMILIES,
    FEW_ROWS,
    MAX_TREES,
    PARTS,
    EncodedRows,
    Form,
    Matrix,
    Params,
    Rows,
    boost,
    counted,
    encode,
    fit_forest,
    fit_linear,
    form_of,
)
from churnops.training.search import Fold, Search, Trial, Weighting

T = TypeVar("T")
_Scored = tuple[Trial, Matrix]
"""A trial and its out-of-fold scores."""

MAX_SEARCHED_ROWS = 30_000
"""Largest number of rows that the search uses."""
AVERAGED = 3
"""A blend averages this number of best trials of boosted trees; only the best of more than 50,000 rows."""
ALL_TRIALS = 1000
_SENDING = Lock()
LADDER_FOLDS = 2
"""Folds that compare the trials of more than 50,000 rows; the best trial is then measured on all folds."""


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
class _RecipeRows:
    """Rows of the folds, which the workers get once; each process encodes them at their first use.

    Attributes
    ----------
    weights
        Weights of the training rows of each fold; None if all rows have the same.
    """

    build: FeatureMatrix
    kinds: Kinds
    columns: Columns
    outcome: NDArray[np.bool_]
    folds: Sequence[Fold]
    seed: int
    weights: Sequence[Matrix] | None
    customers: Customers

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Return how another process makes these rows, without those that are encoded."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def rows(self, fold: int) -> tuple[Rows, Rows]:
        """Return a fold's training and validation rows; the training rows impute derived features."""
        if fold not in self._built:
            self._built[fold] = self._build(fold)
        return self._built[fold]

    def _build(self, fold: int) -> tuple[Rows, Rows]:
        training, validation = self.folds[fold]
        weight = None if self.weights is None else self.weights[fold]
        customers = None if self.customers is None else self.customers[training]
        given, unseen = ({n: values[rows] for n, values in self.columns.items()} for rows in (training, validation))
        imputer = Imputer.fit(given, self.build.inputs)
        return (
            counted(Rows(self.build(imputer(given), given), self.outcome[training], weight, customers)),
            Rows(self.build(imputer(unseen), unseen), self.outcome[validation]),
        )

    def encoded(self, form: Form, fold: int) -> EncodedRows:
        """Return the fold's encoded training rows; those of the last form are kept.

        Threads encode other folds and forms meanwhile, so what is kept may change between two statements.
        """
        if (encoded := self._kept.get((form, fold))) is None:
            encoded = encode(form, self.rows(fold)[0], self.kinds, self.seed)
            for other in [key for key in list(self._kept) if key[0] != form]:
                self._kept.pop(other, None)
            self._kept[form, fold] = encoded
        return encoded

    @cached_property
    def _built(self) -> dict[int, tuple[Rows, Rows]]:
        return {}

    @cached_property
    def _kept(self) -> dict[tuple[Form, int], EncodedRows]:
        return {}


def _fold_scores(folds: _RecipeRows, family: str, params: Params, fold: int) -> Matrix:
    """Fit the training rows of a fold, and score its validation rows: a task."""
    encoded, unseen = folds.encoded(form_of(family, folds.kinds), fold), folds.rows(fold)[1]
    linear = family == "logistic_regression"
    model = fit_linear(encoded, params) if linear else fit_forest(family, encoded, params, folds.seed)
    return model.probability(encoded.encoding(unseen.matrix))


class _Boosted(NamedTuple):
    """Trees of a fold, the log loss of its validation rows after each, these rows encoded, and the training rows."""

    booster: xgboost.Booster
    curve: Matrix
    matrix: Matrix
    rows: int


def _boost_fold(folds: _RecipeRows, family: str, params: Params, fold: int) -> _Boosted:
    """Boost the training rows of a fold until its validation rows get worse: a task."""
    encoded, unseen = folds.encoded(form_of(family, folds.kinds), fold), folds.rows(fold)[1]
    matrix, curve = encoded.encoding(unseen.matrix), dict[str, Any]()
    booster = boost(encoded, params, folds.seed, MAX_TREES, (matrix, unseen.outcome), curve)
    return _Boosted(booster, np.array(curve["stop"]["logloss"]), matrix, encoded.rows.outcome.size)


@dataclass(frozen=True)
class RecipeSearch:
    """Comparison of the recipe's families on the same folds of the same rows.

    Attributes
    ----------
    kinds
        Kind of each feature.
    columns, outcome
        Encoded training rows, and whether each churned.
    metric
        Name of the metric that chooses the best trial.
    weighting
        Weights of the training rows of a fold; validation rows have equal weights.
    workers
        Workers that run the fits; the result does not depend on them.
    customers
        Number of each row's customer, shape (n,), if some have several rows.
    """

    build: FeatureMatrix
    kinds: Kinds
    columns: Columns
    outcome: NDArray[np.bool_]
    folds: Sequence[Fold]
    metric: str
    seed: int
    workers: Workers
    customers: Customers = None
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

    @property
    def _shared(self) -> "_RecipeRows":
        with _SENDING:  # families may be searched side by side
            return self._sent

    @cached_property
    def _sent(self) -> "_RecipeRows":
        weights = None if self.weighting is None else [self.weighting(training) for training, _ in self.folds]
        used = np.unique(np.concatenate([rows for fold in self.folds for rows in fold]))  # `capped` leaves rows out
        rows = _RecipeRows(
            self.build,
            self.kinds,
            {name: values[used] for name, values in self.columns.items()},
            self.outcome[used],
            [(np.searchsorted(used, training), np.searchsorted(used, unseen)) for training, unseen in self.folds],
            self.seed,
            weights,
            None if self.customers is None else self.customers[used],
        )
        return self.workers.share(rows)

    @cached_property
    def _on_few_folds(self) -> "RecipeSearch":
        few = replace(self, folds=self.folds[:LADDER_FOLDS])
        few.__dict__["_sent"] = self._shared  # the first folds are the same
        return few

    def _best(self, family: str, trials: int) -> Search:
        """Try the default hyperparameters, and walk the family's ladders from the best so far."""
        if FAMILIES[family].ladders and self.outcome.size > FEW_ROWS and len(self.folds) > LADDER_FOLDS:
            compared = self._on_few_folds._best(family, trials)
            self._scores[family] = [self._trial(family, compared.best.params)]
            return Search(compared.trials, *self._scores[family][0])
        known = FAMILIES[family]
        tried = [self._trial(family, dict(known.default))]
        for ladder in known.ladders:
            best = min(tried, key=self._loss)[0].params
            place = next((place for place, step in enumerate(ladder) if step.items() <= best.items()), None)
            if place is None:
                continue
            for steps in (ladder[place + 1 :], ladder[:place][::-1]):
                if self._walk(family, steps[: trials - len(tried)], tried):
                    break
        self._scores[family] = sorted(tried, key=self._loss)
        return Search(tuple(trial for trial, _ in tried), *self._scores[family][0])

    def _walk(self, family: str, steps: Sequence[Params], tried: list[_Scored]) -> bool:
        """Change the best hyperparameters step by step, until one does not help; whether the first helped."""
        for number, step in enumerate(steps):
            best = min(tried, key=self._loss)
            tried.append(self._trial(family, {**best[0].params, **step}))
            if min(tried, key=self._loss) is best:
                return number > 0
        return len(steps) > 0

    @cached_property
    def _scores(self) -> dict[str, list[_Scored]]:
        """Trials of each family with their out-of-fold scores, the best first."""
        return {}

    def _loss(self, scored: _Scored) -> float:
        return scored[0].mean(self.metric) * (-1.0 if HIGHER_IS_BETTER[self.metric] else 1.0)

    def _trial(self, family: str, params: dict[str, Any]) -> _Scored:
        """Fit one choice of hyperparameters in every fold, and score the validation rows."""
        work = self._boosted if family in BOOSTED else self._fitted
        scores, params = work(family, params)
        out_of_fold = np.full(self.outcome.size, np.nan)
        for (_, validation), fold in zip(self.folds, scores, strict=True):
            out_of_fold[validation] = fold
        return self._measured(params, out_of_fold), out_of_fold

    def _measured(self, params: dict[str, Any], out_of_fold: Matrix) -> Trial:
        return Trial(params, tuple(point_metrics(self.outcome[v], out_of_fold[v]) for _, v in self.folds))

    def _in_folds(self, task: Callable[..., T], family: str, params: dict[str, Any]) -> list[T]:
        """Run a task for each fold; return the results in the order of the folds."""
        tasks = [self.workers.submit(task, self._shared, family, params, fold) for fold in range(len(self.folds))]
        return [task.result() for task in tasks]

    def _fitted(self, family: str, params: dict[str, Any]) -> tuple[list[Matrix], dict[str, Any]]:
        return self._in_folds(_fold_scores, family, params), params

    def _boosted(self, family: str, params: dict[str, Any]) -> tuple[list[Matrix], dict[str, Any]]:
        """Boost in every fold until its validation rows get worse, and read off the best number of trees."""
        params = {name: value for name, value in params.items() if name not in ("n_estimators", "searched_rows")}
        fits = self._in_folds(_boost_fold, family, params)
        shortest = min(fit.curve.size for fit in fits)
        trees = int(np.argmin(np.mean([fit.curve[:shortest] for fit in fits], axis=0))) + 1
        scores = [
            fit.booster.predict(xgboost.DMatrix(fit.matrix, nthread=1), iteration_range=(0, trees)).astype(np.float64)
            for fit in fits
        ]
        return scores, {**params, "n_estimators": trees, "searched_rows": round(np.mean([fit.rows for fit in fits]))}

    def _blend(self) -> Search:
        """Learn the weights; those that score a fold (or of a single fold, a fifth) are learned on the other rows."""
        averaged = AVERAGED if self.outcome.size <= FEW_ROWS else 1
        trials = {name: self._scores[name][: averaged if name == "xgboost" else 1] for name in PARTS}
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


def _log_odds(probability: Matrix) -> Matrix:
    bounded = np.clip(probability, 1e-9, 1.0 - 1e-9)
    result: Matrix = np.log(bounded / (1.0 - bounded))
    return result
