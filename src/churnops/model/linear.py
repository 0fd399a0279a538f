"""Logistic regression as plain arrays: an intercept, and a coefficient and training mean of each feature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled
from churnops.errors import BundleError

Matrix = NDArray[np.float64] | NDArray[np.float32]


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
    """Turn log-odds into probabilities one by one: NumPy's vectorised `exp` can round the last elements differently."""
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
    """Probability = logistic(intercept + coefficients · features); `mean`: training means."""

    coefficients: NDArray[np.float64]
    intercept: float
    mean: NDArray[np.float64]

    arrays: ClassVar[Mapping[str, Any]] = {"coefficients": np.float64, "intercept": np.float64, "mean": np.float64}
    explanation_scale: ClassVar[Literal["log-odds"]] = "log-odds"

    def rounded(self, matrix: Matrix) -> Matrix:
        """Return the feature matrix unchanged, because only trees round."""
        return matrix

    def probability(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the probability of churn, shape (n,), for a feature matrix of shape (n, k)."""
        probability: NDArray[np.float64] = logistic(self.scores(matrix))
        return probability

    def scores(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the log-odds of churn, shape (n,), for a feature matrix of shape (n, k)."""
        scores: NDArray[np.float64] = _scores(np.ascontiguousarray(matrix), self.coefficients, self.intercept)
        return scores

    @property
    def base_value(self) -> float:
        """Log-odds of a customer whose features are the means of the training rows."""
        return float(_scores(self.mean[None, :], self.coefficients, self.intercept)[0])

    def contributions(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return SHAP values as if features were independent, shape (n, k): coefficient · (feature - its mean).

        Source: Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
        contributions".

        >>> LinearModel(np.array([2.0, -1.0]), 0.5, np.array([1.0, 3.0])).contributions(np.array([[1.5, 1.0]]))
        array([[1., 2.]])
        """
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks the sum
            contributions: NDArray[np.float64] = self.coefficients * (matrix - self.mean)
        return contributions

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` rebuilds the model from."""
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept]), "mean": self.mean}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], parameters: Mapping[str, Any], width: int
    ) -> "LinearModel":
        """Audit and rebuild a model over `width` features.

        Raises
        ------
        BundleError
            If an array has a wrong length or a number that is not finite.
        """
        coefficients, intercept, mean = arrays["coefficients"], arrays["intercept"], arrays["mean"]
        if coefficients.size != width or mean.size != width or intercept.size != 1 or parameters:
            raise BundleError(
                f"linear model: {coefficients.size} coefficients and {mean.size} means for {width} features"
            )
        if not all(np.isfinite(numbers).all() for numbers in (coefficients, intercept, mean)):
            raise BundleError("linear model: a coefficient or mean is not finite")
        return cls(coefficients, float(intercept[0]), mean)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for `bundle.json`: none, because the arrays hold everything."""
        return {}
