"""Choose the probability from which a customer is predicted to churn."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from churnops.settings import EvaluationSettings
from churnops.words import percent

LOWEST = 1e-6
"""Lowest threshold; the highest is 1 minus it."""

Floats = NDArray[np.float64]
Outcomes = NDArray[np.bool_]
Value = Callable[[Floats, Floats], Floats]
"""Function from the numbers of flagged customers, and of those who churned among them, to a value to maximize."""


def chosen_threshold(outcome: Outcomes, probability: Floats, options: EvaluationSettings) -> float:
    """Return the threshold of the settings; if that is `auto`, the best one for the aim `threshold_for`.

    Parameters
    ----------
    outcome
        Shape (n,): True where the customer churned.
    probability
        Shape (n,), in [0, 1], from fits that were not trained on the row.
    """
    if options.threshold != "auto":
        return options.threshold
    if options.threshold_for == "recall":
        return recall_threshold(outcome, probability, options.min_recall)
    if options.threshold_for == "profit":
        return profit_threshold(outcome, probability, options.break_even)
    return best_f1_threshold(outcome, probability)


def threshold_in_words(options: EvaluationSettings) -> str:
    """Return why `chosen_threshold` is what it is.

    >>> from churnops.settings import EvaluationSettings
    >>> threshold_in_words(EvaluationSettings(threshold="auto", threshold_for="recall", min_recall=0.8))
    'the highest that flags 80 % of the customers who churned, in cross-validation (evaluation.threshold: auto)'
    """
    if options.threshold != "auto":
        return "set by evaluation.threshold"
    aims = {
        "f1": "the one with the highest F1 score",
        "recall": f"the highest that flags {percent(options.min_recall)} of the customers who churned",
        "profit": "the one from which a contact earns most",
    }
    return f"{aims[options.threshold_for]}, in cross-validation (evaluation.threshold: auto)"


def best_f1_threshold(outcome: Outcomes, probability: Floats) -> float:
    """Return the threshold with the highest F1 score.

    It lies in the middle between two neighbouring scores. Of equally good thresholds the highest is returned.

    Returns
    -------
    float
        In [1e-6, 1 - 1e-6]; 0.5 if nobody churned. `recall_threshold` and `profit_threshold` have the same range.

    Examples
    --------
    >>> best_f1_threshold(np.array([True, False, True, False]), np.array([0.5, 0.1, 0.3, 0.2]))
    0.25
    """
    churned = outcome.sum()
    return _best(outcome, probability, lambda flagged, hits: 2 * hits / (flagged + churned))


def recall_threshold(outcome: Outcomes, probability: Floats, min_recall: float) -> float:
    """Return the highest threshold that flags at least the share `min_recall` of the customers who churned.

    >>> recall_threshold(np.array([True, False, True, False]), np.array([0.5, 0.1, 0.3, 0.4]), 0.9)
    0.2
    """
    needed = min_recall * outcome.sum() - 1e-9  # 0.8 of 5 are 4
    return _best(outcome, probability, lambda flagged, hits: np.where(hits >= needed, -flagged, -np.inf))


def profit_threshold(outcome: Outcomes, probability: Floats, break_even: float) -> float:
    """Return the threshold at which contacting the flagged customers earns most; flag nobody if it earns nothing.

    Parameters
    ----------
    break_even
        Cost of a contact, divided by its value for a customer who would have left: the value of keeping one, times the
        share of them whom a contact keeps. So a customer who churned is worth 1, and each contact costs `break_even`.

    Examples
    --------
    >>> outcome, probability = np.array([True, False, True, False]), np.array([0.5, 0.1, 0.3, 0.4])
    >>> profit_threshold(outcome, probability, 0.6), profit_threshold(~outcome, probability, 0.9)
    (0.45, 0.999999)
    """
    return _best(outcome, probability, lambda flagged, hits: hits - break_even * flagged, nobody=0.0)


def _best(outcome: Outcomes, probability: Floats, value: Value, nobody: float = -np.inf) -> float:
    """Return the threshold with the highest value, in the middle between two neighbouring scores.

    If no value is above `nobody`, that of flagging nobody, the highest threshold is returned.
    """
    if not outcome.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    scores, hits = probability[order], np.cumsum(outcome[order]).astype(np.float64)
    last = np.append(scores[1:] < scores[:-1], True)  # only whole groups of equal scores can be flagged
    values = np.where(last, value(np.arange(1.0, scores.size + 1), hits), -np.inf)
    best = int(np.argmax(values))
    if values[best] <= nobody:
        return 1 - LOWEST
    below = scores[best + 1] if best + 1 < scores.size else 0.0
    return float(np.clip((scores[best] + below) / 2, LOWEST, 1 - LOWEST))
