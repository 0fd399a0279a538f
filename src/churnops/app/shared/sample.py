"""Columns, features and contributions of a sample of customers, for the Analysis page."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.app.shared.text import quantity
from churnops.decision.sample import Sample
from churnops.features.build import FeatureMatrix
from churnops.model import Bundle
from churnops.words import title

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variable:
    """A column of a sample, or a feature computed from its columns.

    Attributes
    ----------
    values
        Values, shape (n,); NaN if not known. For a category or flag, positions in `choices`.
    choices
        Choices of a category or flag; empty for a number.
    unit
        Unit of a number; may be empty.
    is_date
        Whether values are days since 1970-01-01 UTC.
    """

    name: str
    title: str
    description: str
    values: Floats
    choices: tuple[str, ...] = ()
    unit: str = ""
    is_date: bool = False

    def text(self, value: float) -> str:
        """Return a value of a number or date as text."""
        return quantity(value, is_date=self.is_date)

    @property
    def ordered(self) -> bool:
        """Whether values have an order, as numbers and flags do."""
        return len(self.choices) in (0, 2)


def variables(sample: Sample, bundle: Bundle) -> tuple[Variable, ...]:
    """Return the inputs and the model's computed features; those with one value for all customers are left out."""
    shown = []
    for column in bundle.schema.inputs:
        if column.name in sample.columns:
            values = sample.columns[column.name]
            choices = column.levels if (values == column.other).any() else column.choices
            is_date = column.kind == "date"
            shown.append(
                Variable(column.name, title(column), column.description, values, choices, column.unit, is_date=is_date)
            )
    computed = [
        f
        for f in bundle.features
        if f.name in bundle.selected and f.name not in bundle.schema.by_name and "=" not in f.name
    ]  # a name with "=" is a choice of a category
    if computed:
        names = [feature.name for feature in computed]
        matrix = FeatureMatrix(bundle.schema.model_inputs, bundle.features, names)(bundle.imputer(sample.columns))
        for feature, values in zip(computed, matrix.T, strict=True):
            choices = ("No", "Yes") if np.isin(values, (0.0, 1.0)).all() else ()
            named = f"{title(feature)} (computed)"
            shown.append(Variable(feature.name, named, feature.description, values, choices, feature.unit))
    return tuple(variable for variable in shown if np.unique(variable.values[~np.isnan(variable.values)]).size > 1)


@dataclass(frozen=True)
class Drivers:
    """Contributions of columns and features to the scores of some customers.

    Attributes
    ----------
    inputs
        Columns and features, largest mean contribution first.
    contributions
        Contribution of each input to each score on `scale`, shape (n, len(inputs)), summed over a category's choices.
    outcome
        1 churned, 0 stayed; shape (n,).
    """

    inputs: tuple[Variable, ...]
    contributions: Floats
    outcome: Floats
    scale: str

    @property
    def importance(self) -> Floats:
        """Mean absolute contribution of each input."""
        size: Floats = np.abs(self.contributions).mean(axis=0)
        return size


def drivers(sample: Sample, bundle: Bundle, *, limit: int = 1_000, seed: int) -> Drivers:
    """Explain up to `limit` customers, picked at random."""
    picked = np.random.default_rng(seed).permutation(sample.rows)[:limit]
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
