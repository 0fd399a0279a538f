"""The journal: predictions as they were made, joined with what became known later."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, Row, Select, and_, bindparam, func, or_, select

from churnops.journal.database import answering, exclusive
from churnops.journal.labels import KnownLabel, Label, LabelCounts, LabelTimes, outcome, refuse_unknown, write_labels
from churnops.journal.predictions import PredictionRow
from churnops.journal.seen import unmatched
from churnops.journal.tables import labels, microseconds, moment, predictions
from churnops.schema import is_blank

_PAGE = 1_000  # rows fetched at a time
_LABEL = len(KnownLabel._fields)


class RecordedPrediction(NamedTuple):
    """A prediction from the journal and its outcome.

    `churned` is whether the customer left within the horizon, None while unknown; `known_at` is when that became
    known.
    """

    row: PredictionRow
    churned: bool | None
    known_at: datetime | None


class Journal:
    """Reads predictions and records labels. Every call is one transaction; safe for several processes and threads.

    Parameters
    ----------
    label_horizon : timedelta
        How long after a prediction a customer must leave for it to have come true.
    """

    def __init__(self, engine: Engine, *, label_horizon: timedelta) -> None:
        self._engine = engine
        self._horizon = label_horizon // timedelta(microseconds=1)

    def check(self) -> None:
        """Ask the database for next to nothing.

        Raises
        ------
        JournalError
            If it does not answer.
        """
        with answering(), self._engine.connect() as connection:
            connection.execute(select(predictions.c.id).limit(1)).first()

    def prediction(self, prediction_id: str) -> RecordedPrediction | None:
        """Return a prediction with its outcome as known now, or None if there is no such prediction."""
        now = microseconds(datetime.now(UTC))
        query = _WITH_LABELS.where(predictions.c.id == prediction_id)
        with answering(), self._engine.connect() as connection:
            row = connection.execute(query, {"known_at": now, "present": now}).first()
            return None if row is None else self._recorded(row, now, LabelTimes(connection, now))

    def record_labels(self, labels: Sequence[Label], key: str | None = None) -> LabelCounts:
        """Record what became of customers, with the id of the API key that sent it. Later labels win; all are kept.

        Repeating a label changes nothing: one that says what the latest of its subject says is counted as unchanged.
        "Stayed" without a time is an exception after a day (`labels.SAME_STATEMENT`): then it says "still there".

        Raises
        ------
        UnknownPrediction
            If a prediction is not in the journal; then none of the labels is recorded.
        JournalError
            If the database does not answer.
        """
        with answering():
            # Others wait while labels are written, so the rest is asked before and after.
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

        With `content_sha256`, only those of the model with this content.

        Labels recorded later do not exist for this call, so what it yields for a past moment is what it would have
        yielded then. Of the labels recorded by then, the one that counts for a prediction is

        1. the latest one for the prediction itself, else
        2. the latest one for its customer among those with `at <= outcome_at`: who left before says nothing of it.

        `labels.outcome` says what follows from it. Without one, the outcome is unknown, never "stayed". A label dated
        after the present counts as of the next label that was recorded, or of the present (see `clock`).

        The rows are streamed from one transaction, which ends with the iteration: do not let it wait.
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
            ) as found,  # closed if the caller stops early
        ):
            times = LabelTimes(connection, min(present, now))
            for row in found:
                yield self._recorded(row, now, times)

    def newest_begin(self, count: int, until: datetime) -> datetime | None:
        """Return when the `count`-th newest of the predictions before `until` was made; None if there are fewer.

        So a reader of `resolved` can bound how much it reads, whatever the journal holds.
        """
        at = predictions.c.at
        query = select(at).where(at < microseconds(until)).order_by(at.desc()).offset(count - 1).limit(1)
        with answering(), self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else moment(found)

    def _recorded(self, found: Row[Any], now: int, times: LabelTimes) -> RecordedPrediction:
        values = tuple(found)
        size, end = len(PredictionRow._fields), len(values)
        own, customers = values[size : size + _LABEL], values[end - _LABEL :]
        # Blank ids were accepted once: they name nobody, and no label is theirs.
        nameless = values[2] is None or is_blank(values[2])
        label = own if own[0] is not None or nameless else customers
        known = times.settle(KnownLabel(*label)) if label[0] is not None else None
        churned, known_at = outcome(values[1], known, self._horizon, now)
        row = PredictionRow(values[0], moment(values[1]), None if nameless else values[2], *values[3:size])
        return RecordedPrediction(row, churned, None if known_at is None else moment(known_at))


def _with_labels() -> Select[Any]:
    """Select predictions, each with the fields of its own latest label and of its customer's, or NULLs."""
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
    found = predictions.outerjoin(
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
    return select(*(predictions.c[name] for name in PredictionRow._fields), *fields).select_from(found)


_WITH_LABELS = _with_labels()  # once: it takes longer to put together than to answer
