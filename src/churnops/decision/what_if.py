"""The smallest change of the actionable columns that brings one customer's probability below the threshold.

The search tries values that customers of the reference have, so each is known to occur. The *distance* of a change
makes columns comparable. For a number, integer or date it is the share of reference customers between the two values
(half of those at each end). For a flag or category it is 1/2, which is this measure's result for any two values.

It describes the model. Whether the customer would stay after a real change is another question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.model import Bundle
from churnops.schema import Column, Schema

Floats = NDArray[np.float64]

MAX_TRIED = 4_000
"""Values that one round tries; the columns share them evenly."""
MAX_CELLS = 2**24
"""Limit of the cells of a round as the model encodes them: 128 MiB."""
MAX_CHANGES = 3
"""Columns that are changed together: people do not act on longer lists."""
LEVEL_DISTANCE = 0.5


@dataclass(frozen=True)
class Change:
    """Change of one column, as encoded values, and its distance, in [0, 1]."""

    name: str
    before: float
    after: float
    distance: float


@dataclass(frozen=True)
class WhatIf:
    """Result of a search.

    Attributes
    ----------
    before
        Probability of the customer as given.
    below
        Whether the probability with the changes is below the threshold. If not, it is the lowest that was found.
    changes
        Empty if the customer is below the threshold already, or if no change lowers the probability.
    """

    before: float
    probability: float
    below: bool
    changes: tuple[Change, ...]


class _Values(NamedTuple):
    """Values to try for a column, with their distances; both of shape (n,)."""

    values: Floats
    distances: Floats


def actionable(model: Schema, declared: Schema) -> tuple[str, ...]:
    """Return the inputs of a model that are actionable by the present declaration, which may be newer than the model.

    >>> plan, churn = Column(name="plan", kind="flag", choices=("a", "b")), Column(
    ...     name="churn", kind="target", choices=("No", "Yes"))
    >>> model = Schema(columns=(plan, churn))
    >>> actionable(model, Schema(columns=(plan.model_copy(update={"actionable": True}), churn)))
    ('plan',)
    """
    names = {column.name for column in declared.columns if column.actionable}
    return tuple(column.name for column in model.model_inputs if column.name in names and not column.personal)


def smallest_change(bundle: Bundle, inputs: Mapping[str, float], names: Sequence[str], threshold: float) -> WhatIf:
    """Search the change of some columns with the smallest distance and a probability below the threshold.

    1. One column: all values are tried, and the nearest that is enough is returned, of all columns (at equal distance,
       the one with the lowest probability). The result is exact for columns with at most `MAX_TRIED / len(names)`
       distinct values in the reference; of others, as many are tried, evenly spread over the reference's customers.
    2. If no single change is enough, the one with the lowest probability is made, and the search is repeated with the
       other columns, up to `MAX_CHANGES`. Each earlier change is then drawn back to the nearest value that is enough
       with the others. This is greedy: another combination may have a smaller sum of distances.

    Derived features are computed again for each value. A missing value is not varied.

    Parameters
    ----------
    inputs
        Encoded model inputs of the customer.
    names
        Columns that may change, see `actionable`.
    """
    before = float(bundle.predict({name: np.array([value]) for name, value in inputs.items()}).probability[0])
    search = _ChangeSearch(bundle, inputs, names, threshold)
    if before < threshold or not search.values:
        return WhatIf(before, before, before < threshold, ())
    chosen: dict[str, float] = {}
    probability, below = before, False
    while not below and len(chosen) < min(MAX_CHANGES, len(search.values)):
        name, value, lower, below = search.best([name for name in search.values if name not in chosen], chosen)
        if lower >= probability:
            break
        chosen[name], probability = value, lower
    for name in list(chosen)[:-1] if below else ():
        others = {other: value for other, value in chosen.items() if other != name}
        _, chosen[name], probability, _ = search.best([name], others)
    changes = (search.change(name, value) for name, value in chosen.items())
    return WhatIf(before, probability, below, tuple(change for change in changes if change.before != change.after))


class _ChangeSearch:
    """Scores values of one customer's columns."""

    def __init__(self, bundle: Bundle, inputs: Mapping[str, float], names: Sequence[str], threshold: float) -> None:
        self._bundle = bundle
        self._inputs = inputs
        self._threshold = threshold
        limit = min(MAX_TRIED, MAX_CELLS // bundle.width) // max(len(names), 1)
        tried = {
            name: _values(bundle.schema.by_name[name], bundle.reference[name], inputs[name], limit)
            for name in names
            if not isnan(inputs[name]) and bundle.reference[name].rows
        }
        self.values = {name: values for name, values in tried.items() if values.values.size > 1}

    def best(self, names: Sequence[str], chosen: Mapping[str, float]) -> tuple[str, float, float, bool]:
        """Return the column and value of the best change beside those chosen, its probability, and whether it is below.

        The best is the nearest that is below the threshold, or else the one with the lowest probability.
        """
        sizes = [self.values[name].values.size for name in names]
        rows = {name: np.full(sum(sizes), value) for name, value in {**self._inputs, **chosen}.items()}
        starts = np.cumsum([0, *sizes])
        for name, start in zip(names, starts, strict=False):
            rows[name][start : start + self.values[name].values.size] = self.values[name].values
        probability = self._bundle.predict(rows).probability
        distance = np.concatenate([self.values[name].distances for name in names])
        is_below = probability < self._threshold
        keys = (probability, np.where(is_below, distance, 0.0), ~is_below)
        row = int(np.lexsort(keys)[0])
        name = names[int(np.searchsorted(starts, row, side="right")) - 1]
        return name, float(rows[name][row]), float(probability[row]), bool(is_below[row])

    def change(self, name: str, value: float) -> Change:
        """Return the change of a column to a tried value."""
        values, distances = self.values[name]
        return Change(name, self._inputs[name], value, float(distances[np.searchsorted(values, value)]))


def _values(column: Column, profile: ColumnProfile, value: float, limit: int) -> _Values:
    """Return at most `limit` values of the reference, and the customer's own, in ascending order.

    Of more values, the most frequent levels are kept, or numbers that are evenly spread over the customers.
    """
    observed = profile.points[(profile.at_points > 0) & np.isfinite(profile.points)]
    if column.choices:
        codes = np.unique(np.append(frequent_levels(column, profile, limit), value))
        return _Values(codes, np.where(codes == value, 0.0, LEVEL_DISTANCE))
    if observed.size > limit:
        ranks = _ranks(profile, observed)
        observed = np.unique(observed[np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], max(limit, 2)))])
    values = np.unique(np.append(observed, value))
    return _Values(values, np.abs(_ranks(profile, values) - _ranks(profile, np.array([value]))))


def frequent_levels(column: Column, profile: ColumnProfile, limit: int) -> Floats:
    """Return the codes of the most frequent choices of a flag or category, at most `limit`, in ascending order."""
    known = (profile.at_points > 0) & (profile.points < len(column.choices))
    codes, counts = profile.points[known], profile.at_points[known]
    return np.sort(codes[np.argsort(-counts, kind="stable")[:limit]])


def _ranks(profile: ColumnProfile, values: Floats) -> Floats:
    """Return the share of reference customers below each value, and half of those in the same cell."""
    middle = (np.cumsum(profile.counts) - profile.counts / 2) / profile.rows
    place = np.searchsorted(profile.points, values)
    at_point = profile.points[np.minimum(place, profile.points.size - 1)] == values
    cell: Floats = middle[2 * place + (at_point & (place < profile.points.size))]
    return cell
