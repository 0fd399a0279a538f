"""Step 6: evaluate every family's model on the held-out rows, and add the metrics to the winner's bundle.

Without held-out rows, only the winner is evaluated, on the scores of a repeated cross-validation.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.read import to_parquet
from churnops.data.skipped import Skipped
from churnops.evaluation.labelled_scores import LABELLED_SCORES, LabelledScores
from churnops.evaluation.leaks import LEAKS, Suspect, leak_warning, suspected_columns
from churnops.evaluation.metrics import METRIC_LABELS, Evaluation, evaluate, point_metrics
from churnops.evaluation.repeated import RepeatedScores
from churnops.evaluation.threshold import threshold_in_words
from churnops.model import Bundle
from churnops.settings import Settings
from churnops.step import StepResult

CARD = "model_card.html"
"""File name of the model card among the artifacts."""


class Refits(Protocol):
    """Further fits of the winner's family and hyperparameters."""

    def without(self, columns: Collection[str], /) -> NDArray[np.float64] | None:
        """Fit without some columns, and return the scores of the evaluated rows; None if no column is left."""

    def repeated(self) -> RepeatedScores:
        """Score all rows by repeated cross-validation of the whole training."""

    def on_random_split(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Fit on rows drawn at random, and return outcomes and scores of the others."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModels(StepResult):
    """Held-out evaluation of every family (of the winner, if repeated), and its refit as the bundle to register.

    Attributes
    ----------
    leak_warning
        Sentence on columns that seem to contain the outcome; empty if there is none.
    suspects
        Inputs that may contain the outcome.
    metrics_without
        Metrics of the winner fitted without the suspects, on the same rows; empty if there are none.
    random_split
        Metrics of the winner on a random split, if the rows are split in time; otherwise empty.
    claim
        Sentence that compares the two splits; empty if there is one.
    """

    evaluations: Mapping[str, Evaluation]
    winner: str
    bundle: Bundle
    leak_warning: str
    suspects: Sequence[Suspect]
    metrics_without: Mapping[str, float]
    random_split: Mapping[str, float]
    claim: str


def further_metrics(without_suspects: Mapping[str, float], random_split: Mapping[str, float]) -> dict[str, float]:
    """Return metrics of further fits, by their names in MLflow.

    >>> further_metrics({"roc_auc": 0.8}, {"roc_auc": 0.9})
    {'without_suspects_roc_auc': 0.8, 'random_split_roc_auc': 0.9}
    """
    return {f"without_suspects_{name}": value for name, value in without_suspects.items()} | {
        f"random_split_{name}": value for name, value in random_split.items()
    }


def evaluate_models(
    bundles: Mapping[str, Bundle],
    winner: str,
    refit: Bundle,
    prepared: PreparedTable,
    settings: Settings,
    *,
    skipped: Skipped,
    left_out: Mapping[str, str],
    refits: Refits | None = None,
) -> EvaluatedModels:
    """Evaluate on the held-out rows, which no model in `bundles` was trained on.

    The winner is chosen before this step, never by these rows. Its metrics go into `refit`, whose lineage names the
    evaluated fit as their origin.

    Parameters
    ----------
    skipped, left_out
        Parts of the data, and features, that were not used, for the model card.
    refits
        Further fits, for the score without suspected columns, in time that of a random split, and without held-out rows
        all scores.
    """
    from churnops.evaluation.model_card import CardSubject, model_card  # imports Matplotlib
    from churnops.evaluation.page import confusion_matrix_page, draw_figures, evaluation_page

    repeated = None if refits is None or prepared.held_out.any() else refits.repeated()
    rows = prepared.held_out if repeated is None else prepared.training
    columns, outcome = prepared.rows(rows), prepared.outcome[rows]
    customers = None if prepared.customers is None else prepared.customers[rows]
    if repeated is None:
        scores = {name: bundle.predict(columns).probability for name, bundle in bundles.items()}
        evaluations = {
            name: _evaluation(outcome, probability, bundles[name].threshold, settings, customers=customers)
            for name, probability in scores.items()
        }
    else:
        scores = {winner: repeated.probability[0]}
        evaluation = _evaluation(outcome, repeated.probability, repeated.threshold, settings, repeated.fold)
        evaluations = {winner: replace(evaluation, threshold=refit.threshold)}
    best = evaluations[winner]
    results = {"winner": winner, "models": {name: evaluation.to_json() for name, evaluation in evaluations.items()}}
    scored = {
        **settings.table.without_personal(columns),
        "churned": outcome.astype(np.float64),
        "churn_probability": scores[winner],
    }
    inputs = [column for column in settings.table.model_inputs if column.name in prepared.columns]
    suspects = suspected_columns(prepared, inputs, [] if repeated is None else repeated.folds())
    without = _without(suspects, refits, outcome, None if repeated is None else repeated.fold)
    claimed = _point(*refits.on_random_split()) if refits and prepared.in_time else {}
    facts = [("That threshold is", threshold_in_words(settings.evaluation)), *_facts_in_time(prepared, claimed)]
    claim = _claim(best, claimed)
    warning = leak_warning(suspects, best.metrics["roc_auc"].value) + _comparison(best, without)
    figures = draw_figures(best, outcome, scores[winner])
    title = f"Evaluation of {winner} on {best.customers}"
    banner = f"{settings.banner} Caution: {warning}.".strip() if warning else settings.banner
    subject = CardSubject(
        bundle=refit,
        fits=bundles,
        evaluations=evaluations,
        winner=winner,
        probability=scores[winner],
        prepared=prepared,
        rows=rows,
        settings=settings,
        skipped=skipped,
        left_out=left_out,
        caution=warning,
        facts=facts,
    )
    return EvaluatedModels(
        evaluations=evaluations,
        winner=winner,
        leak_warning=warning,
        suspects=suspects,
        metrics_without=without,
        random_split=claimed,
        claim=claim,
        bundle=refit.with_metadata(
            metrics={
                "held_out": best.to_json(),
                LABELLED_SCORES: LabelledScores.of(outcome, scores[winner]).to_json(),
            },
            lineage={LEAKS: leaks} if (leaks := {s.name: s.evidence for s in suspects if s.leaks}) else {},
        ),
        params={"threshold": best.threshold, "confidence": best.confidence, "winner": winner},
        metrics=_finite(best),
        other_metrics={
            f"{family}.{name}": value
            for family, evaluation in evaluations.items()
            if family != winner
            for name, value in _finite(evaluation).items()
        }
        | further_metrics(without, claimed),
        datasets={"held_out": ("rows of merged.parquet", refit.lineage["data_sha256"])},
        artifacts={
            "evaluation_results.json": json.dumps(results, indent=2, allow_nan=False),
            "evaluation.html": evaluation_page(
                best, figures, title=title, target=settings.table.target, banner=banner, more_facts=facts
            ),
            "confusion_matrix.html": confusion_matrix_page(best, figures.confusion_matrix, title=title, banner=banner),
            CARD: model_card(subject, figures),
            **figures.files(),
            "test_data.parquet": to_parquet(scored),
        },
        summary="\n".join([_summary(winner, best, warning), *([claim] if claim else [])]),
    )


def _evaluation(
    outcome: NDArray[np.bool_],
    probability: NDArray[np.float64],
    threshold: float | NDArray[np.float64],
    settings: Settings,
    fold: NDArray[np.intp] | None = None,
    customers: NDArray[np.intp] | None = None,
) -> Evaluation:
    options = settings.evaluation
    return evaluate(
        outcome,
        probability,
        threshold=threshold,
        seed=settings.random_state,
        replicates=options.bootstrap_replicates,
        confidence=options.confidence,
        fold=fold,
        customers=customers,
    )


def _without(
    suspects: Sequence[Suspect], refits: Refits | None, outcome: NDArray[np.bool_], fold: NDArray[np.intp] | None
) -> dict[str, float]:
    """Return ROC-AUC and log loss of the winner fitted without the suspects; empty if it was not fitted."""
    scores = refits.without({suspect.name for suspect in suspects}) if suspects and refits else None
    return {} if scores is None else _point(outcome, scores, fold)


def _point(
    outcome: NDArray[np.bool_], scores: NDArray[np.float64], fold: NDArray[np.intp] | None = None
) -> dict[str, float]:
    metrics = point_metrics(outcome, scores, fold=fold)
    return {name: metrics[name] for name in ("roc_auc", "log_loss")}


def _facts_in_time(prepared: PreparedTable, claimed: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the facts of a split in time, each with its name."""
    facts = [("Split in time", str(prepared.in_time))] if prepared.in_time else []
    return [*facts, ("A random split", f"would have claimed {_in_words(claimed)}")] if claimed else facts


def _claim(best: Evaluation, claimed: Mapping[str, float]) -> str:
    if not claimed:
        return ""
    later = _in_words({name: best.metrics[name].value for name in claimed})
    return f"A random split would have claimed {_in_words(claimed)}; the later customers gave {later}"


def _in_words(metrics: Mapping[str, float]) -> str:
    return " and ".join(f"{METRIC_LABELS[name]} {value:.4f}" for name, value in metrics.items())


def _comparison(best: Evaluation, without: Mapping[str, float]) -> str:
    """Describe the score with and without the suspects; empty if it was not measured."""
    if not without:
        return ""
    numbers = (
        f"{METRIC_LABELS[name]} {best.metrics[name].value:.4f} and {value:.4f}" for name, value in without.items()
    )
    return f"; score with and without suspected columns: {', '.join(numbers)}"


def _finite(evaluation: Evaluation) -> dict[str, float]:
    return {name: metric.value for name, metric in evaluation.metrics.items() if np.isfinite(metric.value)}


def _summary(winner: str, evaluation: Evaluation, warning: str) -> str:
    """Describe the winner's metrics, with their intervals."""
    lines = [
        f"{winner} on {evaluation.customers}, {evaluation.positives:,} of whom churned",
        *(
            f"  {label}: {metric.value:.4f}, {evaluation.confidence:.0%} interval {metric.low:.4f} to {metric.high:.4f}"
            for name, label in METRIC_LABELS.items()
            if np.isfinite((metric := evaluation.metrics[name]).value)
        ),
    ]
    return "\n".join([*lines, f"caution: {warning}"] if warning else lines)
