"""Labels, which arrive weeks after the prediction, and the rule that derives outcomes from them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select

from churnops.errors import UnknownPrediction
from churnops.journal.clock import TOLERANCE
from churnops.journal.database import insert_rows
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


def outcome(at: int, label: KnownLabel | None, horizon: int, known_at: int) -> tuple[bool | None, int | None]:
    """Return the outcome of a prediction as known at `known_at`, and the time since which it is known.

    The outcome is True if the customer left within the horizon. All times have one unit, here days. `label` is
    the label that counts (see `Journal.resolved`), recorded by `known_at`. For a prediction on day 0, a horizon of 30
    days and a label recorded at once:

    ========  ==========  ==================  ===========================================================
    label     outcome_at  outcome             reason
    ========  ==========  ==================  ===========================================================
    none                  unknown for ever    a missing label is no evidence that the customer stayed
    churned   12          left, from day 12   within the horizon (its end included)
    churned   45          stayed, from day 45 the customer left after the end of the horizon
    stayed    20          unknown for ever    the customer may have left in the remaining ten days
    stayed    30          stayed, from day 30 the customer was still there at the end of the horizon
    ========  ==========  ==================  ===========================================================

    An outcome is known once the prediction is made and the label recorded; "stayed" only once the horizon has ended.

    Examples
    --------
    >>> outcome(0, None, 30, known_at=99)
    (None, None)
    >>> outcome(0, KnownLabel(True, 12, recorded_at=14, revision=1), 30, known_at=20)
    (True, 14)
    >>> outcome(0, KnownLabel(True, 45, recorded_at=45, revision=1), 30, known_at=99)
    (False, 45)
    >>> outcome(0, KnownLabel(False, 20, recorded_at=20, revision=1), 30, known_at=99)
    (None, None)
    >>> outcome(0, KnownLabel(False, 30, recorded_at=31, revision=1), 30, known_at=31)
    (False, 31)
    """
    if label is None:
        return None, None
    due = at + horizon
    if label.churned and label.outcome_at <= due:
        churned, since = True, max(at, label.recorded_at)
    elif label.outcome_at >= due:
        churned, since = False, max(due, label.recorded_at)
    else:
        return None, None
    return (churned, since) if since <= known_at else (None, None)


class LabelTimes:
    """Corrects the times of labels dated ahead to the time of the next label, or `now`; see `clock`.

    The table of labels is read once, and only if a label is dated ahead.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._times: dict[int, int] | None = None  # corrected times by recorded time

    def settle(self, label: KnownLabel) -> KnownLabel:
        """Return a label with corrected times."""
        if label.recorded_at <= self._now:
            return label
        if self._times is None:
            self._times = self._read()
        at = self._times.get(label.recorded_at, self._now)
        return label._replace(recorded_at=at, outcome_at=min(label.outcome_at, at))

    def _read(self) -> dict[int, int]:
        times, last = {}, self._now
        query = select(table.c.recorded_at).order_by(table.c.id.desc())
        for recorded_at in self._connection.execute(query).scalars():
            if recorded_at <= self._now:
                last = recorded_at
            else:
                times[recorded_at] = last
        return times


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
        known.update(connection.execute(select(predictions.c.id).where(predictions.c.id.in_(chunk))).scalars())
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
