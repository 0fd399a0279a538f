"""Production rows for retraining: customers of the journal whose outcomes are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.column_check import MAX_INTEGER
from churnops.data.identity import content_hashes, customer_hashes
from churnops.data.read import decode
from churnops.errors import DataError
from churnops.journal import Journal
from churnops.journal.decoding import PACKED, PackedInputs, decode_inputs
from churnops.journal.outcomes import Outcomes
from churnops.schema import Columns, Schema, is_blank

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class ProductionRows:
    """Customers with known outcomes, one row each, ordered by time and content.

    Parameters
    ----------
    table
        Inputs that are not personal (snake_case names, choices as text) and the target, without ids and times. Ranges
        and missing values are not checked here.
    at
        Shape (n,): times of the predictions, in microseconds since 1970, UTC.
    known
        Shape (n,): times at which the outcomes were both recorded and due, in the same unit.
    customers
        The n ids, None for a customer without one.
    due
        Number of predictions in the period whose horizon has passed.
    labelled
        Number of these with a known outcome. It exceeds n if a customer has several such predictions.
    """

    table: pl.DataFrame
    at: NDArray[np.int64]
    known: NDArray[np.int64]
    customers: tuple[str | None, ...]
    due: int
    labelled: int

    @property
    def coverage(self) -> float | None:
        """Share of the due predictions whose outcome is known, 0 to 1; None if none is due."""
        return self.labelled / self.due if self.due else None


def rows_from_journal(
    journal: Journal, schema: Schema, *, since: datetime, known_at: datetime, horizon: timedelta
) -> ProductionRows:
    """Collect the customers of predictions with `since <= at <= known_at - horizon`, and their outcomes.

    Predictions of all models count. Predictions younger than the horizon do not: their known outcomes are mostly
    early churn. Entries recorded after `known_at` are ignored, so a later call returns the same rows.

    A customer's row is the newest prediction with a known outcome. Customers without an id are identified by their
    inputs. Memory grows with the returned rows, not with the predictions read.

    Parameters
    ----------
    horizon
        Label horizon of `journal`.

    Raises
    ------
    DataError
        If inputs in the journal do not fit the kinds and choices of the Schema.
    JournalError
        If the database does not answer.
    """
    labelled, newest = 0, _Newest(schema, horizon // _MICROSECOND)
    until, read = known_at - horizon + _MICROSECOND, ("customer_id", PACKED)
    for outcomes, values in journal.columns(since, until, known_at, read=read, labelled=True):
        labelled += newest.add(outcomes, values["customer_id"], values[PACKED])
    columns, outcome, at, known, customers = newest.ordered()
    table = decode(columns, outcome, schema)
    return ProductionRows(table, at, known, customers, journal.count(since, until), labelled)


class _Newest:
    """Newest row of each customer, in arrays that grow by doubling."""

    def __init__(self, schema: Schema, horizon: int) -> None:
        self._schema = schema
        self._horizon = horizon
        self._names = [column.name for column in schema.inputs if not column.personal]  # personal values are not kept
        self._places: dict[str | int, int] = {}  # key: the id, or the hash of the inputs
        self._values = np.empty((len(self._names) + 1, 0))  # one row for each input, and one for the outcome
        self._at = np.empty(0, dtype=np.int64)
        self._known = np.empty(0, dtype=np.int64)

    def add(self, outcomes: Outcomes, customers: Sequence[str | None], packed: PackedInputs) -> int:
        """Add predictions that are newer than all earlier ones; return the number of those with a known outcome."""
        known = (~np.isnan(outcomes.churned)).nonzero()[0].tolist()
        if not known:
            return 0
        columns = _decode(packed.take(known), self._schema)
        contents = content_hashes(columns, self._names).tolist()
        ids = (customers[row] for row in known)
        last = {
            content if id_ is None or is_blank(id_) else id_: i
            for i, (id_, content) in enumerate(zip(ids, contents, strict=True))
        }
        places = [self._places.setdefault(key, len(self._places)) for key in last]
        self._grow(len(self._places))
        rows = list(last.values())
        for values, name in zip(self._values, self._names, strict=False):
            values[places] = columns[name][rows]
        chosen = np.array(known)[rows]
        self._values[-1, places] = outcomes.churned[chosen]
        self._at[places] = outcomes.at[chosen]
        self._known[places] = np.maximum(outcomes.known_at[chosen], outcomes.at[chosen] + self._horizon)
        return len(known)

    def _grow(self, size: int) -> None:
        if size > self._at.size:
            more = max(size, 2 * self._at.size) - self._at.size
            self._values = np.pad(self._values, ((0, 0), (0, more)))
            self._at = np.pad(self._at, (0, more))
            self._known = np.pad(self._known, (0, more))

    def ordered(
        self,
    ) -> tuple[Columns, NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], tuple[str | None, ...]]:
        """Return columns, outcomes, both times and ids, ordered by time, content, outcome and id."""
        size = len(self._places)
        values, at = self._values[:, :size], self._at[:size]
        columns = dict(zip(self._names, values, strict=False))
        customers = [key if isinstance(key, str) else None for key in self._places]
        order = np.lexsort((customer_hashes(customers), values[-1], content_hashes(columns, self._names), at))
        for column in values:  # in place, because a second copy of all may take hundreds of megabytes
            column[:] = column[order]
        return (
            columns,
            values[-1],
            at[order],
            self._known[:size][order],
            tuple(customers[place] for place in order),
        )


def _decode(packed: PackedInputs, schema: Schema) -> Columns:
    """Decode recorded inputs and encode them as columns; refuse a fraction in an integer column."""
    problem = "customers in the journal do not fit the schema in config.yaml"
    advice = "set retraining.history_days to a period after the change of the schema"
    try:
        columns = decode_inputs(packed, schema)
    except DataError:
        raise DataError(f"{problem}: {advice}") from None
    for column in schema.inputs:
        if column.kind == "integer":
            values = columns[column.name]
            if not (np.isnan(values) | ((values == np.trunc(values)) & (abs(values) <= MAX_INTEGER))).all():
                raise DataError(f"{problem} (some values of {column.name} are not whole numbers): {advice}")
    return columns
