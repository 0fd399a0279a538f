"""Partitions of PostgreSQL's table `predictions`: one for each month in UTC, and one for any other time.

The service makes the partitions of the present and the next months ahead of time. A prediction without a partition of
its own goes to `predictions_default`, so that writing never fails; `make_partitions` moves it when it makes the month.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine

from churnops.journal.database import answering, exclusive, run
from churnops.journal.tables import microseconds

MONTHS_AHEAD = 2
"""Number of months after the present one that have a partition."""

MAX_MONTHS = 240
"""Number of months before the newest prediction that get a partition in PostgreSQL."""

DEFAULT = "predictions_default"
_EXISTING = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions'::regclass"


def months(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the starts of the months from that of `first` to that of `last`, in UTC.

    >>> [f"{month:%Y-%m}" for month in months(datetime(2026, 11, 30, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))]
    ['2026-11', '2026-12', '2027-01']
    """
    count = (last.year - first.year) * 12 + last.month - first.month
    for number in range(count + 1):
        years, month = divmod(first.month - 1 + number, 12)
        yield datetime(first.year + years, month + 1, 1, tzinfo=UTC)


def next_months(now: datetime) -> list[datetime]:
    """Return the starts of the present month and of the next ones.

    >>> [f"{month:%Y-%m}" for month in next_months(datetime(2026, 11, 30, tzinfo=UTC))]
    ['2026-11', '2026-12', '2027-01']
    """
    years, month = divmod(now.month - 1 + MONTHS_AHEAD, 12)
    return list(months(now, datetime(now.year + years, month + 1, 1, tzinfo=UTC)))


def ensure_partitions(engine: Engine, now: datetime) -> None:
    """Make the missing partitions of the present and the next months; do nothing in SQLite.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    if engine.dialect.name != "postgresql":
        return
    with answering():
        with engine.connect() as connection:
            existing = set(connection.exec_driver_sql(_EXISTING).scalars())
        if missing := [month for month in next_months(now) if partition_name(month) not in existing]:
            with exclusive(engine) as connection:
                make_partitions(connection, missing)


def make_partitions(connection: Connection, wanted: Iterable[datetime]) -> None:
    """Make the missing partitions of months, in the caller's exclusive transaction; move rows of theirs there.

    Attaching a table takes a weaker lock than making a partition at once: predictions are written meanwhile.
    """
    existing = set(connection.exec_driver_sql(_EXISTING).scalars())
    for month in wanted:
        name = partition_name(month)
        if name in existing:
            continue
        begin, end = (microseconds(limit) for limit in (month, next_month(month)))
        its_rows = f"at >= {begin} AND at < {end}"
        run(connection, f"CREATE TABLE {name} (LIKE predictions INCLUDING ALL)")
        run(connection, f"ALTER TABLE {name} ADD CONSTRAINT {name}_at CHECK ({its_rows})")
        moved = f"DELETE FROM {DEFAULT} WHERE {its_rows} RETURNING *"  # noqa: S608
        run(connection, f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved")  # noqa: S608
        run(connection, f"ALTER TABLE predictions ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})")
        run(connection, f"ALTER TABLE {name} DROP CONSTRAINT {name}_at")


def month_partitions(engine: Engine) -> list[tuple[str, datetime]]:
    """Return the names and starts of all months with a partition, in order."""
    with engine.connect() as connection:
        names = sorted(set(connection.exec_driver_sql(_EXISTING).scalars()) - {DEFAULT})
    return [(name, datetime.strptime(name, "predictions_%Y_%m").replace(tzinfo=UTC)) for name in names]


def partition_name(month: datetime) -> str:
    """Return the name of a month's partition.

    >>> partition_name(datetime(2026, 11, 1, tzinfo=UTC))
    'predictions_2026_11'
    """
    return f"predictions_{month:%Y_%m}"


def next_month(month: datetime) -> datetime:
    """Return the start of the month after the one that begins at `month`."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
