"""Journals on SQLite and PostgreSQL, and rows for them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic_core import to_json
from sqlalchemy import Connection, Engine

from churnops.journal import DeploymentLog, PredictionRow, database, new_prediction_id
from churnops.journal.decoding import PackedInputs
from churnops.journal.deployment_log import Intent
from churnops.journal.guessed_layout import GuessedLayout
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import VERSION_TABLE, metadata, microseconds

LASTING = ["file", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
POSTGRESQL = [LASTING[1]]
DAY = timedelta(days=1)
HORIZON = 30 * DAY
START = datetime(2026, 1, 1, tzinfo=UTC)


def migrate_to(connection: Connection, revision: str) -> None:
    """Make a database as the program of an earlier revision made it."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def intent(log: DeploymentLog, folder: str, previous: str | None = None) -> int:
    return log.open_intent(
        Intent(folder=folder, version=7, content_sha256="f" * 64, previous=previous, reason="it is better", by="ann")
    )


def prediction_row(
    id: str,
    at: datetime,
    customer_id: str | None,
    model_version: str,
    content_sha256: str,
    churn_probability: float,
    churn_prediction: bool,
    base_value: float | None = None,
    explanation_scale: str | None = None,
    top_shap_features: str | None = None,
    inputs: str = "{}",
    source: str = "api",
) -> PredictionRow:
    """Return a row with inputs and reasons from JSON texts, packed by a layout of its own."""
    record, reasons = json.loads(inputs), json.loads(top_shap_features or "null")
    guess = GuessedLayout()
    guess.add(record, reasons)
    layout = guess.layout(model_version, content_sha256, base_value, explanation_scale)
    packed = layout.pack_all(record, reasons)
    return PredictionRow(id, at, customer_id, layout, churn_probability, churn_prediction, *packed, source)


def packed_inputs(records: Sequence[dict[str, Any]]) -> PackedInputs:
    """Return JSON records as the journal keeps them."""
    rows = [prediction_row("", START, None, "v1", "f" * 64, 0.5, False, inputs=json.dumps(one)) for one in records]
    return PackedInputs.of(rows)


def a_prediction(at: datetime = START, customer_id: str | None = "c1", **changes: Any) -> PredictionRow:
    given: dict[str, Any] = {
        "id": new_prediction_id(),
        "at": at,
        "customer_id": customer_id,
        "model_version": "v1",
        "content_sha256": "f" * 64,
        "churn_probability": 0.1 + 0.2,
        "churn_prediction": False,
        "base_value": -1.5,
        "explanation_scale": "log-odds",
        "top_shap_features": '[{"feature":"größe","shap_value":0.5}]',
        "inputs": '{"total_charge":59.3}',
    }
    return prediction_row(**given | changes)


def older_values(row: PredictionRow) -> dict[str, Any]:
    """Return a row as versions up to 0007 wrote it, with JSON texts."""
    layout = row.layout
    return {
        **row._asdict(),
        "at": microseconds(row.at),
        "model_version": layout.model_version,
        "content_sha256": layout.content_sha256,
        "base_value": layout.base_value,
        "explanation_scale": layout.explanation_scale,
        "top_shap_features": to_json(row.top_shap_features).decode() if row.top_shap_features is not None else None,
        "inputs": to_json(row.record).decode(),
    }


def write(engine: Engine, rows: int = 1) -> None:
    write_predictions(engine, [a_prediction() for _ in range(rows)])


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: kind != "table" or not name.startswith("predictions_"),  # partitions
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
