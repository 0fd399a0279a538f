"""Answers to customers: scored, explained, and recorded before they are sent."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from churnops.api.customers import Record
from churnops.api.metrics import Metrics
from churnops.api.problems import Problem
from churnops.api.served import Served
from churnops.errors import ChurnopsError, JournalError
from churnops.journal.exposures import Exposure
from churnops.journal.layouts import pack_reasons
from churnops.journal.predictions import PredictionRow, new_prediction_id
from churnops.journal.writer import JournalWriter
from churnops.model.prediction import BriefExplanation
from churnops.traces import span

log = logging.getLogger("churnops.api")

SOURCE = "api"
Answers = tuple[list[dict[str, Any]], list[PredictionRow]]
"""Answers to customers, and their rows for the journal, in the same order."""


def answer(served: Served, records: Sequence[Record], key: str | None) -> Answers:
    """Score and explain checked customers; return the answers and their rows for the journal.

    Parameters
    ----------
    key
        Id of the request's API key.

    Raises
    ------
    Problem
        422 if a score or explanation is not finite.
    """
    form, bundle = served.form, served.bundle
    try:
        with span("score and explain"):
            one = len(records) == 1
            explained = [bundle.answer(form.encode_one(records[0]))] if one else bundle.answers(form.encode(records))
    except ChurnopsError:
        raise Problem(422, "no-score", "a value is too large for the model to score") from None
    now = datetime.now(UTC)
    answers, rows = [], []
    for record, explanation in zip(records, explained, strict=True):
        item, row = _answer(served, record, explanation, now, key)
        answers.append(item)
        rows.append(row)
    return answers, rows


def _answer(
    served: Served, record: Record, explanation: BriefExplanation, now: datetime, key: str | None
) -> tuple[dict[str, Any], PredictionRow]:
    """Return a customer's answer, and its row for the journal."""
    bundle, identifier, selected = served.bundle, served.form.identifier, served.bundle.selected
    probability, churn, features, shares = explanation
    reasons = [
        {"feature": selected[feature], "shap_value": share} for feature, share in zip(features, shares, strict=True)
    ]
    given = {**record, **dict.fromkeys(bundle.schema.personal & record.keys())}  # null in the journal
    customer = given.pop(identifier, None) if identifier else None
    packed = served.layout.pack(given)
    row = PredictionRow(
        id=new_prediction_id(),
        at=now,
        customer_id=customer,
        layout=served.layout,
        churn_probability=probability,
        churn_prediction=churn,
        inputs=packed.inputs,
        reasons=pack_reasons(features, shares),
        rest=packed.rest,
        source=SOURCE,
        key=key,
    )
    item = {
        "prediction_id": row.id,
        "churn_probability": probability,
        "churn_prediction": churn,
        "base_value": served.layout.base_value,
        "explanation_scale": served.layout.explanation_scale,
        "top_shap_features": reasons,
        "model_version": served.version,
    }
    if bundle.decision_version:
        item["decision_version"] = bundle.decision_version
    if warnings := served.contradictions.of(record):
        item["warnings"] = warnings
    if unknown := served.form.unknown(record):
        item["unknown"] = unknown
    return item, row


def unknown_levels(answers: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of answers with an unknown level, by column."""
    return Counter(name for item in answers for name in item.get("unknown", ()))


def of_model(served: Served, rows: Sequence[PredictionRow]) -> list[int]:
    """Return the positions of the rows that a model answered."""
    return [place for place, row in enumerate(rows) if row.layout is served.layout]


class Recorder:
    """Records predictions before they are sent.

    Parameters
    ----------
    writer
        None if the settings turn recording off.
    exposures
        Returns the exposures of rows in a split.
    on_recorded
        Called with recorded rows.
    """

    def __init__(
        self,
        writer: JournalWriter | None,
        metrics: Metrics,
        exposures: Callable[[Sequence[PredictionRow]], Sequence[Exposure]],
        on_recorded: Callable[[Sequence[PredictionRow]], None],
        *,
        required: bool,
    ) -> None:
        self._writer = writer
        self._exposures = exposures
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._required = required

    async def record(self, rows: Sequence[PredictionRow]) -> None:
        """Commit rows, and return afterwards.

        Raises
        ------
        Problem
            503 if they cannot be committed and the settings require it.
        """
        exposures = self._exposures(rows)
        if self._writer is not None:
            try:
                with span("record", {"churnops.rows": len(rows)}):
                    await self._writer.append(rows, exposures)
            except JournalError as error:
                self._metrics.journal_failures.inc(len(rows))
                log.error("%d predictions are not recorded: %s", len(rows), error)
                if self._required:
                    detail = "the prediction cannot be recorded, and the settings require recording: try again later"
                    raise Problem(503, "journal", detail, headers={"Retry-After": "1"}) from None
            else:
                self._on_recorded(rows)
        for (version, churn), count in Counter((r.layout.model_version, r.churn_prediction) for r in rows).items():
            self._metrics.predictions(version, churn, count)

    def count_unknown(self, levels: Mapping[str, int]) -> None:
        """Count unknown levels, by column."""
        for name, count in levels.items():
            self._metrics.unknown_levels.labels(name).inc(count)
