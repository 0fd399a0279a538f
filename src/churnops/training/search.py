"""Cross-validated search of a family's hyperparameters, with a limited number of trials."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import ParameterSampler, StratifiedKFold

from churnops.cluster import Workers
from churnops.data.preprocess import Imputer
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.features.build import FeatureMatrix
from churnops.schema import Columns
from churnops.training.candidates import CandidateFamily
from churnops.training.export import export

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Indices of training rows and of validation rows."""
Weighting = Callable[[NDArray[np.intp]], NDArray[np.float64]]
"""Function from indices of training rows to their weights; a row of weight 0 is left out of the fit."""


@dataclass(frozen=True)
class Trial:
    """One choice of hyperparameters, and its metrics in each fold."""

    params: dict[str, Any]
    folds: tuple[dict[str, float], ...]

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the folds."""
        return float(np.mean([fold[metric] for fold in self.folds]))


@dataclass(frozen=True)
class Search:
    """All trials of a family, and the best by the selection metric (the earliest if several are equal).

    Attributes
    ----------
    out_of_fold
        Out-of-fold scores of the best trial, shape (n,); NaN for a row that no fold validates.
    """

    trials: tuple[Trial, ...]
    best: Trial
    out_of_fold: NDArray[np.float64]


def stratified_folds(outcome: NDArray[np.bool_], folds: int, seed: int) -> list[Fold]:
    """Split rows into folds with equal shares of each outcome."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(outcome.size), outcome))


def settings_to_try(candidate: CandidateFamily, trials: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the default hyperparameters, then seeded draws from the space without repetition."""
    yield dict(candidate.default)
    size = prod(len(values) for values in candidate.space.values())
    draws = ParameterSampler(candidate.space, min(trials, size), random_state=seed)
    others = [draw for draw in draws if draw != candidate.default]
    yield from (dict(draw) for draw in others[: trials - 1])


@dataclass(frozen=True)
class _SearchedRows:
    """Training rows, which the workers get once."""

    build: FeatureMatrix
    columns: Columns
    outcome: NDArray[np.bool_]
    folds: Sequence[Fold]
    seed: int


def _fold_scores(
    rows: _SearchedRows,
    candidate: CandidateFamily,
    params: dict[str, Any],
    fold: int,
    weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Fit the training rows of a fold, and score its validation rows: a task."""
    training, validation = ({name: values[part] for name, values in rows.columns.items()} for part in rows.folds[fold])
    imputer = Imputer.fit(training, rows.build.inputs)
    outcome = rows.outcome[rows.folds[fold][0]]
    fitted = candidate.fit(params, rows.build(imputer(training)), outcome, rows.seed, weight)
    return export(fitted).probability(rows.build(imputer(validation)))


@dataclass(frozen=True)
class CrossValidation:
    """Comparison of hyperparameters on the same folds of the same rows.

    Attributes
    ----------
    columns, outcome
        Encoded training rows, and whether each churned.
    metric
        Name of the metric that chooses the best trial.
    workers
        Workers that run the fits; the result does not depend on them.
    """

    build: FeatureMatrix
    columns: Columns
    outcome: NDArray[np.bool_]
    folds: Sequence[Fold]
    metric: str
    seed: int
    workers: Workers

    @cached_property
    def _shared(self) -> _SearchedRows:
        return self.workers.share(_SearchedRows(self.build, self.columns, self.outcome, self.folds, self.seed))

    def search(self, candidate: CandidateFamily, trials: int, weighting: Weighting | None = None) -> Search:
        """Score every trial in every fold, with several fits at once.

        Imputation constants are fitted in each fold, on its training rows. A `weighting` applies to training rows;
        validation rows have equal weights.
        """
        weights = [weighting and weighting(training) for training, _ in self.folds]
        pending = [
            (
                params,
                [
                    self.workers.submit(_fold_scores, self._shared, candidate, params, fold, weight)
                    for fold, weight in enumerate(weights)
                ],
            )
            for params in settings_to_try(candidate, trials, self.seed)
        ]
        sign = -1.0 if HIGHER_IS_BETTER[self.metric] else 1.0
        done: list[Trial] = []
        best, best_scores = None, np.empty(0)
        for params, futures in pending:
            out_of_fold = np.full(self.outcome.size, np.nan)
            for (_, validation), future in zip(self.folds, futures, strict=True):
                out_of_fold[validation] = future.result()
            trial = Trial(params, tuple(point_metrics(self.outcome[v], out_of_fold[v]) for _, v in self.folds))
            done.append(trial)
            if best is None or sign * trial.mean(self.metric) < sign * best.mean(self.metric):
                best, best_scores = trial, out_of_fold
        assert best is not None, "there is at least one setting to try"
        return Search(tuple(done), best, best_scores)
