"""Associations: strength of the relation of each pair of columns, for numbers, flags and categories."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.app.shared.sample import Variable

Floats = NDArray[np.float64]

MIN_CUSTOMERS = 10  # with a value in both columns
REPEATS = 0.95  # from this strength, two columns hold nearly the same information
MEASURES = (
    "Numbers and yes/no columns: Spearman's rank correlation, from -1 (one falls as the other rises) through 0 (no "
    "relation) to 1 (both rise together). Pairs with a category have no direction, so their strength goes from 0 to 1: "
    "the correlation ratio of ranks for a category and a number, Cramér's V for two categories. Both measures are "
    "corrected for the number of choices."
)


@dataclass(frozen=True)
class Associations:
    """The outcome and the columns, with the strength of each pair, shape (k, k); NaN if too few customers have both."""

    columns: tuple[Variable, ...]
    strength: Floats


def by_strength(columns: Sequence[Variable], outcome: Variable) -> tuple[Variable, ...]:
    """Order columns by strength of association with the outcome, strongest first."""
    target = _RankedColumn.of(outcome)
    strength = [np.nan_to_num(abs(_association(_RankedColumn.of(column), target))) for column in columns]
    return tuple(columns[i] for i in np.argsort(-np.array(strength), kind="stable"))


def associations(columns: Sequence[Variable], outcome: Variable) -> Associations:
    """Return the association of every pair of the outcome and the columns."""
    ranked = [_RankedColumn.of(variable) for variable in (outcome, *columns)]
    strength = np.eye(len(ranked))
    for i, one in enumerate(ranked):
        for j in range(i):
            strength[i, j] = strength[j, i] = _association(one, ranked[j])
    return Associations((outcome, *columns), strength)


def summary(table: Associations) -> str:
    """Name the columns with the strongest association with the outcome, and columns that repeat each other."""
    with_outcome = table.strength[0, 1:]
    best = [i for i in np.argsort(-np.abs(np.nan_to_num(with_outcome)), kind="stable")[:3] if with_outcome[i]]
    names = ", ".join(f"{table.columns[i + 1].title} ({with_outcome[i]:.2f})" for i in best)
    rows, others = np.nonzero(np.triu(np.abs(np.nan_to_num(table.strength[1:, 1:])) >= REPEATS, 1))
    titles = [column.title for column in table.columns[1:]]
    same = [f"{titles[i]} and {titles[j]}" for i, j in zip(rows, others, strict=True)]
    more = f"; and {len(same) - 4:,} more" if len(same) > 4 else ""
    repeats = f" These columns hold nearly the same information: {'; '.join(same[:4])}{more}." if same else ""
    return f"Customers who left differ most in {names}.{repeats}"


def pairs(table: Associations, minimum: float = 0.1) -> list[tuple[str, str, float]]:
    """Return the titles and the strength of each pair with at least the `minimum` strength, strongest first."""
    size = np.triu(np.abs(np.nan_to_num(table.strength)), 1)
    rows, others = np.nonzero(size >= minimum)
    order = np.argsort(-size[rows, others], kind="stable")
    titles = [column.title for column in table.columns]
    return [
        (titles[i], titles[j], float(table.strength[i, j])) for i, j in zip(rows[order], others[order], strict=True)
    ]


@dataclass(frozen=True)
class _RankedColumn:
    """Values of a column: ranks if it is ordered (equal values get their mean rank), else codes; NaN if missing."""

    values: Floats
    ordered: bool

    @classmethod
    def of(cls, variable: Variable) -> "_RankedColumn":
        if not variable.ordered:
            return cls(variable.values, ordered=False)
        known = ~np.isnan(variable.values)
        _, place, count = np.unique(variable.values[known], return_inverse=True, return_counts=True)
        ranks = np.full(variable.values.size, np.nan)
        ranks[known] = (np.cumsum(count) - (count - 1) / 2)[place]
        return cls(ranks, ordered=True)


def _association(one: _RankedColumn, other: _RankedColumn) -> float:
    """Return the association of two columns, from the customers who have values in both."""
    both = ~(np.isnan(one.values) | np.isnan(other.values))
    x, y = one.values[both], other.values[both]
    if x.size < MIN_CUSTOMERS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    if one.ordered and other.ordered:
        x, y = x - x.mean(), y - y.mean()
        return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))
    if one.ordered or other.ordered:
        return _correlation_ratio(y, x) if one.ordered else _correlation_ratio(x, y)
    return _cramers_v(x, y)


def _correlation_ratio(codes: Floats, values: Floats) -> float:
    """Return the root of epsilon squared (Kelley, PNAS 1935): the corrected share of variance between groups."""
    _, group, count = np.unique(codes, return_inverse=True, return_counts=True)
    if values.size <= count.size:
        return float("nan")
    centred = values - values.mean()
    between = float(((np.bincount(group, weights=centred) ** 2) / count).sum())
    total = float(centred @ centred)
    corrected = 1 - (total - between) / total * (values.size - 1) / (values.size - count.size)
    return float(np.sqrt(np.clip(corrected, 0, 1)))


def _cramers_v(one: Floats, other: Floats) -> float:
    """Return Cramér's V with the bias correction of Bergsma (J. Korean Stat. Soc. 2013)."""
    _, i = np.unique(one, return_inverse=True)
    _, j = np.unique(other, return_inverse=True)
    rows, columns, n = i.max() + 1, j.max() + 1, one.size
    table = np.bincount(i * columns + j, minlength=rows * columns).reshape(rows, columns)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi = float(((table - expected) ** 2 / expected).sum() / n)
    phi = max(phi - (rows - 1) * (columns - 1) / (n - 1), 0.0)
    sides = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(min(phi / sides, 1.0))) if sides > 0 else float("nan")
