"""Customers that the dashboard analyses: what was known of them, what the model said, and what became of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.errors import DataError
from churnops.features.build import FeatureMatrix
from churnops.journal import Journal, RecordedPrediction
from churnops.model import Bundle
from churnops.model.bundle import SCORE
from churnops.monitoring.collect import decode_inputs
from churnops.schema import Columns, Schema
from churnops.words import title

NEWEST = 10_000  # customers with outcomes
STEP, MOST = 10_000, 100_000  # predictions that are looked at for them, at a time and at most
FEWEST = 200  # customers with outcomes that an analysis needs
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
        Shape (n,): 1 churned, 0 stayed.
    score
        Shape (n,): probability of churn by a fit that had not seen them.
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
        """Hash of who they are and what became of them."""
        parts = (*self.columns.values(), self.outcome, self.score)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()

    @property
    def leavers(self) -> int:
        """How many left."""
        return int(self.outcome.sum())

    @property
    def enough(self) -> bool:
        """Whether there are at least 200, of both outcomes: else nothing can be told."""
        return self.rows >= FEWEST and 0 < self.leavers < self.rows


@dataclass(frozen=True)
class Variable:
    """A column, or a feature computed from columns, of a sample's customers.

    Attributes
    ----------
    values
        Shape (n,); NaN: not known. Of a category or flag the position in `choices`.
    choices
        Empty for a number.
    unit
        Unit of a number; empty: none.
    """

    name: str
    title: str
    description: str
    values: Floats
    choices: tuple[str, ...] = ()
    unit: str = ""

    @property
    def ordered(self) -> bool:
        """Whether larger means something: a number or a flag."""
        return len(self.choices) in (0, 2)


def read_reference(path: Path, schema: Schema) -> Sample:
    """Read the sample that was kept when a model was trained.

    Raises
    ------
    DataError
        If it is no such sample, with what to do.
    """
    try:
        table = pl.read_parquet(path)
        read = {name: table.get_column(name).cast(pl.Float64).to_numpy() for name in table.columns}
    except (pl.exceptions.PolarsError, OSError):  # whose message may hold what the file does
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
        choices = len(schema.by_name[name].choices)
        if choices and not (np.isnan(values) | np.isin(values, np.arange(choices))).all():
            return False
    return bool(known and valid)


def read_production(journal: Journal, bundle: Bundle, known_at: datetime, horizon: timedelta) -> Sample:
    """Read what became of the customers that a model was asked about: the newest 10,000 with a known outcome.

    Only predictions that a whole horizon has passed for count: of younger ones, those who left are known and those who
    stay are not. A customer counts once, as of the newest prediction. Outcomes come late, so up to 100,000 predictions
    are looked at, in steps back from the newest.

    Raises
    ------
    DataError
        If inputs in the journal do not fit the model's Schema.
    JournalError
        If the database does not answer.
    """
    end = until = known_at - horizon + _MICROSECOND
    newest: dict[str, RecordedPrediction] = {}
    for looked in range(STEP, MOST + STEP, STEP):
        reached = journal.newest_begin(looked, until)
        begin = reached or datetime.fromtimestamp(0, UTC)
        older: dict[str, RecordedPrediction] = {}
        for found in journal.resolved(begin, end, known_at):  # at most a step, and what came with its oldest
            if found.churned is not None and found.row.content_sha256 == bundle.content_sha256:
                older[f"customer {found.row.customer_id}" if found.row.customer_id else found.row.id] = found
        newest = older | newest
        if reached is None or len(newest) >= NEWEST:
            break
        end = begin
    rows = sorted(newest.values(), key=lambda found: found.row.at)[-NEWEST:]
    if not rows:
        return Sample({}, np.empty(0), np.empty(0))
    return Sample(
        decode_inputs([found.row.inputs for found in rows], bundle.schema),
        np.array([found.churned for found in rows], dtype=np.float64),
        np.array([found.row.churn_probability for found in rows]),
    )


def may_have_outcomes(journal: Journal, known_at: datetime, horizon: timedelta) -> bool:
    """Whether enough predictions are old enough for an analysis of their outcomes; asks an index."""
    return journal.newest_begin(FEWEST, known_at - horizon + _MICROSECOND) is not None


def variables(sample: Sample, bundle: Bundle) -> tuple[Variable, ...]:
    """Return what customers can be told apart by: inputs, and the features that the model computes from them.

    Left out is what has one value for all.
    """
    found = []
    for column in bundle.schema.inputs:
        if column.name in sample.columns:
            values = sample.columns[column.name]
            found.append(Variable(column.name, title(column), column.description, values, column.choices, column.unit))
    computed = [
        f
        for f in bundle.features
        if f.name in bundle.selected and f.name not in bundle.schema.by_name and "=" not in f.name
    ]  # a name with "=" is a category's choice
    if computed:
        names = [feature.name for feature in computed]
        matrix = FeatureMatrix(bundle.schema.model_inputs, bundle.features, names)(bundle.imputer(sample.columns))
        for feature, values in zip(computed, matrix.T, strict=True):
            choices = ("No", "Yes") if np.isin(values, (0.0, 1.0)).all() else ()
            named = f"{title(feature)} (computed)"
            found.append(Variable(feature.name, named, feature.description, values, choices, feature.unit))
    return tuple(variable for variable in found if np.unique(variable.values[~np.isnan(variable.values)]).size > 1)


@dataclass(frozen=True)
class Drivers:
    """What moves the scores of some customers.

    Attributes
    ----------
    inputs
        What contributes, the largest mean first.
    contributions
        Shape (n, len(inputs)): of each to the scores, on `scale`; the choices of a category are summed up.
    outcome
        Shape (n,): 1 churned, 0 stayed.
    """

    inputs: tuple[Variable, ...]
    contributions: Floats
    outcome: Floats
    scale: str

    @property
    def importance(self) -> Floats:
        """Mean size of the contributions, without their signs, of each input."""
        size: Floats = np.abs(self.contributions).mean(axis=0)
        return size


def drivers(sample: Sample, bundle: Bundle, *, most: int = 1_000, seed: int) -> Drivers:
    """Explain up to `most` of the customers, picked at random."""
    picked = np.random.default_rng(seed).permutation(sample.rows)[:most]
    columns: Mapping[str, Floats] = {name: values[picked] for name, values in sample.columns.items()}
    part = Sample(columns, sample.outcome[picked], sample.score[picked])
    contributions = bundle.explain(columns).contributions
    owners = [name.partition("=")[0] for name in bundle.selected]
    known = {variable.name: variable for variable in variables(part, bundle)}
    names = [name for name in dict.fromkeys(owners) if name in known]
    summed = np.empty((part.rows, len(names)))
    for place, name in enumerate(names):
        summed[:, place] = contributions[:, [owner == name for owner in owners]].sum(axis=1)
    order = np.argsort(-np.abs(summed).mean(axis=0), kind="stable")
    return Drivers(tuple(known[names[i]] for i in order), summed[:, order], part.outcome, bundle.explanation_scale)
