"""Entries dated ahead: their time lies in the future, because the clock of the machine that wrote them was wrong.

In all tables but `predictions`, ids give the true order. Readers of these tables replace a future time by the time of
the next entry that is not dated ahead, or by the present if there is none. `entries_ahead` reports entries dated ahead.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, select

from churnops.journal.database import answering
from churnops.journal.tables import (
    alerts,
    cycles,
    decisions,
    deployments,
    labels,
    microseconds,
    moment,
    predictions,
)

TOLERANCE = timedelta(minutes=5)
"""Largest difference between two machines' clocks that is not reported."""

_NEWEST = 10_000
_REPLACED = "the time of the next entry, or the present, is used instead"
_TABLES: tuple[tuple[Table, Column[Any], str], ...] = (
    (deployments, deployments.c.at, _REPLACED),
    (cycles, cycles.c.at, _REPLACED),
    (decisions, decisions.c.at, _REPLACED),
    (alerts, alerts.c.at, _REPLACED),
    (labels, labels.c.recorded_at, _REPLACED),
    (predictions, predictions.c.at, "no window contains these predictions before their time"),
)


def settle(newest_first: Iterable[int], now: int) -> list[int]:
    """Return the times of entries; a time after `now` becomes that of the next entry that is not dated ahead, or `now`.

    Parameters
    ----------
    newest_first
        Times of entries in microseconds since 1970, by descending id.
    now
        The present in microseconds since 1970.

    Examples
    --------
    >>> settle([40, 99, 30, 98, 99], now=50)
    [40, 40, 30, 30, 30]
    >>> settle([99, 30], now=50)
    [50, 30]
    """
    times, last = [], now
    for at in newest_first:
        last = at if at <= now else last
        times.append(last)
    return times


def entries_ahead(engine: Engine, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each table with entries dated after now; it names the entry furthest ahead.

    The newest 10,000 entries of each table are checked, and all predictions.

    Parameters
    ----------
    now
        The present, with a zone. Entries up to `TOLERANCE` after it are not reported.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    limit, messages = now + TOLERANCE, []
    with answering(), engine.connect() as connection:
        for table, at, consequence in _TABLES:
            newest = select(table.c.id, at.label("at"))
            if table is not predictions:  # predictions have an index by time, and ids that are not numbers
                newest = newest.order_by(table.c.id.desc()).limit(_NEWEST)
            entries = newest.subquery()
            after = entries.c.at > (limit if table is deployments else microseconds(limit))
            row = connection.execute(select(entries).where(after).order_by(entries.c.at.desc()).limit(1)).first()
            if row is not None:
                time = in_utc(row.at) if table is deployments else moment(row.at)
                messages.append(
                    f"the journal's table {table.name} has entries dated ahead of this machine's clock, entry "
                    f"{row.id} by {_words(time - now)} ({time:%Y-%m-%d %H:%M} UTC): {consequence}"
                )
    return tuple(messages)


def database_time(connection: Connection) -> datetime:
    """Return the database's time. SQLite has none of its own, and its processes share this machine's clock."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return now
    return datetime.now(UTC)


def _words(span: timedelta) -> str:
    return f"{span.days:,} days" if span.days > 1 else f"{span / timedelta(hours=1):.1f} hours"


def in_utc(at: datetime) -> datetime:
    """Return a table's date-time in UTC. SQLite keeps no time zone; PostgreSQL returns the session's time zone."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
