"""Step 5: search every candidate, choose the winner by its validation metric, and make the bundle to deploy."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.read import to_parquet
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.model.bundle import Bundle
from churnops.model.reference import SCORE
from churnops.monitoring.drift.scores import SLACK
from churnops.settings import Settings
from churnops.step import StepResult
from churnops.training.bundle_maker import REPORTED, BundleMaker, ReferenceRows, spread
from churnops.training.candidate_searches import Searched, choose_winner, search_candidates
from churnops.training.plan import Plan, main_plan
from churnops.training.recipe_search import is_capped
from churnops.training.refit_slack import refit_slack
from churnops.training.search import Search
from churnops.training.select import SelectedFeatures
from churnops.training.unseen_levels import unseen_levels

MAX_REFERENCE_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class TrainedModel(StepResult):
    """Best trial of a candidate, fitted on the training rows, as a Bundle."""

    search: Search
    bundle: Bundle


@dataclass(frozen=True, kw_only=True)
class TrainedModels(StepResult):
    """Models of all candidates.

    Attributes
    ----------
    models
        Model of each candidate, by the candidate's name.
    winner
        Name of the candidate with the best mean of the selection metric over the validation folds.
    refit
        Bundle to deploy: the winner, fitted again on all rows if the plan requires it.
    """

    models: Mapping[str, TrainedModel]
    winner: str
    refit: Bundle

    @property
    def reference(self) -> bytes:
        """Up to 10,000 reference rows as Parquet: inputs (personal ones empty), outcomes, and out-of-fold scores."""
        content = self.artifacts["reference.parquet"]
        assert isinstance(content, bytes)
        return content


def train_models(
    prepared: PreparedTable,
    features: SelectedFeatures,
    settings: Settings,
    plan: Plan | None = None,
    *,
    on_family: Callable[[str], None] = lambda name: None,
) -> TrainedModels:
    """Search every candidate of `plan`, by default the main job's; the best mean validation metric wins.

    Held-out rows play no part in the choice. A plan without `reference` fits the winner again on all rows, held-out
    ones included. The bundle's lineage then names both fits. Its metrics come from the evaluated fit.
    """
    plan = plan or main_plan(prepared, settings)
    metric, maker = settings.training.selection_metric, BundleMaker(prepared, features.build, settings)
    searches = search_candidates(maker, plan, on_family)
    winner = choose_winner(searches, metric)
    models, unseen = _evaluated(maker, plan, searches, winner)
    candidates, best = plan.candidates(), models[winner].search.best
    if plan.reference is None:
        profiled = ~np.isnan(unseen)
        rows = ReferenceRows(profiled, unseen, _search_scores(maker, plan, searches[winner].search))
        refit = maker.refit(candidates[winner][0], best, models[winner].bundle, rows)
    else:
        profiled, refit = plan.reference, _as_evaluated(models[winner].bundle)
    unkept = np.full(int(profiled.sum()), np.nan)
    reference = prepared.rows(profiled) | dict.fromkeys(settings.table.personal & prepared.columns.keys(), unkept)
    reference |= {
        settings.table.target.name: prepared.outcome[profiled].astype(np.float64),
        SCORE: unseen[profiled],
    }
    estimates: dict[str, Any] = {
        "unseen_levels": unseen_levels(prepared.rows(prepared.training), plan.folds, settings.table.inputs)
    }
    slack = refit_slack(np.where(profiled, unseen, np.nan), prepared.training, plan.folds)
    if slack < SLACK:
        estimates["score_slack"] = slack
    return TrainedModels(
        models=models,
        winner=winner,
        refit=refit.with_metadata(metrics=estimates, lineage={}),
        params={
            "candidates": list(candidates),
            "folds": len(plan.folds),
            "selection_metric": metric,
            "winner": winner,
            **{f"winner.{k}": v for k, v in best.params.items()},
            **{f"monotone.{name}": direction for name, direction in settings.training.monotone.items()},
        },
        metrics={f"cv_{m}": best.mean(m) for m in REPORTED},
        artifacts={
            "selection.json": json.dumps(_ranking(models, metric, winner), indent=2),
            "reference.parquet": to_parquet(spread(reference, MAX_REFERENCE_ROWS)),
        },
        children=models,
        summary=_summary(models, metric, winner),
    )


def _evaluated(
    maker: BundleMaker, plan: Plan, searches: Mapping[str, Searched], winner: str
) -> tuple[dict[str, TrainedModel], NDArray[np.float64]]:
    """Fit the best trial of every candidate on the training rows.

    If the search used a part of a large table, only the winner is fitted on all training rows, and scores of the search
    are no reference for it. In a split in time, and without held-out rows, it is then fitted in each fold, on all of
    the fold's rows. With rows held out at random, these are the reference, and scores of the search choose the
    threshold: the held-out rows evaluate it.

    Returns
    -------
    models
        Model of each candidate.
    unseen
        Score of each row, shape (n,), by the winner fitted without the row: out of fold, or by the evaluated fit if the
        row is held out. It is NaN for a training row that no fold validates.
    """
    held_out, training = maker.prepared.held_out, maker.prepared.training
    is_part = maker.general and is_capped(plan.folds)
    models, winners = {}, np.empty(0)
    for name, (family, weighting) in plan.candidates().items():
        search, rows, unseen = searches[name].search, training, np.full(training.size, np.nan)
        unseen[training] = search.out_of_fold
        reference = ~np.isnan(unseen) if plan.reference is None else plan.reference
        if is_part and name == winner:
            if _refers_to_held_out(maker.prepared, plan):
                unseen[:], reference = np.nan, held_out
            else:
                unseen[training] = maker.cross_fit(family, search.best, plan.folds, weighting)
                reference = ~np.isnan(unseen) if plan.reference is None else plan.reference
        elif is_part and plan.reference is None:
            rows = reference
        weight = weighting and weighting(np.flatnonzero(rows[training]))
        chooses = _search_scores(maker, plan, search) if name == winner else None
        bundle = maker.make(family, search.best, rows, weight, ReferenceRows(reference, unseen, chooses))
        models[name] = _tracked(search, bundle, maker.settings.training.selection_metric, searches[name].seconds)
        if name == winner:
            unseen[held_out] = bundle.predict(maker.prepared.rows(held_out)).probability
            winners = unseen
    return models, winners


def _refers_to_held_out(prepared: PreparedTable, plan: Plan) -> bool:
    """Whether the rows that are held out at random are the reference of a model that was searched on a part."""
    return plan.reference is None and prepared.in_time is None and bool(prepared.held_out.any())


def _search_scores(maker: BundleMaker, plan: Plan, search: Search) -> NDArray[np.float64] | None:
    """Return the scores of the search, shape (n,), if reference rows are held out: these must choose no threshold."""
    prepared = maker.prepared
    is_part = maker.general and is_capped(plan.folds) and _refers_to_held_out(prepared, plan)
    if plan.reference is None and not is_part:
        return None
    scores = np.full(prepared.training.size, np.nan)
    scores[prepared.training] = search.out_of_fold
    return scores


def _as_evaluated(bundle: Bundle) -> Bundle:
    """Return the bundle with a lineage in which the evaluated and the deployed fit are the same."""
    fit = bundle.lineage["fit"]
    return bundle.with_metadata(metrics={}, lineage={"fits": {"evaluated": fit, "deployed": fit}})


def _tracked(search: Search, bundle: Bundle, metric: str, seconds: float) -> TrainedModel:
    best = search.best
    trials = [
        {"params": trial.params, "mean": {m: trial.mean(m) for m in REPORTED}, "folds": trial.folds}
        for trial in search.trials
    ]
    return TrainedModel(
        search=search,
        bundle=bundle,
        params={**best.params, "trials": len(search.trials)},
        metrics={f"cv_{m}": best.mean(m) for m in REPORTED}
        | {f"cv_{metric}_fold_{i}": fold[metric] for i, fold in enumerate(best.folds, start=1)}
        | {"search_seconds": seconds},
        folds={f"fold_{m}": [fold[m] for fold in best.folds] for m in REPORTED},
        seconds=seconds,
        datasets={"training": ("rows of merged.parquet", bundle.lineage["data_sha256"])},
        artifacts={"trials.json": json.dumps(trials, indent=2)},
    )


def _summary(models: Mapping[str, TrainedModel], metric: str, winner: str) -> str:
    """Describe the winner, and every candidate's validation metrics."""
    return "\n".join(
        [
            f"{winner} has the best {METRIC_LABELS[metric]} on validation rows",
            *(
                f"  {name}: "
                + ", ".join(f"{METRIC_LABELS[m]} {model.search.best.mean(m):.4f}" for m in REPORTED)
                + f"; {len(model.search.trials)} trials in {model.seconds:.1f} s"
                for name, model in models.items()
            ),
        ]
    )


def _ranking(models: Mapping[str, TrainedModel], metric: str, winner: str) -> dict[str, Any]:
    scores = {name: {m: model.search.best.mean(m) for m in REPORTED} for name, model in models.items()}
    return {"selection_metric": metric, "winner": winner, "cross_validation": scores}
