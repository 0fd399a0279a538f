"""Expected profit of an offer to all customers at or above a threshold; the threshold with the highest profit."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.evaluation.metrics import resampling_counts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 500_000  # profits of replicates in memory at a time: 4 MB


@dataclass(frozen=True)
class Offer:
    """An offer to customers at risk.

    Parameters
    ----------
    cost
        Cost of contacting one customer; at least 0.
    value
        Value of keeping one customer who would have left; at least 0.
    success
        Share of leaving customers whom the offer keeps, 0 to 1.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    cost: float
    value: float
    success: float

    def __post_init__(self) -> None:
        if not (0 <= self.cost < np.inf and 0 <= self.value < np.inf and 0 <= self.success <= 1):
            raise ValueError("an offer has a cost and a value of at least 0, and a success between 0 and 1")

    @property
    def kept(self) -> float:
        """Expected value of contacting one leaving customer, before the cost."""
        return self.success * self.value

    @property
    def break_even(self) -> float:
        """Lowest probability of churn at which a contact pays; above 1 or infinite if it never pays.

        >>> Offer(cost=10, value=200, success=0.25).break_even
        0.2
        """
        if self.kept == 0:
            return 0.0 if self.cost == 0 else np.inf
        return self.cost / self.kept

    def profit(self, contacted: NDArray[np.integer], churned: NDArray[Any]) -> Floats:
        """Return the profit of contacting customers, some of whom would have left."""
        profit: Floats = churned * self.kept - contacted * self.cost
        return profit


@dataclass(frozen=True)
class Ranking:
    """Number of customers with a score at or above each threshold, and number of these who left.

    Attributes
    ----------
    thresholds
        The m distinct scores, ascending, then infinity, shape (m + 1,). Any possible threshold
        selects the same customers as one of these values.
    contacted, churned
        Numbers of all customers, and of customers who left, with `score >= threshold`; shape (m + 1,). If each customer
        has an own value, `churned` has the total value of those who left.

    Examples
    --------
    >>> ranking = Ranking.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    >>> ranking.thresholds, ranking.contacted, ranking.churned
    (array([0.1, 0.4, 0.8, inf]), array([4, 3, 1, 0]), array([2, 2, 1, 0]))
    """

    thresholds: Floats
    contacted: Integers
    churned: NDArray[Any]

    @classmethod
    def of(cls, outcome: ArrayLike, score: ArrayLike, value: ArrayLike | None = None) -> "Ranking":
        """Rank customers; `outcome` (n,) is 1 churned or 0 stayed, `score` (n,) is finite, n at least 1.

        `value` (n,) is each customer's value, for an offer with the value 1; None: the offer has the value.
        """
        churned, scores = _weights(outcome, value), np.asarray(score, dtype=np.float64)
        order, starts = _runs(scores)
        contacted = _above(np.ones((1, scores.size), np.int64), starts)[0]
        thresholds = np.append(scores[order][starts], np.inf)
        return cls(thresholds, contacted, _above(churned[order][None, :], starts)[0])

    @property
    def rows(self) -> int:
        """Number of all customers."""
        return int(self.contacted[0])

    @property
    def leavers(self) -> int:
        """Number of customers who left."""
        return int(self.churned[0])

    def at(self, threshold: float) -> int:
        """Return the position in `thresholds` that selects the same customers as `threshold`."""
        return int(np.searchsorted(self.thresholds, threshold, side="left"))

    def reached(self, share: ArrayLike) -> Floats:
        """Return the share of all leaving customers who are in the `share` (0 to 1) with the highest scores.

        Customers with the same score are picked at random; the result is the expectation. NaN if nobody left.
        """
        if self.leavers == 0:
            return np.full(np.shape(share), np.nan)
        contacted, churned = self.contacted[::-1] / self.rows, self.churned[::-1] / self.leavers
        return np.interp(np.asarray(share, dtype=np.float64), contacted, churned)

    def best(self, offer: Offer) -> int:
        """Return the position with the highest profit; among equal profits, the position with the fewest contacts."""
        profit = offer.profit(self.contacted, self.churned)
        return int(profit.size - 1 - np.argmax(profit[::-1]))

    def setting(self, position: int) -> float | None:
        """Return the threshold with the fewest decimal places, at least two, that contacts the customers of a position.

        None if no number between 0 and 1 contacts exactly these customers.

        >>> Ranking.of([0, 1, 1], [0.1, 0.30711, 0.4209]).setting(1)
        0.2
        """
        high = min(float(self.thresholds[position]), np.nextafter(1.0, 0.0))
        low = float(self.thresholds[position - 1]) if position else 0.0
        for places in range(2, 18):
            scale = 10**places
            nearest = np.clip(round((low + high) / 2 * scale), np.floor(low * scale) + 1, np.floor(high * scale))
            number = float(round(nearest / scale, places))
            if low < number <= high:
                return number
        return high if low < high else None


@dataclass(frozen=True)
class Resamples:
    """Bootstrap samples of a ranking's customers.

    `contacted` and `churned` are as in `Ranking`, a row for each sample: shape (replicates, m + 1).
    """

    contacted: NDArray[np.int32]
    churned: NDArray[Any]

    @classmethod
    def of(
        cls, outcome: ArrayLike, score: ArrayLike, value: ArrayLike | None = None, *, replicates: int, seed: int
    ) -> "Resamples":
        """Draw customers with replacement; the same seed draws the same customers. `value` is as in `Ranking.of`."""
        churned, scores = _weights(outcome, value), np.asarray(score, dtype=np.float64)
        order, starts = _runs(scores)
        contacted, left = [], []
        for block in resampling_counts(scores.size, replicates, seed=seed):
            counts = np.take(block.astype(np.int32), order, axis=1)
            contacted.append(_above(counts, starts))
            weights: NDArray[Any] = churned[order].astype(np.int32 if value is None else np.float64)
            left.append(_above(counts * weights, starts))
        return cls(np.concatenate(contacted), np.concatenate(left))

    def band(self, offer: Offer, positions: Integers, confidence: float) -> tuple[Floats, Floats]:
        """Return the profit's interval at each position, from percentiles of the replicates."""
        profit = offer.profit(self.contacted[:, positions], self.churned[:, positions])
        low, high = np.quantile(profit, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0)
        return low, high

    def best(self, offer: Offer) -> Integers:
        """Return the best position in each replicate, as `Ranking.best` does."""
        block = max(1, _BLOCK // self.contacted.shape[1])
        positions = []
        for first in range(0, len(self.contacted), block):
            rows = slice(first, first + block)
            profit = offer.profit(self.contacted[rows], self.churned[rows])
            positions.append(profit.shape[1] - 1 - np.argmax(profit[:, ::-1], axis=1))
        return np.concatenate(positions)


@dataclass(frozen=True)
class Gain:
    """Expected extra profit of the best threshold over the one in force, per 1,000 customers, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Proposal:
    """The best threshold for an offer, with its profit and gain.

    Profits are in the offer's currency per 1,000 customers. Customers at or above the threshold are contacted.

    Attributes
    ----------
    best, deployed
        The best threshold and the one in force: positions in `ranking.thresholds`.
    setting
        Threshold in (0, 1) that contacts the customers of `best`; None if no number does.
    """

    offer: Offer
    ranking: Ranking
    best: int
    deployed: int
    threshold: float
    setting: float | None
    gain: Gain

    @cached_property
    def profit(self) -> Floats:
        """Profit per 1,000 customers at each threshold."""
        return self.offer.profit(self.ranking.contacted, self.ranking.churned) / self.ranking.rows * 1000

    def contacted(self, position: int) -> float:
        """Return the number of contacts per 1,000 customers."""
        return float(self.ranking.contacted[position] / self.ranking.rows * 1000)


def propose(ranking: Ranking, resamples: Resamples, offer: Offer, threshold: float, confidence: float) -> Proposal:
    """Find the best threshold and its gain over the `threshold` in force.

    A threshold chosen on some customers looks too good on the same customers. The gain is reduced by this optimism. Its
    estimate: the profit of a replicate's best threshold in that replicate, minus the profit of the same threshold for
    all customers, as a mean over the replicates (Harrell, Lee and Mark, *Statistics in Medicine* 1996). The gain's
    percentile interval is shifted by the same amount (Noma et al., *Statistics in Medicine* 2021).
    """
    best, deployed = ranking.best(offer), ranking.at(threshold)
    setting = ranking.setting(best)
    if best == deployed:
        return Proposal(offer, ranking, best, deployed, threshold, setting, Gain(0.0, 0.0, 0.0))
    scale = 1000 / ranking.rows
    profit = offer.profit(ranking.contacted, ranking.churned) * scale

    def resampled(position: int | Integers) -> Floats:
        rows = np.arange(len(resamples.contacted))
        return offer.profit(resamples.contacted[rows, position], resamples.churned[rows, position]) * scale

    own, at_best = resamples.best(offer), resampled(best)
    # The expectation of `at_best` is `profit[best]`. So their difference may be subtracted: it removes most of the
    # noise of few replicates, and neither of the two terms is ever negative.
    optimism = float(np.mean((resampled(own) - at_best) + (profit[best] - profit[own])))
    low, high = np.quantile(at_best - resampled(deployed), ((1 - confidence) / 2, (1 + confidence) / 2))
    value = float(profit[best] - profit[deployed])
    gain = Gain(value - optimism, min(float(low), value) - optimism, max(float(high), value) - optimism)
    return Proposal(offer, ranking, best, deployed, threshold, setting, gain)


def advice(proposal: Proposal) -> str:
    """Describe the best action and its reason."""
    ranking, best = proposal.ranking, proposal.best
    now, deployed = proposal.profit[proposal.deployed], f"the threshold {proposal.threshold:g} in force"
    range_ = f"{proposal.gain.low:,.0f} to {proposal.gain.high:,.0f}"
    if ranking.contacted[best] == 0:
        return (
            "Do not make this offer: it costs more than it brings, at every threshold. "
            f"With {deployed} the expected profit is {now:,.0f} per 1,000 customers."
        )
    if best == proposal.deployed:
        return (
            f"Keep {deployed}: no other threshold brings more. The expected profit is {now:,.0f} per 1,000 customers."
        )
    if proposal.gain.low <= 0:
        return (
            f"Keep {deployed}: another threshold has the highest profit on these customers, but its gain may be "
            f"chance ({range_} per 1,000 customers). The expected profit is {now:,.0f} per 1,000 customers."
        )
    more = f"{proposal.gain.value:,.0f} more per 1,000 customers than {deployed} ({range_})"
    if proposal.setting is None:
        share = (
            f"the {proposal.contacted(best):,.0f} of 1,000 customers with the highest scores" if best else "everybody"
        )
        return (
            f"Contact {share}: this is expected to bring {more}. No threshold between 0 and 1 selects exactly these "
            "customers."
        )
    number = np.format_float_positional(proposal.setting, min_digits=2)
    everybody = " That is everybody: the offer is cheap compared with its value." if best == 0 else ""
    return f"Use the threshold {number}: this is expected to bring {more}.{everybody}"


def _weights(outcome: ArrayLike, value: ArrayLike | None) -> NDArray[Any]:
    """Return 1 for each customer who left, or the customer's value; 0 for the others."""
    left = np.asarray(outcome, dtype=np.int64)
    return left if value is None else left * np.asarray(value, dtype=np.float64)


def _runs(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions that sort the scores, and the start of each run of equal scores in that order."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.diff(scores[order], prepend=-np.inf))


def _above(counts: NDArray[Any], starts: NDArray[np.intp]) -> NDArray[Any]:
    """Return, for each run of equal scores, the sum of the counts of this run and all higher runs; then a 0.

    `counts` has the shape (replicates, n), by ascending score.
    """
    runs = np.add.reduceat(counts, starts, axis=1, dtype=counts.dtype)
    above = np.cumsum(runs[:, ::-1], axis=1, dtype=counts.dtype)[:, ::-1]
    return np.pad(above, ((0, 0), (0, 1)))
