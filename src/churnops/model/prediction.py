"""Predictions and explanations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """Probabilities of churn, and whether each reaches the threshold; both of shape (n,)."""

    probability: NDArray[np.float64]
    churn: NDArray[np.bool_]


@dataclass(frozen=True)
class Explanation:
    """A prediction with the contribution of each feature.

    Attributes
    ----------
    prediction
        The same prediction as from `Bundle.predict`.
    base_value
        Average score of the training rows, on `Bundle.explanation_scale`.
    contributions : float64, shape (n, k)
        Contributions of the features of `Bundle.selected`. A row's sum plus `base_value` is its score on that scale.
    """

    prediction: Prediction
    base_value: float
    contributions: Floats

    def top(self, names: Sequence[str], count: int = 6) -> tuple[NDArray[np.int64], Floats]:
        """Return the positions and values of the largest contributions, both of shape (n, min(count, k)).

        The order is by absolute value, largest first; ties are in the order of the features' names.

        >>> explanation = Explanation(None, 0.1, np.array([[0.2, -0.3, 0.0, -0.2]]))
        >>> explanation.top(["minutes", "plan", "calls", "charge"], count=3)
        (array([[1, 3, 0]]), array([[-0.3, -0.2,  0.2]]))
        """
        result: tuple[NDArray[np.int64], Floats] = largest(self.contributions, by_name(tuple(names)), count)
        return result


class BriefExplanation(NamedTuple):
    """One customer's prediction, and the positions and values of the largest contributions."""

    probability: float
    churn: bool
    positions: list[int]
    values: list[float]


@lru_cache(maxsize=32)
def by_name(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the positions that sort names alphabetically."""
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


@compiled("float64[::1](float64, float64[:, ::1])")
def totals(base_value: float, contributions: Floats) -> Floats:
    """Return the sum of the base value and each row's contributions, shape (n,)."""
    sums = np.empty(contributions.shape[0])
    for row in range(contributions.shape[0]):
        sums[row] = base_value
        for feature in range(contributions.shape[1]):
            sums[row] += contributions[row, feature]
    return sums


@compiled("Tuple((int64[:, ::1], float64[:, ::1]))(float64[:, ::1], int64[::1], int64)")
def largest(contributions: Floats, by_name: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Floats]:
    """Return positions and values of each row's largest contributions (by absolute value); `by_name` breaks ties."""
    count = max(0, min(count, by_name.size))
    positions, values = np.empty((contributions.shape[0], count), np.int64), np.empty((contributions.shape[0], count))
    for row in range(contributions.shape[0]):
        filled = 0
        for feature in by_name:
            size = abs(contributions[row, feature])
            place = filled
            while place > 0 and abs(contributions[row, positions[row, place - 1]]) < size:
                place -= 1
            filled = min(filled + 1, count)
            for later in range(filled - 1, place, -1):
                positions[row, later] = positions[row, later - 1]
            if place < count:
                positions[row, place] = feature
        for place in range(count):
            values[row, place] = contributions[row, positions[row, place]]
    return positions, values
