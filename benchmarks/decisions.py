"""Expected profit of call lists: how often the realised profit of held-out customers lies in the stated interval."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.harness import Claim, Result
from benchmarks.limits import upper_limit
from benchmarks.product import Customers, Project, train
from benchmarks.public import PublicProject
from benchmarks.table_files import TABLES
from churnops.decision.list_profit import Reference, list_profit
from churnops.decision.sample import read_reference
from churnops.settings import Settings

TELECOM = "telecom"
SPLITS, SIZES = 50, (20, 50, 100, 200)  # 200 lists for each table
TRAINING_ROWS, HELD_OUT_ROWS = 5_000, 20_000
SUCCESS, COST, CONFIDENCE, TARGET = 0.25, 10.0, 0.95, 0.93
VALUE, SPREAD = 200.0, 0.7  # median of the customers' values, and the standard deviation of their logarithms
SEED = 7


def measure() -> Result:
    """Make 200 lists for each table."""
    names = (TELECOM, *TABLES)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        inside = dict(zip(names, pool.map(lists_inside, names), strict=True))
    rows = [("table", *(f"{size} customers" for size in SIZES), "all lists")]
    for name, hits in inside.items():
        rows.append((name, *(f"{100 * share:.1f} %" for share in hits.mean(axis=0)), f"{100 * hits.mean():.1f} %"))
    return Result(
        title="Expected profit of call lists",
        about=(
            f"On each of {len(names)} tables, {SPLITS} random splits: a model is trained on up to {TRAINING_ROWS:,} "
            "customers (logistic regression, with the settings of a new project). A list of each of the "
            f"{len(SIZES)} sizes is made from a random half of up to {HELD_OUT_ROWS:,} other customers: those with the "
            f"highest expected profits. A contact costs {COST:g} and keeps {SUCCESS:.0%} of the customers who would "
            f"leave; their values are log-normal with the median {VALUE:g}. Success rate and value are assumptions, so "
            f"they are the same in the expected and in the realised profit. Interval: {CONFIDENCE:.0%}."
        ),
        claims=[_claim(name, hits) for name, hits in inside.items()],
        tables=[("Share of lists whose realised profit lies in the interval, by size", rows)],
        notes=[
            "In brackets: Clopper and Pearson's 95 % interval of the share, as if lists of a split were independent."
        ],
    )


def _claim(name: str, hits: np.ndarray) -> Claim:
    inside, missed = int(hits.sum()), int((~hits).sum())
    return Claim(
        f"{name}: realised profit in the interval",
        inside / hits.size,
        target=TARGET,
        at_least=True,
        low=1 - upper_limit(missed, hits.size),
        high=upper_limit(inside, hits.size),
    )


def lists_inside(name: str) -> np.ndarray:
    """Return whether the realised profit of each list lies in its interval, shape (SPLITS, SIZES)."""
    project = Project.default() if name == TELECOM else PublicProject.of(name)
    settings = project.settings.changed("training", {"families": ("logistic_regression",)})
    return np.stack([_split(project.everyone, settings, split) for split in range(SPLITS)])


def _split(everyone: Customers, settings: Settings, split: int) -> np.ndarray:
    rng = np.random.default_rng([SEED, split])
    order = rng.permutation(everyone.outcome.size)
    middle = min(TRAINING_ROWS, order.size // 2)
    trained = train(everyone.rows(np.sort(order[:middle])), settings)
    others = everyone.rows(order[middle : middle + HELD_OUT_ROWS])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "reference.parquet"
        path.write_bytes(trained.reference)
        sample = read_reference(path, trained.refit.schema)
    probability = trained.refit.predict(others.columns).probability
    value = VALUE * np.exp(SPREAD * rng.standard_normal(probability.size))
    reference = Reference(sample.score, sample.outcome)
    return np.array([_inside(probability, value, others.outcome, size, reference, rng) for size in SIZES])


def _inside(
    probability: np.ndarray,
    value: np.ndarray,
    outcome: np.ndarray,
    size: int,
    reference: Reference,
    rng: np.random.Generator,
) -> bool:
    """Make a list from a random half of the customers; return whether its realised profit lies in the interval."""
    half = rng.permutation(probability.size)[: probability.size // 2]
    chosen: Sequence[int] = half[np.argsort(-(probability * value)[half])[:size]]
    gain = SUCCESS * value[chosen]
    seed = int(rng.integers(2**31))
    profit = list_profit(probability[chosen], gain, COST, reference, confidence=CONFIDENCE, seed=seed)
    return bool(profit.low <= gain @ outcome[chosen] - COST * size <= profit.high)
