"""Remove one customer's rows from the journal."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, func, make_url, select

from churnops.journal.database import IN_MEMORY, answering, exclusive
from churnops.journal.seen import customer_hash
from churnops.journal.tables import (
    call_list_rows,
    contacts,
    customers,
    customers_log,
    experiments,
    exposures,
    exposures_log,
    labels,
    newest_scores,
    online_rows,
    predictions,
    shadow_scores,
)

PART = 500
"""Number of predictions in one condition."""


def count_customer(engine: Engine, customer: str) -> dict[str, int]:
    """Return the number of a customer's rows in each table that may have some.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering(), engine.connect() as connection:
        return {
            table.name: sum(
                connection.execute(select(func.count()).select_from(table).where(rows)).scalar_one() for rows in parts
            )
            for table, parts in _rows_of(customer, _predictions_of(connection, customer))
        }


def forget_customer(engine: Engine, customer: str) -> dict[str, int]:
    """Delete a customer's rows in one transaction; return their number in each table.

    SQLite overwrites them with zeros. PostgreSQL vacuums the tables afterwards.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering():
        with engine.connect() as connection:
            ids = _predictions_of(connection, customer)  # before the lock, because it reads the whole table
        with exclusive(engine) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            deleted = {
                table.name: sum(connection.execute(delete(table).where(rows)).rowcount for rows in parts)
                for table, parts in _rows_of(customer, ids)
            }
        if engine.dialect.name == "postgresql":
            # By the driver, because VACUUM cannot run in a transaction. PostgreSQL repeats a failed one by itself.
            with engine.connect() as connection, suppress(engine.dialect.loaded_dbapi.Error):
                connection.connection.cursor().execute(f"VACUUM {', '.join(deleted)}")
    return deleted


def rewrite_unused_pages(url: str) -> bool:
    """Rewrite a SQLite journal without its unused pages, which may hold deleted rows, and empty its log.

    Returns False, and changes nothing, if a process has the journal open or the disk is full.
    """
    database = make_url(url).database
    if database in IN_MEMORY:
        return True
    with closing(sqlite3.connect(Path(str(database)), timeout=0.0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError:
            return False
    return True


def earlier_files(url: str) -> list[Path]:
    """Return the files that were a SQLite journal, or its log, before another file took their place."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or address.database in IN_MEMORY:
        return []
    database = Path(str(address.database))
    beginnings = tuple(f"{database.name}.{word}-" for word in ("replaced", "set-aside"))
    return sorted(path for path in database.parent.iterdir() if path.name.startswith(beginnings))


def _predictions_of(connection: Connection, customer: str) -> list[str]:
    return list(connection.execute(select(predictions.c.id).where(predictions.c.customer_id == customer)).scalars())


def _rows_of(customer: str, ids: Sequence[str]) -> Iterator[tuple[Table, list[ColumnElement[bool]]]]:
    """Yield each table with the conditions of the customer's rows, which do not overlap."""
    parts = [ids[start : start + PART] for start in range(0, len(ids), PART)]
    kind, subject = labels.c.subject_kind, labels.c.subject
    by_prediction = (and_(kind == "prediction", subject.in_(part)) for part in parts)
    hash_ = customer_hash(customer)
    yield labels, [and_(kind == "customer", subject == customer), *by_prediction]
    yield shadow_scores, [shadow_scores.c.id.in_(part) for part in parts]
    yield predictions, [predictions.c.id.in_(part) for part in parts]
    in_any = exposures.c.experiment.in_(select(experiments.c.id))  # lets the key of the table find the rows
    yield exposures, [and_(in_any, exposures.c.customer_id == customer)]
    yield exposures_log, [exposures_log.c.customer_id == customer]
    yield customers, [customers.c.hash == hash_]
    yield customers_log, [customers_log.c.hash == hash_]
    yield online_rows, [online_rows.c.customer_id == customer]
    for table in (newest_scores, call_list_rows, contacts):
        yield table, [table.c.customer_id == customer]
