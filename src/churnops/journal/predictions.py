"""What was predicted, for whom, from what, by which model: one row for each answer."""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from churnops.journal.tables import microseconds, predictions


class PredictionRow(NamedTuple):
    """One answer, as it is written to the journal.

    `at` has a time zone. `inputs` is a JSON object by the Schema's names, `top_shap_features` a JSON list; `source` is
    "api" or "batch".
    """

    id: str
    at: datetime
    customer_id: str | None
    model_version: str
    content_sha256: str
    churn_probability: float
    churn_prediction: bool
    base_value: float | None
    explanation_scale: str | None
    top_shap_features: str | None
    inputs: str
    source: str


def new_prediction_id() -> str:
    """Return a new UUID of version 7 (RFC 9562, method 3): the time to a quarter of a microsecond, then 62 random bits.

    Later ids sort later, so an index grows at its end. The bits are the system's: processes do not repeat each other.

    >>> from uuid import UUID
    >>> UUID(new_prediction_id()).version
    7
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | rest * 4096 // 1_000_000
    low = 1 << 63 | int.from_bytes(os.urandom(8), "big") >> 2
    text = f"{high << 64 | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def write_predictions(engine: Engine, rows: Sequence[PredictionRow]) -> None:
    """Write rows in one transaction. A row whose id is there already changes nothing.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database refuses. Nothing is written then.
    """
    values = [(row.id, microseconds(row.at), *row[2:]) for row in rows]
    with engine.begin() as connection:
        # Text for the driver's executemany: a statement of SQLAlchemy would cost half as much again for each row.
        connection.exec_driver_sql(_INSERT[engine.dialect.name], values)


def _insert(mark: str) -> str:
    names = ", ".join(column.name for column in predictions.columns)
    marks = ", ".join([mark] * len(predictions.columns))
    return f"INSERT INTO predictions ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608


_INSERT = {"sqlite": _insert("?"), "postgresql": _insert("%s")}
