"""Step 6: evaluate every family's model on the held-out rows, and add the metrics to the winner's bundle."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.read import to_parquet
from churnops.data.skipped import Skipped
from churnops.evaluation.leaks import LEAKS, Suspect, leak_warning, suspected_columns
from churnops.evaluation.metrics import METRIC_LABELS, Evaluation, evaluate, point_metrics
from churnops.model import Bundle
from churnops.settings import Settings
from churnops.step import StepResult

CARD = "model_card.html"
"""File name of the model card among the artifacts."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModels(StepResult):
    """Held-out evaluation of every family, and the winner's refit as the bundle to register.

    Attributes
    ----------
    leak_warning
        Sentence on columns that seem to contain the outcome; empty if there is none.
    suspects
        Inputs that may contain the outcome.
    metrics_without
        Metrics of the winner fitted without the suspects, on the same rows; empty if there are none.
    """

    evaluations: Mapping[str, Evaluation]
    winner: str
    bundle: Bundle
    leak_warning: str
    suspects: Sequence[Suspect]
    metrics_without: Mapping[str, float]


def without_suspects(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics of a fit without suspects, by their names in MLflow.

    >>> without_suspects({"roc_auc": 0.8})
    {'without_suspects_roc_auc': 0.8}
    """
    return {f"without_suspects_{name}": value for name, value in metrics.items()}


def evaluate_models(
    bundles: Mapping[str, Bundle],
    winner: str,
    refit: Bundle,
    prepared: PreparedTable,
    settings: Settings,
    *,
    skipped: Skipped,
    left_out: Mapping[str, str],
    scores_without: Callable[[Collection[str]], NDArray[np.float64] | None] = lambda columns: None,
) -> EvaluatedModels:
    """Evaluate on the held-out rows, which no model in `bundles` was trained on.

    The winner is chosen before this step, never by these rows. Its metrics go into `refit`, whose lineage names the
    evaluated fit as their origin.

    Parameters
    ----------
    skipped, left_out
        Parts of the data, and features, that were not used, for the model card.
    scores_without
        Function that fits the winner again without some columns, and returns its scores of the held-out rows.
    """
    from churnops.evaluation.model_card import CardSubject, model_card  # imports Matplotlib
    from churnops.evaluation.page import confusion_matrix_page, draw_figures, evaluation_page

    options, held_out = settings.evaluation, prepared.held_out
    columns, outcome = prepared.rows(held_out), prepared.outcome[held_out]
    probabilities = {name: bundle.predict(columns).probability for name, bundle in bundles.items()}
    evaluations = {
        name: evaluate(
            outcome,
            probability,
            threshold=bundles[name].threshold,
            seed=settings.random_state,
            replicates=options.bootstrap_replicates,
            confidence=options.confidence,
        )
        for name, probability in probabilities.items()
    }
    best = evaluations[winner]
    results = {"winner": winner, "models": {name: evaluation.to_json() for name, evaluation in evaluations.items()}}
    scored = {**columns, "churned": outcome.astype(np.float64), "churn_probability": probabilities[winner]}
    inputs = [column for column in settings.table.model_inputs if column.name in prepared.columns]
    suspects = suspected_columns(prepared, inputs)
    without = _without(suspects, scores_without, outcome)
    warning = leak_warning(suspects, best.metrics["roc_auc"].value) + _comparison(best, without)
    figures = draw_figures(best, outcome, probabilities[winner])
    title = f"Evaluation of {winner} on {best.rows:,} held-out customers"
    banner = f"{settings.banner} Caution: {warning}.".strip() if warning else settings.banner
    subject = CardSubject(
        bundle=refit,
        fits=bundles,
        evaluations=evaluations,
        winner=winner,
        probability=probabilities[winner],
        prepared=prepared,
        settings=settings,
        skipped=skipped,
        left_out=left_out,
        caution=warning,
    )
    return EvaluatedModels(
        evaluations=evaluations,
        winner=winner,
        leak_warning=warning,
        suspects=suspects,
        metrics_without=without,
        bundle=refit.with_metadata(
            metrics={"held_out": best.to_json()},
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
        | without_suspects(without),
        datasets={"held_out": ("rows of merged.parquet", refit.lineage["data_sha256"])},
        artifacts={
            "evaluation_results.json": json.dumps(results, indent=2, allow_nan=False),
            "evaluation.html": evaluation_page(best, figures, title=title, target=settings.table.target, banner=banner),
            "confusion_matrix.html": confusion_matrix_page(best, figures.confusion_matrix, title=title, banner=banner),
            CARD: model_card(subject, figures),
            **figures.files(),
            "test_data.parquet": to_parquet(scored),
        },
        summary=_summary(winner, best, warning),
    )


def _without(
    suspects: Sequence[Suspect],
    scores_without: Callable[[Collection[str]], NDArray[np.float64] | None],
    outcome: NDArray[np.bool_],
) -> dict[str, float]:
    """Return ROC-AUC and log loss of the winner fitted without the suspects; empty if it was not fitted."""
    scores = scores_without({suspect.name for suspect in suspects}) if suspects else None
    if scores is None:
        return {}
    metrics = point_metrics(outcome, scores)
    return {name: metrics[name] for name in ("roc_auc", "log_loss")}


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
        f"{winner} on {evaluation.rows:,} held-out customers, {evaluation.positives:,} of whom churned",
        *(
            f"  {label}: {metric.value:.4f}, {evaluation.confidence:.0%} interval {metric.low:.4f} to {metric.high:.4f}"
            for name, label in METRIC_LABELS.items()
            if np.isfinite((metric := evaluation.metrics[name]).value)
        ),
    ]
    return "\n".join([*lines, f"caution: {warning}"] if warning else lines)
