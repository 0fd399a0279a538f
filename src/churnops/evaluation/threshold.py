"""Choose the probability from which a customer is predicted to churn."""

import numpy as np
from numpy.typing import NDArray

LOWEST = 1e-6
"""Lowest threshold; the highest is 1 minus it."""


def best_f1_threshold(outcome: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Return the threshold with the highest F1 score.

    It lies in the middle between two neighbouring scores. Of equally good thresholds the highest is returned.

    Parameters
    ----------
    outcome
        Shape (n,): True where the customer churned.
    probability
        Shape (n,), in [0, 1], from fits that were not trained on the row.

    Returns
    -------
    float
        In [1e-6, 1 - 1e-6]; 0.5 if nobody churned.

    Examples
    --------
    >>> best_f1_threshold(np.array([True, False, True, False]), np.array([0.5, 0.1, 0.3, 0.2]))
    0.25
    """
    if not outcome.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    scores, caught = probability[order], np.cumsum(outcome[order])
    last = np.append(scores[1:] < scores[:-1], True)  # only whole groups of equal scores can be flagged
    f1 = np.where(last, 2 * caught / (np.arange(1, scores.size + 1) + caught[-1]), -1.0)
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < scores.size else 0.0
    return float(np.clip((scores[best] + below) / 2, LOWEST, 1 - LOWEST))
