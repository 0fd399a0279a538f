"""Predictions of a window, read page by page and returned as columns."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Engine, Select, bindparam, or_, select

from churnops.journal.database import answering
from churnops.journal.outcomes import JOINED, Known, Outcomes, joined, resolve
from churnops.journal.stored_layouts import answered_by
from churnops.journal.tables import predictions

PAGE = 20_000
"""Number of predictions read in one transaction: a long one would delay the log of SQLite and PostgreSQL's vacuum."""
_FETCHED = 250  # rows that are tuples at the same time; from 700 on, Python searches for garbage


Page = tuple[Outcomes, list[list[Any]]]
"""Outcomes of a page of predictions, and columns of the table."""


@dataclass(frozen=True)
class WindowQuery:
    """Predictions with `since <= at < until` (microseconds since 1970), by time and id.

    Parameters
    ----------
    content_sha256
        Content of the only model whose predictions are read; None: of all.
    labelled
        Whether to read only predictions that have a label.
    """

    since: int
    until: int
    content_sha256: str | None = None
    labelled: bool = False


def read_pages(
    engine: Engine, window: WindowQuery, known: Known, columns: tuple[Column[Any], ...], size: int | None = None
) -> Iterator[Page]:
    """Yield pages of at most `size` predictions (default: `PAGE`) of a window: outcomes, and columns of the table.

    Every page is a transaction of its own, so an entry that is written meanwhile may be missing or not. What was known
    at a moment does not change afterwards. Values are those of the database's driver: SQLite's booleans are 0 or 1.
    """
    pages = _pages(engine, window, known, columns, size or PAGE)
    return _one_ahead(pages) if engine.dialect.name == "postgresql" else pages


def _one_ahead(pages: Iterator[Page]) -> Iterator[Page]:
    """Yield the pages; the server works on the next one while the caller uses the last one."""
    with ThreadPoolExecutor(1, "next page") as thread:
        following = thread.submit(next, pages, None)
        while (page := following.result()) is not None:
            following = thread.submit(next, pages, None)
            yield page


def _pages(
    engine: Engine, window: WindowQuery, known: Known, columns: tuple[Column[Any], ...], size: int
) -> Iterator[Page]:
    query = _page(engine.dialect.name, window.content_sha256 is not None, window.labelled, columns)
    place: dict[str, Any] = {"at": window.since, "id": ""}
    while True:
        with answering(), engine.connect() as connection:
            page = _fetch(connection, query, known._asdict() | vars(window) | place | {"size": size})
            if not page:
                return
            id_, *values = page
            outcomes = resolve(connection, values[:JOINED], known)
        yield outcomes, values[JOINED:]
        if len(id_) < size:
            return
        place = {"at": values[0][-1], "id": id_[-1]}


def _fetch(connection: Connection, query: Select[Any], parameters: Mapping[str, Any]) -> list[list[Any]]:
    """Return the columns of a query's result; an empty list without rows.

    SQLAlchemy's rows would take as long again as the query. Many tuples at once would make Python search its whole
    memory for garbage, again and again.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL jit = off")  # compiling takes longer than a page
    columns: list[list[Any]] = []
    with connection.execute(query, parameters) as result:
        assert result.cursor is not None
        while rows := result.cursor.fetchmany(_FETCHED):
            columns = columns or [[] for _ in rows[0]]
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
    return columns


@cache
def _page(dialect: str, of_model: bool, labelled: bool, columns: tuple[Column[Any], ...]) -> Select[Any]:
    """Select the next predictions of a window after (`at`, `id`), with the labels that count."""
    source, first = joined(dialect)
    table = predictions.c
    after = table.at >= bindparam("at"), or_(table.at > bindparam("at"), table.id > bindparam("id"))
    query = select(table.id, *first, *columns).select_from(source).where(*after, table.at < bindparam("until"))
    if of_model:
        query = query.where(answered_by(bindparam("content_sha256")))
    if labelled:
        query = query.where(first[2] > 0)
    return query.order_by(table.at, table.id).limit(bindparam("size"))
