"""Newest scores in the order of what is at risk, read through an index, and whom a new call list leaves out."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, Row, func, literal, select, tuple_

from churnops.journal.contacts import contacted_since, listed_since
from churnops.journal.database import answering
from churnops.journal.decoding import PackedInputs
from churnops.journal.stored_layouts import read_layouts
from churnops.journal.tables import labels, microseconds, newest_scores, predictions

PAGE = 500
"""Number of scores that one query reads."""

_RANKED = tuple(newest_scores.c[name] for name in ("at_risk", "value", "customer_id"))
_FIELDS = (*_RANKED, newest_scores.c.probability, newest_scores.c.prediction, newest_scores.c.at)


class RankedScore(NamedTuple):
    """The newest score of a customer; `value` is 0 if the policy names no column. `at` is in microseconds."""

    at_risk: float
    value: float
    customer_id: str
    probability: float
    prediction: str
    at: int


class RecordedInputs(NamedTuple):
    """Inputs and reasons of predictions, by the prediction's place in `ids`."""

    ids: list[str]
    inputs: PackedInputs
    reasons: list[bytes | None]


def ranked_scores(engine: Engine, above: float, lowest: float = 0.0) -> Iterator[list[RankedScore]]:
    """Yield the newest scores in pages: what is at risk first, then the value, both from the largest down.

    Parameters
    ----------
    above
        Only customers with more at risk than this.
    lowest
        Lowest probability.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    key, table = tuple_(*_RANKED), newest_scores.c
    query = select(*_FIELDS).where(table.at_risk > above, table.probability >= lowest)
    ordered = query.order_by(*(column.desc() for column in _RANKED)).limit(PAGE)
    page: list[RankedScore] = []
    while True:
        with answering(), engine.connect() as connection:
            following = ordered.where(key < tuple_(*map(literal, page[-1][:3]))) if page else ordered
            page = [RankedScore(*row) for row in connection.execute(following)]
        if page:
            yield page
        if len(page) < PAGE:
            return


def count_without_value(engine: Engine) -> int:
    """Return the number of customers for whom it is not known what is at risk."""
    query = select(func.count()).select_from(newest_scores).where(newest_scores.c.at_risk.is_(None))
    with answering(), engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def left_out(
    engine: Engine, ids: Sequence[str], since: datetime | None, scored_at: Sequence[int]
) -> dict[str, Literal["left", "contacted", "listed"]]:
    """Return the customers among `ids` (500 at most) whom a new call list leaves out, with the reason.

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
        for start in range(0, len(given), PAGE):
            part, times = zip(*given[start : start + PAGE], strict=True)
            low, high = min(times), max(times)
            query = select(table.id, table.layout, table.inputs, table.rest, table.reasons)
            rows += connection.execute(query.where(table.id.in_(part), table.at.between(low, high))).all()
    names, layouts, inputs, rests, reasons = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [], [])
    return RecordedInputs(names, PackedInputs(read_layouts(engine, layouts), layouts, inputs, rests), reasons)


def _left(connection: Connection, ids: Sequence[str], scored_at: Sequence[int]) -> set[str]:
    """Return the customers whose latest label says that they left after their score."""
    query = select(labels.c.subject, labels.c.churned, labels.c.outcome_at)
    own = query.where(labels.c.subject.in_(ids), labels.c.subject_kind == "customer")
    last = {row.subject: row for row in connection.execute(own.order_by(labels.c.revision))}
    at = dict(zip(ids, scored_at, strict=True))
    return {id_ for id_, row in last.items() if row.churned and row.outcome_at >= at[id_]}
