"""The retraining summary as a JSON document: one model writes it, reads it and gives the JSON Schema."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, WithJsonSchema

from churnops.document import Count, Document, Flag, MaybeCount, Moment, Number
from churnops.monitoring.document import IntervalPart
from churnops.retraining.gate import VERDICT_LABELS
from churnops.retraining.outcome import STATUS_LABELS
from churnops.retraining.policy import CAUSE_LABELS

SUMMARY_VERSION = 1


class PermissionPart(Document):
    """Permission to retrain, with reasons."""

    value: Flag
    reasons: tuple[str, ...]


class CandidatePart(Document):
    """A candidate: one family and weighting of rows."""

    validation: dict[str, Number] = Field(description="scores by which the winner is chosen")
    hyperparameters: dict[str, Any]
    held_out_roc_auc: Number


class EvaluationPart(Document):
    """Metrics of a model on the held-out rows."""

    rows: Count
    positives: Count
    threshold: Number
    confidence: Number
    replicates: Count
    metrics: dict[str, IntervalPart]
    confusion: dict[str, Count]


class GuardrailPart(Document):
    """A metric that may rise by at most `tolerance`."""

    name: str
    champion: Number
    challenger: Number
    tolerance: Number
    held: Flag


class DecisionPart(Document):
    """Whether the challenger replaces the champion, and the evidence."""

    verdict: str = Field(json_schema_extra={"enum": list(VERDICT_LABELS)})
    reason: str
    metric: str
    champion: Number
    challenger: Number
    gain: Number
    standard_error: Number
    low: Number
    high: Number
    min_improvement: Number
    confidence: Number
    compared: Count
    rows: Count
    churned: Count
    guards: tuple[GuardrailPart, ...]
    labels_needed: MaybeCount


class CheckPart(Document):
    """Check of a deployed model through the API."""

    status: str
    reason: str
    rows: Count
    seconds: Number


class SkippedPart(Document):
    """Files and columns that were not used, each with the reason, and sentences on broken and repeated rows by file."""

    files: dict[str, str]
    columns: dict[str, str]
    rows: dict[str, str] = Field({}, description="older summaries lack it")


class SummaryDocument(Document):
    """Retraining summary. Within a summary_version keys are added, never changed or removed."""

    model_config = ConfigDict(title="churnops retraining summary", json_schema_extra={"additionalProperties": True})
    limits: ClassVar[Mapping[str, int]] = {"rows": 20}

    summary_version: Annotated[MaybeCount, WithJsonSchema({"const": SUMMARY_VERSION})]
    started: Moment
    cause: str = Field(json_schema_extra={"enum": list(CAUSE_LABELS)})
    because: tuple[str, ...] = Field(description="reasons for the request to retrain")
    status: str = Field(json_schema_extra={"enum": list(STATUS_LABELS)})
    reason: str
    permission: PermissionPart
    demonstration: Flag = Field(
        False, description="whether simulated customers count as production; older summaries lack it"
    )
    champion: str = Field(description="version name of the deployed model at the start, or its folder")
    challenger: str | None
    version: MaybeCount = Field(description="registered version of the challenger")
    rows: dict[str, Count] | None
    candidates: dict[str, CandidatePart] | None
    winner: str | None
    held_out: dict[str, EvaluationPart] | None
    decision: DecisionPart | None
    check: CheckPart | None
    warning: str | None
    failures: tuple[str, ...] = Field(description="rules that a table broke")
    run_id: str | None
    seconds: dict[str, Number] | None
    skipped: SkippedPart | None = Field(None, description="null if nothing was trained; older summaries lack it")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "SummaryDocument":
        """Return the summary in a file's document; see `Document.read`.

        Raises
        ------
        ValueError
            If its status is not known.
        """
        summary = super().read(document)
        if summary.status not in STATUS_LABELS:
            raise ValueError("the status of the retraining is missing or unknown")
        return summary

    @property
    def total_seconds(self) -> float | None:
        """Duration of all steps; None if no step began."""
        return sum(filter(None, self.seconds.values())) if self.seconds else None
