"""Choosing a decision policy: the profit of policies on customers whose outcome is known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.decision.policy import DecisionPolicy
from churnops.decision.profit import Ranking
from churnops.decision.totals import Totals
from churnops.errors import PolicyError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of customers on the budget curve."""
POINTS = 80
"""Thresholds on the profit curve."""
MIN_CUSTOMERS = 200
MIN_CONTACTS = 20
"""Fewest contacts on the profit curve, apart from none: the profit of fewer is chance."""
MAX_SEGMENTS = 30
NOBODY, EVERYBODY = "contact nobody", "contact everyone"


@dataclass(frozen=True)
class LabelledCustomers:
    """Scored customers with known outcomes.

    Attributes
    ----------
    outcome, score
        1 churned or 0 stayed, and the probability of churn by a fit that had not seen the customer; shape (n,).
    value
        Value of each customer, shape (n,).
    """

    outcome: Floats
    score: Floats
    value: Floats


@dataclass(frozen=True)
class Segments:
    """Segments of customers: their names, and the position of each customer's segment in them, -1 for none; (n,)."""

    names: Sequence[str]
    codes: Codes


@dataclass(frozen=True)
class Profit:
    """Realised profit of contacting some customers, with its interval."""

    name: str
    customers: int
    contacts: int
    left: int
    profit: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """Profits of policies.

    Attributes
    ----------
    in_force
        The policy in force, on all customers.
    threshold
        Best threshold; None if no number in (0, 1) selects the best customers.
    best
        The point of the curve with the highest profit. Its profit is the observed one, without correction.
    everybody, nobody
        Ends of the curve.
    gain
        Profit of `best` over `in_force`, less the optimism of the choice, and its interval.
    curve
        Profit by threshold, from the highest one on; the name is the threshold. The first point contacts nobody, the
        last one everyone.
    budgets
        Profit of contacting the customers with the highest expected profits, by share of all customers.
    segments
        Profit of the policy in force by segment.
    confidence
        Confidence of the intervals. Those of `curve` with `in_force`, of `gain` at every point of the curve, of
        `budgets`, and of `segments` hold for all of the group at once, so they hold for the one that is picked.
    """

    in_force: Profit
    threshold: float | None
    best: Profit
    everybody: Profit
    nobody: Profit
    gain: tuple[float, float, float]
    curve: Sequence[Profit]
    budgets: Sequence[Profit]
    segments: Sequence[Profit]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        gain = dict(zip(("value", "low", "high"), self.gain, strict=True))
        return asdict(self) | {"gain": gain}


def choose(
    customers: LabelledCustomers,
    policy: DecisionPolicy,
    own_threshold: float,
    segments: Segments | None = None,
    *,
    confidence: float,
    seed: int,
) -> Choice:
    """Compute the profits of the policy in force, of thresholds, of budgets and of segments.

    Parameters
    ----------
    own_threshold
        Threshold of the deployed model.

    Raises
    ------
    PolicyError
        If the policy lacks cost, value or success rate, or there are too few customers of an outcome.

    Notes
    -----
    A threshold that is chosen on some customers looks too good on them. So its gain is reduced by this optimism, and
    intervals hold for all thresholds at once, see `Totals`.
    """
    expected = policy.expected_profit(customers.score, customers.value)
    rows, left = customers.score.size, int(customers.outcome.sum())
    if rows < MIN_CUSTOMERS or left in (0, rows):
        raise PolicyError(
            f"{rows:,} customers with known outcomes, {left:,} of whom left, are too few: at least {MIN_CUSTOMERS} are "
            "needed, some who left and some who stayed (of training rows: --from training)"
        )
    own = policy.threshold_for(own_threshold)
    order = np.lexsort((-customers.value, -expected))
    flagged = customers.score >= own
    if policy.limit is not None:
        flagged = np.zeros(rows, dtype=np.bool_)
        flagged[order[: policy.limit]] = True
        flagged &= expected >= 0.0
    realised = customers.outcome * customers.value * (policy.success_rate or 0.0) - (policy.cost or 0.0)
    measure = _Measure(realised, customers.outcome, confidence, seed)
    return Choice(
        **measure.curve(Ranking.of(customers.outcome, customers.score), own, customers.score, flagged),
        budgets=measure.budgets(order),
        segments=[] if segments is None else measure.segments(segments, flagged),
        confidence=confidence,
    )


@dataclass(frozen=True)
class _Measure:
    """Profit of groups of contacted customers, with simultaneous intervals.

    Attributes
    ----------
    realised
        Profit of contacting each customer, shape (n,).
    outcome
        1 churned or 0 stayed, shape (n,).
    """

    realised: Floats
    outcome: Floats
    confidence: float
    seed: int

    def curve(self, ranking: Ranking, own: float, score: Floats, flagged: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the parts of a `Choice` that the curve decides; it includes the threshold in force, `own`."""
        least = min(MIN_CONTACTS, ranking.rows)
        counts = np.unique(np.geomspace(least, ranking.rows, POINTS).round().astype(np.int64))
        by_contacts = ranking.thresholds.size - 1 - np.searchsorted(ranking.contacted[::-1], counts)
        places = np.unique(np.append(by_contacts, ranking.at(own)))[::-1]
        places = places[ranking.contacted[places] > 0]
        thresholds = ranking.thresholds[places]
        # A customer's cell: the highest threshold at or below the score, and whether the policy in force flags them.
        cell = 2 * (thresholds.size - np.searchsorted(thresholds[::-1], score, side="right")) + flagged
        at = np.arange(2 * thresholds.size)
        groups = np.stack([at % 2 == 1, at < 0, *(at // 2 <= point for point in range(thresholds.size))])
        totals = self._totals(cell, groups)
        settings = [ranking.setting(int(place)) for place in places]
        names = ["policy in force", NOBODY, *("" if one is None else f"{one:.15g}" for one in settings)]
        in_force, *curve = self._profits(totals, names, cell, groups)
        best = int(np.argmax(totals.value[1:]))  # the fewest contacts of equal profits
        more = totals.over(0)
        low, high = (float(end[best + 1]) for end in more.interval)
        value = float(more.value[best + 1])
        gain = max(low, value - totals.optimism(best + 1)) if value > 0 else value
        return {
            "in_force": in_force,
            "threshold": settings[best - 1] if best else None,
            "best": curve[best],
            "everybody": curve[-1],
            "nobody": curve[0],
            "gain": (gain, low, high),
            "curve": curve,
        }

    def budgets(self, order: NDArray[np.intp]) -> list[Profit]:
        """Return the profit of contacting the first customers of an order, by their share."""
        rows = order.size
        counts = np.array([max(1, round(share * rows)) for share in SHARES])
        cell = np.empty(rows, dtype=np.int64)
        cell[order] = np.searchsorted(counts, np.arange(rows), side="right")
        groups = np.tri(len(SHARES), dtype=np.bool_)
        return self._profits(self._totals(cell, groups), [f"{share:.3g}" for share in SHARES], cell, groups)

    def segments(self, segments: Segments, flagged: NDArray[np.bool_]) -> list[Profit]:
        """Return the profit of contacting the flagged customers of each segment."""
        count = len(segments.names)
        codes = np.where(segments.codes < 0, count, segments.codes)
        cell = 2 * codes + flagged
        groups = np.zeros((count, 2 * count + 2), dtype=np.bool_)
        groups[np.arange(count), 2 * np.arange(count) + 1] = True
        sizes = np.bincount(codes, minlength=count + 1)[:count].tolist()
        return self._profits(self._totals(cell, groups), segments.names, cell, groups, sizes)

    def _totals(self, cell: Codes, groups: NDArray[np.bool_]) -> Totals:
        return Totals.of(self.realised, cell, groups, confidence=self.confidence, seed=self.seed)

    def _profits(
        self,
        totals: Totals,
        names: Sequence[str],
        cell: Codes,
        groups: NDArray[np.bool_],
        customers: Sequence[int] | None = None,
    ) -> list[Profit]:
        """Return the profit of each group; `customers` are the numbers of all customers, contacted or not."""
        counted = [np.bincount(cell, weights, groups.shape[1]) for weights in (None, self.outcome)]
        contacts, left = ((groups * numbers).sum(axis=1).round().astype(np.int64).tolist() for numbers in counted)
        low, high = totals.interval
        rows = customers or [self.outcome.size] * len(names)
        numbers = zip(totals.value.tolist(), low.tolist(), high.tolist(), strict=True)
        return [
            Profit(name, *who, *profit)
            for name, who, profit in zip(names, zip(rows, contacts, left, strict=True), numbers, strict=True)
        ]
