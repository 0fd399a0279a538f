"""Evidence on a challenger: paired differences of log loss, judged at every look by a confidence sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.experiments.sequence import Floats, half_width

MIN_OF_EACH = 20
"""Minimum number of customers of each outcome for an end, as in the gate."""
FUTILITY_LEVEL = 0.05
"""Chance that a challenger with the required gain is ever given up; no part of the budget, as no model is promoted."""
MIN_COVERAGE = 0.8
"""Minimum share of the due outcomes that are known, as for a retraining: the unknown ones may differ."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class EndRules:
    """When a shadow ends.

    Attributes
    ----------
    required_gain
        Gain of a useful challenger, in nats.
    level
        Chance that a challenger without a gain is ever called better.
    """

    required_gain: float
    level: float


@dataclass(frozen=True)
class Looks:
    """Sums over all pairs up to each look; arrays of shape (looks,), or (lives, looks).

    A pair is a customer's log loss by the champion minus that by the challenger, in nats.

    Attributes
    ----------
    due, pairs, churned
        Number of customers whose label horizon has ended, of those with a known outcome, and of those who churned.
    total, squares
        Sum of the differences, and of their squares.
    """

    due: Floats
    pairs: Floats
    churned: Floats
    total: Floats
    squares: Floats

    @property
    def gain(self) -> Floats:
        """Mean difference: above 0 if the challenger is better."""
        return self.total / np.maximum(self.pairs, 1)

    @property
    def deviation(self) -> Floats:
        """Standard deviation of the differences."""
        result: Floats = np.sqrt(np.maximum(self.squares / np.maximum(self.pairs, 1) - self.gain**2, 0.0))
        return result

    def lower(self, level: float) -> Floats:
        """Return the bound that is ever above the true gain with probability `level`."""
        return self.gain - half_width(np.maximum(self.pairs, 1), self.deviation, level)

    def upper(self, level: float) -> Floats:
        """Return the bound that is ever below the true gain with probability `level`."""
        return self.gain + half_width(np.maximum(self.pairs, 1), self.deviation, level)

    @property
    def enough(self) -> Bools:
        """Whether each look has enough customers of each outcome, and knows enough of the outcomes."""
        of_each = np.minimum(self.churned, self.pairs - self.churned) >= MIN_OF_EACH
        return of_each & (self.pairs >= MIN_COVERAGE * self.due)

    def success(self, rules: EndRules) -> Bools:
        """Return whether each look proves a gain, and the gain is large enough."""
        return self.enough & (self.lower(rules.level) > 0) & (self.gain > rules.required_gain)

    def futility(self, rules: EndRules) -> Bools:
        """Return whether each look excludes the required gain."""
        return self.enough & (self.upper(FUTILITY_LEVEL) <= rules.required_gain)


def labels_needed(looks: Looks, rules: EndRules) -> int | None:
    """Return the number of further pairs that prove a gain of the present size; None if the gain is too small.

    Customers are assumed to stay as different as they are.
    """
    pairs, gain, deviation = (float(values[-1]) for values in (looks.pairs, looks.gain, looks.deviation))
    if gain <= rules.required_gain:
        return None
    more = pairs * np.geomspace(1.0, 1e4, 2000)
    proven = half_width(more, np.full(more.size, deviation), rules.level) < gain
    return int(np.ceil(more[proven.argmax()] - pairs)) if proven.any() else None
