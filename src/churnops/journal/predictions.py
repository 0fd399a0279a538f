"""Predictions in the journal: one row for each answer, with the customer's record and the model."""

import os
import re
import struct
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from churnops.journal.exposures import Exposure, log_exposures
from churnops.journal.inserts import insert_rows
from churnops.journal.layouts import Layout
from churnops.journal.seen import log_customers
from churnops.journal.stored_layouts import keep_layouts
from churnops.journal.tables import VERSION_TABLE, microseconds, predictions

_COLUMNS = tuple(column.name for column in predictions.columns)
ALL_TIMES = (-(2**63), 2**63 - 1)
"""All times that the table can keep, in microseconds since 1970."""
_DAY = 86_400_000_000
_VERSION_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_PROBE = Layout("", "", None, None, ())
_PROBE_BYTES = 16_384  # more than a page, so the test row needs free space, as a prediction does


class PredictionRow(NamedTuple):
    """One answer in the journal, as its table keeps it.

    `at` has a time zone. `inputs`, `reasons` and `rest` are packed by `layout`. `source` is "api" or "batch". `key` is
    the id of the request's API key, None without one.
    """

    id: str
    at: datetime
    customer_id: str | None
    layout: Layout
    churn_probability: float
    churn_prediction: bool
    inputs: bytes
    reasons: bytes | None
    rest: str | None
    source: str
    key: str | None = None

    @property
    def record(self) -> dict[str, Any]:
        """Inputs as JSON values, with the Schema's names as keys."""
        return self.layout.record(self.inputs, self.rest)

    @property
    def top_shap_features(self) -> list[Any] | None:
        """Reasons as they were answered; None if the prediction has none."""
        return self.layout.reasons(self.reasons, self.rest)


def new_prediction_id() -> str:
    """Return a new UUID of version 7 (RFC 9562, method 3): the time in quarters of a microsecond, and 62 random bits.

    Later ids sort later, so an index grows at its end. The bits come from the system, so each process has its own.

    >>> from uuid import UUID
    >>> UUID(new_prediction_id()).version
    7
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | rest * 4096 // 1_000_000
    text = f"{high << 64 | 1 << 63 | _random_bits() >> 2:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def times_of(ids: Collection[str]) -> tuple[int, int]:
    """Return the times between which predictions with these ids were most likely made, in microseconds since 1970.

    An id tells the time of its making. A day is added on both sides, because clocks are corrected. All times, if an id
    is no UUID of version 7.

    >>> low, high = times_of(["018f2f3c-5b00-7000-8000-000000000000"])
    >>> (high - low) // 86_400_000_000
    2
    """
    if not ids or not all(_VERSION_7.fullmatch(id_) for id_ in ids):
        return ALL_TIMES
    made = [int(id_[:8] + id_[9:13], 16) * 1000 for id_ in (min(ids), max(ids))]
    return made[0] - _DAY, made[1] + _DAY


# Fetched many at once: a system call for each id would more than double the time of `new_prediction_id`, and release
# Python's lock.
_random: list[int] = []
os.register_at_fork(after_in_child=_random.clear)


def _random_bits() -> int:
    try:
        return _random.pop()
    except IndexError:
        first, *others = struct.unpack("256Q", os.urandom(2048))
        _random.extend(others)
        return int(first)


def write_predictions(engine: Engine, rows: Sequence[PredictionRow], exposures: Sequence[Exposure] = ()) -> None:
    """Write rows and their exposures in one transaction, without rows whose id is in the journal already.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database refuses the rows. Nothing is written then.
    """
    with engine.begin() as connection:
        insert_predictions(connection, rows, exposures)


def write_nothing(engine: Engine) -> None:
    """Test that predictions can be written: insert one and roll it back, then commit an update without effect.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database refuses to write.
    """
    inputs = bytes(_PROBE_BYTES)
    row = PredictionRow(new_prediction_id(), datetime.now(UTC), None, _PROBE, 0, False, inputs, None, None, "api")
    with engine.begin() as connection:
        with connection.begin_nested() as nested:
            insert_predictions(connection, [row])
            nested.rollback()
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = version_num")  # noqa: S608


def insert_predictions(
    connection: Connection, rows: Sequence[PredictionRow], exposures: Sequence[Exposure] = ()
) -> None:
    """Insert rows and their exposures in the caller's transaction."""
    keep_layouts(connection, (row.layout for row in rows))
    values = [(row.id, microseconds(row.at), row.customer_id, row.layout.id, *row[4:]) for row in rows]
    insert_rows(connection, predictions.name, _COLUMNS, values, skip_known=True)
    log_customers(connection, [row.customer_id for row in rows if row.customer_id is not None])
    log_exposures(connection, exposures)
