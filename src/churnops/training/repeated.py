"""Repeated cross-validation of the winner, for a table that is too small for a hold-out."""

import numpy as np
from numpy.typing import NDArray

from churnops.evaluation.repeated import RepeatedScores
from churnops.settings import Family
from churnops.training.bundle_maker import BundleMaker
from churnops.training.search import Fold, Trial, stratified_folds

REPEATS = 5


def repeated_folds(outcome: NDArray[np.bool_], folds: int, seed: int) -> list[list[Fold]]:
    """Return the folds of each repeat. None are those of the search, which has the seed itself."""
    return [stratified_folds(outcome, folds, seed + repeat) for repeat in range(1, REPEATS + 1)]


def repeated_scores(maker: BundleMaker, family: Family, trial: Trial) -> RepeatedScores:
    """Score every row of the table by fits of a trial's hyperparameters that were not trained on it."""
    outcome, settings = maker.prepared.outcome, maker.settings
    repeats = repeated_folds(outcome, settings.training.folds, settings.random_state)
    probability = np.array([maker.cross_fit(family, trial, folds, None) for folds in repeats])
    threshold, fold = np.empty(probability.shape), np.empty(probability.shape, np.intp)
    for repeat, folds in enumerate(repeats):
        for number, (others, scored) in enumerate(folds):
            threshold[repeat, scored] = maker.threshold(outcome[others], probability[repeat, others])
            fold[repeat, scored] = number
    return RepeatedScores(probability, threshold, fold)
