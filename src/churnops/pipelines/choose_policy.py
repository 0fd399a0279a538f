"""Compute the profit of decision policies on customers with known outcomes. Nothing is changed or recorded."""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churnops.decision.choice import MAX_SEGMENTS, Choice, LabelledCustomers, choose
from churnops.decision.policy import DecisionPolicy
from churnops.decision.sample import Sample, read_production, read_reference
from churnops.errors import DataError, PolicyError
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.schema import Schema

Customers = Literal["journal", "training"]


class ChosenPolicy(NamedTuple):
    """The profits, the policy that they are computed with, and a description of the customers."""

    choice: Choice
    policy: DecisionPolicy
    description: str


def choose_policy(
    project: Project, policy: DecisionPolicy, customers: Customers, *, days: int, by: str | None
) -> ChosenPolicy:
    """Compute the profits of a policy and of others on customers with known outcomes.

    Parameters
    ----------
    customers
        `journal`: customers with a prediction of the deployed model in the last `days` days for which outcomes are due.
        `training`: a sample of the training rows, each scored by a fit that was not trained on it.
    by
        Category or flag by which the segments are made; None: no segments.

    Raises
    ------
    ChurnopsError
        If no model is deployed, the policy lacks a number, or there are too few customers.
    """
    bundle, now = project.require_deployed(), datetime.now(UTC)
    policy = policy.in_table(bundle.schema)
    if customers == "training":
        path = reference_path(project.models, bundle.content_sha256)
        if not path.is_file():
            raise DataError("the deployed model has no sample of training rows: train it with `churnops run`")
        sample, description = read_reference(path, bundle.schema), "training rows, each scored by a fit without the row"
    else:
        horizon = project.label_horizon
        sample = read_production(project.journal, bundle, now, horizon, length=timedelta(days=days))
        end = now - horizon
        description = f"customers scored from {end - timedelta(days=days):%Y-%m-%d} to {end:%Y-%m-%d}, outcomes known"
    labelled, known = _labelled(sample, policy, bundle)
    options = project.settings
    choice = choose(
        labelled,
        policy,
        bundle.own_threshold,
        {} if by is None else _segments(sample, by, known, bundle.schema),
        confidence=options.evaluation.confidence,
        seed=options.random_state,
    )
    return ChosenPolicy(choice, policy, description)


def _labelled(sample: Sample, policy: DecisionPolicy, bundle: Bundle) -> tuple[LabelledCustomers, NDArray[np.bool_]]:
    """Return the customers whose value is known, and their mask."""
    column = policy.value_column
    if column is None:
        value = np.full(sample.rows, float(policy.value or 0.0))
    elif column in sample.columns or not sample.rows:
        value = np.asarray(sample.columns.get(column, ()), dtype=np.float64)
    else:
        name = bundle.schema.by_name[column].full_name
        raise PolicyError(f"the values of the column {name} are not known for these customers")
    known = ~np.isnan(value)
    return LabelledCustomers(sample.outcome[known], sample.score[known], value[known]), known


def _segments(sample: Sample, by: str, known: NDArray[np.bool_], schema: Schema) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of each level of a category or flag that customers have, the most frequent ones first."""
    by = schema.rename([by]).get(by, by)
    column = schema.by_name.get(by)
    if column is None or not column.levels or by not in sample.columns:
        names = [name for name in sample.columns if schema.by_name[name].levels]
        raise PolicyError(f"--by: {by!r} is not a category or flag; allowed: {', '.join(names[:8]) or 'none'}")
    values = sample.columns[by][known]
    masks = {level: values == code for code, level in enumerate(column.levels)}
    frequent = sorted((name for name in masks if masks[name].any()), key=lambda name: -int(masks[name].sum()))
    return {name: masks[name] for name in frequent[:MAX_SEGMENTS]}
