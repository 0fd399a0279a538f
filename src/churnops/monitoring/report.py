"""Report: the findings of one monitoring cycle, and their document."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from churnops.monitoring.batch import LabelCoverage, Window
from churnops.monitoring.budget import Recommendation
from churnops.monitoring.cautions import Caution
from churnops.monitoring.document import REPORT_VERSION, ReportDocument
from churnops.monitoring.performance import Performance
from churnops.monitoring.verdicts import ColumnDrift, FeatureDrift

NO_REASON = "No reason to retrain"


@dataclass(frozen=True)
class PastWindow:
    """ROC-AUC of an earlier window with the labels known by now, and DeLong's interval; None if unknown."""

    window: Window
    labels: LabelCoverage
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """Findings of a cycle on the batch from `source`.

    Attributes
    ----------
    acts_as
        Source to which the batch's looks, alarms and recoveries belong; None for a report without consequences.
    demonstration
        Whether simulated customers count in this project.
    look
        Number of this look at fresh evidence, counted from 1 for each model and source. None if the batch spends no
        error budget: it has no consequences, or neither customers nor outcomes.
    repeated_rows
        Rows that were left out as copies of others, see `churnops.monitoring.copies`.
    training_rows
        Rows of the batch that the model was trained on; None if unknown.
    unreadable_columns
        Names of the columns that are absent or cannot be read, see `Batch.broken`.
    threshold
        `performance_threshold` of the settings; None without one.
    examined_before
        Whether an earlier cycle examined the same customers and outcomes. The report shows them again, without alert
        or retraining.
    """

    timestamp: datetime
    model_version: str
    content_sha256: str
    source: str
    acts_as: str | None
    simulated: bool
    past: bool
    window: Window | None
    rows: int
    look: int | None
    threshold: float | None
    performance: Performance
    history: tuple[PastWindow, ...]
    feature_drift: FeatureDrift
    prediction_drift: ColumnDrift
    target_drift: ColumnDrift
    recommendation: Recommendation
    cautions: tuple[Caution, ...] = ()
    demonstration: bool = False
    examined_before: bool = False
    repeated_rows: int = 0
    training_rows: int | None = None
    unreadable_columns: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Report {self.in_words()}>"

    @property
    def report_only(self) -> bool:
        """Whether the report has no consequences: see `Batch`."""
        return self.acts_as is None

    @property
    def verdict(self) -> str:
        """The recommendation in a few words."""
        if self.recommendation.value:
            return "Retraining is recommended"
        if any(caution.fired for caution in self.cautions if caution.name == "broken_columns"):
            return "No retraining, because data about customers is broken"
        if all(trigger.fired is None for trigger in self.recommendation.triggers):
            return "Cannot tell"
        return NO_REASON

    @property
    def reasons(self) -> tuple[str, ...]:
        """Results of the tests of performance and columns, and reasons for a retraining; without rows, the source."""
        if not self.rows:
            return (self.source,)
        return (self.performance.decline.reason, self.feature_drift.reason, *self.recommendation.reasons)

    @property
    def name(self) -> str:
        """Common part of the names of this cycle's files: the time, in UTC."""
        return f"{self.timestamp.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"

    def in_words(self) -> str:
        """Return the verdict, its subject and its reasons, as lines."""
        head = f"{self.verdict}: {self.model_version} on {self.rows:,} customers ({self.source})"
        return "\n".join([head, *(f"  - {reason}" for reason in self.reasons)])

    def document(self) -> ReportDocument:
        """Return the report as a document."""
        return ReportDocument.model_validate(
            {
                "report_version": REPORT_VERSION,
                "timestamp": self.timestamp,
                "model_version": self.model_version,
                "content_sha256": self.content_sha256,
                "source": self.source,
                "acts_as": self.acts_as,
                "demonstration": self.demonstration,
                "simulated": self.simulated,
                "past": self.past,
                "examined_before": self.examined_before,
                "window": self.window,
                "rows": self.rows,
                "repeated_rows": self.repeated_rows,
                "training_rows": self.training_rows,
                "unreadable_columns": self.unreadable_columns,
                "look": self.look,
                "performance": _performance(self.performance, self.threshold) | {"history": self.history},
                "feature_drift": self.feature_drift,
                "prediction_drift": self.prediction_drift,
                "target_drift": self.target_drift,
                "recommend_retraining": self.recommendation,
                "cautions": self.cautions,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document: plain JSON types, None for an unknown value."""
        return self.document().to_json()

    def summary(self) -> dict[str, Any]:
        """Return the findings for gauges and tables, without the tests of each column."""
        document = self.to_json()
        drift, performance = document["feature_drift"], document["performance"]
        keys = ("statistic", "p_value", "effect", "drifted")
        return {
            "model_version": self.model_version,
            "rows": self.rows,
            "look": self.look,
            "drift_rate": drift["drift_rate"],
            "columns": {c["name"]: {key: c[key] for key in ("effect", "drifted")} for c in drift["columns"]},
            "prediction_drift": {key: document["prediction_drift"][key] for key in keys},
            "target_drift": {key: document["target_drift"][key] for key in keys},
            "performance": {
                "metrics": performance["metrics"] or {},
                "due": performance["labels"]["due"],
                "labelled": performance["labels"]["labelled"],
                "verdict": performance["verdict"],
                "line": performance["line"],
            },
            "recommend_retraining": {
                "value": self.recommendation.value,
                "triggers": {trigger.name: trigger.fired for trigger in self.recommendation.triggers},
            },
            "cautions": {c.name: None if c.big and not c.fired else c.fired for c in self.cautions},
        }


def _performance(performance: Performance, threshold: float | None) -> dict[str, Any]:
    evaluation, decline = performance.evaluation, performance.decline
    verdict = {True: "below", False: "not below", None: "cannot tell"}[decline.below]
    measured = evaluation.to_json() if evaluation else dict.fromkeys(("rows", "positives", "metrics", "confusion"))
    measured["churn_threshold"] = measured.pop("threshold", None)
    return {
        "verdict": verdict,
        "reason": decline.reason,
        "threshold": threshold,
        "line": decline.line,
        "promised": None if decline.promised is None else {"roc_auc": decline.promised},
        "p_value": decline.p_value,
        "tests": decline.tests,
        "errors": decline.errors,
        "labels": performance.coverage,
        "delong": decline.auc,
    } | measured
