"""Pages of an evaluation: a sentence on the model's quality, then numbers, figures and intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from churnops.evaluation import plots
from churnops.evaluation.metrics import METRIC_LABELS, Evaluation
from churnops.schema import Column
from churnops.templates import render
from churnops.words import capital
from churnops.words import title as label_of

MEANINGS: Mapping[str, str] = {
    "roc_auc": "Chance that a customer who churned has a higher score than one who stayed; 0.5 means a random order.",
    "average_precision": "Mean precision over all thresholds; a random order gives the churn rate.",
    "log_loss": "Penalty for wrong probabilities, highest for confident ones; lower is better.",
    "brier": "Mean squared error of the probabilities; lower is better.",
    "calibration_error": "Mean gap between predicted and observed churn rate; lower is better.",
    "accuracy": "Share of customers with a right prediction.",
    "precision": "Share of flagged customers who churned.",
    "recall": "Share of the churned customers who were flagged.",
    "f1": "Harmonic mean of precision and recall.",
}
"""Meanings of metrics for people who do not use them every day."""


REPEATED = (
    "Each number is the mean over the repeats. A resampled customer has the scores of all repeats. The intervals are "
    "widened, because another table would also give another model. ROC-AUC compares customers of the same fold. "
    "Figures are those of the first repeat."
)


@dataclass(frozen=True)
class Figures:
    """Figures of an evaluation, as SVG elements."""

    confusion_matrix: str
    roc_curve: str
    precision_recall: str
    calibration: str

    def files(self) -> dict[str, str]:
        """Return the figures as image files."""
        return {f"figures/{name}.svg": plots.image(svg) for name, svg in vars(self).items()}


def draw_figures(evaluation: Evaluation, outcome: ArrayLike, probability: ArrayLike) -> Figures:
    """Draw the figures of an evaluation.

    Parameters
    ----------
    outcome, probability : arrays of shape (rows,)
        The rows that were evaluated.
    """
    metrics = evaluation.metrics
    return Figures(
        plots.confusion_matrix_svg(evaluation.confusion),
        plots.roc_svg(outcome, probability, metrics["roc_auc"]),
        plots.precision_recall_svg(outcome, probability, metrics["average_precision"]),
        plots.calibration_svg(outcome, probability, metrics["calibration_error"]),
    )


def evaluation_page(
    evaluation: Evaluation,
    figures: Figures,
    *,
    title: str,
    target: Column | None = None,
    banner: str = "",
    more_facts: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the evaluation as one HTML page, which opens offline and has no script.

    Parameters
    ----------
    evaluation
        Results to show.
    figures
        Figures of the same evaluation.
    title
        Heading of the page, as plain text.
    target
        The Schema's target; the page shows its label.
    banner
        Sentence above the heading, or "".
    more_facts
        Names and values below the facts of the evaluation.

    Examples
    --------
    >>> from churnops.evaluation import evaluate
    >>> rows = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    >>> evaluation = evaluate(*rows, replicates=50, seed=42)
    >>> page = evaluation_page(evaluation, draw_figures(evaluation, *rows), title="A <b> title")
    >>> "<h1>A &lt;b&gt; title</h1>" in page, "1 of 1 flagged customers churned" in page
    (True, True)
    """
    confidence = f"{evaluation.confidence:.0%}"
    return render(
        "evaluation.html",
        title=title,
        banner=banner,
        summary=summary_of(evaluation),
        next=_next_step(evaluation),
        facts=[*facts_of(evaluation, target), *more_facts],
        metrics=metric_rows(evaluation),
        figures=[
            _confusion(evaluation, figures.confusion_matrix),
            {
                "caption": "Ranking: the curve is steep if high scores go to customers who churned.",
                "svg": figures.roc_curve,
            },
            {
                "caption": "Finding more of the customers who churned means flagging more who stayed.",
                "svg": figures.precision_recall,
            },
            {
                "caption": "Reliability of the probabilities. Vertical bars: 95% interval of the observed rate.",
                "svg": figures.calibration,
            },
        ],
        statistics=f"{confidence} intervals from {evaluation.replicates:,} bootstrap resamples of the customers."
        + (f" {REPEATED}" if evaluation.folds else ""),
        interval=f"{confidence} interval",
    )


def confusion_matrix_page(evaluation: Evaluation, svg: str, *, title: str, banner: str = "") -> str:
    """Return the confusion matrix alone, an SVG element, as one HTML page."""
    return render(
        "confusion_matrix.html",
        title=title,
        banner=banner,
        summary=summary_of(evaluation),
        figure=_confusion(evaluation, svg),
    )


def summary_of(evaluation: Evaluation) -> str:
    """Describe the quality of the predictions in one sentence."""
    hits, wrong, missed = (evaluation.confusion[name] for name in ("tp", "fp", "fn"))
    churned, flagged = hits + missed, hits + wrong
    if not churned:
        return f"None of these {evaluation.rows:,} customers churned, and {flagged:,} were flagged."
    if not flagged:
        return f"No customer was flagged, and {churned:,} churned."
    return f"{_of(hits, flagged)} flagged customers churned; {_of(hits, churned)} customers who churned were flagged."


def _of(part: int, whole: int) -> str:
    """Return a share as a count out of 100, or out of `whole` if that is smaller."""
    return f"{part} of {whole}" if whole < 100 else f"{round(100 * part / whole)} of 100"


def _next_step(evaluation: Evaluation) -> str:
    auc = evaluation.metrics["roc_auc"]
    if math.isnan(auc.low):
        return "Next: evaluate on customers of both outcomes."
    if auc.low <= 0.5:
        return "Next: add customers or columns. The ranking is not proven better than chance."
    return (
        "Next: choose a threshold by profit on the Analysis page of `churnops dashboard`. "
        "`churnops models` shows whether this model is deployed."
    )


def facts_of(evaluation: Evaluation, target: Column | None) -> list[tuple[str, str]]:
    """Return the numbers that the metrics are to be read with, each with its name."""
    rows, churned = evaluation.rows, evaluation.positives
    facts = [("Outcome", f"{label_of(target)}: {target.choices[1]}")] if target else []
    return [
        *facts,
        ("Customers", f"{rows:,}, {evaluation.method if evaluation.folds else 'not used in training'}"),
        ("Churned", f"{churned:,} ({churned / rows:.1%})"),
        ("Flagged from a probability of", f"{evaluation.threshold:.3g}"),
        (
            "Right predictions",
            f"{evaluation.metrics['accuracy'].value:.1%}; if no customer were flagged: {1 - churned / rows:.1%}",
        ),
    ]


def metric_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return a row for each metric: its label, value, interval and meaning."""
    return [
        {
            "label": capital(label),
            "value": plots.number(evaluation.metrics[name].value),
            "range": plots.interval_text(evaluation.metrics[name]),
            "meaning": MEANINGS[name],
        }
        for name, label in METRIC_LABELS.items()
    ]


def _confusion(evaluation: Evaluation, svg: str) -> dict[str, Any]:
    return {
        "caption": f"Predictions and outcomes. Flagged: probability of at least {evaluation.threshold:.3g}.",
        "svg": svg,
    }
