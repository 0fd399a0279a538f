"""Batch: the customers and outcomes of one monitoring cycle."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import Profile
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.monitoring.spooled import SpooledColumns
from churnops.schema import Columns
from churnops.settings import LIVE

Window = tuple[datetime, datetime]
"""Start (included) and end (excluded)."""
PAGE = 20_000  # customers of `Batch.pages`
NO_SCORES = "customers cannot be scored, because a required column is broken"
"""Reason of a verdict that needs scores, see `Batch.scored`."""


@dataclass(frozen=True)
class LabelCoverage:
    """Number of predictions past the label horizon (`due`; in a table: all), and of those with an outcome (`labelled`).

    `oldest`, `newest` and `median_age_days` describe predictions with an outcome; None without any. `waiting` is the
    number of predictions that have a label but are not past their horizon; `first_due` is the end of the first such
    horizon. Both are given only while no outcome is known. `label_horizon_days` is None for a table.
    """

    due: int
    labelled: int
    oldest: datetime | None = None
    newest: datetime | None = None
    median_age_days: float | None = None
    waiting: int | None = None
    first_due: datetime | None = None
    label_horizon_days: float | None = None

    @property
    def share(self) -> float:
        """Share of due predictions that have an outcome; 0 if none is due."""
        return self.labelled / self.due if self.due else 0.0


@dataclass(frozen=True)
class Resolved:
    """Predictions with a known outcome, and their share of the due predictions.

    Attributes
    ----------
    probability, churned
        Shape (m,): the score that was given, and 1 if the customer left within the horizon, 0 if they stayed.
    """

    probability: NDArray[np.float64]
    churned: NDArray[np.float64]
    coverage: LabelCoverage


@dataclass(frozen=True)
class CountedRows:
    """Rows of a data set that are counted and not held.

    Attributes
    ----------
    profile
        Counts of the inputs and of the score.
    training_rows
        Number of rows with the same model inputs as a training row; None if the training rows are not known.
    """

    rows: int
    profile: Profile
    training_rows: int | None


@dataclass(frozen=True)
class Batch:
    """Customers with predictions of the deployed model, and their known outcomes.

    Attributes
    ----------
    columns, probability, outcome
        n customers: encoded columns, the deployed model's scores, and outcomes as far as known (1, 0 or NaN).
    resolved
        Predictions for performance and churn rate. In a window of the journal they are older than those in `columns`,
        because an outcome is due only after the label horizon. In a table they are the rows with an outcome.
    acts_as
        Source to which this batch's looks, alarms and recoveries belong; None if the batch has no consequences.
    simulated, past
        Whether the customers are simulated, or the window is a past one.
    history
        Earlier windows, with the outcomes that are known by now.
    repeated_rows
        Rows that were left out as copies: a later row has the same customer's id, or see `copies`.
    broken
        Columns of a file that are absent or cannot be read, with the reason, see `churnops.data.broken_columns`. Their
        broken cells are NaN in `columns`. With a broken model input, all probabilities are NaN.
    unexpected
        Unknown levels, and empty cells of columns that training rows always had.
    counted
        The customers, if they are counted: then `columns`, `probability` and `outcome` are empty.
    """

    columns: Columns
    probability: NDArray[np.float64]
    outcome: NDArray[np.float64]
    resolved: Resolved
    source: str
    window: Window | None = None
    acts_as: str | None = None
    simulated: bool = False
    past: bool = False
    history: tuple[tuple[Window, Resolved], ...] = field(default=())
    repeated_rows: int = 0
    broken: Mapping[str, str] = field(default_factory=dict)
    unexpected: UnexpectedCells = field(default_factory=UnexpectedCells)
    counted: CountedRows | None = None

    @property
    def scored(self) -> bool:
        """Whether the customers have scores."""
        return not np.isnan(self.probability).any()

    @property
    def rows(self) -> int:
        """Number of customers, n."""
        return int(self.outcome.size) if self.counted is None else self.counted.rows

    @property
    def report_only(self) -> bool:
        """Whether the batch causes no look, no alarm and no retraining."""
        return self.acts_as is None

    @property
    def whose(self) -> str:
        """Name of the source in the journal; a batch without consequences has a name, too."""
        return self.acts_as or ("simulation" if self.simulated else LIVE if self.past else "file")

    def pages(self) -> Iterator[tuple[Columns, NDArray[np.float64]]]:
        """Yield columns and outcomes of some customers at a time; without customers, one empty page."""
        if isinstance(self.columns, SpooledColumns) and self.columns:
            start = 0
            for columns in self.columns.pages():
                end = start + next(iter(columns.values())).size
                yield columns, self.outcome[start:end]
                start = end
            return
        for start in range(0, max(self.rows, 1), PAGE):
            rows = slice(start, start + PAGE)
            yield {name: values[rows] for name, values in self.columns.items()}, self.outcome[rows]

    @cached_property
    def sha256(self) -> str:
        """Hash of the customers, scores and outcomes, independent of their origin."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            digest.update(name.encode() + b"\0")
            digest.update(np.ascontiguousarray(self.columns[name]).data)
        for column in () if self.counted is None else self.counted.profile.values():
            digest.update(b"\0" + column.counts.tobytes())
        for values in (self.probability, self.resolved.probability, self.resolved.churned):
            digest.update(b"\0")
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()
