"""Step 5: search every candidate, choose the winner by validated scores, and make of it what is deployed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from churnops.schema import Columns
from churnops.settings import Family, Settings
from churnops.step import StepResult
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.search import CrossValidation, Fold, Search, Trial, Weighting, stratified_folds
from churnops.training.select import SelectedFeatures

MAX_REFERENCE_ROWS = 10_000
REFERENCE_POINTS = 10_000  # of a column: it tells distances to 0.0001, and keeps a bundle of a huge table small
REPORTED = ("log_loss", "roc_auc", "average_precision", "accuracy", "f1", "brier")


@dataclass(frozen=True, kw_only=True)
class TrainedModel(StepResult):
    """One candidate's best setting, fitted on the training rows, as a Bundle."""

    search: Search
    bundle: Bundle


@dataclass(frozen=True, kw_only=True)
class TrainedModels(StepResult):
    """Every candidate's model by its name, the winner's name, and what is deployed of it: fitted again, or as it is."""

    models: Mapping[str, TrainedModel]
    winner: str
    refit: Bundle

    @property
    def reference(self) -> bytes:
        """Up to 10,000 of the rows that the profile is made of, as Parquet: inputs, outcome, and unseen scores."""
        content = self.artifacts["reference.parquet"]
        assert isinstance(content, bytes)
        return content


@dataclass(frozen=True)
class Plan:
    """Which candidates are compared, and what of the winner is deployed.

    Attributes
    ----------
    families
        Each is searched with each of `weights`.
    weights
        By name: how much training rows count, given as their indices among them; None: all the same.
    folds
        What candidates are chosen by: indices into the training rows.
    reference
        Shape (n,): rows of the table that the deployed model's reference profile is made of. Their scores are by fits
        that had not seen them, so each is held out or in a fold's validation rows. None: all rows, after the winner was
        fitted again on all of them.
    threads
        Fits running at once; the result does not depend on it.
    """

    families: Sequence[Family]
    weights: Mapping[str, Weighting | None]
    folds: Sequence[Fold]
    reference: NDArray[np.bool_] | None
    threads: int

    def candidates(self) -> dict[str, tuple[Family, Weighting | None]]:
        """Return family and weights by the candidate's name, which is the family's where there is one weighting."""
        return {
            family if len(self.weights) == 1 else f"{family}: {scheme}": (family, weighting)
            for family in self.families
            for scheme, weighting in self.weights.items()
        }


def main_plan(prepared: PreparedTable, settings: Settings) -> Plan:
    """Return the main job's plan: every family of the settings, cross-validated; the winner is fitted on all rows."""
    options = settings.training
    folds = stratified_folds(prepared.outcome[~prepared.held_out], options.folds, settings.random_state)
    return Plan(options.families, {"all rows": None}, folds, None, options.threads)


def train_models(
    prepared: PreparedTable,
    features: SelectedFeatures,
    settings: Settings,
    plan: Plan | None = None,
    *,
    on_family: Callable[[str], None] = lambda name: None,
) -> TrainedModels:
    """Search every candidate of `plan`, by default the main job's; the best mean validated metric wins.

    Held-out rows play no part in the choice. Where the plan has the winner fitted again, they are in that fit; the
    bundle's lineage names both fits, and its metrics are those of the evaluated one.
    """
    plan = plan or main_plan(prepared, settings)
    training = ~prepared.held_out
    columns, outcome = prepared.rows(training), prepared.outcome[training]
    options = settings.training
    maker = _Maker(prepared, features.build, settings)
    candidates = plan.candidates()
    models: dict[str, TrainedModel] = {}
    with _interruptible(ThreadPoolExecutor(plan.threads)) as pool:
        validation = CrossValidation(
            features.build, columns, outcome, plan.folds, options.selection_metric, settings.random_state, pool
        )
        for name, (family, weighting) in candidates.items():
            started = time.perf_counter()
            found = validation.search(CANDIDATES[family], options.trials.get(family, 1), weighting)
            unseen = np.full(training.size, np.nan)
            unseen[training] = found.out_of_fold
            profiled = training if plan.reference is None else plan.reference
            weight = weighting and weighting(np.arange(outcome.size))
            bundle = maker.make(family, found.best, training, weight, _Reference(profiled, unseen))
            models[name] = _tracked(found, bundle, options.selection_metric, time.perf_counter() - started)
            on_family(name)
    sign = -1.0 if HIGHER_IS_BETTER[options.selection_metric] else 1.0
    winner = min(models, key=lambda name: sign * models[name].search.best.mean(options.selection_metric))
    unseen = _unseen_scores(models[winner], prepared)
    if plan.reference is None:
        profiled, refit = np.ones_like(training), maker.refit(candidates[winner][0], models[winner], unseen)
    else:
        profiled, refit = plan.reference, _as_evaluated(models[winner].bundle)
    reference = prepared.rows(profiled) | {
        settings.table.target.name: prepared.outcome[profiled].astype(np.float64),
        SCORE: unseen[profiled],
    }
    return TrainedModels(
        models=models,
        winner=winner,
        refit=refit,
        params={
            "candidates": list(candidates),
            "folds": len(plan.folds),
            "selection_metric": options.selection_metric,
            "winner": winner,
            **{f"winner.{k}": v for k, v in models[winner].search.best.params.items()},
        },
        metrics={f"cv_{m}": models[winner].search.best.mean(m) for m in REPORTED},
        artifacts={
            "selection.json": json.dumps(_ranking(models, options.selection_metric, winner), indent=2),
            "reference.parquet": to_parquet(_spread(reference, MAX_REFERENCE_ROWS)),
        },
        children=models,
    )


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
    """Return a score for every row by a fit that had not seen it: out of fold, or by the evaluated fit if held out.

    NaN for a training row in no fold's validation rows.
    """
    unseen = np.empty(prepared.outcome.size)
    unseen[~prepared.held_out] = model.search.out_of_fold
    unseen[prepared.held_out] = model.bundle.predict(prepared.rows(prepared.held_out)).probability
    return unseen


def _as_evaluated(bundle: Bundle) -> Bundle:
    """Return the bundle as it is deployed when it was not fitted again."""
    fit = bundle.lineage["fit"]
    return bundle.with_metadata(metrics={}, lineage={"fits": {"evaluated": fit, "deployed": fit}})


@dataclass(frozen=True)
class _Reference:
    """Rows of the table that a profile is made of, and their scores.

    Attributes
    ----------
    rows
        Shape (n,).
    unseen
        Shape (n,): scores by fits that had not seen the row. NaN for a row that is not in the fit to come either, which
        then scores it.
    """

    rows: NDArray[np.bool_]
    unseen: NDArray[np.float64]


@dataclass(frozen=True)
class _Maker:
    """Fits a setting to a table's rows and wraps it up as a Bundle."""

    prepared: PreparedTable
    build: FeatureMatrix
    settings: Settings

    def refit(self, family: Family, model: TrainedModel, unseen: NDArray[np.float64]) -> Bundle:
        """Fit the winner's setting on all rows."""
        everyone = np.ones(self.prepared.outcome.shape, dtype=np.bool_)
        refit = self.make(family, model.search.best, everyone, None, _Reference(everyone, unseen))
        fits = {"evaluated": model.bundle.lineage["fit"], "deployed": refit.lineage["fit"]}
        return replace(refit, lineage={**refit.lineage, "fits": fits})

    def make(
        self,
        family: Family,
        trial: Trial,
        rows: NDArray[np.bool_],
        weight: NDArray[np.float64] | None,
        reference: _Reference,
    ) -> Bundle:
        """Fit one setting on the chosen rows and wrap it up with a profile and a few rows as probes."""
        schema, prepared = self.settings.table, self.prepared
        outcome = prepared.outcome[rows]
        columns = {column.name: prepared.columns[column.name][rows] for column in schema.model_inputs}
        present = [column.name for column in schema.inputs if column.name in prepared.columns]
        imputer = Imputer.fit(columns, schema.model_inputs)
        candidate = CANDIDATES[family]
        seed = self.settings.random_state
        estimator = export(candidate.fit(trial.params, self.build(imputer(columns)), outcome, seed, weight))
        scores, watched_rows = reference.unseen.copy(), reference.rows
        gaps = watched_rows & np.isnan(scores)
        assert not (gaps & rows).any(), "a reference row's score is by a fit that had not seen it"
        if gaps.any():
            scores[gaps] = estimator.probability(self.build(imputer(prepared.rows(gaps))))
        watched = {name: prepared.columns[name][watched_rows] for name in present}
        watched |= {schema.target.name: prepared.outcome[watched_rows].astype(np.float64), SCORE: scores[watched_rows]}
        bundle = Bundle(
            schema=schema,
            features=self.build.features,
            selected=self.build.selected,
            imputer=imputer,
            algorithm=candidate.name,
            estimator=estimator,
            threshold=self.settings.evaluation.threshold,
            reference=fit_profile(watched, REFERENCE_POINTS),
            probes=_spread(columns, MAX_PROBES),
            linked=linked_columns({name: prepared.columns[name][rows] for name in present}),
        )
        counted = rows if weight is None else rows.copy()
        if weight is not None:
            counted[rows] = weight > 0
        fit = {
            "rows": int(counted.sum()),
            "churned": int(prepared.outcome[counted].sum()),
            "content_sha256": bundle.content_sha256,
        }
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
