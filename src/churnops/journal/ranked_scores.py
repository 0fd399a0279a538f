"""Newest scores in the order of what is at risk, read through an index, and whom a new call list leaves out."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, Row, Select, func, literal, select, tuple_

from churnops.journal.among import among
from churnops.journal.contacts import contacted_since, listed_since
from churnops.journal.database import answering
from churnops.journal.decoding import PackedInputs
from churnops.journal.segments import Where, segment
from churnops.journal.stored_layouts import read_layouts
from churnops.journal.tables import labels, microseconds, newest_scores, predictions

PAGE = 500
"""Number of scores that the first query of a ranking reads; each following one reads four times as many."""

MAX_PAGE = 16_000
"""Largest number of scores that one query reads. PostgreSQL may sort a whole segment for each query."""

_CHUNK = 500  # number of predictions that one query reads
_RANKED = tuple(newest_scores.c[name] for name in ("at_risk", "value", "customer_id"))


class RankedScore(NamedTuple):
    """The newest score of a customer; `value` is 0 if the policy names no column. `at` is in microseconds.

    `in_segment` is False if only the prediction's inputs decide whether the customer is in the segment.
    """

    at_risk: float
    value: float
    customer_id: str
    probability: float
    in_segment: bool
    prediction: str
    at: int


class RecordedInputs(NamedTuple):
    """Inputs and reasons of predictions, by the prediction's place in `ids`."""

    ids: list[str]
    inputs: PackedInputs
    reasons: list[bytes | None]


def ranked_scores(engine: Engine, above: float, lowest: float = 0.0, where: Where = ()) -> Iterator[list[RankedScore]]:
    """Yield the newest scores in pages: what is at risk first, then the value, both from the largest down.

    Parameters
    ----------
    above
        Only customers with more at risk than this.
    lowest
        Lowest probability.
    where
        Levels of columns: only customers who have one of each, or of whom only the prediction's inputs decide it.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    key, table = tuple_(*_RANKED), newest_scores.c
    with answering(), engine.connect() as connection:
        possible, sure = segment(connection, where)
    query = select(*_RANKED, table.probability, sure.label("in_segment"))
    query = query.where(table.at_risk > above, table.probability >= lowest, possible)
    ordered = query.order_by(*(column.desc() for column in _RANKED))
    page: list[RankedScore] = []
    size = PAGE
    while True:
        with answering(), engine.connect() as connection:
            following = ordered.where(key < tuple_(*map(literal, page[-1][:3]))) if page else ordered
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL jit = off")  # compiling takes longer than a page
            rows = connection.execute(_with_predictions(following.limit(size)))
            page = [RankedScore(*row) for row in rows]
        if page:
            yield page
        if len(page) < size:
            return
        size = min(4 * size, MAX_PAGE)


def _with_predictions(ranked: Select[Any]) -> Select[Any]:
    """Select a page within the index, and only for its customers what the index lacks."""
    page = ranked.subquery("page")
    query = select(page, newest_scores.c.prediction, newest_scores.c.at)
    joined = query.join_from(page, newest_scores, newest_scores.c.customer_id == page.c.customer_id)
    return joined.order_by(*(page.c[column.name].desc() for column in _RANKED))


def count_without_value(engine: Engine) -> int:
    """Return the number of customers for whom it is not known what is at risk."""
    query = select(func.count()).select_from(newest_scores).where(newest_scores.c.at_risk.is_(None))
    with answering(), engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def left_out(
    engine: Engine, ids: Sequence[str], since: datetime | None, scored_at: Sequence[int]
) -> dict[str, Literal["left", "contacted", "listed"]]:
    """Return the customers among `ids` whom a new call list leaves out, with the reason.

    Parameters
    ----------
    since
        Beginning of the time in which a contact or a list counts; None: they do not count.
    scored_at
        Time of each customer's score in microseconds. A customer who left after it is left out.
    """
    reasons: dict[str, Literal["left", "contacted", "listed"]] = {}
    with answering(), engine.connect() as connection:
        if since is not None:
            reasons |= dict.fromkeys(listed_since(connection, ids, microseconds(since)), "listed")
            reasons |= dict.fromkeys(contacted_since(connection, ids, microseconds(since)), "contacted")
        return reasons | dict.fromkeys(_left(connection, ids, scored_at), "left")


def recorded_inputs(engine: Engine, given: Sequence[tuple[str, int]]) -> RecordedInputs:
    """Return the inputs and reasons of predictions; those that are no longer in the journal are left out.

    Parameters
    ----------
    given
        Id and time of each prediction, in microseconds; PostgreSQL reads the partitions of these times.
    """
    table = predictions.c
    rows: list[Row[Any]] = []
    with answering(), engine.connect() as connection:
        for start in range(0, len(given), _CHUNK):
            part, times = zip(*given[start : start + _CHUNK], strict=True)
            low, high = min(times), max(times)
            query = select(table.id, table.layout, table.inputs, table.rest, table.reasons)
            own = among(connection, table.id, part), table.at.between(low, high)
            rows += connection.execute(query.where(*own)).all()
    names, layouts, inputs, rests, reasons = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [], [])
    return RecordedInputs(names, PackedInputs(read_layouts(engine, layouts), layouts, inputs, rests), reasons)


def _left(connection: Connection, ids: Sequence[str], scored_at: Sequence[int]) -> set[str]:
    """Return the customers whose latest label says that they left after their score."""
    query = select(labels.c.subject, labels.c.churned, labels.c.outcome_at)
    own = query.where(among(connection, labels.c.subject, ids), labels.c.subject_kind == "customer")
    last = {row.subject: row for row in connection.execute(own.order_by(labels.c.revision))}
    at = dict(zip(ids, scored_at, strict=True))
    return {id_ for id_, row in last.items() if row.churned and row.outcome_at >= at[id_]}
