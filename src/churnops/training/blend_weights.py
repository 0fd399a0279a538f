"""Weights of a blend, which adds up the log-odds of its parts."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from churnops.model.linear import logistic
from churnops.training.recipe import Matrix

PRIOR_INTERCEPT, PRIOR_SUM, PRIOR_WEIGHT = 0.1, 0.3, 0.3
"""Standard deviations of a blend's intercept around 0, of the sum of its weights around 1, and of each around equal."""
LEAST_WEIGHT = 0.01
"""A part of a blend with a smaller weight is left out."""


def blend_weights(scores: Matrix, outcome: NDArray[np.bool_]) -> tuple[float, Matrix]:
    """Return the intercept and the weights, 0 or more, with the lowest log loss.

    Few rows hardly move the intercept away from 0, and the weights away from equal ones with the sum 1.

    Parameters
    ----------
    scores
        Log-odds by each part, shape (n, parts).
    outcome
        Shape (n,).
    """

    def loss(numbers: Matrix, columns: Matrix) -> tuple[float, Matrix]:
        total = numbers[0] + columns @ numbers[1:]
        error = logistic(total) - outcome
        beyond, apart = numbers[1:].sum() - 1.0, numbers[1:] - 1.0 / columns.shape[1]
        value = float(np.sum(np.logaddexp(0.0, total) - outcome * total))
        value += 0.5 * ((numbers[0] / PRIOR_INTERCEPT) ** 2 + (beyond / PRIOR_SUM) ** 2)
        value += 0.5 * float(apart @ apart) / PRIOR_WEIGHT**2
        slope = np.append(error.sum(), columns.T @ error)
        slope += np.append(numbers[0] / PRIOR_INTERCEPT**2, beyond / PRIOR_SUM**2 + apart / PRIOR_WEIGHT**2)
        return value / outcome.size, slope / outcome.size

    used = np.ones(scores.shape[1], dtype=np.bool_)
    while True:
        columns = scores[:, used]
        start = np.append(0.0, np.full(columns.shape[1], 1.0 / columns.shape[1]))
        bounds = [(None, None)] + [(0.0, None)] * columns.shape[1]
        solution = minimize(loss, start, (columns,), "L-BFGS-B", jac=True, bounds=bounds).x
        small = solution[1:] < LEAST_WEIGHT
        if not small.any() or small.all():
            break
        used[np.flatnonzero(used)[small]] = False
    weights = np.zeros(scores.shape[1])
    weights[used] = np.maximum(solution[1:], LEAST_WEIGHT)
    return float(solution[0]), weights
