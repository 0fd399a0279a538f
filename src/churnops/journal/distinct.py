"""Distinct values of an indexed column, in time that grows with the values and not with the rows."""

from collections.abc import Iterator

from sqlalchemy import Column, ColumnElement, Connection, func, select


def distinct(connection: Connection, column: Column[str], *where: ColumnElement[bool]) -> Iterator[str]:
    """Yield the different texts of a column, sorted; an index must begin with the columns of `where`, then `column`."""
    query = select(func.min(column)).where(*where)
    value = connection.execute(query).scalar()
    while value is not None:
        yield value
        value = connection.execute(query.where(column > value)).scalar()
