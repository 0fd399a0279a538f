"""Collect a batch from the journal: a window of predictions, and earlier windows whose outcomes are due."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.unexpected_cells import MAX_TEXTS, UnexpectedCells
from churnops.journal import Journal
from churnops.journal.decoding import PACKED, PackedInputs, decode_inputs
from churnops.journal.outcomes import Outcomes
from churnops.journal.tables import microseconds
from churnops.model import Bundle
from churnops.monitoring.batch import Batch, LabelCoverage, Resolved, Window
from churnops.monitoring.spooled import SpooledColumns
from churnops.schema import Columns, Schema
from churnops.settings import LIVE

PAST_WINDOWS = 4  # earlier windows in a report, with the outcomes known by now
_DAY = 86_400_000_000  # microseconds


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
    due = min(until, known_at - horizon) if newest else min(until, known_at) - horizon
    windows = [(due - (i + 1) * length, due - i * length) for i in range(PAST_WINDOWS + 1)]
    customers, known = _WindowCustomers(bundle.schema), [_KnownOutcomes() for _ in windows]
    for start, end in pairwise(sorted({*window, *chain(*windows)})):
        within = window[0] <= start < until
        collected = [part for (since, before), part in zip(windows, known, strict=True) if since <= start < before]
        if not (within or collected):
            continue
        read = ("churn_probability", PACKED) if within else ("churn_probability",)
        content = bundle.content_sha256
        for page, values in journal.columns(start, end, known_at, read=read, content_sha256=content):
            probability = np.array(values["churn_probability"], dtype=np.float64)
            if within:
                customers.add(values[PACKED], probability, page.churned)
            for part in collected:
                part.add(page, probability)
    past = [(each, part.resolved(until)) for each, part in zip(windows, known, strict=True)]
    resolved, is_past = past[0][1], until < known_at and not newest
    if not (resolved.coverage.labelled or is_past):
        waiting, first = journal.waiting(due, known_at, bundle.content_sha256)
        days = horizon / timedelta(days=1)
        coverage = replace(
            resolved.coverage, waiting=waiting, first_due=first and first + horizon, label_horizon_days=days
        )
        resolved = replace(resolved, coverage=coverage)
    return Batch(
        *customers.columns(),
        resolved,
        f"journal, {window[0]:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC",
        window,
        acts_as=None if is_past else LIVE,
        past=is_past,
        history=tuple(entry for entry in past[1:] if entry[1].coverage.due),
        unexpected=customers.unexpected,
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


class _WindowCustomers:
    """Customers of a window, page by page."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._columns = SpooledColumns()
        self._scores: list[NDArray[np.float64]] = []
        self._outcomes: list[NDArray[np.float64]] = []
        self.unexpected = UnexpectedCells()

    def add(self, packed: PackedInputs, probability: NDArray[np.float64], churned: NDArray[np.float64]) -> None:
        """Add a page."""
        encoded = decode_inputs(packed, self._schema)
        self._columns.append(self._schema.without_personal(encoded))
        self._scores.append(probability)
        self._outcomes.append(churned)
        self.unexpected = self.unexpected.merge(_unexpected(packed, encoded, self._schema))

    def columns(self) -> tuple[Columns, NDArray[np.float64], NDArray[np.float64]]:
        """Return the columns, the scores and the outcomes of all pages."""
        return self._columns, _joined(self._scores), _joined(self._outcomes)


def _unexpected(packed: PackedInputs, columns: Columns, schema: Schema) -> UnexpectedCells:
    """Count the unexpected cells of a page; only unknown levels are needed as text."""
    table = pl.DataFrame(dict(columns))
    for column in schema.inputs:
        if column.is_open:
            texts: list[str | None] = [None] * len(packed.ids)
            for place in (columns[column.name] == column.other).nonzero()[0][:MAX_TEXTS].tolist():
                texts[place] = column.level(str(packed.record(place)[column.name]))
            table = table.with_columns(pl.Series(column.name, texts, dtype=pl.String))
    return UnexpectedCells.of(table, columns, schema)


class _KnownOutcomes:
    """Predictions of a window and their known outcomes, page by page."""

    def __init__(self) -> None:
        self._due = 0
        self._at: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float64]] = []
        self._churned: list[NDArray[np.float64]] = []

    def add(self, outcomes: Outcomes, probability: NDArray[np.float64]) -> None:
        """Add a page."""
        known = ~np.isnan(outcomes.churned)
        self._due += known.size
        self._at.append(outcomes.at[known])
        self._scores.append(probability[known])
        self._churned.append(outcomes.churned[known])

    def resolved(self, until: datetime) -> Resolved:
        """Return the predictions with known outcomes; their ages are those at `until`."""
        ages = (microseconds(until) - _joined(self._at)) / _DAY
        coverage = LabelCoverage(due=self._due, labelled=ages.size)
        if ages.size:
            oldest, newest = (until - timedelta(days=float(age)) for age in (ages.max(), ages.min()))
            median = float(np.median(ages))
            coverage = replace(coverage, oldest=oldest, newest=newest, median_age_days=median)
        return Resolved(_joined(self._scores), _joined(self._churned), coverage)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)
