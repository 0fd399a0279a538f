"""The monitoring report as a JSON document: written, read and published as a JSON Schema by one model."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer, model_validator

from churnops.document import Count, Document, Flag, MaybeCount, MaybeMoment, Moment, Number, Share
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.monitoring.budget import TRIGGER_LABELS, TRIGGERS, reason_without_prefix
from churnops.monitoring.cautions import CautionName
from churnops.monitoring.drift.finding import TEST_LABELS
from churnops.settings import LIVE
from churnops.words import capital

REPORT_VERSION = 2
MAX_COLUMNS = 5000


class WindowPart(Document):
    """A span of time."""

    since: Moment
    until: Moment

    @model_validator(mode="before")
    @classmethod
    def _of_pair(cls, value: Any) -> Any:
        return {"since": value[0], "until": value[1]} if isinstance(value, tuple) else value


class LabelsPart(Document):
    """Numbers of due and known outcomes."""

    due: Count = Field(description="predictions whose label horizon has passed; in a table, all customers")
    labelled: Count = Field(description="due predictions with a known outcome")
    oldest: MaybeMoment
    newest: MaybeMoment
    median_age_days: Number
    waiting: MaybeCount = Field(
        None,
        description="number of predictions that have a label but are not due yet; counted while no outcome is known; "
        "older reports lack it",
    )
    first_due: MaybeMoment = Field(
        None, description="time at which the first of the waiting outcomes is due; older reports lack it"
    )
    label_horizon_days: Number = Field(None, description="given with `waiting`; older reports lack it")

    @property
    def waiting_sentence(self) -> str:
        """Number of outcomes that wait, and when the first is due; empty if none waits."""
        if not self.waiting or self.first_due is None:
            return ""
        one, due = self.waiting == 1, f"{self.first_due:%d %b %Y}".lstrip("0")
        subject = "1 outcome waits; it is due on" if one else f"{self.waiting:,} outcomes wait; the first are due on"
        horizon = "" if self.label_horizon_days is None else f" (label_horizon {self.label_horizon_days:g} days)"
        return f"{subject} {due}{horizon}"


class IntervalPart(Document):
    """A metric with its interval."""

    value: Number
    low: Number
    high: Number

    @property
    def complete(self) -> bool:
        """Whether there is an interval to draw."""
        return None not in (self.value, self.low, self.high)


class AUCPart(Document):
    """ROC-AUC with DeLong's interval."""

    value: Number
    standard_error: Number
    low: Number
    high: Number


class PromisePart(Document):
    """Metrics of the held-out evaluation."""

    roc_auc: Share


class DeclineTestPart(Document):
    """Comparison of ROC-AUC with one limit."""

    name: Annotated[Literal["threshold", "expected"] | None, WithJsonSchema({"enum": ["threshold", "expected"]})]
    line: Number = Field(description="lowest acceptable ROC-AUC")
    below: Flag
    p_value: Share


class ErrorsPart(Document):
    """Wrong predictions, beside those of the held-out evaluation at the same share of churners."""

    wrong: Count
    expected: Number
    p_value: Share = Field(
        description='p-value of "neither churners nor stayers are predicted wrongly more often than expected"'
    )


class PastWindowPart(Document):
    """ROC-AUC of an earlier window, with the labels that are known by now."""

    window: WindowPart
    labels: LabelsPart
    value: Share
    low: Share
    high: Share


class PerformancePart(Document):
    """Performance on known outcomes."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    verdict: Annotated[
        Literal["below", "not below", "cannot tell"] | None,
        WithJsonSchema({"enum": ["below", "not below", "cannot tell"]}),
    ]
    reason: str
    threshold: Share = Field(description="performance_threshold; null without one")
    line: Number = Field(description="lowest acceptable ROC-AUC: the highest `line` of `tests`; null without tests")
    promised: PromisePart | None
    p_value: Share = Field(
        description="smallest p-value of the `tests` with `below` true (if there are none, of all), times the number "
        "of `tests`"
    )
    tests: tuple[DeclineTestPart, ...] = Field(
        (), description="each test has an equal part of the trigger's level; older reports lack them"
    )
    errors: ErrorsPart | None = Field(None, description="older reports lack it")
    labels: LabelsPart
    delong: AUCPart | None
    rows: MaybeCount
    positives: MaybeCount
    confidence: Number = Field(None, description="level of the bootstrap intervals")
    replicates: MaybeCount = None
    metrics: dict[str, IntervalPart] | None
    confusion: dict[str, Count] | None
    churn_threshold: Number = None
    history: tuple[PastWindowPart, ...]

    @property
    def below(self) -> bool | None:
        """Whether ROC-AUC is below the limit; None if unknown."""
        return {"below": True, "not below": False}.get(self.verdict or "")

    @property
    def promised_auc(self) -> float | None:
        """ROC-AUC of the held-out evaluation."""
        return self.promised.roc_auc if self.promised else None

    @property
    def known_metrics(self) -> Mapping[str, IntervalPart]:
        """Metrics that this version of churnops knows."""
        metrics = self.metrics or {}
        return {name: metrics[name] for name in METRIC_LABELS if name in metrics}

    @property
    def coverage(self) -> float | None:
        """Share of the outcomes due that are known."""
        due, labelled = self.labels.due, self.labels.labelled
        return labelled / due if due and labelled is not None else None

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.replicates is None:  # nothing was measured, so these keys describe nothing
            del written["confidence"], written["replicates"]
        return written


class FindingPart(Document):
    """Result of one test of a column."""

    test: str = Field(description="ks, chi_square, missing_rate, unseen_categories, rarity, level_rates")
    statistic: Number
    p_value: Share
    effect: Number = Field(
        description="KS distance, population stability index, difference of missing rates, share of rows with "
        "unseen categories, or the KS distance of two normal distributions whose means differ as those of the levels' "
        "rates"
    )
    reason: str


class ColumnPart(Document):
    """Verdict on one column."""

    limits: ClassVar[Mapping[str, int]] = {"findings": len(TEST_LABELS)}

    name: str
    kind: str
    test: str = Field(description='the test that decided the verdict, or the text "cannot tell" if no test was run')
    statistic: Number
    p_value: Share = Field(description="p-value before any correction")
    adjusted_p_value: Share
    effect: Number
    drifted: Flag | None = Field(description="null: cannot tell")
    reason: str
    linked_to: str | None = Field(description="the column that determines this one; see `drift_rate`")
    findings: tuple[FindingPart, ...]


class FeatureDriftPart(Document):
    """Verdict on all columns together."""

    limits: ClassVar[Mapping[str, int]] = {"columns": MAX_COLUMNS, "drifted": MAX_COLUMNS}

    columns: tuple[ColumnPart, ...]
    drift_rate: Share = Field(
        description="share of drifted columns among those with a verdict; a column and the columns that it determines "
        "count as one, except under the plain rule"
    )
    units: Count
    drifted: tuple[str, ...]
    p_value: Share
    reason: str


class TriggerPart(Document):
    """One of the conditions that recommend retraining. If `big` and not `fired`, its difference is not certain yet."""

    name: str = Field(json_schema_extra={"enum": list(TRIGGER_LABELS)})
    big: Flag | None = Field(description="whether the difference is big enough; null: cannot tell")
    fired: Flag | None = Field(
        description="whether the difference is big, and one of these holds: it is certain, the trigger fired at the "
        "previous look, or the plain rule applies; null: cannot tell"
    )
    p_value: Share
    level: Number = Field(description="highest p-value of a certain difference at this look; null under the plain rule")
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict in two words."""
        if self.fired is None:
            return "cannot tell"
        return "fired" if self.fired else "not certain yet" if self.big else "not fired"

    @property
    def why(self) -> str:
        """The reason as a sentence, without the trigger's name at its front."""
        return f"{capital(reason_without_prefix(self.reason))}."


class CautionPart(Document):
    """A finding that raises an alert, and never recommends retraining."""

    name: str = Field(json_schema_extra={"enum": list(get_args(CautionName))})
    severity: str = Field(json_schema_extra={"enum": ["critical", "warning"]})
    big: Flag | None = Field(description="whether the difference is big enough; null: cannot tell")
    fired: Flag | None = Field(description="whether the difference is big and certain; null: cannot tell")
    reason: str


class RecommendationPart(Document):
    """Whether to train again, and why."""

    limits: ClassVar[Mapping[str, int]] = {"triggers": TRIGGERS}

    value: Flag
    reasons: tuple[str, ...]
    triggers: tuple[TriggerPart, ...]
    look: MaybeCount
    budget: Number = Field(
        description="chance of a false recommendation over the model's life; null under the plain rule"
    )


class ReportDocument(Document):
    """Findings of one monitoring cycle. Within a report_version keys are added, never changed or removed."""

    model_config = ConfigDict(title="churnops monitoring report", json_schema_extra={"additionalProperties": True})
    limits: ClassVar[Mapping[str, int]] = {"unreadable_columns": MAX_COLUMNS}

    report_version: Annotated[MaybeCount, WithJsonSchema({"const": REPORT_VERSION})]
    timestamp: Moment
    model_version: str
    content_sha256: str = Field(json_schema_extra={"pattern": "^[0-9a-f]{64}$"})
    source: str
    acts_as: str | None = Field(
        None,
        description="source to which the looks, alarms and recoveries belong: live, or the name of a source of files; "
        "null if the report has no consequences; older reports lack it",
    )
    demonstration: Flag = Field(
        False,
        description="whether simulated customers count as production in this project; older reports lack it",
    )
    simulated: Flag
    past: Flag = Field(description="whether the window ended in the past; such a report has no consequences")
    examined_before: Flag = Field(
        False,
        description="whether an earlier cycle examined the same customers and outcomes: they are shown again, without "
        "alert or retraining; older reports lack it",
    )
    window: WindowPart | None
    rows: Count
    repeated_rows: MaybeCount = Field(
        None,
        description="rows that were left out as copies: a later row has the same customer id, or far more rows are "
        "equal than in the training table; absent if none",
    )
    training_rows: MaybeCount = Field(
        None,
        description="rows with the same model inputs as a row that the model was trained on; null: not known; older "
        "reports lack it",
    )
    unreadable_columns: tuple[str, ...] = Field(
        (),
        description="columns of a file that are missing or cannot be read: broken columns without a verdict; absent if "
        "none",
    )
    look: MaybeCount = Field(
        description="number of this look at fresh evidence on the model; null for a batch that spends no error budget"
    )
    performance: PerformancePart
    feature_drift: FeatureDriftPart
    prediction_drift: ColumnPart
    target_drift: ColumnPart
    recommend_retraining: RecommendationPart
    cautions: tuple[CautionPart, ...] = Field((), description="older reports lack it")

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name in ("repeated_rows", "unreadable_columns"):
            if not written[name]:
                del written[name]
        return written

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "ReportDocument":
        """Return the report that a file holds; see `Document.read`.

        Raises
        ------
        ValueError
            If the file is no monitoring report.
        """
        parts = document.get("feature_drift"), document.get("recommend_retraining")
        if not all(isinstance(part, dict) and part for part in parts):
            raise ValueError("it is no monitoring report")
        if "acts_as" not in document:  # before sources existed, every report counted as live traffic
            counts = True not in (document.get("simulated"), document.get("past"))
            document = {**document, "acts_as": LIVE if counts else None}
        return super().read(document)

    @property
    def report_only(self) -> str:
        """Reason why the report has no consequences; empty if it acts for a source."""
        if self.acts_as:
            return ""
        return "simulated" if self.simulated else "of the past" if self.past else "of a file without a source"
