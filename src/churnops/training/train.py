"""Step 5: search every family, choose the winner by cross-validation, and fit it again on all rows."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.dependence import linked_columns
from churnops.data.preprocess import Imputer, PreparedTable
from churnops.data.profile import fit_profile
from churnops.data.read import to_parquet
from churnops.evaluation.metrics import HIGHER_IS_BETTER
from churnops.features.build import FeatureMatrix
from churnops.model.bundle import MAX_PROBES, SCORE, Bundle
from churnops.schema import Columns, Schema
from churnops.settings import Settings
from churnops.step import StepResult
from churnops.training.candidates import CANDIDATES, Candidate
from churnops.training.export import export
from churnops.training.search import Search, Trial, search, stratified_folds
from churnops.training.select import SelectedFeatures

MAX_REFERENCE_ROWS = 10_000
REFERENCE_POINTS = 10_000  # of a column: it tells distances to 0.0001, and keeps a bundle of a huge table small
REPORTED = ("log_loss", "roc_auc", "average_precision", "accuracy", "f1", "brier")


@dataclass(frozen=True, kw_only=True)
class TrainedModel(StepResult):
    """One family's best setting, fitted on the training rows, as a Bundle."""

    search: Search
    bundle: Bundle


@dataclass(frozen=True, kw_only=True)
class TrainedModels(StepResult):
    """Every family's model, the winner's name, and the winner fitted again on all rows."""

    models: Mapping[str, TrainedModel]
    winner: str
    refit: Bundle


def train_models(
    prepared: PreparedTable, features: SelectedFeatures, settings: Settings, *,
    on_family: Callable[[str], None] = lambda family: None,
) -> TrainedModels:  # fmt: skip
    """Search the families in `settings.training`, and refit the one with the best mean cross-validated metric.

    Held-out rows play no part in the choice. They are in the refit, which is what gets deployed; the bundle's
    lineage names both fits, and its metrics are those of the evaluated one.
    """
    training = ~prepared.held_out
    columns, outcome = prepared.rows(training), prepared.outcome[training]
    options, seed = settings.training, settings.random_state
    folds = stratified_folds(outcome, options.folds, seed)
    models: dict[str, TrainedModel] = {}
    with _interruptible(ThreadPoolExecutor(options.threads)) as pool:
        for family in options.families:
            started = time.perf_counter()
            candidate, trials = CANDIDATES[family], options.trials.get(family, 1)
            found = search(candidate, features.build, columns, outcome, folds, trials=trials,
                           metric=options.selection_metric, seed=seed, pool=pool)  # fmt: skip
            bundle = _bundle(candidate, found.best, prepared, features.build, settings, prepared.imputer, training,
                             found.out_of_fold)  # fmt: skip
            models[family] = _tracked(found, bundle, options.selection_metric, time.perf_counter() - started)
            on_family(family)
    sign = -1.0 if HIGHER_IS_BETTER[options.selection_metric] else 1.0
    winner = min(models, key=lambda name: sign * models[name].search.best.mean(options.selection_metric))
    unseen = _unseen_scores(models[winner], prepared)
    refit = _refit(CANDIDATES[winner], models[winner], prepared, features.build, settings, unseen)
    reference = {**prepared.columns, settings.table.target.name: prepared.outcome.astype(np.float64), SCORE: unseen}
    return TrainedModels(
        models=models,
        winner=winner,
        refit=refit,
        params={
            "families": list(options.families), "folds": options.folds, "selection_metric": options.selection_metric,
            "winner": winner, **{f"winner.{k}": v for k, v in models[winner].search.best.params.items()},
        },
        metrics={f"cv_{m}": models[winner].search.best.mean(m) for m in REPORTED},
        artifacts={
            "selection.json": json.dumps(_ranking(models, options.selection_metric, winner), indent=2),
            "reference.parquet": to_parquet(_spread(reference, MAX_REFERENCE_ROWS)),
        },
        children=models,
    )  # fmt: skip


@contextmanager
def _interruptible(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Close the pool at the end; after an error or Ctrl-C do not begin what still waits."""
    with pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _unseen_scores(model: TrainedModel, prepared: PreparedTable) -> NDArray[np.float64]:
    """Return a score for every row by a fit that had not seen it: out of fold, or by the evaluated fit if held out."""
    unseen = np.empty(prepared.outcome.size)
    unseen[~prepared.held_out] = model.search.out_of_fold
    unseen[prepared.held_out] = model.bundle.predict(prepared.rows(prepared.held_out)).probability
    return unseen


def _refit(
    candidate: Candidate, model: TrainedModel, prepared: PreparedTable, build: FeatureMatrix, settings: Settings,
    unseen: NDArray[np.float64],
) -> Bundle:  # fmt: skip
    """Fit the winner's setting on all rows."""
    everyone = np.ones(prepared.outcome.shape, dtype=np.bool_)
    imputer = Imputer.fit(prepared.columns, model.bundle.schema.model_inputs)
    refit = _bundle(candidate, model.search.best, prepared, build, settings, imputer, everyone, unseen)
    fits = {"evaluated": model.bundle.lineage["fit"], "deployed": refit.lineage["fit"]}
    return replace(refit, lineage={**refit.lineage, "fits": fits})


def _bundle(
    candidate: Candidate, trial: Trial, prepared: PreparedTable, build: FeatureMatrix, settings: Settings,
    imputer: Imputer, rows: NDArray[np.bool_], unseen_scores: NDArray[np.float64],
) -> Bundle:  # fmt: skip
    """Fit one setting on the chosen rows and wrap it up with their profile and a few of them as probes."""
    schema: Schema = settings.table
    outcome = prepared.outcome[rows]
    columns = {column.name: prepared.columns[column.name][rows] for column in schema.model_inputs}
    watched = {c.name: prepared.columns[c.name][rows] for c in schema.inputs if c.name in prepared.columns}
    fitted = candidate.fit(trial.params, build(imputer(columns)), outcome, settings.random_state)
    bundle = Bundle(
        schema=schema,
        features=build.features,
        selected=build.selected,
        imputer=imputer,
        algorithm=candidate.name,
        estimator=export(fitted),
        threshold=settings.evaluation.threshold,
        reference=fit_profile(
            watched | {schema.target.name: outcome.astype(np.float64), SCORE: unseen_scores}, REFERENCE_POINTS
        ),
        probes=_spread(columns, MAX_PROBES),
        linked=linked_columns(watched),
    )
    fit = {"rows": int(rows.sum()), "churned": int(outcome.sum()), "content_sha256": bundle.content_sha256}
    return bundle.with_metadata(
        metrics={"cross_validation": {metric: trial.mean(metric) for metric in REPORTED}},
        lineage={"data_sha256": prepared.sha256, "hyperparameters": trial.params, "fit": fit},
    )


def _spread(columns: Columns, most: int) -> dict[str, NDArray[np.float64]]:
    """Return at most `most` rows, spread evenly over the table, which is sorted by content."""
    rows = len(next(iter(columns.values())))
    chosen = np.linspace(0, rows - 1, min(most, rows)).astype(np.intp)
    return {name: values[chosen] for name, values in columns.items()}


def _tracked(found: Search, bundle: Bundle, metric: str, seconds: float) -> TrainedModel:
    best = found.best
    trials = [
        {"params": trial.params, "mean": {m: trial.mean(m) for m in REPORTED}, "folds": trial.folds}
        for trial in found.trials
    ]
    return TrainedModel(
        search=found,
        bundle=bundle,
        params={**best.params, "trials": len(found.trials)},
        metrics={f"cv_{m}": best.mean(m) for m in REPORTED}
        | {f"cv_{metric}_fold_{i}": fold[metric] for i, fold in enumerate(best.folds, start=1)}
        | {"search_seconds": seconds},
        artifacts={"trials.json": json.dumps(trials, indent=2)},
    )


def _ranking(models: Mapping[str, TrainedModel], metric: str, winner: str) -> dict[str, Any]:
    scores = {name: {m: model.search.best.mean(m) for m in REPORTED} for name, model in models.items()}
    return {"selection_metric": metric, "winner": winner, "cross_validation": scores}
