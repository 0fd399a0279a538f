"""Error budget of one champion, shared by the gate and the shadows of its challengers.

The budget is the chance that a challenger without a gain is ever promoted: 1 - `retraining.confidence`. The first
shadow of a champion divides it. All shadows of this champion get `SHADOWS` of it, and all later comparisons by the
gate the rest. The k-th shadow, and the k-th comparison, gets 6 / (pi k)^2 of its part. These shares add up to 1, so by
the union bound the budget holds for any number of challengers, however they depend on each other.
"""

import math
from datetime import datetime

from churnops.project import Project
from churnops.settings import RetrainingSettings

SHADOWS = 0.8
"""Part of the budget for shadows. They look every day, and the gate only when asked."""
CONFIDENCE = 0.95
"""Confidence of a shadow if the gate has none (`confidence: null`)."""


def shadow_level(number: int, confidence: float | None) -> float:
    """Return the chance of a false success that the `number`-th shadow of a champion may have.

    >>> round(shadow_level(1, 0.95), 4), round(shadow_level(2, 0.95), 4)
    (0.0243, 0.0061)
    """
    return SHADOWS * (1 - (confidence or CONFIDENCE)) * _share(number)


def gate_level(number: int, confidence: float) -> float:
    """Return the chance of a false deployment in the gate's `number`-th comparison since a champion's first shadow.

    >>> round(gate_level(1, 0.95), 4)
    0.0061
    """
    return (1 - SHADOWS) * (1 - confidence) * _share(number)


def _share(number: int) -> float:
    return 6 / (math.pi * number) ** 2


def gate_options(project: Project, champion: str) -> RetrainingSettings:
    """Return the settings of the gate for its next comparison with a champion, given by its content hash.

    Without a shadow of this champion they are those of the project.
    """
    options = project.settings.retraining
    since = first_shadow(project, champion)
    if options.confidence is None or since is None:
        return options
    earlier = project.decisions.count(subject="deploy", champion=champion, since=since)
    return options.model_copy(update={"confidence": 1 - gate_level(earlier + 1, options.confidence)})


def first_shadow(project: Project, champion: str) -> datetime | None:
    """Return the start of the first shadow of a champion; None if it had none."""
    return project.experiments.first_start("shadow", champion)
