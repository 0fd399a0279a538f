"""Remove one customer's rows from the journal."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, Table, and_, delete, func, make_url, or_, select

from churnops.journal.database import IN_MEMORY, answering, exclusive
from churnops.journal.seen import customer_hash
from churnops.journal.tables import customers, customers_log, labels, predictions


def count_customer(engine: Engine, customer: str) -> dict[str, int]:
    """Return the number of a customer's rows in each table that may have some.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering(), engine.connect() as connection:
        return {
            table.name: int(connection.execute(select(func.count()).select_from(table).where(rows)).scalar_one())
            for table, rows in _rows_of(customer)
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
        with exclusive(engine) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            deleted = {t.name: connection.execute(delete(t).where(rows)).rowcount for t, rows in _rows_of(customer)}
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:  # of the driver, because VACUUM cannot run in a transaction
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


def _rows_of(customer: str) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield each table with the condition of the customer's rows; labels first, because they name predictions."""
    hash_ = customer_hash(customer)
    own = select(predictions.c.id).where(predictions.c.customer_id == customer)
    by_id = and_(labels.c.subject_kind == "customer", labels.c.subject == customer)
    by_prediction = and_(labels.c.subject_kind == "prediction", labels.c.subject.in_(own))
    yield labels, or_(by_id, by_prediction)
    yield predictions, predictions.c.customer_id == customer
    yield customers, customers.c.hash == hash_
    yield customers_log, customers_log.c.hash == hash_
