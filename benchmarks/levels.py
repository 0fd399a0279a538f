"""Categories with many levels: customers move to levels of other churn rates, or do not.

Their shares fall with their rank, and their log-odds of churn are normal. A model learns the levels' rates from
the rows of the reference, as `churnops run` does. `LEVELS_MODELS` and `LEVELS_SEED` change a run.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from benchmarks.harness import Claim, Result
from benchmarks.limits import upper_limit
from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift import level_rate_test, tests_for
from churnops.monitoring.verdicts import floor
from churnops.schema import Column
from churnops.settings import MonitoringSettings
from churnops.training.encode import FeatureKind, tree_encoding

MODELS, SEED = (int(os.environ.get(f"LEVELS_{name}", n)) for name, n in (("MODELS", 12), ("SEED", 1)))
BATCHES, ROWS = 50, (300, 2_000, 10_000)
MOVED = (0.0, 0.15, 0.3)  # share of the customers
HEAD = 0.01  # share of the levels, the largest ones, whose customers stay
SPREAD = 0.7  # standard deviation of the levels' log-odds
SETTINGS = MonitoringSettings()
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Population:
    """A column: its levels, the average churn rate, the exponent of the shares, and the training rows."""

    levels: int
    churn_rate: float
    exponent: float
    rows: int

    @property
    def name(self) -> str:
        """The population in words."""
        shares = f"shares by rank^-{self.exponent:g}" if self.exponent else "equal shares"
        return f"{self.levels:,} levels, {shares}, {100 * self.churn_rate:g} % churn, {self.rows:,} training rows"


POPULATIONS = (
    Population(2833, 0.145, 1.0, 20_000),
    Population(2833, 0.05, 1.0, 50_000),
    Population(300, 0.05, 0.0, 10_000),
    Population(60, 0.145, 1.0, 3333),
    Population(2833, 0.05, 0.3, 20_000),
    Population(2833, 0.05, 1.0, 5000),
    Population(2833, 0.145, 0.5, 3333),
)


def run_model(population: Population, number: int) -> tuple[Bools, Bools]:
    """Train a model and test batches.

    Returns
    -------
    drifted : bool, shape (MOVED, ROWS, BATCHES, 2)
        Whether the column drifted by the rates of its levels, and by any other test.
    small : bool, shape (MOVED, ROWS, BATCHES)
        Whether the p-value of the rates is at most 0.05.
    """
    rng = np.random.default_rng([SEED, population.levels, population.rows, number])
    levels = np.arange(population.levels)
    shares = 1 / np.arange(3.0, population.levels + 3) ** population.exponent
    shares /= shares.sum()
    risk = expit(logit(population.churn_rate) + rng.normal(0.0, SPREAD, population.levels))
    training = rng.choice(levels, population.rows, p=shares)
    outcome = rng.random(population.rows) < risk[training]
    rates = tree_encoding(training[:, None] * 1.0, outcome, [FeatureKind(population.levels)], seed=0)[0].table
    reference = ColumnProfile.fit(training * 1.0)
    drifted = np.zeros((len(MOVED), len(ROWS), BATCHES, 2), dtype=np.bool_)
    small = np.zeros(drifted.shape[:-1], dtype=np.bool_)
    stay = levels < HEAD * population.levels
    low, high = ~stay & (risk < np.median(risk)), ~stay & (risk >= np.quantile(risk, 0.75))
    for place in np.ndindex(small.shape):
        moved = min(1.0, MOVED[place[0]] / shares[low].sum())
        now = np.where(low, (1 - moved) * shares, shares)
        now[high] *= 1 + moved * shares[low].sum() / shares[high].sum()
        batch = reference.count(rng.choice(levels, ROWS[place[1]], p=now) * 1.0)
        drifted[place], small[place] = verdicts(reference, batch, rates)
    return drifted, small


def verdicts(
    reference: ColumnProfile, batch: ColumnProfile, rates: NDArray[np.float64]
) -> tuple[tuple[bool, bool], bool]:
    """Return whether the column drifted by its levels' rates, and by any other test; and whether the p-value is small.

    Each test has an equal part of `drift_threshold`.
    """
    choices = tuple(map(str, range(rates.size - 2)))
    others = [test(reference, batch) for test in tests_for(Column(name="x", kind="category", choices=choices))]
    findings = [
        level_rate_test(reference, batch, rates),
        *(finding for finding in others if finding.test != "missing_rate"),
    ]
    big = [
        abs(finding.effect or 0.0) >= floor(finding.test, SETTINGS)
        and finding.p_value is not None
        and finding.p_value * len(findings) <= SETTINGS.drift_threshold
        for finding in findings
    ]
    return (big[0], any(big[1:])), (findings[0].p_value or 0.0) <= SETTINGS.drift_threshold


def measure() -> Result:
    """Run all populations, one process on each core."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        results = {
            population: list(pool.map(partial(run_model, population), range(MODELS))) for population in POPULATIONS
        }
    drifted = {population: np.stack([model for model, _ in models]) for population, models in results.items()}
    small = np.stack([[p_values[0] for _, p_values in models] for models in results.values()])
    clean = np.stack([models[:, 0, ..., 0] for models in drifted.values()])
    worst = float(small.mean(axis=(1, 3)).max())
    return Result(
        title="Many levels",
        about=(
            "Categories with many levels are simulated. Their shares fall with their rank, and the standard deviation "
            f"of their log-odds of churn is {SPREAD:g}. In each of {MODELS} trainings, a model learns the levels' "
            f"churn rates, with the product's encoding for trees. {BATCHES} batches each of "
            f"{', '.join(f'{rows:,}' for rows in ROWS)} new customers are tested, without a change, and after "
            f"{100 * MOVED[1]:g} or {100 * MOVED[2]:g} % of the customers moved from the half of the levels with the "
            f"lowest risk to the quarter with the highest. Customers of the largest {100 * HEAD:g} % of the levels "
            "stay. Each test of a column has an equal part of `drift_threshold`."
        ),
        claims=[
            Claim(
                "nothing changed: batches with drift by the rates, upper limit",
                100 * upper_limit(int(clean.sum()), clean.size),
                "%",
                target=1.0,
            ),
            Claim("nothing changed: p-values up to 0.05, column and batch size with the most", 100 * worst, "%", 5.0),
            Claim(
                f"{POPULATIONS[0].name}: 15 % moved, 2,000 rows: drift",
                100 * float(drifted[POPULATIONS[0]][:, 1, 1].any(axis=-1).mean()),
                "%",
                target=95.0,
                at_least=True,
                peer="without the test of rates",
                peer_measured=100 * float(drifted[POPULATIONS[0]][:, 1, 1, :, 1].mean()),
            ),
        ],
        tables=(("Batches with drift: by the rates / by the other tests of the column", _table(drifted)),),
        notes=[
            "If nearly all levels have few training rows, the model knows hardly any rate, and encodes most customers "
            "alike. Then the test cannot see a move either."
        ],
    )


def _table(drifted: dict[Population, Bools]) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("column", "change", *(f"{rows:,} rows" for rows in ROWS))]
    for population, models in drifted.items():
        for place, moved in enumerate(MOVED):
            rates = 100 * models[:, place].mean(axis=(0, 2))
            table.append(
                (
                    population.name,
                    f"{100 * moved:g} % moved" if moved else "nothing changed",
                    *(f"{own:.3g} / {other:.3g} %" for own, other in rates),
                )
            )
    return table
