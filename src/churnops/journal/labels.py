"""Labels, which arrive weeks after the prediction, and the rule that derives outcomes from them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select

from churnops.errors import UnknownPrediction
from churnops.journal.clock import TOLERANCE
from churnops.journal.inserts import insert_rows
from churnops.journal.predictions import ALL_TIMES, times_of
from churnops.journal.tables import labels as table
from churnops.journal.tables import microseconds, predictions

SAME_STATEMENT = timedelta(days=1)
"""Period in which a second "stayed" without a time is a repetition. Later it is new: the customer stayed longer."""

_MICROSECOND = timedelta(microseconds=1)
_CHUNK = 500  # limit of one IN (...)


@dataclass(frozen=True)
class Label:
    """A customer's outcome, given for one prediction or for the customer.

    Parameters
    ----------
    churned : bool
        Whether the customer left.
    prediction_id, customer_id : str or None
        Subject of the label: exactly one of the two.
    outcome_at : datetime or None
        Time with a zone at which the customer left, or until which the customer stayed. None: the time of recording.
    """

    churned: bool
    prediction_id: str | None = None
    customer_id: str | None = None
    outcome_at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.prediction_id is None) == (self.customer_id is None):
            raise ValueError("a label needs exactly one of prediction_id and customer_id")


@dataclass(frozen=True)
class LabelCounts:
    """Result of recording labels.

    Parameters
    ----------
    recorded, unchanged : int
        Number of new labels, and of labels that were already known.
    unmatched : int or None
        Number of labels, new or known, for customers without a prediction in the journal. They are kept, because a
        prediction may follow. None while the number is unknown.
    """

    recorded: int
    unchanged: int
    unmatched: int | None = 0


class KnownLabel(NamedTuple):
    """A label in the journal; times in microseconds since 1970."""

    churned: bool
    outcome_at: int
    recorded_at: int
    revision: int


_COLUMNS = ("subject_kind", "subject", "key", *KnownLabel._fields)


class LabelTimes:
    """Corrects the times of labels dated ahead to the time of the next label, or `now`; see `clock`."""

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._times: dict[int, int] = {}  # corrected times by recorded time: labels of one request share it

    def settle(self, id_: int, recorded_at: int) -> int:
        """Return the corrected time of a label."""
        if recorded_at <= self._now:
            return recorded_at
        if recorded_at not in self._times:
            later = select(table.c.recorded_at).where(table.c.id > id_, table.c.recorded_at <= self._now)
            at = self._connection.execute(later.order_by(table.c.id).limit(1)).scalar()
            self._times[recorded_at] = self._now if at is None else at
        return self._times[recorded_at]


def write_labels(connection: Connection, labels: Sequence[Label], now: datetime, key: str | None = None) -> LabelCounts:
    """Write labels, without those that repeat a known one, in the caller's exclusive transaction.

    `key` is the id of the API key that sent them. `unmatched` stays 0; `seen.unmatched` counts it afterwards.
    """
    latest: dict[tuple[str, str], KnownLabel] = {}
    for kind in ("prediction", "customer"):
        subjects = {subject for k, subject in map(_subject, labels) if k == kind}
        latest |= {(kind, subject): label for subject, label in _latest(connection, kind, subjects)}
    recorded_at, rows = microseconds(now), []
    for label in labels:
        subject = _subject(label)
        last = latest.get(subject)
        if last is not None and _repeats(label, last, recorded_at):
            continue
        new = KnownLabel(
            churned=label.churned,
            outcome_at=recorded_at if label.outcome_at is None else microseconds(label.outcome_at),
            recorded_at=recorded_at,
            revision=last.revision + 1 if last else 1,
        )
        latest[subject] = new
        rows.append((*subject, key, *new))
    insert_rows(connection, table.name, _COLUMNS, rows, skip_known=False)
    return LabelCounts(len(rows), len(labels) - len(rows))


def _subject(label: Label) -> tuple[str, str]:
    if label.prediction_id is not None:
        return "prediction", label.prediction_id
    assert label.customer_id is not None
    return "customer", label.customer_id


def _repeats(label: Label, last: KnownLabel, now: int) -> bool:
    """Return whether a label repeats the latest one of its subject."""
    if label.churned != last.churned:
        return False
    if label.outcome_at is not None:
        return microseconds(label.outcome_at) == last.outcome_at
    # A second "churned" repeats the first; "stayed" a month later is new. A label that corrects one dated ahead is new.
    ahead = last.recorded_at > now + TOLERANCE // _MICROSECOND
    return not ahead and (label.churned or now - last.outcome_at < SAME_STATEMENT // _MICROSECOND)


def refuse_unknown(connection: Connection, labels: Sequence[Label]) -> None:
    """Check that the labels' predictions are in the journal.

    Raises
    ------
    UnknownPrediction
        Names the first label whose prediction is missing.
    """
    known: set[str] = set()
    for chunk in _chunks({label.prediction_id for label in labels if label.prediction_id is not None}):
        for low, high in dict.fromkeys((times_of(chunk), ALL_TIMES)):  # few partitions of PostgreSQL first, then all
            if unknown := [id_ for id_ in chunk if id_ not in known]:
                ids, at = predictions.c.id, predictions.c.at
                query = select(ids).where(ids.in_(unknown), at.between(low, high))
                known.update(connection.execute(query).scalars())
    for index, label in enumerate(labels):
        if label.prediction_id is not None and label.prediction_id not in known:
            raise UnknownPrediction(index, label.prediction_id)


def _latest(connection: Connection, kind: str, subjects: Collection[str]) -> Iterable[tuple[str, KnownLabel]]:
    columns = (table.c[name] for name in ("subject", *KnownLabel._fields))
    query = select(*columns).where(table.c.subject_kind == kind).order_by(table.c.revision)
    for chunk in _chunks(subjects):
        for subject, *label in connection.execute(query.where(table.c.subject.in_(chunk))):
            yield subject, KnownLabel(*label)  # ordered, so that a dictionary keeps the last revision


def _chunks(values: Collection[str]) -> list[list[str]]:
    ordered = sorted(values)
    return [ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK)]
