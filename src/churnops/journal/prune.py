"""Removal of old predictions, with their labels and shadow scores, and of ended splits' customers."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, tuple_
from sqlalchemy.exc import OperationalError

from churnops.errors import JournalError
from churnops.journal import newest_scores, online_rows
from churnops.journal.database import answering, exclusive, run
from churnops.journal.partitions import month_partitions, next_month
from churnops.journal.tables import experiments, exposures, labels, microseconds, predictions, shadow_scores

PART = 1_000
"""Number of predictions that one transaction removes; other writers wait for it."""

PAUSE_SECONDS = 0.05  # between two parts, for other writers
LOCK_SECONDS = 0.1  # that a month's removal may wait for its lock: new writers wait behind it
MAX_ATTEMPTS = 100
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE: the lock timeout has passed


class PrunedPredictions(NamedTuple):
    """Numbers of removed predictions and labels, of bytes that are free now, and of customers' stored columns."""

    predictions: int
    labels: int
    freed: int
    stored_columns: int = 0


def shortest_age(label_horizon: timedelta, window: timedelta, past_windows: int, history: timedelta) -> timedelta:
    """Return the age up to which monitoring and retraining read predictions.

    Monitoring reads the outcomes of a window that ended one label horizon ago, and of `past_windows` earlier ones.
    Retraining reads `history`, and outcomes are waited for during the label horizon.

    >>> day = timedelta(days=1)
    >>> shortest_age(30 * day, 7 * day, 4, 365 * day).days, shortest_age(90 * day, 90 * day, 4, 365 * day).days
    (365, 540)
    """
    return max(history, label_horizon + (past_windows + 1) * window)


def count_older(engine: Engine, before: datetime) -> PrunedPredictions:
    """Count the predictions before a time, the labels that were given for them, and customers' stored columns.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    older = predictions.c.at < microseconds(before)
    with answering(), engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(predictions).where(older)).scalar_one()
        own = connection.execute(select(func.count()).select_from(labels).where(_labels_of(older))).scalar_one()
    return PrunedPredictions(rows, own, 0, online_rows.count_older(engine, before))


def prune(engine: Engine, before: datetime) -> PrunedPredictions:
    """Remove predictions, newest scores and customers' stored columns before a time, in short transactions.

    An interrupted removal can be repeated.

    In SQLite the bytes are free for new predictions. PostgreSQL drops months that are older as a whole, and returns
    their bytes to the system; those of other rows are not counted.

    Raises
    ------
    JournalError
        If the database does not answer, or a month stays locked.
    """
    with answering():
        free, parts = _free_bytes(engine), []
        if engine.dialect.name == "postgresql":
            old = [name for name, month in month_partitions(engine) if next_month(month) <= before]
            parts = [_drop_month(engine, name) for name in old]
        while (part := _remove_part(engine, before)).predictions:
            parts.append(part)
            time.sleep(PAUSE_SECONDS)
        newest_scores.remove_older(engine, before)
        stored = online_rows.remove_older(engine, before)
        while _remove_exposures(engine, before):
            time.sleep(PAUSE_SECONDS)
        rows, own, dropped, _ = (sum(numbers) for numbers in zip((0, 0, 0, 0), *parts, strict=True))
        return PrunedPredictions(rows, own, dropped + _free_bytes(engine) - free, stored)


def _labels_of(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return (labels.c.subject_kind == "prediction") & labels.c.subject.in_(select(predictions.c.id).where(condition))


def _remove_part(engine: Engine, before: datetime) -> PrunedPredictions:
    """Remove the oldest predictions before a time, `PART` at most."""
    oldest = select(predictions.c.id).where(predictions.c.at < microseconds(before)).order_by(predictions.c.at)
    with exclusive(engine) as connection:
        ids = connection.execute(oldest.limit(PART)).scalars().all()
        chosen = predictions.c.id.in_(ids) & (predictions.c.at < microseconds(before))
        own = _remove_belongings(connection, ids)
        connection.execute(delete(predictions).where(chosen))
    return PrunedPredictions(len(ids), own, 0)


def _remove_exposures(engine: Engine, before: datetime) -> int:
    """Remove customers of splits that ended before a time, `PART` at most; return their number."""
    ended = select(experiments.c.id).where(experiments.c.ended_at < microseconds(before))
    columns = (exposures.c.experiment, exposures.c.customer_id)
    oldest = select(*columns).where(exposures.c.experiment.in_(ended)).limit(PART)
    with exclusive(engine) as connection:
        return connection.execute(delete(exposures).where(tuple_(*columns).in_(oldest))).rowcount


def _drop_month(engine: Engine, name: str) -> PrunedPredictions:
    """Remove the labels of a month, a part at a time, and drop its partition."""
    rows = own = 0
    last = ""
    query = f"SELECT id FROM {name} WHERE id > %s ORDER BY id LIMIT {PART}"  # noqa: S608
    while True:
        with exclusive(engine) as connection:
            ids = connection.exec_driver_sql(query, (last,)).scalars().all()
            own += _remove_belongings(connection, ids)
        if not ids:
            break
        rows, last = rows + len(ids), ids[-1]
    return PrunedPredictions(rows, own, _drop(engine, name))


def _drop(engine: Engine, name: str) -> int:
    """Drop a table and return its bytes; wait only briefly for its lock, because new writers wait behind it."""
    for _ in range(MAX_ATTEMPTS):
        try:
            with engine.begin() as connection:
                size = _scalar(connection, f"SELECT pg_total_relation_size('{name}')")
                run(connection, f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")
                run(connection, f"DROP TABLE {name}")
            return size
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            time.sleep(PAUSE_SECONDS)
    raise JournalError(f"table {name} stays locked by another session: repeat the command later")


def _remove_belongings(connection: Connection, ids: Sequence[str]) -> int:
    """Remove the shadow scores of predictions, and the labels given for them; return the number of labels."""
    connection.execute(delete(shadow_scores).where(shadow_scores.c.id.in_(ids)))
    own = delete(labels).where(labels.c.subject_kind == "prediction", labels.c.subject.in_(ids))
    return connection.execute(own).rowcount


def _scalar(connection: Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar_one())


def _free_bytes(engine: Engine) -> int:
    """Return the bytes of a SQLite file's free pages; 0 for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return 0
    with engine.connect() as connection:
        return _scalar(connection, "PRAGMA freelist_count") * _scalar(connection, "PRAGMA page_size")
