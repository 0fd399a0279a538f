"""Distinct values of an indexed column, in time proportional to the number of values."""

from collections.abc import Iterator

from sqlalchemy import Column, ColumnElement, Connection, func, select


def distinct(connection: Connection, column: Column[str], *where: ColumnElement[bool]) -> Iterator[str]:
    """Yield a column's distinct texts, sorted. An index must begin with the columns of `where`, then `column`."""
    query = select(func.min(column)).where(*where)
    value = connection.execute(query).scalar()
    while value is not None:
        yield value
        value = connection.execute(query.where(column > value)).scalar()
