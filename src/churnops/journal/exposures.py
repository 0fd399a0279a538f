"""Exposures: customers of a split, each with the arm that answered first.

Every answer appends to `exposures_log`, always on its last page. Housekeeping sorts the log into `exposures`, where a
customer is once for each experiment. So a split does not slow down the writing of predictions (see `journal.seen`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select, text

from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.tables import exposures, exposures_log

PART = 2_000
"""Number of rows of the log that one transaction sorts; other writers wait for the transaction."""

_LOGGED = tuple(column.name for column in exposures_log.columns if not column.primary_key)
_SORT = text(  # by number: the first answer counts
    f"INSERT INTO {exposures.name} ({', '.join(_LOGGED)}) SELECT {', '.join(_LOGGED)} FROM {exposures_log.name} "  # noqa: S608
    "WHERE number <= :last ORDER BY experiment, customer_id, number ON CONFLICT DO NOTHING"
)


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
    oldest = select(exposures_log.c.number).order_by(exposures_log.c.number).limit(PART).subquery()
    with answering():
        with engine.connect() as connection:
            if connection.execute(select(oldest).limit(1)).first() is None:
                return False
        with exclusive(engine) as connection:
            last = connection.execute(select(func.max(oldest.c.number))).scalar_one()
            if last is None:  # another process has sorted them meanwhile
                return False
            connection.execute(_SORT, {"last": last})
            return connection.execute(delete(exposures_log).where(exposures_log.c.number <= last)).rowcount == PART
