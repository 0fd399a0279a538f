"""Newest score of each customer, kept from the predictions without slowing down their writing.

The table `predictions` has no index on customers. So the service's housekeeping reads new predictions in the order of
their times, a part at a time, and keeps each customer's newest in `newest_scores`. Lists are then read in the order of
an index, and no query reads `predictions` as a whole.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, or_, select, update

from churnops.journal.database import answering, exclusive, run
from churnops.journal.decoding import Decoded, decode_rows
from churnops.journal.inserts import insert_rows
from churnops.journal.layouts import Layout
from churnops.journal.segments import pack_levels
from churnops.journal.stored_layouts import layouts_of
from churnops.journal.tables import microseconds, moment, newest_scores, newest_scores_state, predictions

PART = 2_000
"""Number of predictions that one transaction reads; other writers wait for it."""

SETTLED = timedelta(seconds=35)
"""Age after which no prediction with an earlier time is committed any more: a commit may take 30 seconds."""

PERIOD = timedelta(seconds=10)
"""Time between two readings of new predictions, by all processes together."""

LATE = SETTLED + timedelta(seconds=60)
"""Age of an unread prediction from which on the table is incomplete: it is being filled, or no service runs."""

_PERIOD = PERIOD // timedelta(microseconds=1)
_COLUMNS = tuple(newest_scores.c.keys())
_NEWER = (
    "(customer_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "customer_id")
    + " WHERE excluded.at >= newest_scores.at"
)


class NewestState(NamedTuple):
    """State of the table: its number of customers, and the time up to which predictions were read; None: of none.

    `value_column` is the column whose values the table has; None if it has none. `is_late`: predictions that are long
    due are not read yet, so the table may lack customers.
    """

    customers: int
    until: datetime | None
    value_column: str | None
    is_late: bool = False


def newest_state(engine: Engine) -> NewestState:
    """Return the state of the table.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering(), engine.connect() as connection:
        state = connection.execute(select(newest_scores_state)).first()
        customers = connection.execute(select(func.count()).select_from(newest_scores)).scalar_one()
        due = predictions.c.at < microseconds(datetime.now(UTC) - LATE)
        unread = select(predictions.c.at).where(due, *(() if state is None else _after(state))).limit(1)
        is_late = connection.execute(unread).first() is not None
    if state is None:
        return NewestState(customers, None, None, is_late)
    return NewestState(customers, moment(max(state.at, 0)), state.value_column or None, is_late)


def follow_predictions(
    engine: Engine, value_column: str | None, now: datetime | None = None, *, begin: bool = True
) -> bool:
    """Read a part of the new predictions; return whether more are left.

    Nothing is read if a process did so less than `PERIOD` ago. If the column with the values has changed, the table
    begins again.

    Parameters
    ----------
    begin
        Whether to fill the table if nobody has asked for it yet. Each prediction that is read costs time.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    until = microseconds((now or datetime.now(UTC)) - SETTLED)
    with answering():
        with engine.connect() as connection:
            state = connection.execute(select(newest_scores_state)).first()
            if state is None and (not begin or connection.execute(select(func.max(predictions.c.at))).scalar() is None):
                return False
        if state is not None and state.value_column == (value_column or "") and state.at > until - _PERIOD:
            return False
        with exclusive(engine) as connection:
            state = connection.execute(select(newest_scores_state)).first()
            if state is None or state.value_column != (value_column or ""):
                state = _begin(connection, value_column or "")
            return _read_part(connection, state, until)


def begin_again(engine: Engine, value_column: str | None) -> None:
    """Empty the table, so that `follow_predictions` reads all predictions again.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering(), exclusive(engine) as connection:
        _begin(connection, value_column or "")


def remove_older(engine: Engine, before: datetime) -> int:
    """Remove scores from before a time, whose predictions are pruned; return their number.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    older = newest_scores.c.at < microseconds(before)
    removed = 0
    with answering():
        with engine.connect() as connection:
            ids = connection.execute(select(newest_scores.c.customer_id).where(older)).scalars().all()
        for start in range(0, len(ids), PART):
            part = newest_scores.c.customer_id.in_(ids[start : start + PART])
            with exclusive(engine) as connection:
                removed += connection.execute(delete(newest_scores).where(part, older)).rowcount
    return removed


def _begin(connection: Connection, value_column: str) -> Row[Any]:
    """Empty the table; return its state before the first prediction."""
    run(
        connection, "TRUNCATE newest_scores" if connection.dialect.name == "postgresql" else "DELETE FROM newest_scores"
    )
    connection.execute(delete(newest_scores_state))
    first = {"value_column": value_column, "at": -(2**63), "prediction": ""}
    connection.execute(insert(newest_scores_state), first)
    return connection.execute(select(newest_scores_state)).one()


def _read_part(connection: Connection, state: Row[Any], until: int) -> bool:
    table = predictions.c
    scored = (table.id, table.at, table.customer_id, table.layout, table.churn_probability)
    after = or_(table.at > state.at, and_(table.at == state.at, table.id > state.prediction))
    query = (
        select(*scored, table.inputs, table.rest)
        .where(table.at >= state.at, table.at < until, after)
        .order_by(table.at, table.id)
    )
    rows = connection.execute(query.limit(PART)).all()
    newest = list({row.customer_id: row for row in rows if row.customer_id is not None}.values())  # the last of each
    _write(connection, newest, state.value_column)
    left = len(rows) == PART
    place = {"at": rows[-1].at, "prediction": rows[-1].id} if left else {"at": max(until, state.at), "prediction": ""}
    connection.execute(update(newest_scores_state).values(place))
    return left


def _after(state: Row[Any]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of the unread predictions; the first one uses the index."""
    table = predictions.c
    return table.at >= state.at, or_(table.at > state.at, and_(table.at == state.at, table.id > state.prediction))


def _write(connection: Connection, rows: Sequence[Row[Any]], value_column: str) -> None:
    """Write scores; without values, the probability itself is what is at risk."""
    levels: list[bytes] = [b""] * len(rows)
    values: list[float | None] = [None] * len(rows)
    for id_, layout in layouts_of(connection, (row.layout for row in rows)).items():
        places = [place for place, row in enumerate(rows) if row.layout == id_]
        decoded = decode_rows(layout, [rows[place].inputs for place in places], [rows[place].rest for place in places])
        for place, packed, value in zip(places, pack_levels(decoded), _values(decoded, value_column), strict=True):
            levels[place], values[place] = packed, value
    written = []
    for row, packed, value in zip(rows, levels, values, strict=True):
        at_risk = value and value * row.churn_probability if value_column else row.churn_probability
        score = (row.id, row.at, row.layout, row.churn_probability, value or 0.0, at_risk, packed)
        written.append((row.customer_id, *score))
    insert_rows(connection, newest_scores.name, _COLUMNS, written, skip_known=False, update=_NEWER)


def _values(decoded: Decoded, column: str) -> list[float | None]:
    """Return each customer's value: the number in a column of the inputs; None if it is missing or no number."""
    numbers: list[Any] = (
        decoded.values[column].tolist() if _has_numbers(decoded.layout, column) else [None] * decoded.rows
    )
    for place, other in decoded.others.get(column, {}).items():
        numbers[place] = other
    return [float(number) if type(number) in (int, float) and abs(number) < inf else None for number in numbers]


def _has_numbers(layout: Layout, name: str) -> bool:
    return any(column.name == name and column.kind in ("number", "integer") for column in layout.columns)
