"""Answers of a model: predictions, and explanations of them."""

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
    """Probability of churn and whether it reaches the threshold, each of shape (n,)."""

    probability: NDArray[np.float64]
    churn: NDArray[np.bool_]


@dataclass(frozen=True)
class Explanation:
    """A prediction and what each feature contributes to it.

    Attributes
    ----------
    prediction
        The same as `Bundle.predict` gives.
    base_value
        What the model gives on average over its training rows, on `Bundle.explanation_scale`.
    contributions : float64, shape (n, k)
        One per feature of `Bundle.selected`; `base_value` and a row's sum are its score on that scale.
    """

    prediction: Prediction
    base_value: float
    contributions: Floats

    def top(self, names: Sequence[str], count: int = 6) -> tuple[NDArray[np.int64], Floats]:
        """Return the positions and values of the largest contributions, both of shape (n, min(count, k)).

        They are in descending order of the absolute value; equal ones in ascending order of the feature's name.

        >>> explanation = Explanation(None, 0.1, np.array([[0.2, -0.3, 0.0, -0.2]]))
        >>> explanation.top(["minutes", "plan", "calls", "charge"], count=3)
        (array([[1, 3, 0]]), array([[-0.3, -0.2,  0.2]]))
        """
        found: tuple[NDArray[np.int64], Floats] = largest(self.contributions, by_name(tuple(names)), count)
        return found


class BriefExplanation(NamedTuple):
    """One customer's prediction, and the positions and values of the largest contributions."""

    probability: float
    churn: bool
    positions: list[int]
    values: list[float]


@lru_cache(maxsize=32)
def by_name(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the positions of names in alphabetical order."""
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


@compiled("float64[::1](float64, float64[:, ::1])")
def totals(base_value: float, contributions: Floats) -> Floats:
    """Return what each row's explanation adds up to, shape (n,)."""
    sums = np.empty(contributions.shape[0])
    for row in range(contributions.shape[0]):
        sums[row] = base_value
        for feature in range(contributions.shape[1]):
            sums[row] += contributions[row, feature]
    return sums


@compiled("Tuple((int64[:, ::1], float64[:, ::1]))(float64[:, ::1], int64[::1], int64)")
def largest(contributions: Floats, by_name: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the positions and values of each row's largest contributions; `by_name` orders equal ones."""
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
