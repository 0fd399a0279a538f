"""Journals on SQLite and PostgreSQL, and rows for them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine

from churnops.journal import DeploymentLog, PredictionRow, database, new_prediction_id
from churnops.journal.deployment_log import Intent
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import VERSION_TABLE, metadata

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


def a_prediction(at: datetime = START, customer_id: str | None = "c1") -> PredictionRow:
    return PredictionRow(
        id=new_prediction_id(),
        at=at,
        customer_id=customer_id,
        model_version="v1",
        content_sha256="f" * 64,
        churn_probability=0.1 + 0.2,
        churn_prediction=False,
        base_value=-1.5,
        explanation_scale="log-odds",
        top_shap_features='[{"feature":"größe"}]',
        inputs='{"total_charge":59.3}',
        source="api",
    )


def write(engine: Engine, rows: int = 1) -> None:
    write_predictions(engine, [a_prediction() for _ in range(rows)])


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
