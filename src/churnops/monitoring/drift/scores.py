"""Test of the model's scores: Kolmogorov-Smirnov, with a slack for the difference that a refit makes."""

from collections.abc import Mapping

import numpy as np
from scipy.special import logit

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.finding import Finding, cannot_tell
from churnops.monitoring.drift.ks import two_sample_p_value

SLACK = 0.6
"""Largest distance, in log-odds, within which two scores count as equal. The reference's scores come from the fits of
the folds. A tree model gives most customers a few scores, and another fit moves these by up to 0.6, without any change
of the customers; then a plain Kolmogorov-Smirnov distance is up to 0.85. With this slack it was at most 0.05 for four
model families on the example table. Training measures the slack that a model needs, see `model_slack`."""
TOLERANCE = 0.05
"""Distance that may remain between the fits of the folds and the refit."""


def score_distance(reference: ColumnProfile, batch: ColumnProfile, slack: float = SLACK) -> float:
    """Return the Kolmogorov-Smirnov distance that remains if scores within `slack` of each other count as equal.

    It is the largest of F_batch(x) - F_reference(x + slack) and F_reference(x - slack) - F_batch(x), over all x in
    log-odds, as in Lévy's metric (Huber, "Robust Statistics", Wiley 1981, section 2.3). So it is at most the
    Kolmogorov-Smirnov distance. Because F_batch is known at the reference's scores only, the result may be too small,
    and is never too large.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.array([0.02, 0.02, 0.02, 0.9]))
    >>> score_distance(reference, reference.count(np.array([0.024, 0.024, 0.9, 0.9])))
    0.25
    >>> score_distance(reference, reference.count(np.array([0.021, 0.021, 0.021, 0.91])))
    0.0
    """
    points = reference.points
    with np.errstate(divide="ignore"):
        scores = logit(np.clip(points, 0.0, 1.0))
    ours, theirs = (np.cumsum(profile.counts) / max(profile.rows, 1) for profile in (reference, batch))
    within = np.searchsorted(scores, scores + slack, side="right")  # number of points up to each point plus the slack
    lower = theirs[1::2] - np.append(0.0, ours[1::2])[within]
    higher = ours[1::2] - theirs[0::2][within]
    return float(max(0.0, lower.max(initial=0.0), higher.max(initial=0.0)))


def model_slack(metrics: Mapping[str, object]) -> float:
    """Return the slack that training measured for a model, from a bundle's metrics; `SLACK` without one.

    >>> model_slack({"score_slack": 0.15}), model_slack({}), model_slack({"score_slack": 9.0})
    (0.15, 0.6, 0.6)
    """
    slack = metrics.get("score_slack")
    return float(slack) if isinstance(slack, int | float) and 0.0 <= slack <= SLACK else SLACK


def score_test(reference: ColumnProfile, batch: ColumnProfile, slack: float = SLACK) -> Finding:
    """Test whether the scores of a batch differ from the reference's by more than a refit explains.

    Statistic and effect are the `score_distance`. The p-value is that of the distance minus `TOLERANCE` (see `ks_test`
    for the tolerance); the slack makes it too large, never too small.

    Examples
    --------
    >>> scores = np.linspace(0.01, 0.09, 1000)
    >>> reference = ColumnProfile.fit(scores)
    >>> [round(score_test(reference, reference.count(batch)).effect, 2) for batch in (scores * 1.5, scores * 4)]
    [0.0, 0.36]
    """
    if (short := cannot_tell("ks", reference, batch)) is not None:
        return short
    distance = score_distance(reference, batch, slack)
    p_value = two_sample_p_value(reference.rows, batch.rows, max(0.0, distance - TOLERANCE))
    return Finding("ks", distance, p_value, distance, f"the distributions are up to {distance:.3f} apart")
