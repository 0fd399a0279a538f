"""Logistic regression as plain arrays: one coefficient a feature, and an intercept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from churnops.errors import BundleError
from churnops.model.compiled import compiled

Matrix = NDArray[np.float64]


@compiled("float64[::1](float64[:, ::1], float64[::1], float64)")
def _scores(matrix: Matrix, coefficients: NDArray[np.float64], intercept: float) -> NDArray[np.float64]:
    # Term by term in a fixed order: a BLAS product rounds differently for one row and for many.
    scores = np.empty(matrix.shape[0])
    for row in range(matrix.shape[0]):
        total = intercept
        for feature in range(matrix.shape[1]):
            total += coefficients[feature] * matrix[row, feature]
        scores[row] = total
    return scores


@compiled("float64[::1](float64[::1])")
def logistic(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn log-odds into probabilities, one by one: NumPy's vectorised `exp` may round the last ones differently."""
    probabilities = np.empty(scores.shape[0])
    for row in range(scores.shape[0]):
        if scores[row] >= 0.0:
            probabilities[row] = 1.0 / (1.0 + np.exp(-scores[row]))
        else:
            odds = np.exp(scores[row])
            probabilities[row] = odds / (1.0 + odds)
    return probabilities


@dataclass(frozen=True)
class LinearModel:
    """Probability = logistic(intercept + coefficients · features); the scale of explanations is log-odds."""

    coefficients: NDArray[np.float64]
    intercept: float

    arrays: ClassVar[Mapping[str, Any]] = {"coefficients": np.float64, "intercept": np.float64}

    def probability(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the probability of churn, shape (n,), for a feature matrix of shape (n, k)."""
        scores = _scores(np.ascontiguousarray(matrix), self.coefficients, self.intercept)
        probability: NDArray[np.float64] = logistic(scores)
        return probability

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` rebuilds the model from."""
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], parameters: Mapping[str, Any], width: int
    ) -> "LinearModel":
        """Audit and rebuild a model over `width` features.

        Raises
        ------
        BundleError
            If an array does not fit.
        """
        coefficients, intercept = arrays["coefficients"], arrays["intercept"]
        if coefficients.size != width or intercept.size != 1 or parameters:
            raise BundleError(f"linear model: {coefficients.size} coefficients for {width} features")
        if not (np.isfinite(coefficients).all() and np.isfinite(intercept).all()):
            raise BundleError("linear model: a coefficient is not finite")
        return cls(coefficients, float(intercept[0]))

    def parameters(self) -> dict[str, Any]:
        """Return what is kept in `bundle.json` beside the arrays: nothing."""
        return {}
