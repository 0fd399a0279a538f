"""Samples of customers with known outcomes: the model's reference customers, or those of the journal."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.errors import DataError
from churnops.journal import Journal
from churnops.journal.decoding import PACKED, decode_inputs
from churnops.journal.outcomes import Outcomes
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.schema import Columns, Schema, is_blank

NEWEST = 10_000  # customers with outcomes
STEP, MAX_READ = 10_000, 100_000  # predictions read at a time, and at most in total
MIN_CUSTOMERS = 200  # with outcomes; fewer are too few for an analysis
_MICROSECOND = timedelta(microseconds=1)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Customers with outcomes.

    Attributes
    ----------
    columns
        Encoded inputs (see `churnops.schema`), each of shape (n,).
    outcome
        1 churned, 0 stayed; shape (n,).
    score
        Probability of churn, shape (n,): out-of-fold for reference customers, as recorded for production customers.
    """

    columns: Columns
    outcome: Floats
    score: Floats

    @property
    def rows(self) -> int:
        """Number of customers."""
        return self.outcome.size

    @property
    def sha256(self) -> str:
        """Hash of the customers with their scores and outcomes."""
        parts = (*self.columns.values(), self.outcome, self.score)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()

    @property
    def leavers(self) -> int:
        """Number of customers who left."""
        return int(self.outcome.sum())

    @property
    def enough(self) -> bool:
        """Whether there are enough customers for an analysis: at least 200, some who left and some who stayed."""
        return self.rows >= MIN_CUSTOMERS and 0 < self.leavers < self.rows


def read_reference(path: Path, schema: Schema) -> Sample:
    """Read the reference sample that was written when a model was trained.

    Raises
    ------
    DataError
        If the file is damaged or does not fit the Schema. The message names the command that makes a new sample.
    """
    try:
        table = pl.read_parquet(path)
        read = {name: table.get_column(name).cast(pl.Float64).to_numpy() for name in table.columns}
    except (pl.exceptions.PolarsError, OSError):  # without the error's message, which may quote the file
        read = {}
    outcome, score = read.pop(schema.target.name, np.empty(0)), read.pop(SCORE, np.empty(0))
    columns = {column.name: read[column.name] for column in schema.inputs if column.name in read}
    if not _sound(columns, outcome, score, schema):
        raise DataError(
            "the model's sample of reference customers is damaged: train again with `churnops run --deploy`"
        )
    return Sample(columns, outcome, score)


def _sound(columns: Columns, outcome: Floats, score: Floats, schema: Schema) -> bool:
    known = np.isin(outcome, (0.0, 1.0)).all() and (score >= 0).all() and (score <= 1).all()
    valid = set(columns) >= {column.name for column in schema.model_inputs} and outcome.size > 0
    for name, values in columns.items():
        levels = len(schema.by_name[name].levels)
        if levels and not (np.isnan(values) | np.isin(values, np.arange(levels))).all():
            return False
    return bool(known and valid)


def read_production(journal: Journal, bundle: Bundle, known_at: datetime, horizon: timedelta) -> Sample:
    """Read the newest 10,000 customers with a prediction of this model and a known outcome.

    Predictions must be older than the label horizon. Among younger ones, customers who left may have an outcome, but
    customers who stay have none yet. A customer is read once, with the newest prediction. Many predictions have no
    outcome yet, so up to 100,000 predictions are read to find the customers, the newest first.

    Raises
    ------
    DataError
        If inputs in the journal do not fit the model's Schema.
    JournalError
        If the database does not answer.
    """
    end = until = known_at - horizon + _MICROSECOND
    first = datetime.fromtimestamp(0, UTC)
    customers: set[str] = set()
    parts: list[Sample] = []  # in the order of time
    for count in range(STEP, MAX_READ + STEP, STEP):
        begin = journal.newest_begin(count, until) or first  # about `STEP` rows; more if times are equal
        read, content = ("customer_id", "churn_probability", PACKED), bundle.content_sha256
        pages = list(journal.columns(begin, end, known_at, read=read, content_sha256=content, labelled=True))
        for outcomes, values in reversed(pages):
            if rows := _newest_rows(outcomes, values["customer_id"], customers):
                columns = decode_inputs(values[PACKED].take(rows), bundle.schema)
                score = np.array(values["churn_probability"], dtype=np.float64)
                parts.insert(0, Sample(columns, outcomes.churned[rows], score[rows]))
        if begin == first or sum(part.rows for part in parts) >= NEWEST:
            break
        end = begin
    if not parts:
        return Sample({}, np.empty(0), np.empty(0))
    names = parts[0].columns
    return Sample(
        {name: np.concatenate([part.columns[name] for part in parts])[-NEWEST:] for name in names},
        np.concatenate([part.outcome for part in parts])[-NEWEST:],
        np.concatenate([part.score for part in parts])[-NEWEST:],
    )


def _newest_rows(outcomes: Outcomes, ids: Sequence[str | None], customers: set[str]) -> list[int]:
    """Return the rows with a known outcome of customers that are not in `customers` yet, which gets them.

    Rows are in the order of time, and a customer's newest one is returned. A row without an id is a customer.
    """
    rows = []
    for row in reversed((~np.isnan(outcomes.churned)).nonzero()[0].tolist()):
        id_ = ids[row]
        if id_ is None or is_blank(id_):
            rows.append(row)
        elif id_ not in customers:
            customers.add(id_)
            rows.append(row)
    return rows[::-1]


def may_have_outcomes(journal: Journal, known_at: datetime, horizon: timedelta) -> bool:
    """Return whether at least 200 predictions are older than the horizon. The query reads only an index."""
    return journal.newest_begin(MIN_CUSTOMERS, known_at - horizon + _MICROSECOND) is not None
