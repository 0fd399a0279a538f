"""Collect a batch: from a table, or from the journal by time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.accepted import Accepted
from churnops.data.broken_columns import SoundCells, check_sound_cells
from churnops.data.cell_text import as_levels
from churnops.data.read import encode, last_of_each, outcomes, read_table
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import check_customers, with_absent
from churnops.errors import DataError
from churnops.files import as_text
from churnops.journal import Journal, RecordedPrediction
from churnops.model import Bundle
from churnops.monitoring.batch import Batch, LabelCoverage, Resolved, Window
from churnops.schema import Columns, Schema, is_marked
from churnops.scoring.customers import as_table
from churnops.settings import LIVE

PAST_WINDOWS = 4  # earlier windows in a report, with the outcomes known by now
ROWS = 50_000  # read from the journal at a time


def batch_from_file(
    path: Path, bundle: Bundle, *, acts_as: str | None = None, accept_missing: Sequence[str] = ()
) -> Batch:
    """Read a CSV, Parquet or Excel file of customers, with or without the target, with raw headers or snake_case names.

    Parameters
    ----------
    acts_as
        Source of the customers; None to report only.
    accept_missing
        Names or headers of columns that the file may lack.

    Raises
    ------
    DataError
        If the file cannot be read, or breaks the bundle's Schema in more than broken columns (`Batch.broken`).
    """
    may_lack = Accepted.of(bundle.schema, missing=accept_missing).missing
    table, name = with_absent(read_table(path, bundle.schema), bundle.schema, may_lack), as_text(Path(path.name))
    return batch_from_table(table, bundle, name, acts_as=acts_as, tolerate_broken=True)


def batch_from_customers(customers: object, bundle: Bundle, *, acts_as: str | None = None) -> Batch:
    """Check and score customers in any form of `scoring.customers.as_table`; a path as `batch_from_file` does.

    Raises
    ------
    DataError
        As in `batch_from_file`.
    """
    if isinstance(customers, str | Path):
        return batch_from_file(Path(customers), bundle, acts_as=acts_as)
    table = as_table(customers, bundle.schema)
    return batch_from_table(table, bundle, "customers", acts_as=acts_as, tolerate_broken=True)


def batch_from_table(
    table: pl.DataFrame, bundle: Bundle, source: str, *, acts_as: str | None = None, tolerate_broken: bool = False
) -> Batch:
    """Check and score the customers of a table. Every customer counts as due, with or without an outcome.

    The batch is simulated if the table has the column that `churnops simulate` adds.

    Parameters
    ----------
    tolerate_broken
        Whether columns may be broken, see `churnops.data.broken_columns`.

    Raises
    ------
    ValidationError
        If the table breaks the bundle's Schema; `failures` lists the broken rules, 20 at most.
    """
    schema = bundle.schema
    customers = table.drop(bundle.schema.added, strict=False)  # without an earlier scoring
    checked = (
        check_sound_cells(customers, schema, source)
        if tolerate_broken
        else SoundCells(check_customers(customers, schema, source, keep_outcome=True, may_have_gaps=True), {})
    )
    once = last_of_each(checked.table, schema)
    columns, outcome = encode(once, schema), outcomes(once, schema)
    batch = batch_from_columns(columns, outcome, bundle, source, acts_as=acts_as, broken=checked.broken)
    if simulated := is_marked(table.columns):
        batch = replace(batch, columns=schema.without_personal(columns))  # `simulate` writes no personal values
    return replace(
        batch,
        simulated=simulated,
        repeated_rows=checked.table.height - once.height,
        unexpected=UnexpectedCells.of(once, columns, schema),
    )


def batch_from_columns(
    columns: Columns,
    outcome: NDArray[np.float64],
    bundle: Bundle,
    source: str,
    *,
    acts_as: str | None = None,
    broken: Mapping[str, str] = MappingProxyType({}),
) -> Batch:
    """Score n encoded customers; `outcome` (n,) is 1, 0 or NaN. If n is 0, `columns` may be empty.

    If a model input is `broken` (see `Batch`), there are no scores.
    """
    sound = all(column.name not in broken for column in bundle.schema.model_inputs)
    probability = bundle.predict(columns).probability if outcome.size and sound else np.full(outcome.size, np.nan)
    known = ~np.isnan(outcome)
    coverage = LabelCoverage(due=outcome.size, labelled=int(known.sum()))
    resolved = Resolved(probability[known], outcome[known], coverage)
    return Batch(columns, probability, outcome, resolved, source, acts_as=acts_as, broken=broken)


def batch_from_journal(
    journal: Journal,
    bundle: Bundle,
    window: Window,
    *,
    known_at: datetime,
    newest: bool = False,
) -> Batch:
    """Collect the deployed model's predictions in a window, and the outcomes that are due.

    The outcomes come from another window of the same length, one label horizon earlier, in which all outcomes are due.
    Among younger predictions, only customers who left early have an outcome. Records after `known_at` are left out.

    Predictions of other models are left out. Their scores are no evidence on `bundle`, which may even have been trained
    on these customers.

    Parameters
    ----------
    newest
        Whether the window holds the newest predictions, although it ended before `known_at`. If so, the outcomes'
        window ends one label horizon before `known_at`, but not after this window's end. If not, a window that ended
        before `known_at` is a past one: its report is report-only.
    """
    until, length, horizon = window[1], window[1] - window[0], journal.label_horizon
    parts: list[Columns] = []
    cells = UnexpectedCells()
    known: list[NDArray[np.float64]] = []
    scores: list[float] = []
    for recorded in _chunks(journal.resolved(*window, known_at, content_sha256=bundle.content_sha256)):
        table, encoded = _decoded([prediction.row.inputs for prediction in recorded], bundle.schema)
        parts.append(bundle.schema.without_personal(encoded))
        scores += [prediction.row.churn_probability for prediction in recorded]
        cells = cells.merge(UnexpectedCells.of(table, encoded, bundle.schema))
        known.append(np.array([np.nan if p.churned is None else p.churned for p in recorded], dtype=np.float64))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    outcome = np.concatenate(known) if known else np.empty(0)
    probability = np.array(scores, dtype=np.float64)
    due = min(until, known_at - horizon) if newest else min(until, known_at) - horizon
    past = [
        _resolved(journal, bundle, (due - (i + 1) * length, due - i * length), until, known_at)
        for i in range(PAST_WINDOWS + 1)
    ]
    resolved, is_past = past[0][1], until < known_at and not newest
    if not (resolved.coverage.labelled or is_past):
        waiting, first = journal.waiting(due, known_at, bundle.content_sha256)
        days = horizon / timedelta(days=1)
        coverage = replace(
            resolved.coverage, waiting=waiting, first_due=first and first + horizon, label_horizon_days=days
        )
        resolved = replace(resolved, coverage=coverage)
    return Batch(
        columns,
        probability,
        outcome,
        resolved,
        f"journal, {window[0]:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC",
        window,
        acts_as=None if is_past else LIVE,
        past=is_past,
        history=tuple(entry for entry in past[1:] if entry[1].coverage.due),
        unexpected=cells,
    )


def newest_batch(
    journal: Journal, bundle: Bundle, length: timedelta, *, now: datetime, until: datetime | None = None
) -> Batch:
    """Collect the predictions in the journal from a window of `length` up to `until`, or up to `now`.

    Outcomes are those known at `now`, so a past window includes labels that arrived after it. Without `until`, an empty
    window is moved to end at the newest prediction of any model, if it then has some of the deployed model.
    """
    end = until or now
    batch = batch_from_journal(journal, bundle, (end - length, end), known_at=now)
    newest = None if until or batch.rows else journal.newest_begin(1, end - length)
    if newest is None:
        return batch
    end = newest + timedelta(microseconds=1)
    earlier = batch_from_journal(journal, bundle, (end - length, end), known_at=now, newest=True)
    return earlier if earlier.rows else batch


def decode_inputs(documents: Sequence[str], schema: Schema) -> Columns:
    """Encode customers of the journal: JSON objects with snake_case names, categories as their levels.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="minutes", kind="number"), Column(name="plan", kind="flag", choices=("No", "Yes")),
    ...     Column(name="churn", kind="target", choices=("False", "True"))))
    >>> decode_inputs(['{"minutes": 3.5, "plan": "Yes"}', '{"minutes": null, "plan": "No"}'], schema)
    {'minutes': array([3.5, nan]), 'plan': array([1., 0.])}
    """
    return _decoded(documents, schema)[1]


def _decoded(documents: Sequence[str], schema: Schema) -> tuple[pl.DataFrame, Columns]:
    """Return customers of the journal as a table, and encoded.

    Raises
    ------
    DataError
        If they do not fit the Schema.
    """
    kinds = {c.name: pl.Float64 if c.is_number else pl.String for c in schema.inputs}
    try:
        table = pl.Series("inputs", documents).str.json_decode(pl.Struct(kinds)).struct.unnest()
        levels = [as_levels(table.get_column(column.name), column) for column in schema.inputs if column.is_open]
        table = table.with_columns(levels)
        return table, encode(table, schema)
    except pl.exceptions.PolarsError:  # its message may contain customers' data
        raise DataError("the journal holds inputs that do not fit the Schema of the model that answered them") from None


def _chunks(predictions: Iterator[RecordedPrediction]) -> Iterator[list[RecordedPrediction]]:
    while chunk := list(islice(predictions, ROWS)):
        yield chunk


def _resolved(
    journal: Journal, bundle: Bundle, window: Window, until: datetime, known_at: datetime
) -> tuple[Window, Resolved]:
    """Collect the outcomes of one window, as known at `known_at`."""
    due, scores, churned, ages = 0, [], [], []
    for prediction in journal.resolved(*window, known_at, content_sha256=bundle.content_sha256):
        due += 1
        if prediction.churned is not None:
            scores.append(prediction.row.churn_probability)
            churned.append(float(prediction.churned))
            ages.append((until - prediction.row.at) / timedelta(days=1))
    coverage = LabelCoverage(
        due=due,
        labelled=len(ages),
        oldest=until - timedelta(days=max(ages)) if ages else None,
        newest=until - timedelta(days=min(ages)) if ages else None,
        median_age_days=float(np.median(ages)) if ages else None,
    )
    return window, Resolved(np.array(scores, dtype=np.float64), np.array(churned, dtype=np.float64), coverage)
