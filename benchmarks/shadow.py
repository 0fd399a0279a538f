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

from benchmarks.harness import Claim, Result
from benchmarks.limits import upper_limit
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
    probability, _ = TABLES[table].scored(50_000, np.random.default_rng(0))
    odds = logit(probability)[:, None]
    places, weights = np.polynomial.hermite_e.hermegauss(15)
    entropy = float((log_losses(1, probability) * probability + log_losses(0, probability) * (1 - probability)).mean())

    def excess(scale: float) -> float:
        scored = expit(odds + scale * places)
        expected = log_losses(1, scored) * probability[:, None] + log_losses(0, scored) * (1 - probability[:, None])
        return float((expected @ weights).mean() / weights.sum()) - entropy - loss

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


def measure() -> Result:
    """Run all lives, in one process."""
    lives = {pair: Lives.of(pair, LIVES, SEED) for table in TABLES for gain in GAINS for pair in [Pair(table, gain)]}
    shared = {table: successive(table, LIVES, SEED) for table in TABLES}
    return Result(
        title="Shadow",
        about=(
            f"{LIVES:,} shadows of each kind on the two simulated tables (`benchmarks/simulated.py`), each with {DAYS} "
            f"daily looks and {DUE} due customers a day. The models' scores are the true probabilities with noise in "
            f"log-odds. The noise of the better model costs {LOSS:g} nat of log loss, that of the worse one the gain "
            "more; with gain 0 both have the same noise. The product's rule is that of the first shadow of a champion: "
            f"{100 * shadow_level(1, 0.95):.1f} % for a false success, and a required gain of {REQUIRED:g}. The other "
            "rules may use 5 %, and require no gain."
        ),
        claims=[*_claims(lives), *_shared_claims(shared)],
        tables=[
            *((_caption(pair), _table(lives[pair])) for pair in lives if pair.gain >= 0),
            (f"Other seeds, {OTHER_LIVES} lives each, confidence sequence", _seeds()),
            (
                f"Champions' lives with a false promotion: {CHALLENGERS} successive challengers without a gain, each "
                f"with a shadow of {TURN} days and a comparison by the gate on {COMPARED} customers",
                _shared_table(shared),
            ),
        ],
        notes=(
            "A life counts as found if the rule calls the challenger better at any look. Labels are due customers with "
            "a known outcome; 'never' means in fewer lives than the share. A z-test at the end needs the fewest "
            "labels, but their number must be planned from the true gain, and nobody may look before.",
        ),
    )


def _claims(lives: Mapping[Pair, Lives]) -> list[Claim]:
    claims = []
    for table in TABLES:
        title = TABLES[table].title
        equal, small, large, worse = (lives[Pair(table, gain)] for gain in GAINS)
        limit = 100 * upper_limit(*equal.counts(SEQUENCE))
        daily = equal.counts(DAILY)
        claims += [
            Claim(
                f"{title}: shadows with a false success, upper limit",
                limit,
                "%",
                target=5,
                peer="z-test every day, share",
                peer_measured=100 * daily[0] / daily[1],
            ),
            Claim(
                f"{title}: gain of 0.015 nat, labels, median",
                small.labels(SEQUENCE, 0.5),
                "labels",
                target=2600,
                peer="alpha spending",
                peer_measured=small.labels(SPENDING, 0.5),
            ),
            Claim(
                f"{title}: gain of 0.015 nat, labels in 95 % of the shadows",
                small.labels(SEQUENCE, 0.95),
                "labels",
                8000,
            ),
            Claim(
                f"{title}: gain of 0.024 nat, labels in 95 % of the shadows",
                large.labels(SEQUENCE, 0.95),
                "labels",
                2500,
            ),
            Claim(
                f"{title}: challengers worse by 0.015 nat that are given up",
                100 * worse.given_up,
                "%",
                90,
                at_least=True,
            ),
        ]
    return claims


def _shared_claims(shared: Mapping[str, Floats]) -> list[Claim]:
    return [
        Claim(
            f"{TABLES[table].title}: champions' lives with a false promotion by gate or shadow, upper limit",
            100 * upper_limit(round(shares[2] * LIVES), LIVES),
            "%",
            target=5,
        )
        for table, shares in shared.items()
    ]


def _caption(pair: Pair) -> str:
    return f"{TABLES[pair.table].title}, true gain {pair.gain:g} nat: shares of the lives, and labels until success"


def _table(lives: Lives) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("rule", "called better (upper limit)", "labels, median", "labels, 95 %")]
    for rule in RULES:
        hits, all_lives = lives.counts(rule)
        share = f"{100 * hits / all_lives:.1f} % (≤ {100 * upper_limit(hits, all_lives):.1f} %)"
        rows.append((rule, share, *(_labels(lives, rule, part) if lives.gain else "" for part in (0.5, 0.95))))
    return rows


def _labels(lives: Lives, rule: str, share: float) -> str:
    labels = lives.labels(rule, share)
    return "never" if math.isinf(labels) else f"{labels:,.0f}"


def _seeds() -> list[Sequence[str]]:
    header = ("seed", "table", "false success (upper limit)", "0.015 nat: labels, median / 95 %", "0.024 nat: 95 %")
    rows: list[Sequence[str]] = [(*header, "0.015 nat worse: given up", "gate or shadow, false promotion")]
    for seed in OTHER_SEEDS:
        for table in TABLES:
            equal, small, large, worse = (Lives.of(Pair(table, gain), OTHER_LIVES, seed) for gain in GAINS)
            hits, all_lives = equal.counts(SEQUENCE)
            false = f"{100 * hits / all_lives:.1f} % (≤ {100 * upper_limit(hits, all_lives):.1f} %)"
            labels = " / ".join(_labels(small, SEQUENCE, share) for share in (0.5, 0.95))
            either = successive(table, OTHER_LIVES, seed)[2]
            cells = (false, labels, _labels(large, SEQUENCE, 0.95), f"{worse.given_up:.1%}", f"{either:.1%}")
            rows.append((str(seed), TABLES[table].title, *cells))
    return rows


def _shared_table(shared: Mapping[str, Floats]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("table", "by a shadow", "by the gate", "by either")]
    return [*rows, *((TABLES[table].title, *(f"{share:.1%}" for share in shares)) for table, shares in shared.items())]
