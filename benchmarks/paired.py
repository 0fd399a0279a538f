"""Differences of two models' log loss and ROC-AUC on the same rows, with 95 % confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Scores = Sequence[NDArray[np.float64]]
"""Scores of the validation rows of each fold."""
Outcomes = Sequence[NDArray[np.bool_]]
NORMAL = 1.959964  # quantile of 97.5 % of the normal distribution


@dataclass(frozen=True)
class Difference:
    """Ours minus the peer's, and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, variance: float) -> "Difference":
        """Return the difference with the normal interval of its variance."""
        width = NORMAL * float(np.sqrt(variance))
        return cls(float(value), float(value) - width, float(value) + width)


def losses(outcomes: Outcomes, scores: Scores) -> NDArray[np.float64]:
    """Return each row's log loss; a score is kept 1e-15 away from 0 and 1."""
    outcome, score = np.concatenate(outcomes), np.clip(np.concatenate(scores), 1e-15, 1 - 1e-15)
    return -np.log(np.where(outcome, score, 1 - score))


def roc_auc(outcomes: Outcomes, scores: Scores) -> float:
    """Return the mean ROC-AUC of the folds: scores of different models are not ranked against each other.

    >>> roc_auc([np.array([True, False])], [np.array([0.7, 0.2])])
    1.0
    """
    return float(np.mean([_placements(*fold)[0].mean() for fold in zip(outcomes, scores, strict=True)]))


def loss_difference(outcomes: Outcomes, ours: Scores, theirs: Scores) -> Difference:
    """Compare the log loss row by row."""
    difference = losses(outcomes, ours) - losses(outcomes, theirs)
    return Difference.of(difference.mean(), difference.var(ddof=1) / difference.size)


def auc_difference(outcomes: Outcomes, ours: Scores, theirs: Scores) -> Difference:
    """Compare the mean ROC-AUC of the folds with the variance of DeLong et al. (Biometrics 44 (1988) 837-845)."""
    values, variances = [], []
    for outcome, our, their in zip(outcomes, ours, theirs, strict=True):
        pairs = zip(_placements(outcome, our), _placements(outcome, their), strict=True)
        churned, stayed = (first - second for first, second in pairs)
        values.append(churned.mean())
        variances.append(churned.var(ddof=1) / churned.size + stayed.var(ddof=1) / stayed.size)
    return Difference.of(np.mean(values), np.sum(variances) / len(variances) ** 2)


def _placements(
    outcome: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each positive row the share of negatives below it, and for each negative that of positives above."""
    ranks = rankdata(score)
    positive, negative = score[outcome], score[~outcome]
    above = (ranks[outcome] - rankdata(positive)) / negative.size
    below = 1 - (ranks[~outcome] - rankdata(negative)) / positive.size
    return above, below
