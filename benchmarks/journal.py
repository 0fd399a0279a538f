"""Predictions in the journal: bytes, and time to write and decode, against JSON texts."""

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json
from sqlalchemy import Engine
from tests.support.parts import find_part
from tests.support.postgres import private_cluster

from benchmarks.harness import Claim, Result
from benchmarks.product import Project
from churnops.api.customers import CustomerForm
from churnops.journal import PredictionRow, new_prediction_id, open_database
from churnops.journal.database import commit_directly
from churnops.journal.decoding import PackedInputs, decode_inputs
from churnops.journal.layouts import Layout, pack_reasons
from churnops.journal.predictions import insert_predictions, write_predictions
from churnops.journal.tables import microseconds
from churnops.schema import Schema

ROWS, GROUP, BULK = 20_000, 50, 5_000
DECODED = 1_000_000
OLD_TABLE = """
CREATE TABLE predictions (id TEXT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, customer_id TEXT,
  model_version TEXT NOT NULL, content_sha256 TEXT NOT NULL, churn_probability DOUBLE NOT NULL,
  churn_prediction BOOLEAN NOT NULL, base_value DOUBLE, explanation_scale TEXT, top_shap_features TEXT,
  inputs TEXT NOT NULL, source TEXT NOT NULL, key TEXT);
CREATE INDEX predictions_at ON predictions (at)"""


def rows_of(project: Project) -> list[PredictionRow]:
    """Return predictions for the customers of the raw table, with six reasons each."""
    schema, columns = project.settings.table, project.raw.columns
    features = tuple(column.name for column in schema.model_inputs)
    layout = Layout.of_schema(
        schema,
        features,
        model_version="20261128T193257.002648Z-xgboost-v2",
        content_sha256="0123456789abcdef" * 4,
        base_value=-2.345678901234,
        explanation_scale="log-odds",
    )
    form, rng, now = CustomerForm(schema), np.random.default_rng(1), datetime.now(UTC)
    records = [form.example(columns, row) for row in range(project.raw.outcome.size)]
    rows = []
    for number in range(ROWS):
        packed = layout.pack(records[number % len(records)])
        reasons = pack_reasons(rng.permutation(len(features))[:6].tolist(), rng.normal(size=6).tolist())
        rows.append(
            PredictionRow(
                id=new_prediction_id(),
                at=now,
                customer_id=f"C-{number:07}",
                layout=layout,
                churn_probability=rng.random(),
                churn_prediction=False,
                inputs=packed.inputs,
                reasons=reasons,
                rest=packed.rest,
                source="api",
            )
        )
    return rows


def old_values(row: PredictionRow) -> tuple[Any, ...]:
    """Return the values of a row of version 0007."""
    layout = row.layout
    head = (row.id, microseconds(row.at), row.customer_id, layout.model_version, layout.content_sha256)
    scores = (row.churn_probability, row.churn_prediction, layout.base_value, layout.explanation_scale)
    return (*head, *scores, to_json(row.top_shap_features).decode(), to_json(row.record).decode(), row.source, row.key)


def old_bytes(path: Path, rows: Sequence[PredictionRow]) -> float:
    """Return the bytes of a prediction in a SQLite journal of version 0007."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA page_size=2048; {OLD_TABLE}")
        marks = ", ".join("?" * 13)
        connection.executemany(f"INSERT INTO predictions VALUES ({marks})", map(old_values, rows))
        connection.commit()
    return path.stat().st_size / len(rows)


def sqlite_bytes(engine: Engine) -> float:
    """Return the bytes of a prediction in the journal's file, with its indexes and the customer's hash."""
    with engine.connect() as connection:
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
        (size,) = connection.exec_driver_sql("PRAGMA page_size").one()
    return float(pages * size / ROWS)


def microseconds_each(
    write: Callable[[Sequence[PredictionRow]], None], rows: Sequence[PredictionRow], size: int
) -> float:
    """Return the CPU time of this process for each prediction, written in groups of a size."""
    started = time.process_time()
    for start in range(0, len(rows), size):
        write(rows[start : start + size])
    return 1e6 * (time.process_time() - started) / len(rows)


def in_sqlite(folder: Path, rows: Sequence[PredictionRow]) -> tuple[float, float]:
    """Return bytes and write time of a prediction, in groups as a loaded service writes them."""
    engine = open_database(f"sqlite:///{folder}/journal.db", durability="process")
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()

        def write(group: Sequence[PredictionRow]) -> None:
            commit_directly(connection, partial(insert_predictions, connection, group))

        taken = microseconds_each(write, rows, GROUP)
    size = sqlite_bytes(engine)
    engine.dispose()
    return size, taken


def in_postgresql(rows: Sequence[PredictionRow]) -> list[Claim]:
    """Return bytes and write time of a prediction of a file; nothing without PostgreSQL."""
    if find_part("postgresql") is None:
        return []
    with private_cluster() as cluster:
        engine = open_database(cluster.url, durability="process")
        taken = microseconds_each(partial(write_predictions, engine), rows, BULK)
        query = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('predictions')"
        with engine.connect() as connection:
            size = float(connection.exec_driver_sql(query).scalar_one()) / len(rows)
        engine.dispose()
    return [
        Claim("bytes of a prediction in PostgreSQL, with indexes", size, "bytes"),
        Claim(f"CPU of a prediction written to PostgreSQL, {BULK:,} at once", taken, "µs"),
    ]


def decode_seconds(rows: Sequence[PredictionRow], schema: Schema) -> tuple[float, float]:
    """Return the CPU time to encode a million packed predictions, and as many JSON texts by the standard library."""
    packed, texts = PackedInputs.of(rows), [to_json(row.record) for row in rows[:2_000]]
    started = time.process_time()
    for _ in range(DECODED // len(rows)):
        decode_inputs(packed, schema)
    ours = time.process_time() - started
    started = time.process_time()
    for text in texts:
        json.loads(text)
    return ours, (time.process_time() - started) * DECODED / len(texts)


def measure() -> Result:
    """Measure predictions of the telecom table."""
    project = Project.default()
    rows = rows_of(project)
    with tempfile.TemporaryDirectory(prefix="churnops-journal-") as name:
        before = old_bytes(Path(name, "old.db"), rows)
        size, taken = in_sqlite(Path(name), rows)
    ours, theirs = decode_seconds(rows, project.settings.table)
    claims = [
        Claim(
            "bytes of a prediction in SQLite, with indexes",
            size,
            "bytes",
            before / 2,
            peer="JSON",
            peer_measured=before,
        ),
        Claim(f"CPU of a prediction written to SQLite, {GROUP} a commit", taken, "µs"),
        *in_postgresql(rows),
        Claim(
            "CPU to decode and encode a million predictions", ours, "s", 1.0, peer="json.loads", peer_measured=theirs
        ),
    ]
    return Result(
        title="Journal",
        about=(
            f"{ROWS:,} predictions for customers of the telecom table (19 inputs), with six reasons each. The peer of "
            "the bytes is the table of schema version 0007, which had inputs and reasons as JSON texts. In SQLite the "
            "bytes are those of the whole file."
        ),
        claims=claims,
    )
