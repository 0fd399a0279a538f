"""Newest columns of customers, so that a request may name a customer instead of sending the columns.

Each customer has one row, rows by its primary key. Rows are packed like the inputs of predictions.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, delete, func, select

from churnops.errors import DataError
from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.layouts import Layout
from churnops.journal.stored_layouts import keep_layouts, read_layouts
from churnops.journal.tables import microseconds, moment, online_rows
from churnops.schema import Schema

AHEAD = timedelta(days=1)
"""Tolerance of a row's time, as clocks differ."""
PART = 1_000
"""Number of rows that one transaction writes or removes; other writers wait for it."""
_CHUNK = 500  # limit of one IN (...)
_COLUMNS = tuple(online_rows.c.keys())
_NEWER = (
    "(customer_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "customer_id")
    + " WHERE excluded.at >= online_rows.at"
)


class NewRow(NamedTuple):
    """Packed columns of a customer, with the time in microseconds from which they hold."""

    customer_id: str
    at: int
    inputs: bytes
    rest: str | None


class OnlineRow(NamedTuple):
    """Stored columns of a customer, still packed, and the time from which they hold."""

    at: datetime
    layout: Layout
    inputs: bytes
    rest: str | None

    @property
    def record(self) -> dict[str, Any]:
        """JSON values by column."""
        return self.layout.record(self.inputs, self.rest)


def check_storable(schema: Schema) -> None:
    """Refuse models that read a personal column: the journal never has its values.

    Raises
    ------
    DataError
        Names the first such column.
    """
    if personal := [column for column in schema.model_inputs if column.personal]:
        raise DataError(
            f"column {personal[0].full_name} is personal and an input of the model, so it cannot be stored: send all "
            "columns with each request"
        )


def write_online_rows(engine: Engine, layout: Layout, rows: Sequence[NewRow]) -> int:
    """Store rows of one layout, in short transactions; return the number of customers whose row is new or newer.

    The newest row of a customer stays. Of rows with the same time it is the last one written.

    Raises
    ------
    DataError
        If a time is more than a day ahead: later rows would never replace this one.
    JournalError
        If the database does not answer.
    """
    limit = microseconds(datetime.now(UTC) + AHEAD)
    if ahead := sum(row.at > limit for row in rows):
        raise DataError(f"{ahead:,} rows have a time in the future: check the sender's clock")
    newest = {row.customer_id: row for row in sorted(rows, key=lambda row: row.at)}
    written = [(row.customer_id, row.at, layout.id, row.inputs, row.rest) for row in newest.values()]
    count = 0
    with answering():
        for start in range(0, len(written), PART):
            with exclusive(engine) as connection:
                keep_layouts(connection, [layout])
                part = written[start : start + PART]
                count += insert_rows(connection, "online_rows", _COLUMNS, part, skip_known=False, update=_NEWER)
    return count


def read_online_rows(engine: Engine, customers: Sequence[str]) -> dict[str, OnlineRow]:
    """Return the stored columns of customers, by id; customers without a row are left out.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    rows: list[Any] = []
    mark = {"sqlite": "?", "postgresql": "%s"}[engine.dialect.name]
    with answering(), engine.connect() as connection:
        for start in range(0, len(customers), _CHUNK):
            ids = tuple(customers[start : start + _CHUNK])
            # By the driver: for one row, SQLAlchemy's expressions would take longer than the database.
            query = f"SELECT * FROM online_rows WHERE customer_id IN ({', '.join([mark] * len(ids))})"  # noqa: S608
            rows += connection.exec_driver_sql(query, ids)
    layouts = read_layouts(engine, {row.layout for row in rows})
    return {row.customer_id: OnlineRow(moment(row.at), layouts[row.layout], row.inputs, row.rest) for row in rows}


def count_older(engine: Engine, before: datetime) -> int:
    """Return the number of rows from before a time.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering(), engine.connect() as connection:
        older = select(func.count()).where(online_rows.c.at < microseconds(before))
        return int(connection.execute(older).scalar_one())


def remove_older(engine: Engine, before: datetime) -> int:
    """Remove rows from before a time, in short transactions in the order of their keys; return their number.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    limit, removed, last = microseconds(before), 0, ""
    table = online_rows.c
    keys = select(table.customer_id, table.at).order_by(table.customer_id).limit(PART)
    with answering():
        while True:
            with engine.connect() as connection:
                rows = connection.execute(keys.where(table.customer_id > last)).all()
            if old := [row.customer_id for row in rows if row.at < limit]:
                with exclusive(engine) as connection:
                    chosen = table.customer_id.in_(old) & (table.at < limit)
                    removed += connection.execute(delete(online_rows).where(chosen)).rowcount
            if len(rows) < PART:
                return removed
            last = rows[-1].customer_id
