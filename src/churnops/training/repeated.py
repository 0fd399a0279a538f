"""Repeated cross-validation of a whole training, for a table that is too small for a hold-out.

Each fit is preceded by a search of its own, in which the rows that it scores play no part (nested cross-validation:
Varma and Simon, BMC Bioinformatics 7 (2006) 91). Hyperparameters that all rows have chosen make the claim too good.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.evaluation.repeated import RepeatedScores
from churnops.features.build import FeatureMatrix
from churnops.settings import Settings
from churnops.training.bundle_maker import BundleMaker
from churnops.training.candidate_searches import search_winner
from churnops.training.plan import main_plan
from churnops.training.search import stratified_folds

MAX_REPEATED_ROWS, MAX_MANY_FOLDS_ROWS = 1_000, 5_000
"""Numbers of rows up to which a cross-validation is repeated, and up to which it has more folds than the search."""
REPEATS, FOLDS = 3, 10
"""Numbers for few rows. With 10 folds a fit has 90 % of the rows, so it is not much worse than the deployed model."""


def repeats_and_folds(outcome: NDArray[np.bool_], settings: Settings) -> tuple[int, int]:
    """Return the numbers of repeats and of folds: the fewer rows, the more both matter, and the less they cost.

    A fold has at least two rows of the rarer outcome.

    >>> from pathlib import Path
    >>> from churnops.settings import load_settings
    >>> settings, churned = load_settings(Path("config.yaml"), {}), np.arange(20_000) < 12
    >>> [repeats_and_folds(churned[:rows], settings) for rows in (200, 4_000, 20_000)]
    [(3, 6), (1, 6), (1, 5)]
    """
    rarer = min(outcome.sum(), outcome.size - outcome.sum())
    folds = min(FOLDS if outcome.size <= MAX_MANY_FOLDS_ROWS else settings.training.folds, int(rarer) // 2)
    return (REPEATS if outcome.size <= MAX_REPEATED_ROWS else 1), max(2, folds)


def repeated_scores(
    prepared: PreparedTable, build: FeatureMatrix, settings: Settings, *, repeats: int | None = None
) -> RepeatedScores:
    """Score every row by fits that neither its features nor its outcome have influenced.

    Parameters
    ----------
    repeats
        Number of repeats; None for that of `repeats_and_folds`.
    """
    outcome = prepared.outcome
    usual, folds = repeats_and_folds(outcome, settings)
    shape = (repeats or usual, outcome.size)
    scores = RepeatedScores(np.empty(shape), np.empty(shape), np.empty(shape, np.intp))
    for repeat in range(len(scores.fold)):
        # The search of the deployed model has the seed itself, so its folds are others.
        parts = stratified_folds(outcome, folds, settings.random_state + 1 + repeat)
        for number, (_, rows) in enumerate(parts):
            scored = np.isin(np.arange(outcome.size), rows)
            maker = BundleMaker(replace(prepared, held_out=scored, training=~scored), build, settings)
            family, search = search_winner(maker, main_plan(maker.prepared, settings))
            scores.probability[repeat, scored] = maker.scores(family, search.best, ~scored, scored)
            known = ~np.isnan(search.out_of_fold)
            scores.threshold[repeat, scored] = maker.threshold(outcome[~scored][known], search.out_of_fold[known])
            scores.fold[repeat, scored] = number
    return scores
