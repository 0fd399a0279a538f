"""Rows of the journal's tables in the order of their keys, with the same values from SQLite and PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, Table, Text, collate, func, insert, select

from churnops.journal.inserts import copy_rows

Values = tuple[Any, ...]
PAGE = 2_000
"""Number of rows in memory at a time."""


def key_of(table: Table) -> list[str]:
    """Return the columns that identify a row; a table without a key has one row at most."""
    return list(table.primary_key.columns.keys()) or list(table.columns.keys())


def ordered_rows(connection: Connection, table: Table) -> Iterator[Values]:
    """Yield all rows, in the order of their keys; the caller's transaction stays open."""
    text = "C" if connection.dialect.name == "postgresql" else "BINARY"  # any other order depends on the server
    keys = (table.c[name] for name in key_of(table))
    order = (collate(key, text) if isinstance(key.type, Text) else key for key in keys)
    rows = connection.execution_options(yield_per=PAGE).execute(select(table).order_by(*order))
    return map(_plain, rows)


def row_count(connection: Connection, table: Table) -> int:
    """Return the number of rows."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def content_hash(connection: Connection, table: Table) -> tuple[int, str]:
    """Return the number of rows, and the SHA-256 of all values in order."""
    digest, rows = sha256(), 0
    for row in ordered_rows(connection, table):
        digest.update(repr(row).encode())
        rows += 1
    return rows, digest.hexdigest()


def write(connection: Connection, table: Table, rows: list[Values]) -> None:
    """Insert rows in the caller's transaction."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        copy_rows(connection, table.name, [f'"{column.name}"' for column in table.columns], rows)
    else:
        connection.execute(insert(table), [dict(zip(table.columns.keys(), row, strict=True)) for row in rows])


def _plain(row: Row[Any]) -> Values:
    return tuple(_in_utc(value) if isinstance(value, datetime) else value for value in row)


def _in_utc(at: datetime) -> datetime:
    """Return a time in UTC; SQLite has no zones, and keeps times in UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
