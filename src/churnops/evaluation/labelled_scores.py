"""Scores with known outcomes, as counts: the errors of a model at any threshold, after its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

LABELLED_SCORES = "labelled_scores"
"""Key in a Bundle's metrics."""
MAX_CELLS = 1000
_LISTS = ("lowest", "highest", "churned", "stayed")


@dataclass(frozen=True)
class LabelledScores:
    """Numbers of customers who churned and who stayed, in cells of scores by fits that were not trained on them.

    Attributes
    ----------
    lowest, highest
        Lowest and highest score of each cell, ascending, shape (k,), with k at most `MAX_CELLS`. Equal scores share a
        cell.
    churned, stayed
        Numbers of customers in each cell, shape (k,).

    Examples
    --------
    >>> scores = LabelledScores.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    >>> scores.confusion(0.4)
    {'tn': 1, 'fp': 1, 'fn': 0, 'tp': 2}
    """

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    churned: NDArray[np.int64]
    stayed: NDArray[np.int64]

    @classmethod
    def of(cls, outcome: ArrayLike, score: ArrayLike) -> Self:
        """Count customers; `outcome` (n,) is 1 churned or 0 stayed, `score` (n,) is in [0, 1], n at least 1."""
        left, scores = np.asarray(outcome, dtype=np.bool_), np.asarray(score, dtype=np.float64)
        distinct, rows = np.unique(scores, return_counts=True)
        first = np.arange(distinct.size)
        if distinct.size > MAX_CELLS:
            first = np.flatnonzero(np.diff((np.cumsum(rows) - rows) * MAX_CELLS // scores.size, prepend=-1))
        lowest, highest = distinct[first], distinct[np.append(first[1:], distinct.size) - 1]
        cell = np.searchsorted(lowest, scores, side="right") - 1
        churned, stayed = (np.bincount(cell[chosen], minlength=first.size) for chosen in (left, ~left))
        return cls(lowest, highest, churned, stayed)

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> Self | None:
        """Return the scores in a Bundle's metrics; None if an older version made the Bundle, or they are damaged."""
        document: Any = metrics.get(LABELLED_SCORES)
        try:
            numbers = np.array([document[name] for name in _LISTS], dtype=np.float64)
        except (TypeError, KeyError, ValueError):
            return None
        if numbers.ndim != 2 or not 0 < numbers.shape[1] <= MAX_CELLS or not (numbers >= 0).all():
            return None
        lowest, highest, churned, stayed = numbers
        if not ((np.diff(lowest) > 0).all() and (highest >= lowest).all() and np.isfinite(numbers).all()):
            return None
        return cls(lowest, highest, churned.astype(np.int64), stayed.astype(np.int64))

    def to_json(self) -> dict[str, list[float]]:
        """Return plain JSON types."""
        return {name: getattr(self, name).tolist() for name in _LISTS}

    def confusion(self, threshold: float) -> dict[str, int]:
        """Return the customers by outcome and prediction, under `tn`, `fp`, `fn` and `tp`.

        A threshold inside a cell of several scores gets the share of the cell above it, rounded.
        """
        width = self.highest - self.lowest
        inside = np.divide(self.highest - threshold, width, out=np.zeros(width.shape), where=width > 0)
        share = np.where(self.lowest >= threshold, 1.0, np.clip(inside, 0.0, 1.0))
        tp, fp = (round(float(share @ counts)) for counts in (self.churned, self.stayed))
        return {"tn": int(self.stayed.sum()) - fp, "fp": fp, "fn": int(self.churned.sum()) - tp, "tp": tp}
