"""Exposures: customers of a split, each with the arm that answered first.

Every answer appends to `exposures_log`, always on its last page. Housekeeping sorts the log into `exposures`, where a
customer is once for each experiment. So a split does not slow down the writing of predictions (see `journal.seen`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, select

from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.tables import exposures, exposures_log

PART = 2_000
"""Number of rows of the log that one transaction sorts; other writers wait for the transaction."""

_LOGGED = tuple(column.name for column in exposures_log.columns if not column.primary_key)


class Exposure(NamedTuple):
    """A customer's first answer in an experiment.

    `id` is that of the prediction; None if the journal does not have it, as after `churnops predict`. `at` is in
    microseconds since 1970. `challenger` is whether the customer is in the challenger's arm, and `fell_back` whether
    the champion answered in its place.
    """

    experiment: int
    customer_id: str
    id: str | None
    at: int
    challenger: bool
    fell_back: bool


def log_exposures(connection: Connection, rows: Sequence[Exposure]) -> None:
    """Append rows to the log, in the transaction that writes the predictions."""
    insert_rows(connection, exposures_log.name, _LOGGED, rows, skip_known=False)


def sort_exposures(engine: Engine) -> bool:
    """Sort a part of the log into `exposures`; return whether more may be left.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    oldest = select(exposures_log.c.number).order_by(exposures_log.c.number).limit(PART)
    with answering():
        with engine.connect() as connection:
            if connection.execute(oldest.limit(1)).first() is None:
                return False
        with exclusive(engine) as connection:
            moved = delete(exposures_log).where(exposures_log.c.number.in_(oldest)).returning(*exposures_log.c)
            rows = sorted(connection.execute(moved).tuples())  # by number: the first answer counts
            first = [Exposure(*row[1:]) for row in rows]
            ordered = sorted(first, key=lambda row: (row.experiment, row.customer_id))
            insert_rows(connection, exposures.name, Exposure._fields, ordered, skip_known=True)
            return len(rows) == PART
