"""Shadow lives: the product's confidence sequence against other ways to look at a challenger every day.

All customers are drawn at once, so a call takes about two CPU minutes. `SHADOW_LIVES` and `SHADOW_SEED` change a run.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from benchmarks.simulated import TABLES
from churnops.experiments.budget import gate_level, shadow_level
from churnops.experiments.evidence import EndRules, Looks
from churnops.experiments.sequence import Floats, log_losses
from churnops.retraining.gate import decide
from churnops.settings import RetrainingSettings

LIVES, SEED = (int(os.environ.get(f"SHADOW_{name}", n)) for name, n in (("LIVES", 1000), ("SEED", 1)))
OTHER_SEEDS, OTHER_LIVES = (2, 3, 4), 300
DAYS, DUE = 100, 100  # looks of a life, and customers whose horizon ends each day
PART = 50  # lives in memory at a time
LOSS = 0.005  # excess log loss of the better model, in nats
REQUIRED = 0.005  # gain that the gate requires in log loss
GAINS = (0.0, 0.015, 0.024, -0.015)
CHALLENGERS, TURN = 5, 20  # successive challengers of a champion, and days of each
COMPARED = 667  # customers of a comparison by the gate
SEQUENCE, DAILY, SPENDING, FIXED = RULES = (
    "confidence sequence",
    "z-test every day",
    "z-test every day, alpha spending",
    "one z-test, at the end",
)


@dataclass(frozen=True)
class Pair:
    """A champion and a challenger, each the true log-odds with noise of its own: the noise makes its excess loss."""

    table: str
    gain: float

    @property
    def losses(self) -> tuple[float, float]:
        """Excess log loss of champion and challenger, in nats. Equal models are both as bad as the worse of a pair."""
        worse = LOSS + abs(self.gain or GAINS[1])
        return (worse, worse) if self.gain == 0 else (worse, LOSS) if self.gain > 0 else (LOSS, worse)

    def differences(self, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
        """Draw customers: the champion's log loss minus the challenger's, and whether the customer churned."""
        rows = math.prod(shape)
        probability, churned = TABLES[self.table].scored(rows, generator)
        odds = logit(probability)
        champion, challenger = (
            log_losses(churned, expit(odds + noise(self.table, loss) * generator.normal(size=rows)))
            for loss in self.losses
        )
        return (champion - challenger).reshape(shape), churned.reshape(shape)


@lru_cache
def noise(table: str, loss: float) -> float:
    """Return the standard deviation of the noise in log-odds that costs this much log loss."""
    generator = np.random.default_rng(0)
    probability, _ = TABLES[table].scored(50_000, generator)
    odds, normal = logit(probability), generator.normal(size=50_000)

    def excess(scale: float) -> float:
        scored = expit(odds + scale * normal)
        relative = probability * np.log(probability / scored) + (1 - probability) * np.log1p(-probability)
        return float((relative - (1 - probability) * np.log1p(-scored)).mean()) - loss

    return float(brentq(excess, 0.01, 5.0, xtol=1e-4))


def looks(pair: Pair, lives: int, seed: Sequence[int], days: int = DAYS) -> Looks:
    """Simulate lives with a look each day; arrays of shape (lives, days)."""
    parts = []
    for start in range(0, lives, PART):
        generator = np.random.default_rng([*seed, start])
        difference, churned = pair.differences((min(PART, lives - start), days, DUE), generator)
        parts.append([values.sum(axis=2).cumsum(axis=1) for values in (churned, difference, difference**2)])
    churned, total, squares = (np.concatenate(values) for values in zip(*parts, strict=True))
    due = np.broadcast_to(DUE * np.arange(1.0, days + 1), total.shape)
    return Looks(due, due, churned, total, squares)


def successes(seen: Looks, rule: str) -> NDArray[np.bool_]:
    """Return whether each look calls the challenger better, shape (lives, days)."""
    if rule == SEQUENCE:
        return seen.success(EndRules(REQUIRED, shadow_level(1, 0.95)))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = seen.gain * np.sqrt(seen.pairs) / seen.deviation
    look = np.arange(1, seen.pairs.shape[1] + 1)
    levels = 0.05 / (look * (look + 1)) if rule == SPENDING else np.full(look.size, 0.05)
    certain = seen.enough & (z > -ndtri(levels))
    return certain & (look == look.size) if rule == FIXED else certain


def first_day(ends: NDArray[np.bool_]) -> Floats:
    """Return the number of the first look that ends each life; infinite if none does."""
    return np.where(ends.any(axis=1), ends.argmax(axis=1) + 1.0, np.inf)


@dataclass(frozen=True)
class Lives:
    """First days of success by rule, and of futility by the sequence; arrays of shape (lives,).

    `gain` is the true one, `deviation` that of the customers' differences, both in nats.
    """

    gain: float
    deviation: float
    success: Mapping[str, Floats]
    futility: Floats

    @classmethod
    def of(cls, pair: Pair, lives: int, seed: int) -> "Lives":
        """Simulate lives; a life that the sequence gave up has no later success."""
        seen = looks(pair, lives, [seed, GAINS.index(pair.gain), list(TABLES).index(pair.table)])
        futility = first_day(seen.futility(EndRules(REQUIRED, shadow_level(1, 0.95))))
        success = {rule: first_day(successes(seen, rule)) for rule in RULES}
        success[SEQUENCE] = np.where(success[SEQUENCE] <= futility, success[SEQUENCE], np.inf)
        deviation = float(seen.deviation[:, -1].mean())
        return cls(pair.gain, deviation, success, np.where(futility < success[SEQUENCE], futility, np.inf))

    def counts(self, rule: str) -> tuple[int, int]:
        """Return the number of lives with a success, and of all."""
        return int(np.isfinite(self.success[rule]).sum()), self.success[rule].size

    def labels(self, rule: str, share: float) -> float:
        """Return the number of due customers by which this share of the lives has a success; infinite if none.

        For the single test, the number for which it is planned: fewer customers would find the gain less often.
        """
        if rule != FIXED:
            return DUE * float(np.quantile(self.success[rule], share, method="inverted_cdf"))
        return math.ceil(((ndtri(0.95) + ndtri(share)) * self.deviation / self.gain) ** 2)

    @property
    def given_up(self) -> float:
        """Share of lives that end for futility."""
        return float(np.isfinite(self.futility).mean())


def successive(table: str, lives: int, seed: int) -> Floats:
    """Return the share of champions' lives with a false promotion by a shadow, by the gate, and by either; shape (3,).

    `CHALLENGERS` challengers without a gain follow each other. Each has a shadow of `TURN` days, and is compared by the
    gate on the shadow's newest customers when the shadow ends.
    """
    pair = Pair(table, 0.0)
    by_shadow, by_gate = np.zeros(lives, np.bool_), np.zeros(lives, np.bool_)
    for number in range(1, CHALLENGERS + 1):
        rules = EndRules(REQUIRED, shadow_level(number, 0.95))
        seen = looks(pair, lives, [seed, 99, number], TURN)
        by_shadow |= np.isfinite(first_day(seen.success(rules)))
        by_gate |= _deployed(pair, number, lives, seed)
    return np.array([by_shadow.mean(), by_gate.mean(), (by_shadow | by_gate).mean()])


def _deployed(pair: Pair, number: int, lives: int, seed: int) -> NDArray[np.bool_]:
    """Return whether the gate deploys the challenger of each life in its `number`-th comparison."""
    options = RetrainingSettings(metric="log_loss", confidence=1 - gate_level(number, 0.95))
    generator = np.random.default_rng([seed, 98, number])
    scale = [noise(pair.table, loss) for loss in pair.losses]
    result = np.zeros(lives, np.bool_)
    for life in range(lives):
        probability, churned = TABLES[pair.table].scored(COMPARED, generator)
        odds = logit(probability)
        champion, challenger = (expit(odds + s * generator.normal(size=COMPARED)) for s in scale)
        result[life] = decide(churned, champion, challenger, options, seed=1).deploy
    return result
