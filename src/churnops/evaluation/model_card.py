"""Model card: one HTML page on a model's data, quality, drivers, weak segments, limits and origin."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.skipped import Skipped
from churnops.evaluation import plots
from churnops.evaluation.fairness import ComparedGroup, Share, group_results
from churnops.evaluation.importance import column_importance
from churnops.evaluation.leaks import MIN_OUTCOMES
from churnops.evaluation.lift import Lift, lift_table
from churnops.evaluation.metrics import METRIC_LABELS, Evaluation, Interval
from churnops.evaluation.page import Figures, facts_of, metric_rows, summary_of
from churnops.evaluation.segments import Segment, worst_segments
from churnops.model import Bundle
from churnops.schema import Column
from churnops.settings import Settings
from churnops.templates import render
from churnops.words import title as label
from churnops.words import words

LISTED = 100
"""Number of columns in a table of the card, so that a wide table gives no large page."""
DRIVERS = 10
SEGMENTS = 20
CV_METRICS = ("log_loss", "roc_auc")


@dataclass(frozen=True)
class CardSubject:
    """A model and the evidence on it.

    Attributes
    ----------
    bundle
        The model, with its lineage.
    fits
        The compared fits, made without the held-out rows, by family; also the champion of a retraining.
    evaluations
        Their results on the held-out rows; by repeated cross-validation, only the winner's.
    winner
        Name of the fit whose hyperparameters the model has.
    probability
        Scores of the evaluated rows by fits of these hyperparameters that were not trained on them, shape (n,).
    prepared
        All rows.
    rows
        Mask of the evaluated rows.
    skipped
        Files, columns and rows that were not used.
    left_out
        Features that the selection left out, each with its reason.
    caution
        Warning about a column that may contain the outcome; empty if there is none.
    facts
        Names and values of further facts.
    """

    bundle: Bundle
    fits: Mapping[str, Bundle]
    evaluations: Mapping[str, Evaluation]
    winner: str
    probability: NDArray[np.float64]
    prepared: PreparedTable
    rows: NDArray[np.bool_]
    settings: Settings
    skipped: Skipped
    left_out: Mapping[str, str]
    caution: str = ""
    facts: Sequence[tuple[str, str]] = ()

    @property
    def evaluation(self) -> Evaluation:
        """The model's results on the evaluated rows."""
        return self.evaluations[self.winner]

    def validated(self, name: str) -> Mapping[str, float]:
        """Return the cross-validated metrics of a fit; empty for a champion, which was validated on other data."""
        fit = self.fits[name]
        same = fit.lineage.get("data_sha256") == self.bundle.lineage["data_sha256"]
        return fit.metrics["cross_validation"] if same else {}


def model_card(subject: CardSubject, figures: Figures) -> str:
    """Return the card as one HTML page, which opens offline and has no script.

    Parameters
    ----------
    figures
        Figures of `subject.evaluation`.
    """
    schema, prepared, evaluation = subject.bundle.schema, subject.prepared, subject.evaluation
    rows, outcome = prepared.rows(subject.rows), prepared.outcome[subject.rows]
    fit = subject.fits[subject.winner]
    probability = subject.probability
    names = {column.name: label(column) for column in schema.columns}
    segments = worst_segments(rows, schema.inputs, outcome, probability)
    confidence = f"{evaluation.confidence:.0%}"
    return render(
        "model_card.html",
        title=f"Model card: {subject.bundle.version_name}",
        banner=f"{subject.settings.banner} {subject.caution and f'Caution: {subject.caution}.'}".strip(),
        summary=summary_of(evaluation),
        facts=[("Family", subject.winner), *facts_of(evaluation, schema.target), *subject.facts],
        data=_data(subject),
        columns=[_column(column, prepared) for column in schema.inputs[:LISTED]],
        more_columns=max(0, len(schema.inputs) - LISTED),
        left_out=list(_left_out(subject))[:LISTED],
        families=[_family(name, subject) for name in subject.fits],
        evaluated="repeated" if evaluation.folds else "held out",
        quality=evaluation.basis,
        customers="customers" if evaluation.folds else "held-out customers",
        metrics=metric_rows(evaluation),
        interval=f"{confidence} interval",
        figures=[
            {
                "caption": "Do probabilities mean what they say? Bars: 95% interval of the rate.",
                "svg": figures.calibration,
            },
            {
                "caption": "Ranking: the curve is steep if high scores go to customers who churned.",
                "svg": figures.roc_curve,
            },
        ],
        lift=[_lift_row(row) for row in lift_table(outcome, probability)],
        drivers=_drivers(column_importance(fit, rows), names),
        segments=[_segment(segment, names) for segment in segments[:SEGMENTS]],
        more_segments=max(0, len(segments) - SEGMENTS),
        fairness=[
            _compared_groups(column, group_results(rows[column.name], column, outcome, probability, fit.threshold))
            for column in schema.inputs
            if column.sensitive and column.name in rows
        ],
        limits=list(_limits(subject)),
        lineage=_lineage(subject),
    )


def _data(subject: CardSubject) -> list[tuple[str, str]]:
    lineage, prepared = subject.bundle.lineage, subject.prepared
    fits = lineage["fits"]
    return [
        ("Customers", f"{prepared.outcome.size:,}, of whom {int(prepared.outcome.sum()):,} churned"),
        *_evidence(subject.evaluation, fits["evaluated"]),
        ("Fitted for use on", _fit(fits["deployed"])),
        ("SHA-256 of the data", lineage["data_sha256"]),
    ]


def _evidence(evaluation: Evaluation, fit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the evaluated fit, and those that it did not see."""
    if evaluation.folds:
        seen = f"each fit saw {evaluation.folds - 1} of {evaluation.folds} folds, and scored the other"
        return [("Evaluated by", f"{evaluation.method}: {seen}")]
    return [
        ("Fitted for these numbers on", _fit(fit)),
        ("Held out", f"{evaluation.rows:,} customers, in no fit of these numbers"),
    ]


def _fit(fit: Mapping[str, Any]) -> str:
    return f"{fit['rows']:,} customers, of whom {fit['churned']:,} churned"


def _column(column: Column, prepared: PreparedTable) -> dict[str, str]:
    values = prepared.columns.get(column.name)
    if values is None:
        return {"label": label(column), "kind": column.kind, "range": "", "missing": "", "use": "absent in the data"}
    known = values[~np.isnan(values)]
    if not known.size or (column.personal and column.numeric):
        shown = "personal" if column.personal else ""
    elif column.numeric:
        shown = f"{column.text(known.min())} to {column.text(known.max())} {column.unit}".strip()
    elif column.kind == "flag":
        shown = f"{column.choices[1]}: {known.mean():.1%}"
    else:
        shown = f"{len(column.choices):,} choices"
    return {
        "label": label(column),
        "kind": column.kind,
        "range": shown,
        "missing": f"{1 - known.size / values.size:.1%}",
        "use": "input" if column.required else "sensitive: no input" if column.sensitive else "watched: no input",
    }


def _left_out(subject: CardSubject) -> Iterator[tuple[str, str]]:
    yield from subject.skipped.columns.items()
    yield from ((words(name), reason) for name, reason in subject.left_out.items())


def _family(name: str, subject: CardSubject) -> dict[str, Any]:
    evaluation, validated = subject.evaluations.get(name), subject.validated(name)
    return {
        "label": name,
        "chosen": name == subject.winner,
        "validated": [plots.number(validated[metric]) if validated else "" for metric in CV_METRICS],
        "evaluated": [_measured(evaluation.metrics[metric]) if evaluation else "" for metric in CV_METRICS],
    }


def _measured(metric: Interval) -> str:
    return f"{plots.number(metric.value)} ({plots.interval_text(metric)})"


def _lift_row(row: Lift) -> dict[str, str]:
    recall = "cannot tell" if math.isnan(row.recall) else f"{row.recall:.0%}"
    lift = "cannot tell" if math.isnan(row.lift) else f"{row.lift:.1f}"
    return {"share": f"{row.share:.0%}", "precision": f"{row.precision:.0%}", "recall": recall, "lift": lift}


def _drivers(shares: Mapping[str, float], names: Mapping[str, str]) -> list[dict[str, Any]]:
    largest = sorted(shares.items(), key=lambda item: -item[1])[:DRIVERS]
    return [{"label": names[name], "share": f"{share:.1%}", "width": round(100 * share, 1)} for name, share in largest]


def _segment(segment: Segment, names: Mapping[str, str]) -> dict[str, str]:
    return {
        "label": f"{names[segment.column]}: {segment.values}",
        "rows": f"{segment.rows:,}",
        "churned": f"{segment.churned / segment.rows:.1%}",
        "expected": f"{segment.expected / segment.rows:.1%}",
        "log_loss": plots.number(segment.log_loss),
        "others": plots.number(segment.others),
        "p_value": f"{segment.p_value:.2g}",
    }


def _compared_groups(column: Column, groups: Sequence[ComparedGroup]) -> dict[str, Any]:
    rows = [
        {
            "label": group.values,
            "rows": f"{group.rows:,}",
            "rates": [f"{rate:.1%}" for rate in (group.churned, group.expected, group.flagged)],
            "shares": [_share(group.hits), _share(group.false_alarms)],
        }
        for group in groups
    ]
    return {"label": label(column), "groups": rows}


def _share(share: Share) -> str:
    return "cannot tell" if math.isnan(share.value) else f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _limits(subject: CardSubject) -> Iterator[str]:
    evaluation = subject.evaluation
    auc = evaluation.metrics["roc_auc"]
    if math.isnan(auc.low):
        yield "The ranking could not be measured: all these customers have the same outcome."
    elif auc.low <= 0.5:
        yield "The ranking is not proven better than chance."
    yield (
        f"The numbers hold for customers like the {evaluation.rows:,} evaluated ones, which are from the tables of the "
        "training. Later customers may differ: `churnops monitor` measures that."
    )
    yield "Reasons and drivers describe the model's scores. They are no proof of causes."
    yield "A missing value of an input is replaced by a constant that was learned from the training rows."
    if subject.bundle.lineage["fits"]["deployed"] != subject.bundle.lineage["fits"]["evaluated"]:
        yield "The model was fitted again on all customers. The numbers are those of the fit without the held-out ones."
    if evaluation.folds:
        yield (
            "The model was fitted on all customers. The numbers are those of fits on fewer customers. Figures, lift "
            "and segments are those of the first repeat."
        )
    if min(evaluation.positives, evaluation.rows - evaluation.positives) < MIN_OUTCOMES:
        yield f"With fewer than {MIN_OUTCOMES} customers of an outcome, no one can tell whether a column contains it."
    yield from (f"{name}: {sentence}." for name, sentence in subject.skipped.rows.items())


def _lineage(subject: CardSubject) -> list[tuple[str, str]]:
    bundle, lineage = subject.bundle, subject.bundle.lineage
    parameters = ", ".join(f"{name} = {value}" for name, value in lineage["hyperparameters"].items())
    directions = ", ".join(f"{name} {direction}" for name, direction in lineage.get("monotone", {}).items())
    return [
        ("Content hash", bundle.content_sha256),
        ("Made", lineage.get("created", "unknown")),
        ("MLflow run", lineage.get("run_id", "unknown")),
        ("Git commit", lineage.get("git_commit") or "unknown"),
        ("Hyperparameters", parameters or "none"),
        *([("Monotone", directions)] if directions else []),
        ("Seed", str(subject.settings.random_state)),
        ("Features", f"{len(bundle.selected):,} of {len(bundle.selected) + len(subject.left_out):,}"),
        ("Chosen by", METRIC_LABELS[subject.settings.training.selection_metric] + ", cross-validated"),
    ]
