"""Customers who left: rates by group, distributions by outcome, and calibration of scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from churnops.app.shared.sample import Variable
from churnops.app.shared.text import one_line, points
from churnops.evaluation.curves import calibration_curve
from churnops.evaluation.wilson import wilson
from churnops.words import percent, with_unit

Floats = NDArray[np.float64]

OWN_VALUES = 12  # a number with at most this many distinct values is shown value by value
BINS, MAX_GROUPS, INTERVALS = 8, 20, 30
NOT_KNOWN, OTHERS = "not known", "all others"


@dataclass(frozen=True)
class Group:
    """A group of customers: size, number who left, and rate with its 95 % interval."""

    label: str
    customers: int
    churned: int
    rate: float
    low: float
    high: float


def groups(variable: Variable, outcome: Floats) -> tuple[Group, ...]:
    """Return the churn rate by choice, value or range of values.

    A number with more than 12 distinct values is cut into about eight ranges of about equally many customers. A value
    that at least an eighth of the customers have is its own group. A category has a group for each of its 20 most
    frequent choices, highest rate first, and one for all other choices.
    """
    codes, labels = _coded(variable)
    customers = np.bincount(codes, minlength=len(labels))
    churned = np.bincount(codes, weights=outcome, minlength=len(labels)).astype(np.int64)
    rate, low, high = wilson(churned, customers)
    shown = [
        Group(label, int(customers[i]), int(churned[i]), float(rate[i]), float(low[i]), float(high[i]))
        for i, label in enumerate(labels)
        if customers[i]
    ]
    return tuple(shown if variable.ordered else sorted(shown, key=lambda group: (group.label == OTHERS, -group.rate)))


def stand_out(variable: Variable, compared: Sequence[Group], overall: float) -> str:
    """Name the group whose rate has the highest lower bound, if this bound is above the overall rate.

    With many groups, one of them has a high rate by chance, so the intervals are wider (Bonferroni). By chance, at most
    2.5 of 100 columns have a group that stands out.
    """
    own = [group for group in compared if group.label not in (OTHERS, NOT_KNOWN)]
    title = variable.title
    worst, certain = max(((g, wilson(g.churned, g.customers, _z(len(own)))[1]) for g in own), key=lambda pair: pair[1])
    if certain <= overall:
        return f"{title}: no group stands out. Differences from the overall rate of {percent(overall)} may be chance."
    return (
        f"Customers with {title} {worst.label} leave more often: {percent(worst.rate)} of {worst.customers:,} left "
        f"({percent(worst.low)} to {percent(worst.high)}), against {percent(overall)} of all."
    )


def _coded(variable: Variable) -> tuple[NDArray[np.intp], list[str]]:
    """Return the group (n,) of each customer and the groups' labels; unknown values are the last group."""
    values, known = variable.values, ~np.isnan(variable.values)
    codes = np.zeros(values.size, dtype=np.intp)
    if variable.choices:
        codes[known] = values[known].astype(np.intp)
        labels = [one_line(choice, 40) for choice in variable.choices]
        if len(labels) > MAX_GROUPS:
            customers = np.bincount(codes[known], minlength=len(labels))
            kept = np.argsort(-customers, kind="stable")[:MAX_GROUPS]
            place = np.full(len(labels), MAX_GROUPS)
            place[kept] = np.arange(MAX_GROUPS)
            codes, labels = place[codes], [*(labels[i] for i in kept), OTHERS]
    else:
        first = _starts(*np.unique(values[known], return_counts=True))
        codes[known] = np.searchsorted(first, values[known], side="right") - 1
        labels = []
        for group in range(first.size):
            inside = values[known & (codes == group)]
            low, high = variable.text(inside.min()), variable.text(inside.max())
            labels.append(low if low == high else f"{low} to {high}")
    codes[~known] = len(labels)
    return codes, [*labels, NOT_KNOWN]


def _starts(distinct: Floats, count: NDArray[np.integer]) -> Floats:
    """Return the first value of each range. Ranges hold about equally many customers; a frequent value is alone."""
    if distinct.size <= OWN_VALUES:
        return distinct
    frequent = count >= count.sum() / BINS
    size = count[~frequent].sum() / max(BINS - frequent.sum(), 1)
    first, inside = [], np.inf
    for value, customers, alone in zip(distinct, count, frequent, strict=True):
        if inside >= size or alone:
            first.append(value)
            inside = 0
        inside = np.inf if alone else inside + customers
    return np.array(first)


@dataclass(frozen=True)
class Distribution:
    """Distribution of a column's values, for customers who stayed and for customers who left.

    Attributes
    ----------
    edges
        Edges of a number's intervals, shape (k + 1,); empty if each label is a single value. Days for a date.
    stayed, churned
        Shares of customers, shape (k,); each adds up to 1.
    """

    labels: tuple[str, ...]
    edges: Floats
    stayed: Floats
    churned: Floats
    summary: str
    is_date: bool = False


def distribution(variable: Variable, outcome: Floats) -> Distribution:
    """Return a variable's distributions among customers who stayed and customers who left.

    The first interval of a number also holds the lowest 0.5 % of the values, the last one the highest 0.5 %.
    """
    known = ~np.isnan(variable.values)
    values, left = variable.values[known], outcome[known] == 1
    edges = np.empty(0)
    if variable.choices or np.unique(values).size <= INTERVALS:
        if variable.choices:
            codes, labels = _coded(variable)
            codes, labels = codes[known], labels[:-1]
        else:
            distinct, codes = np.unique(values, return_inverse=True)
            labels = [variable.text(value) for value in distinct]
    else:
        low, high = np.quantile(values, (0.005, 0.995))
        low, high = (low, high) if low < high else (values.min(), values.max())
        edges = np.linspace(low, high, INTERVALS + 1)
        codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, INTERVALS - 1)
        labels = [f"{variable.text(a)} to {variable.text(b)}" for a, b in pairwise(edges)]
    shares = [np.bincount(codes[part], minlength=len(labels)) / max(part.sum(), 1) for part in (~left, left)]
    summary = _summary(variable, values, left, labels, shares)
    return Distribution(tuple(labels), edges, shares[0], shares[1], summary, variable.is_date)


def _summary(
    variable: Variable, values: Floats, left: NDArray[np.bool_], labels: Sequence[str], shares: Sequence[Floats]
) -> str:
    if not left.any() or left.all():
        return f"{variable.title}: values are known for one outcome only."
    if not variable.choices:
        medians = (float(np.median(values[part])) for part in (~left, left))
        stayed, churned = (with_unit(variable.text(median), variable.unit) for median in medians)
        return f"{variable.title}: the median is {churned} among those who left and {stayed} among those who stayed."
    widest = int(np.argmax(shares[1] - shares[0]))
    return (
        f"{variable.title}: {labels[widest]} for {percent(float(shares[1][widest]))} of those who left and "
        f"{percent(float(shares[0][widest]))} of those who stayed."
    )


@dataclass(frozen=True)
class Calibrated:
    """A group of customers by predicted probability: mean prediction and observed rate."""

    predicted: float
    group: Group


def calibration(outcome: Floats, score: Floats) -> tuple[Calibrated, ...]:
    """Return the ten groups of `evaluation.curves.calibration_curve`, without empty ones."""
    mean, observed, count = calibration_curve(outcome, score)
    churned = np.round(np.nan_to_num(observed * count)).astype(np.int64)
    rate, low, high = wilson(churned, count)
    labels = [f"{i * 10} to {i * 10 + 10} %" for i in range(count.size)]
    return tuple(
        Calibrated(
            mean[i], Group(labels[i], int(count[i]), int(churned[i]), float(rate[i]), float(low[i]), float(high[i]))
        )
        for i in np.flatnonzero(count).tolist()
    )


def calibration_advice(compared: Sequence[Calibrated], error: float) -> str:
    """Describe whether probabilities match observed rates; the intervals are widened as in `stand_out`."""
    z = _z(len(compared))
    off = [c for c in compared if not _within(c.predicted, c.group, z)]
    average = f"On average, predicted and observed rates differ by {points(error)} (expected calibration error)."
    if not off:
        return f"The probabilities are reliable: no group differs by more than chance explains. {average}"
    worst = max(off, key=lambda c: abs(c.predicted - c.group.rate) * c.group.customers)
    way = "more" if worst.group.rate > worst.predicted else "fewer"
    also = "" if len(off) == 1 else f" {len(off)} groups differ by more than chance; this one by the most customers."
    return (
        f"Of customers with a prediction of {worst.group.label}, {way} left than expected: {percent(worst.group.rate)} "
        f"of {worst.group.customers:,}, with {percent(worst.predicted)} predicted on average.{also} {average}"
    )


def _within(rate: float, group: Group, z: float) -> bool:
    _, low, high = wilson(group.churned, group.customers, z)
    return bool(low <= rate <= high)


def _z(groups: int) -> float:
    """Return the normal quantile for intervals that all together cover their rates in 95 of 100 cases (Bonferroni)."""
    return NormalDist().inv_cdf(1 - 0.025 / max(groups, 1))
