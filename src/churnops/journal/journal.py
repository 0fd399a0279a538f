"""The journal: predictions joined with their outcomes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, Row, Select, and_, bindparam, exists, func, or_, select

from churnops.journal.database import answering, exclusive
from churnops.journal.labels import KnownLabel, Label, LabelCounts, LabelTimes, outcome, refuse_unknown, write_labels
from churnops.journal.predictions import PredictionRow
from churnops.journal.seen import unmatched
from churnops.journal.tables import labels, microseconds, moment, predictions
from churnops.schema import is_blank

_PAGE = 1_000  # rows fetched at a time
_LABEL = len(KnownLabel._fields)


class RecordedPrediction(NamedTuple):
    """A prediction and its outcome.

    `churned` is whether the customer left within the horizon, None while unknown; `known_at` is the time since which
    the outcome is known.
    """

    row: PredictionRow
    churned: bool | None
    known_at: datetime | None


class Journal:
    """Reads predictions and records labels. Every call is one transaction; safe for several processes and threads.

    Parameters
    ----------
    label_horizon : timedelta
        Time after a prediction within which a customer must leave for the outcome "churned".
    """

    def __init__(self, engine: Engine, *, label_horizon: timedelta) -> None:
        self._engine = engine
        self.label_horizon = label_horizon
        self._horizon = label_horizon // timedelta(microseconds=1)

    def check(self) -> None:
        """Read one row.

        Raises
        ------
        JournalError
            If the database does not answer.
        """
        with answering(), self._engine.connect() as connection:
            connection.execute(select(predictions.c.id).limit(1)).first()

    def prediction(self, prediction_id: str) -> RecordedPrediction | None:
        """Return a prediction with its present outcome, or None if there is no such prediction."""
        now = microseconds(datetime.now(UTC))
        query = _WITH_LABELS.where(predictions.c.id == prediction_id)
        with answering(), self._engine.connect() as connection:
            row = connection.execute(query, {"known_at": now, "present": now}).first()
            return None if row is None else self._recorded(row, now, LabelTimes(connection, now))

    def record_labels(self, labels: Sequence[Label], key: str | None = None) -> LabelCounts:
        """Record labels with the id of the API key that sent them. The latest label counts; all are kept.

        A label that repeats the latest one of its subject is counted as unchanged. One exception: "stayed" without a
        time is new after a day (`labels.SAME_STATEMENT`), because the customer has stayed longer.

        Raises
        ------
        UnknownPrediction
            If a prediction is not in the journal. None of the labels is recorded then.
        JournalError
            If the database does not answer.
        """
        with answering():
            # Other writers wait for the exclusive transaction, so it does nothing but write.
            with self._engine.connect() as connection:
                refuse_unknown(connection, labels)
            with exclusive(self._engine) as connection:
                counts = write_labels(connection, labels, datetime.now(UTC), key)
            with self._engine.connect() as connection:
                customers = [label.customer_id for label in labels if label.customer_id is not None]
                return replace(counts, unmatched=unmatched(connection, customers))

    def resolved(
        self, since: datetime, until: datetime, known_at: datetime, *, content_sha256: str | None = None
    ) -> Iterator[RecordedPrediction]:
        """Yield the predictions with `since <= at < until`, by time, with outcomes as known at `known_at`.

        With `content_sha256`, only predictions of the model with this content.

        Labels recorded after `known_at` are ignored, so the result for a past moment never changes. Of the other
        labels, one counts for a prediction:

        1. the latest one for the prediction itself, else
        2. the latest one for its customer with `at <= outcome_at`. An outcome before the prediction is no evidence.

        `labels.outcome` derives the outcome from this label. Without a label, the outcome is unknown, not "stayed".
        Labels dated ahead get a corrected time (see `clock`).

        The rows are streamed from one transaction, which ends with the iteration: iterate without pauses.
        """
        now, present, table = microseconds(known_at), microseconds(datetime.now(UTC)), predictions.c
        query = _WITH_LABELS.where(table.at >= microseconds(since), table.at < microseconds(until)).order_by(
            table.at, table.id
        )
        if content_sha256 is not None:
            query = query.where(table.content_sha256 == content_sha256)
        with (
            answering(),
            self._engine.connect() as connection,
            connection.execution_options(yield_per=_PAGE).execute(
                query, {"known_at": now, "present": present}
            ) as rows,  # closed if the caller stops early
        ):
            times = LabelTimes(connection, min(present, now))
            for row in rows:
                yield self._recorded(row, now, times)

    def newest_begin(self, count: int, until: datetime) -> datetime | None:
        """Return the time of the `count`-th newest prediction before `until`; None if there are fewer.

        As `since`, this time limits `resolved` to about `count` predictions.
        """
        at = predictions.c.at
        query = select(at).where(at < microseconds(until)).order_by(at.desc()).offset(count - 1).limit(1)
        with answering(), self._engine.connect() as connection:
            begin = connection.execute(query).scalar()
        return None if begin is None else moment(begin)

    def waiting(self, since: datetime, until: datetime, content_sha256: str) -> tuple[int, datetime | None]:
        """Return the number of a model's predictions in a window that have a label, and the earliest one's time."""
        at = predictions.c.at
        own = exists().where(labels.c.subject_kind == "prediction", labels.c.subject == predictions.c.id)
        customers = exists().where(
            labels.c.subject_kind == "customer",
            labels.c.subject == predictions.c.customer_id,
            labels.c.outcome_at >= at,
        )
        query = (
            select(func.count(), func.min(at))
            .where(at >= microseconds(since), at < microseconds(until))
            .where(predictions.c.content_sha256 == content_sha256, or_(own, customers))
        )
        with answering(), self._engine.connect() as connection:
            count, first = connection.execute(query).one()
        return count, None if first is None else moment(first)

    def _recorded(self, joined: Row[Any], now: int, times: LabelTimes) -> RecordedPrediction:
        values = tuple(joined)
        size, end = len(PredictionRow._fields), len(values)
        own, customers = values[size : size + _LABEL], values[end - _LABEL :]
        # Earlier versions accepted blank ids. A blank id names no customer, so customers' labels do not apply.
        nameless = values[2] is None or is_blank(values[2])
        label = own if own[0] is not None or nameless else customers
        known = times.settle(KnownLabel(*label)) if label[0] is not None else None
        churned, known_at = outcome(values[1], known, self._horizon, now)
        row = PredictionRow(values[0], moment(values[1]), None if nameless else values[2], *values[3:size])
        return RecordedPrediction(row, churned, None if known_at is None else moment(known_at))


def _with_labels() -> Select[Any]:
    """Select predictions, each with its own latest label and its customer's latest label; NULLs without one."""
    own, customers = labels.alias("own"), labels.alias("customers")
    older = labels.alias("older")
    recorded = or_(older.c.recorded_at <= bindparam("known_at"), older.c.recorded_at > bindparam("present"))
    known = select(func.max(older.c.revision)).where(recorded)
    own_latest = known.where(older.c.subject_kind == "prediction", older.c.subject == predictions.c.id)
    customers_latest = known.where(
        older.c.subject_kind == "customer",
        older.c.subject == predictions.c.customer_id,
        older.c.outcome_at >= predictions.c.at,
    )
    joined = predictions.outerjoin(
        own,
        and_(
            own.c.subject_kind == "prediction",
            own.c.subject == predictions.c.id,
            own.c.revision == own_latest.correlate(predictions).scalar_subquery(),
        ),
    ).outerjoin(
        customers,
        and_(
            customers.c.subject_kind == "customer",
            customers.c.subject == predictions.c.customer_id,
            customers.c.revision == customers_latest.correlate(predictions).scalar_subquery(),
        ),
    )
    fields = (alias.c[name] for alias in (own, customers) for name in KnownLabel._fields)
    return select(*(predictions.c[name] for name in PredictionRow._fields), *fields).select_from(joined)


_WITH_LABELS = _with_labels()  # once, because building the query takes longer than executing it
