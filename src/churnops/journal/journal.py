"""The journal: predictions joined with their outcomes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Engine, Select, bindparam, exists, func, or_, select

from churnops.journal.columns import WindowQuery, read_pages
from churnops.journal.database import answering, exclusive
from churnops.journal.decoding import PACKED, PackedInputs
from churnops.journal.labels import Label, LabelCounts, refuse_unknown, write_labels
from churnops.journal.outcomes import JOINED, Known, Outcomes, joined, resolve
from churnops.journal.predictions import ALL_TIMES, PredictionRow, times_of
from churnops.journal.seen import unmatched
from churnops.journal.stored_layouts import answered_by, read_layouts
from churnops.journal.tables import labels, layouts, microseconds, moment, predictions
from churnops.schema import is_blank

_PAGE = 1_000  # rows fetched at a time


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
        known = self._known(datetime.now(UTC))
        query = _by_id(self._engine.dialect.name)
        with answering(), self._engine.connect() as connection:
            for low, high in dict.fromkeys((times_of([prediction_id]), ALL_TIMES)):
                values = {"id": prediction_id, "low": low, "high": high, **known._asdict()}
                if (row := connection.execute(query, values).first()) is not None:
                    break
            else:
                return None
            columns = [(value,) for value in row]
            outcomes = resolve(connection, columns[:JOINED], known)
        return next(self._recorded(outcomes, columns[JOINED:]))

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

        `outcomes.derive_outcomes` derives the outcome from this label. Without a label, the outcome is unknown, not
        "stayed". Labels dated ahead get a corrected time (see `clock`).

        Rows are read in pages, each in a transaction of its own.
        """
        window = WindowQuery(microseconds(since), microseconds(until), content_sha256)
        for outcomes, columns in read_pages(self._engine, window, self._known(known_at), _COLUMNS, _PAGE):
            yield from self._recorded(outcomes, columns)

    def columns(
        self,
        since: datetime,
        until: datetime,
        known_at: datetime,
        *,
        read: Sequence[str] = (),
        content_sha256: str | None = None,
        labelled: bool = False,
    ) -> Iterator[tuple[Outcomes, Mapping[str, Any]]]:
        """Yield the predictions of `resolved` in pages: their outcomes, and some fields of `PredictionRow` by name.

        Parameters
        ----------
        read
            Fields to read; `PACKED` for the packed inputs, as one `PackedInputs`.
        labelled
            Whether to leave out predictions without a label.
        """
        window = WindowQuery(microseconds(since), microseconds(until), content_sha256, labelled)
        names = [*(name for name in read if name != PACKED), *(_PACKED if PACKED in read else ())]
        fields = tuple(predictions.c[name] for name in names)
        for outcomes, columns in read_pages(self._engine, window, self._known(known_at), fields):
            values: dict[str, Any] = dict(zip(names, columns, strict=True))
            if PACKED in read:
                ids, inputs, rests = (values[name] for name in _PACKED)
                values[PACKED] = PackedInputs(read_layouts(self._engine, ids), ids, inputs, rests)
            yield outcomes, values

    def count(self, since: datetime, until: datetime) -> int:
        """Return the number of predictions with `since <= at < until`, of all models."""
        at = predictions.c.at
        query = select(func.count()).where(at >= microseconds(since), at < microseconds(until))
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def newest_begin(self, count: int, until: datetime) -> datetime | None:
        """Return the time of the `count`-th newest prediction before `until`; None if there are fewer.

        As `since`, this time limits `resolved` to about `count` predictions.
        """
        at = predictions.c.at
        query = select(at).where(at < microseconds(until)).order_by(at.desc()).offset(count - 1).limit(1)
        with answering(), self._engine.connect() as connection:
            begin = connection.execute(query).scalar()
        return None if begin is None else moment(begin)

    def oldest_end(self, count: int) -> datetime | None:
        """Return the time of the `count`-th oldest prediction; None if there are fewer."""
        at = predictions.c.at
        with answering(), self._engine.connect() as connection:
            end = connection.execute(select(at).order_by(at).offset(count - 1).limit(1)).scalar()
        return None if end is None else moment(end)

    def answering_since(self, since: datetime, contents: Collection[str]) -> set[str]:
        """Return the content hashes, out of `contents`, of models that have a prediction since a time."""
        newer = exists().where(predictions.c.layout == layouts.c.id, predictions.c.at >= microseconds(since))
        query = select(layouts.c.content_sha256).where(layouts.c.content_sha256.in_(contents), newer)
        with answering(), self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

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
            .where(answered_by(content_sha256), or_(own, customers))
        )
        with answering(), self._engine.connect() as connection:
            count, first = connection.execute(query).one()
        return count, None if first is None else moment(first)

    def _known(self, known_at: datetime) -> Known:
        return Known(microseconds(known_at), microseconds(datetime.now(UTC)), self._horizon)

    def _recorded(self, outcomes: Outcomes, columns: Sequence[Sequence[Any]]) -> Iterator[RecordedPrediction]:
        """Yield predictions from the columns of `PredictionRow`, and their outcomes."""
        layouts = read_layouts(self._engine, columns[_LAYOUT])
        known_outcomes = zip(outcomes.churned.tolist(), outcomes.known_at.tolist(), strict=True)
        rows = zip(*columns, strict=True)
        for (churned, known_at), (id_, at, customer, layout, score, churn, *others) in zip(
            known_outcomes, rows, strict=True
        ):
            named = customer is not None and not is_blank(customer)  # earlier versions accepted blank ids
            who = customer if named else None
            row = PredictionRow(id_, moment(at), who, layouts[layout], score, bool(churn), *others)
            known = churned == churned  # not NaN
            yield RecordedPrediction(row, churned == 1.0 if known else None, moment(known_at) if known else None)


_COLUMNS = tuple(predictions.c[name] for name in PredictionRow._fields)
_LAYOUT = PredictionRow._fields.index("layout")
_PACKED = ("layout", "inputs", "rest")


@cache
def _by_id(dialect: str) -> Select[Any]:
    source, first = joined(dialect)
    query = select(*first, *_COLUMNS).select_from(source).where(predictions.c.id == bindparam("id"))
    # The times let PostgreSQL read few partitions.
    return query.where(predictions.c.at.between(bindparam("low"), bindparam("high")))
