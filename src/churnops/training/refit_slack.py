"""Distance between the scores of equally good fits, measured on the fits of cross-validation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.scores import SLACK, TOLERANCE, score_distance
from churnops.training.search import Fold

STEP, MARGIN = 0.05, 0.1


def refit_slack(unseen: NDArray[np.float64], training: NDArray[np.bool_], folds: Sequence[Fold]) -> float:
    """Return the slack in log-odds that a test of this model's scores needs, at most `SLACK`.

    The rows of each fold, and the held-out rows, have scores of another fit. Measured is the slack with which the
    scores of each such group are at most `TOLERANCE` from those of all others. The distance includes the chance of few
    rows, so on a small table this is rather too large than too small. The result is twice as large, because the refit
    and the fits of the folds may differ in opposite directions, and `MARGIN` larger, because the refit has more rows.

    Parameters
    ----------
    unseen
        Score of each row by a fit not trained on it, shape (n,); NaN for rows without one, which play no part.
    training
        Mask of the rows that the folds divide; all others are held out.
    folds
        Folds, as indices into the training rows.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> scores, training = generator.uniform(0.1, 0.9, 20_000), np.arange(20_000) < 16_000
    >>> folds = [(np.empty(0, int), rows) for rows in np.arange(16_000).reshape(4, 4_000)]
    >>> refit_slack(scores, training, folds)
    0.1
    >>> refit_slack(np.where(training, scores, scores**1.5), training, folds)
    0.6
    """
    rows, group = np.flatnonzero(training), np.where(training, -1, len(folds))
    for number, (_, validated) in enumerate(folds):
        group[rows[validated]] = number
    group[np.isnan(unseen)] = -1
    groups = np.unique(group[group >= 0]).tolist()
    if len(groups) < 2:
        return SLACK
    sides = [(ColumnProfile.fit(unseen[(group >= 0) & (group != one)]), unseen[group == one]) for one in groups]
    pairs = [(others, others.count(own)) for others, own in sides]
    for slack in np.arange(0.0, SLACK, STEP).round(2).tolist():
        if max(score_distance(others, own, slack) for others, own in pairs) <= TOLERANCE:
            return min(SLACK, round(2.0 * float(slack) + MARGIN, 2))
    return SLACK
