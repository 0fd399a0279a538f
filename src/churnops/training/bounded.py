"""Logistic regression with coefficients that may have one sign only."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from churnops.model.linear import logistic

Matrix = NDArray[np.float64]


def fit_bounded(
    matrix: Matrix, outcome: NDArray[np.bool_], weight: Matrix | None, c: float, directions: NDArray[np.int8]
) -> tuple[float, Matrix]:
    """Return intercept and coefficients, shape (m,), of a logistic regression with bounds.

    The penalty is that of scikit-learn's `LogisticRegression`: half the sum of squared coefficients, against `c` times
    the sum of the rows' losses. Method: L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995).

    Parameters
    ----------
    matrix
        Scaled columns, shape (n, m).
    outcome, weight
        Shape (n,); without weights, each row counts 1.
    directions
        Shape (m,). A coefficient is at least 0 for 1, at most 0 for -1, and free for 0.
    """
    weight = np.full(outcome.size, c) if weight is None else c * weight
    total = weight.sum()

    def loss(numbers: Matrix) -> tuple[float, Matrix]:
        score = numbers[0] + matrix @ numbers[1:]
        error = weight * (logistic(score) - outcome)
        value = weight @ (np.logaddexp(0.0, score) - outcome * score) + 0.5 * (numbers[1:] @ numbers[1:])
        return float(value / total), np.append(error.sum(), matrix.T @ error + numbers[1:]) / total

    bounds = [(None, None)] + [(0.0 if d > 0 else None, 0.0 if d < 0 else None) for d in directions]
    options = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-7}
    start = np.zeros(directions.size + 1)
    solution = minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options).x
    return float(solution[0]), solution[1:]
