"""Predictions and labels for tests of the Analysis page."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from churnops.data.read import decode
from churnops.journal import Journal, Label, PredictionRow, new_prediction_id
from churnops.journal.layouts import Layout
from churnops.model import Bundle

DAY = timedelta(days=1)
HORIZON = 30 * DAY
NOW = datetime.now(UTC)


def asked(bundle: Bundle, days_ago: Sequence[float], *, customer: str | None = None) -> list[PredictionRow]:
    """Return predictions for the bundle's first probe."""
    probe = {name: values[:1] for name, values in bundle.probes.items()}
    table = decode(probe, np.array([np.nan]), bundle.schema).drop(bundle.schema.target.name)
    layout = Layout.of_bundle(bundle)
    packed = layout.pack(table.row(0, named=True))
    return [
        PredictionRow(new_prediction_id(), NOW - days * DAY, customer, layout, days / 100, False, *packed, "api")
        for days in days_ago
    ]


def learnt(journal: Journal, rows: Sequence[PredictionRow], churned: Sequence[bool]) -> None:
    journal.record_labels(
        [
            Label(churned=left, prediction_id=row.id, outcome_at=row.at + HORIZON)
            for row, left in zip(rows, churned, strict=True)
        ]
    )
