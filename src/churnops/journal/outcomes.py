"""Outcomes of predictions: the database joins the label that counts, and NumPy derives the outcomes."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
)

from churnops.journal.labels import LabelTimes
from churnops.journal.tables import labels, predictions
from churnops.schema import is_blank

Times = NDArray[np.int64]
JOINED = 7
"""Number of columns that `joined` returns."""
_LABEL = ("id", "subject_kind", "churned", "outcome_at", "recorded_at")


class Known(NamedTuple):
    """When outcomes are known, and the label horizon, in microseconds; names of the parameters of `joined`."""

    known_at: int
    present: int
    horizon: int


class Outcomes(NamedTuple):
    """Times and outcomes of n predictions.

    Attributes
    ----------
    at, known_at
        Times of the predictions, and since when the outcomes are known (0 while unknown), in microseconds since 1970;
        shape (n,).
    churned
        1 if the customer left within the horizon, 0 if not, NaN if this is unknown; shape (n,).
    """

    at: Times
    churned: NDArray[np.float64]
    known_at: Times


@cache
def joined(dialect: str, table: Table = predictions) -> tuple[FromClause, tuple[ColumnElement[Any], ...]]:
    """Return the predictions, each joined with the label that counts, and the columns that `resolve` needs.

    `table` may be another one with the columns `id`, `customer_id` and `at` of predictions.

    `Journal.resolved` has the rule; of one subject, the label with the highest revision counts. The columns are the
    prediction's time and customer, and the label's id, whether it is the customer's, churned, outcome_at and
    recorded_at, all 0 without a label.

    Each prediction takes two searches in the index of labels, however many labels there are. A join of whole sets would
    read all labels.
    """
    own = _newest(table, "prediction", table.c.id)
    customers = _newest(table, "customer", table.c.customer_id, since=table.c.at)
    if dialect == "postgresql":
        first = own.lateral("own")
        second = customers.where(first.c.id.is_(None)).correlate(first).lateral("customers")
        source: FromClause = table.outerjoin(first, true()).outerjoin(second, true())
        label: list[ColumnElement[Any]] = [func.coalesce(first.c[name], second.c[name]) for name in _LABEL]
    else:
        counted = labels.alias("label")
        ids = (query.with_only_columns(query.selected_columns.id).scalar_subquery() for query in (own, customers))
        source = table.outerjoin(counted, counted.c.id == func.coalesce(*ids))
        label = [counted.c[name] for name in _LABEL]
    id_, kind, churned, *times = label
    flags = (case((condition, 1), else_=0) for condition in (kind == "customer", churned))
    numbers = (func.coalesce(id_, 0), *flags, *(func.coalesce(time, 0) for time in times))
    return source, (table.c.at, table.c.customer_id, *numbers)


def _newest(
    table: Table, kind: str, subject: ColumnElement[Any], since: ColumnElement[int] | None = None
) -> Select[Any]:
    """Select the newest known label of a subject; with `since`, of the labels with an outcome from then on."""
    label = labels.alias()
    known = or_(label.c.recorded_at <= bindparam("known_at"), label.c.recorded_at > bindparam("present"))
    query = select(label).where(label.c.subject_kind == kind, label.c.subject == subject, known)
    if since is not None:
        query = query.where(label.c.outcome_at >= since)
    return query.order_by(label.c.revision.desc()).limit(1).correlate(table)


def resolve(connection: Connection, columns: Sequence[Sequence[Any]], known: Known) -> Outcomes:
    """Return the outcomes of predictions, given the seven columns of `joined`."""
    first, customers, *label = columns
    at, id_, of_customer, churned, outcome_at, recorded_at = (np.array(c, dtype=np.int64) for c in (first, *label))
    for row in of_customer.nonzero()[0].tolist():
        if is_blank(customers[row]):  # earlier versions accepted blank ids; such an id names no customer
            id_[row] = 0
    present = min(known.known_at, known.present)
    times = LabelTimes(connection, present)
    for row in (recorded_at > present).nonzero()[0].tolist():
        recorded_at[row] = times.settle(int(id_[row]), int(recorded_at[row]))
        outcome_at[row] = min(outcome_at[row], recorded_at[row])
    left, since = derive_outcomes(at, churned == 1, outcome_at, recorded_at, known)
    left[id_ == 0] = np.nan
    return Outcomes(at, left, np.where(np.isnan(left), 0, since))


def derive_outcomes(
    at: Times, churned: NDArray[np.bool_], outcome_at: Times, recorded_at: Times, known: Known
) -> tuple[NDArray[np.float64], Times]:
    """Return the outcomes of predictions from the labels that count, and the times since which they are known.

    The outcome is 1 if the customer left within the horizon, 0 if not, and NaN if this is unknown. For a prediction on
    day 0, a horizon of 30 days and a label recorded at once:

    ========  ==========  ==================  ===========================================================
    label     outcome_at  outcome             reason
    ========  ==========  ==================  ===========================================================
    churned   12          left, from day 12   within the horizon (its end included)
    churned   45          stayed, from day 45 the customer left after the end of the horizon
    stayed    20          unknown for ever    the customer may have left in the remaining ten days
    stayed    30          stayed, from day 30 the customer was still there at the end of the horizon
    ========  ==========  ==================  ===========================================================

    An outcome is known once the prediction is made and the label recorded; "stayed" only once the horizon has ended.
    Without a label, it is unknown for ever: that is no evidence that the customer stayed.

    Examples
    --------
    >>> days = np.array([12, 45, 20, 30])
    >>> churned, at = np.array([True, True, False, False]), np.zeros(4, dtype=np.int64)
    >>> derive_outcomes(at, churned, days, np.array([14, 45, 20, 31]), Known(known_at=99, present=99, horizon=30))
    (array([ 1.,  0., nan,  0.]), array([14, 45, 30, 31]))
    """
    due = at + known.horizon
    left = churned & (outcome_at <= due)
    since = np.maximum(np.where(left, at, due), recorded_at)
    certain = (left | (outcome_at >= due)) & (since <= known.known_at)
    return np.where(certain, left, np.nan), since
