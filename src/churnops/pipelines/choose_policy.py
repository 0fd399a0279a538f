"""Compute the profit of decision policies on customers with known outcomes. Nothing is changed or recorded."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churnops.decision.choice import MAX_SEGMENTS, MIN_CUSTOMERS, Choice, LabelledCustomers, Segments, choose
from churnops.decision.known_outcomes import Window, missing_outcomes, read_window
from churnops.decision.policy import DecisionPolicy
from churnops.decision.sample import Sample, read_reference
from churnops.errors import DataError, PolicyError
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.schema import Schema

Source = Literal["journal", "training"]


class KnownCustomers(NamedTuple):
    """Customers whose outcome is known, and their description after a number."""

    sample: Sample
    description: str


class ChosenPolicy(NamedTuple):
    """The profits, the policy that they are computed with, and a description of the customers."""

    choice: Choice
    policy: DecisionPolicy
    description: str


def choose_policy(
    project: Project, policy: DecisionPolicy, source: Source, *, days: int, until: date | None = None, by: str | None
) -> ChosenPolicy:
    """Compute the profits of a policy and of others on customers with known outcomes.

    Parameters
    ----------
    source
        `journal`: customers with a prediction of the deployed model in a window, see `window`.
        `training`: a sample of the training rows, each scored by a fit that was not trained on it.
    by
        Category or flag by which the segments are made; None: no segments.

    Raises
    ------
    ChurnopsError
        If no model is deployed, the policy lacks a number, or there are too few customers.
    """
    bundle = project.require_deployed()
    policy.expected_profit([0.0], [0.0])  # a missing number is refused before anything is read
    policy = policy.in_table(bundle.schema)
    by = None if by is None else bundle.schema.rename([by]).get(by, by)
    chosen = window(project, days, until)
    if source == "training":
        known = training_customers(project, bundle)
    else:
        known = journal_customers(project, bundle, chosen, {name for name in (policy.value_column, by) if name})
        if not known.sample.enough:
            raise PolicyError(too_few(project, known.sample, chosen))
    return ChosenPolicy(profits(project, bundle, known.sample, policy, by), policy, known.description)


def window(project: Project, days: int, until: date | None = None) -> Window:
    """Return the last `days` days until a day, or until the youngest predictions whose outcomes are due."""
    due = datetime.now(UTC) - project.label_horizon + timedelta(microseconds=1)
    day_end = due if until is None else datetime.combine(until, time.min, UTC) + timedelta(days=1)
    end = min(due, day_end)
    return Window(end - timedelta(days=days), end)


def training_customers(project: Project, bundle: Bundle) -> KnownCustomers:
    """Return the sample of the training rows of the deployed model."""
    path = reference_path(project.models, bundle.content_sha256)
    if not path.is_file():
        raise DataError("the deployed model has no sample of training rows: train it with `churnops run`")
    return KnownCustomers(read_reference(path, bundle.schema), "training rows, each scored by a fit without the row")


def journal_customers(project: Project, bundle: Bundle, window: Window, names: Collection[str]) -> KnownCustomers:
    """Return the customers of a window of the journal; `names` are the inputs to read."""
    known = {column.name for column in bundle.schema.inputs} - bundle.schema.personal
    sample, since = read_window(project.journal, bundle, window, datetime.now(UTC), sorted(known & set(names)))
    description = f"customers scored from {since:%Y-%m-%d} to {window.end:%Y-%m-%d}, outcomes known"
    if since > window.begin:
        description += f"; earlier ones since {window.begin:%Y-%m-%d} are too many to read"
    return KnownCustomers(sample, description)


def too_few(project: Project, sample: Sample, window: Window) -> str:
    """Explain in words that a window has too few outcomes, and until when to wait."""
    reason = missing_outcomes(project.journal, window, project.label_horizon, datetime.now(UTC), MIN_CUSTOMERS)
    return (
        f"{sample.rows:,} customers scored from {window.begin:%Y-%m-%d} to {window.end:%Y-%m-%d} have a known outcome, "
        f"{sample.leavers:,} of them left. These are too few: at least {MIN_CUSTOMERS} are needed, some who left and "
        f"some who stayed. {reason}"
    )


def profits(project: Project, bundle: Bundle, sample: Sample, policy: DecisionPolicy, by: str | None) -> Choice:
    """Compute the profits on customers with known outcomes; those whose value is not known are left out."""
    column = policy.value_column
    if column is None:
        value = np.full(sample.rows, float(policy.value or 0.0))
    elif column in sample.columns or not sample.rows:
        value = np.asarray(sample.columns.get(column, ()), dtype=np.float64)
    else:
        name = bundle.schema.by_name[column].full_name
        raise PolicyError(f"the values of the column {name} are not known for these customers")
    known = ~np.isnan(value)
    options = project.settings
    return choose(
        LabelledCustomers(sample.outcome[known], sample.score[known], value[known]),
        policy,
        bundle.own_threshold,
        None if by is None else _segments(by, sample, known, bundle.schema),
        confidence=options.evaluation.confidence,
        seed=options.random_state,
    )


def segment_columns(schema: Schema) -> list[str]:
    """Return the columns by which segments can be made."""
    return [column.name for column in schema.inputs if column.levels and column.name not in schema.personal]


def _segments(by: str, sample: Sample, known: NDArray[np.bool_], schema: Schema) -> Segments:
    """Return the levels of a category or flag that customers have, the most frequent ones first."""
    names = segment_columns(schema)
    if by not in names or by not in sample.columns:
        raise PolicyError(f"--by: {by!r} is not a category or flag; allowed: {', '.join(names[:8]) or 'none'}")
    values = sample.columns[by][known]
    codes = np.where(np.isnan(values), -1, values).astype(np.int64)
    levels = schema.by_name[by].levels
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    frequent = [code for code in np.argsort(-counts, kind="stable").tolist() if counts[code]][:MAX_SEGMENTS]
    place = np.full(len(levels) + 1, -1)
    place[frequent] = np.arange(len(frequent))
    return Segments([levels[code] for code in frequent], place[codes])
