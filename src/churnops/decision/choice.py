"""Choosing a decision policy: the profit of policies on customers whose outcome is known."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.decision.policy import DecisionPolicy
from churnops.decision.profit import Offer, Ranking, Resamples, propose
from churnops.errors import PolicyError
from churnops.evaluation.metrics import resampling_counts

Floats = NDArray[np.float64]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Shares of customers on the budget curve."""
REPLICATES = 400
MIN_CUSTOMERS = 200
MAX_SEGMENTS = 30


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
        Contacts at the best threshold. Its profit is the observed one, without correction.
    gain
        Profit of the best threshold over the threshold in force, less the optimism of the choice.
    budgets
        Profit of contacting the customers with the highest expected profits, by share of all customers.
    segments
        Profit of the policy in force by segment.
    confidence
        Confidence of the intervals. Those of `budgets`, of `segments`, and of `in_force` with `best`, hold for all of
        the group at once, so they hold for the one that is picked.
    """

    in_force: Profit
    threshold: float | None
    best: Profit
    gain: tuple[float, float, float]
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
    segments: Mapping[str, NDArray[np.bool_]],
    *,
    confidence: float,
    seed: int,
) -> Choice:
    """Compute the profits of the policy in force, of the best threshold, of call lists and of segments.

    Parameters
    ----------
    own_threshold
        Threshold of the deployed model.
    segments
        Mask of the customers of each segment.

    Raises
    ------
    PolicyError
        If the policy lacks cost, value or success rate, or there are too few customers of an outcome.

    Notes
    -----
    A threshold that is chosen on some customers looks too good on them, so its gain is corrected, see `propose`. The
    other intervals are simultaneous: bootstrap intervals as wide as the largest of all standardised deviations needs,
    Montiel Olea and Plagborg-Møller, *Journal of Applied Econometrics* 34 (2019) 1-17.
    """
    expected = policy.expected_profit(customers.score, customers.value)
    rows, left = customers.score.size, int(customers.outcome.sum())
    if rows < MIN_CUSTOMERS or left in (0, rows):
        raise PolicyError(
            f"{rows:,} customers with known outcomes, {left:,} of whom left, are too few: at least {MIN_CUSTOMERS} are "
            "needed, some who left and some who stayed (of training rows: --from training)"
        )
    own = policy.threshold_for(own_threshold)
    offer = Offer(policy.cost or 0.0, 1.0, policy.success_rate or 0.0)  # each customer has a value of their own
    known = customers.outcome, customers.score, customers.value
    ranking, resamples = Ranking.of(*known), Resamples.of(*known, replicates=REPLICATES, seed=seed)
    proposal = propose(ranking, resamples, offer, own, confidence)
    order = np.lexsort((-customers.value, -expected))
    flagged = customers.score >= own if policy.limit is None else _top(order, policy.limit) & (expected >= 0.0)
    best = customers.score >= ranking.thresholds[proposal.best]
    realised = customers.outcome * customers.value * offer.kept - offer.cost
    measure = _Measure(realised, customers.outcome, confidence, seed)
    in_force, at_best = measure.of({"policy in force": flagged, "best threshold": best})
    gain, scale = proposal.gain, rows / 1000
    return Choice(
        in_force=in_force,
        threshold=proposal.setting,
        best=at_best,
        gain=(gain.value * scale, gain.low * scale, gain.high * scale),
        budgets=measure.of({f"{share:.0%}": _top(order, max(1, round(share * rows))) for share in SHARES}),
        segments=measure.of({name: flagged & chosen for name, chosen in segments.items()}, segments),
        confidence=confidence,
    )


def _top(order: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(order.size, dtype=np.bool_)
    chosen[order[:count]] = True
    return chosen


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

    def of(
        self, groups: Mapping[str, NDArray[np.bool_]], customers: Mapping[str, NDArray[np.bool_]] | None = None
    ) -> list[Profit]:
        """Return the profit of each group; `customers` are all customers of a group, contacted or not."""
        if not groups:
            return []
        rows = self.outcome.size
        brought = np.stack([np.where(chosen, self.realised, 0.0) for chosen in groups.values()])
        total = brought.sum(axis=1)
        # Not `@`: on a busy machine BLAS threads wait for each other.
        drawn = np.concatenate(
            [np.einsum("rn,kn->rk", counts, brought) for counts in resampling_counts(rows, REPLICATES, seed=self.seed)]
        )
        error = drawn.std(axis=0, ddof=1)
        deviations = np.divide(np.abs(drawn - total), error, out=np.zeros(drawn.shape), where=error > 0)
        width = np.quantile(deviations.max(axis=1), self.confidence) * error
        return [
            Profit(
                name,
                rows if customers is None else int(customers[name].sum()),
                int(chosen.sum()),
                int(self.outcome[chosen].sum()),
                float(total[k]),
                float(total[k] - width[k]),
                float(total[k] + width[k]),
            )
            for k, (name, chosen) in enumerate(groups.items())
        ]
