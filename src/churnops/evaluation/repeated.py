"""Scores of a repeated cross-validation, which take the place of a hold-out in a small table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class RepeatedScores:
    """Scores of all n rows, in each repeat by fits that were not trained on the row.

    A metric is the mean of its values over the repeats. Metrics of averaged scores would describe an ensemble of
    models, and only one model is deployed. Each array has the shape (repeats, n).

    Attributes
    ----------
    probability
        Probabilities of churn, in [0, 1].
    threshold
        Lowest probability of a row that is predicted to churn, chosen without the row.
    fold
        Number of the fold that scored the row, from 0.
    """

    probability: Floats
    threshold: Floats
    fold: Indices

    def folds(self) -> list[tuple[Indices, Indices]]:
        """Return the fitted and the scored rows of each fold of the first repeat."""
        first = self.fold[0]
        return [(np.flatnonzero(first != k), np.flatnonzero(first == k)) for k in range(first.max() + 1)]
