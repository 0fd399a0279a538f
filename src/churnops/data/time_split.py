"""Splits in time: later rows score a model that is fitted on earlier ones.

Between the two is a gap of the label horizon, because a model of that day could not know later outcomes. All rows of
one customer are on the same side. Needs no table library.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from churnops.data.identity import Hashes
from churnops.dates import day_text
from churnops.errors import DataError

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

MIN_OUTCOMES = 10
"""Smallest number of rows of each outcome on each side of a split."""
REMEDY = (
    "add rows, lower journal.label_horizon if outcomes are known sooner, or set evaluation.split: random, or repeated "
    "for a small table"
)


@dataclass(frozen=True)
class Moments:
    """Time and customer of each of n rows.

    Attributes
    ----------
    at
        Days since 1970-01-01 UTC, shape (n,).
    customers
        Hashes of the ids, shape (n,); 0 for a row without an id.
    gap
        Days after which the outcome of a row is known.
    """

    at: NDArray[np.float64]
    customers: Hashes
    gap: float

    @cached_property
    def numbers(self) -> Indices | None:
        """Number of each row's customer, shape (n,); None if no customer has several rows."""
        known = self.customers != 0
        ids, numbers = np.unique(self.customers, return_inverse=True)
        if ids[ids != 0].size == known.sum():
            return None
        return np.where(known, numbers, ids.size + np.arange(known.size))

    def rows(self, chosen: Mask) -> "Moments":
        """Return the chosen rows."""
        return Moments(self.at[chosen], self.customers[chosen], self.gap)


@dataclass(frozen=True)
class TimeSplit:
    """Rows before and after a point in time.

    Attributes
    ----------
    held_out, training
        Masks of shape (n,). Rows in the gap, and rows of a customer who is on the other side, are in neither.
    cut
        Time of the first held-out rows, in days since 1970-01-01 UTC.
    left_out
        Number of rows in the gap or of customers on the other side.
    """

    moments: Moments
    held_out: Mask
    training: Mask
    cut: float
    left_out: int

    def __str__(self) -> str:
        return (
            f"held out from {day_text(self.cut)} on; training rows are at least {self.moments.gap:g} days older; "
            f"{self.left_out:,} rows in between or of customers on the other side are left out"
        )


def split_in_time(moments: Moments, outcome: Mask, fraction: float, seed: int) -> TimeSplit:
    """Hold out the latest rows: a share of about `fraction`, because rows of the same time stay together.

    A customer on both sides is drawn to one of them; the customer's rows on the other side are left out.

    Raises
    ------
    DataError
        If fewer than `MIN_OUTCOMES` rows of an outcome are left on a side.

    Examples
    --------
    >>> moments = Moments(np.repeat([0.0, 30.0, 60.0, 90.0], 25), np.zeros(100, dtype=np.uint64), 30.0)
    >>> split = split_in_time(moments, np.arange(100) % 2 == 0, 0.2, seed=42)
    >>> split.cut, int(split.training.sum()), int(split.held_out.sum())
    (90.0, 75, 25)
    """
    at = moments.at
    times, counts = np.unique(at, return_counts=True)
    if times.size < 2:
        raise DataError("all rows have the same time: add rows of other times, or set evaluation.split: random")
    shares = counts[::-1].cumsum()[::-1] / at.size  # of the rows from each time on
    cut = float(times[1:][np.argmin(np.abs(shares[1:] - fraction))])
    training, held_out = _apart(moments, at <= cut - moments.gap, at >= cut, np.random.default_rng(seed))
    for name, rows, change in (("training", training, "lower"), ("held-out", held_out, "raise")):
        if not enough(outcome[rows]):
            raise DataError(
                f"too few {name} rows in time: {int(outcome[rows].sum()):,} churned and "
                f"{int((~outcome[rows]).sum()):,} stayed, at least {MIN_OUTCOMES} of each are needed (held out from "
                f"{day_text(cut)} on, training until {moments.gap:g} days before): {change} "
                f"evaluation.holdout_fraction, {REMEDY}"
            )
    return TimeSplit(moments, held_out, training, cut, int((~training & ~held_out).sum()))


def forward_folds(moments: Moments, outcome: Mask, folds: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Cut the rows into `folds` + 1 blocks of time; each block but the first validates a fit on earlier rows.

    Rows of the same time stay together. Folds with fewer than `MIN_OUTCOMES` rows of an outcome in a part are left out;
    if all are, there are fewer blocks.

    Returns
    -------
    list
        Indices of training rows and of validation rows, the earliest fold first.

    Raises
    ------
    DataError
        If no fold has enough rows.
    """
    ordered = np.sort(moments.at)
    for count in range(folds, 0, -1):
        places = np.arange(1, count + 1) * ordered.size // (count + 1)
        edges = np.append(np.unique(ordered[places]), np.inf)
        made: list[tuple[Indices, Indices]] = []
        for start, end in pairwise(edges):
            early, late = moments.at <= start - moments.gap, (moments.at >= start) & (moments.at < end)
            pair = _apart(moments, early, late, np.random.default_rng([seed, len(made)]))
            if all(enough(outcome[rows]) for rows in pair):
                made.append((np.flatnonzero(pair[0]), np.flatnonzero(pair[1])))
        if made:
            return made
    raise DataError(
        f"the training rows are too few to compare models in time: no two blocks that are {moments.gap:g} days apart "
        f"have {MIN_OUTCOMES} rows of each outcome: {REMEDY}"
    )


def _apart(moments: Moments, early: Mask, late: Mask, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Leave out rows so that no customer has both early and late ones: half of those who have keep the late ones."""
    customers = moments.customers
    both = np.intersect1d(customers[early], customers[late])
    both = both[both != 0]
    is_late = generator.random(both.size) < 0.5
    return early & ~np.isin(customers, both[is_late]), late & ~np.isin(customers, both[~is_late])


def enough(outcome: Mask) -> bool:
    """Whether a side with these outcomes has `MIN_OUTCOMES` rows of each."""
    churned = int(outcome.sum())
    return min(churned, outcome.size - churned) >= MIN_OUTCOMES
