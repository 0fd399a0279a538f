"""What an offer brings when everybody above a threshold gets it, for all thresholds at once, and which one to use."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.evaluation.metrics import resampling_counts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 500_000  # profits of replicates held at a time: 4 MB


@dataclass(frozen=True)
class Offer:
    """An offer that is made to customers at risk.

    Parameters
    ----------
    cost
        Of contacting one customer, whatever comes of it; at least 0.
    value
        Of keeping one customer who would have left; at least 0.
    success
        Share of those who would have left that the offer keeps, 0 to 1.

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
        """What contacting one customer who would have left is expected to bring, before the cost."""
        return self.success * self.value

    @property
    def break_even(self) -> float:
        """Probability of churn from which contacting pays; above 1, or infinite: never.

        >>> Offer(cost=10, value=200, success=0.25).break_even
        0.2
        """
        if self.kept == 0:
            return 0.0 if self.cost == 0 else np.inf
        return self.cost / self.kept

    def profit(self, contacted: NDArray[np.integer], churned: NDArray[np.integer]) -> Floats:
        """Return what contacting that many brings, of whom so many would have left."""
        profit: Floats = churned * self.kept - contacted * self.cost
        return profit


@dataclass(frozen=True)
class Ranking:
    """Customers by score: how many, and how many of those who left, are at or above each threshold.

    Attributes
    ----------
    thresholds
        Shape (m + 1,): the m distinct scores, ascending, and infinity, which nobody reaches. Every threshold contacts
        the same customers as one of them.
    contacted, churned
        Shape (m + 1,): customers with `score >= threshold`, and those of them who left.

    Examples
    --------
    >>> ranking = Ranking.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    >>> ranking.thresholds, ranking.contacted, ranking.churned
    (array([0.1, 0.4, 0.8, inf]), array([4, 3, 1, 0]), array([2, 2, 1, 0]))
    """

    thresholds: Floats
    contacted: Integers
    churned: Integers

    @classmethod
    def of(cls, outcome: ArrayLike, score: ArrayLike) -> "Ranking":
        """Rank customers; `outcome` (n,) is 1 churned or 0 stayed, `score` (n,) is finite, n at least 1."""
        churned, scores = np.asarray(outcome, dtype=np.int64), np.asarray(score, dtype=np.float64)
        order, starts = _runs(scores)
        contacted = _above(np.ones((1, scores.size), np.int64), starts)[0]
        thresholds = np.append(scores[order][starts], np.inf)
        return cls(thresholds, contacted, _above(churned[order][None, :], starts)[0])

    @property
    def rows(self) -> int:
        """All customers."""
        return int(self.contacted[0])

    @property
    def leavers(self) -> int:
        """All who left."""
        return int(self.churned[0])

    def at(self, threshold: float) -> int:
        """Return the position of the threshold in `thresholds` that contacts the same customers."""
        return int(np.searchsorted(self.thresholds, threshold, side="left"))

    def reached(self, share: ArrayLike) -> Floats:
        """Return which share of those who left is among the `share` (0 to 1) of customers with the highest scores.

        Among customers with the same score, those to contact are picked at random: this is what is then expected.
        NaN if nobody left.
        """
        if self.leavers == 0:
            return np.full(np.shape(share), np.nan)
        contacted, churned = self.contacted[::-1] / self.rows, self.churned[::-1] / self.leavers
        return np.interp(np.asarray(share, dtype=np.float64), contacted, churned)

    def best(self, offer: Offer) -> int:
        """Return the position of the threshold with the highest profit; of several, where fewest are contacted."""
        profit = offer.profit(self.contacted, self.churned)
        return int(profit.size - 1 - np.argmax(profit[::-1]))

    def setting(self, position: int) -> float | None:
        """Return the shortest decimal number, two places or more, that contacts the same customers as a threshold does.

        None where no threshold strictly between 0 and 1 does: they are all customers, or nobody.

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
    """Bootstrap samples of a ranking's customers: `contacted` and `churned` as there, shape (replicates, m + 1)."""

    contacted: NDArray[np.int32]
    churned: NDArray[np.int32]

    @classmethod
    def of(cls, outcome: ArrayLike, score: ArrayLike, *, replicates: int, seed: int) -> "Resamples":
        """Draw customers with replacement, the same for the same seed."""
        churned, scores = np.asarray(outcome, dtype=np.int64), np.asarray(score, dtype=np.float64)
        order, starts = _runs(scores)
        contacted, left = [], []
        for block in resampling_counts(scores.size, replicates, seed=seed):
            counts = np.take(block.astype(np.int32), order, axis=1)
            contacted.append(_above(counts, starts))
            left.append(_above(counts * churned[order].astype(np.int32), starts))
        return cls(np.concatenate(contacted), np.concatenate(left))

    def band(self, offer: Offer, positions: Integers, confidence: float) -> tuple[Floats, Floats]:
        """Return the interval of the profit at each of the thresholds, by percentiles of the replicates."""
        profit = offer.profit(self.contacted[:, positions], self.churned[:, positions])
        low, high = np.quantile(profit, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0)
        return low, high

    def best(self, offer: Offer) -> Integers:
        """Return each replicate's own best threshold, as `Ranking.best`."""
        most = max(1, _BLOCK // self.contacted.shape[1])
        found = []
        for first in range(0, len(self.contacted), most):
            rows = slice(first, first + most)
            profit = offer.profit(self.contacted[rows], self.churned[rows])
            found.append(profit.shape[1] - 1 - np.argmax(profit[:, ::-1], axis=1))
        return np.concatenate(found)


@dataclass(frozen=True)
class Gain:
    """What the best threshold is expected to bring more than the deployed one, per 1,000 customers, with interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Proposal:
    """The best threshold for an offer, and what is known of it.

    Profits are in the units of the offer's cost and value, per 1,000 customers of whom those above the threshold are
    contacted.

    Attributes
    ----------
    best, deployed
        Positions in `ranking.thresholds`.
    setting
        A number for `evaluation.threshold` that contacts the customers of `best`; None: there is none.
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
        """Profit per 1,000 customers at each of the thresholds."""
        return self.offer.profit(self.ranking.contacted, self.ranking.churned) / self.ranking.rows * 1000

    def contacted(self, position: int) -> float:
        """Return how many of 1,000 customers are contacted."""
        return float(self.ranking.contacted[position] / self.ranking.rows * 1000)


def propose(ranking: Ranking, resamples: Resamples, offer: Offer, threshold: float, confidence: float) -> Proposal:
    """Find the best threshold, and what it gains over the deployed `threshold`.

    The best threshold of some customers is picked by what happened to them, so on them it looks better than it is. The
    gain is therefore reduced by the optimism that replicates show: by how much more than on all customers the threshold
    that is best in a replicate gains there (Harrell, Lee and Mark, *Statistics in Medicine* 1996). The percentile
    interval of the gain is shifted by the same amount (Noma et al., *Statistics in Medicine* 2021).
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
    # A replicate's profit at the fixed `best` is on average that of all customers: taking the difference removes most
    # of the noise of few replicates, and leaves two terms that are never negative.
    optimism = float(np.mean((resampled(own) - at_best) + (profit[best] - profit[own])))
    low, high = np.quantile(at_best - resampled(deployed), ((1 - confidence) / 2, (1 + confidence) / 2))
    value = float(profit[best] - profit[deployed])
    gain = Gain(value - optimism, min(float(low), value) - optimism, max(float(high), value) - optimism)
    return Proposal(offer, ranking, best, deployed, threshold, setting, gain)


def advice(proposal: Proposal) -> str:
    """Say what to do in plain words, and why."""
    ranking, best = proposal.ranking, proposal.best
    now, deployed = proposal.profit[proposal.deployed], f"the deployed threshold {proposal.threshold:g}"
    range_ = f"{proposal.gain.low:,.0f} to {proposal.gain.high:,.0f}"
    if ranking.contacted[best] == 0:
        return (
            "Do not make this offer: whoever is contacted, it costs more than it brings. "
            f"With {deployed} it would bring {now:,.0f} per 1,000 customers."
        )
    if best == proposal.deployed:
        return f"Keep {deployed}: no other brings more. It is expected to bring {now:,.0f} per 1,000 customers."
    if proposal.gain.low <= 0:
        return (
            f"Keep {deployed}: another one does best on these customers, but what it gains may be chance ({range_} per "
            f"1,000 customers). {deployed.capitalize()} is expected to bring {now:,.0f}."
        )
    more = f"{proposal.gain.value:,.0f} more per 1,000 customers than {deployed} ({range_})"
    if proposal.setting is None:
        share = (
            f"the {proposal.contacted(best):,.0f} of 1,000 customers with the highest scores" if best else "everybody"
        )
        return f"Contact {share}: that is expected to bring {more}. No threshold between 0 and 1 picks just them."
    number = np.format_float_positional(proposal.setting, min_digits=2)
    everybody = " That is everybody: the offer is cheap against what it keeps." if best == 0 else ""
    return (
        f"Set evaluation.threshold to {number} in config.yaml and train again: that is expected to bring {more}."
        f"{everybody}"
    )


def _runs(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ascending order, and where in it each run of equal scores begins."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.diff(scores[order], prepend=-np.inf))


def _above(counts: NDArray[np.integer], starts: NDArray[np.intp]) -> NDArray[np.integer]:
    """Return the sums from each run on, and 0 for nobody; counts (replicates, n) by ascending score."""
    runs = np.add.reduceat(counts, starts, axis=1, dtype=counts.dtype)
    above = np.cumsum(runs[:, ::-1], axis=1, dtype=counts.dtype)[:, ::-1]
    return np.pad(above, ((0, 0), (0, 1)))
