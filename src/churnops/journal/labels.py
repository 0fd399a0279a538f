"""What became of customers: labels that arrive weeks after the prediction, and the rule that makes outcomes of them."""

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
"""Within this time, "stayed" without a time is the same statement again; later it says that they are still there."""

_MICROSECOND = timedelta(microseconds=1)
_CHUNK = 500  # values in one IN (...)


@dataclass(frozen=True)
class Label:
    """What became of one prediction's customer, or of a customer.

    Parameters
    ----------
    churned : bool
        Whether they left.
    prediction_id, customer_id : str or None
        Exactly one of the two.
    outcome_at : datetime or None
        When they left, or were seen to have stayed, with a time zone. None: when the label is recorded.
    """

    churned: bool
    prediction_id: str | None = None
    customer_id: str | None = None
    outcome_at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.prediction_id is None) == (self.customer_id is None):
            raise ValueError("a label is for a prediction_id or for a customer_id, exactly one of them")


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of labels by outcome of their recording.

    Parameters
    ----------
    recorded, unchanged : int
        How many were news, and how many were known already.
    unmatched : int or None
        How many of them, of either kind, are for a customer without a prediction in the journal. They are kept: the
        customer may be asked about later. None while that is unknown.
    """

    recorded: int
    unchanged: int
    unmatched: int | None = 0


class KnownLabel(NamedTuple):
    """A label in the journal; times as tables keep them."""

    churned: bool
    outcome_at: int
    recorded_at: int
    revision: int


_COLUMNS = ("subject_kind", "subject", "key", *KnownLabel._fields)


def outcome(at: int, label: KnownLabel | None, horizon: int, known_at: int) -> tuple[bool | None, int | None]:
    """Return whether the customer of a prediction left within the horizon, as known at `known_at`, and since when.

    All times are in one unit, here days; the label is the one that counts (see `Journal.resolved`) and was recorded by
    `known_at`. With a prediction at day 0, a horizon of 30 days and a label recorded at once:

    ========  ==========  ==================  =========================================================
    label     outcome_at  outcome             why
    ========  ==========  ==================  =========================================================
    none                  unknown for ever    silence is no evidence that somebody stayed
    churned   12          left, from day 12   within the horizon, its end included
    churned   45          stayed, from day 45 they were still there when the horizon ended
    stayed    20          unknown for ever    ten days were left, in which they may have gone
    stayed    30          stayed, from day 30 seen at the end of the horizon
    ========  ==========  ==================  =========================================================

    No outcome is known before the prediction is made and the label recorded, and that somebody stayed not before the
    horizon has passed.

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
    """Times that labels count as of: one dated ahead counts as of the next label, or of `now`.

    The table is read for it once, and only if there is such a label.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._times: dict[int, int] | None = None  # by the time that was recorded

    def settle(self, label: KnownLabel) -> KnownLabel:
        """Return a label with the times that it counts as of."""
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
    """Write the labels that are news, as sent with an API key. The transaction must be the only one that writes labels.

    The counts leave out `unmatched`, which `seen.unmatched` gives without this transaction.
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
    """Whether a label says what the latest one of its subject says."""
    if label.churned != last.churned:
        return False
    if label.outcome_at is not None:
        return microseconds(label.outcome_at) == last.outcome_at
    # Who left, left once. Who stayed until then, and is said to be there a month later, is news; so is the right time
    # of a label that is dated ahead.
    ahead = last.recorded_at > now + TOLERANCE // _MICROSECOND
    return not ahead and (label.churned or now - last.outcome_at < SAME_STATEMENT // _MICROSECOND)


def refuse_unknown(connection: Connection, labels: Sequence[Label]) -> None:
    """Check that the predictions of labels are in the journal.

    Raises
    ------
    UnknownPrediction
        For the first label whose prediction is not.
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
            yield subject, KnownLabel(*label)  # later revisions come later, and stay


def _chunks(values: Collection[str]) -> list[list[str]]:
    ordered = sorted(values)
    return [ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK)]
