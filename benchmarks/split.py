"""Sample-ratio test of a split: false mismatches, and customers needed to find a lost part of an arm.

The probabilities are exact for a look after every customer: the boundary of the test is computed for each number of
customers, and the distribution of the challenger's count is followed within it. `SPLIT_SEED` changes the experiments of
the check with real assignments.
"""

import os

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result
from benchmarks.limits import upper_limit
from churnops.experiments.assignment import challengers
from churnops.experiments.sample_ratio import LEVEL, log_evidence

SEED = int(os.environ.get("SPLIT_SEED", 1))
OTHER_SEEDS = 3
LOOKS = 100_000  # customers of an experiment without a mismatch
SHARES = (0.5, 0.2, 0.05)
MISMATCHES = ((50 / 96, 20_000, "50/46"), (50 / 98, 75_000, "50/48"))
EXPERIMENTS, CUSTOMERS = 200, 10_000  # of a seed
Counts = NDArray[np.int64]


def measure() -> Result:
    """Compute the probabilities, and test the product's own assignment."""
    boundary = {share: boundaries(share, LOOKS) for share in SHARES}
    false = {share: crossed(share, boundary[share])[-1] for share in SHARES}
    claims = [
        Claim(f"False mismatch, {LOOKS:,} looks, share {share}", 100 * float(rate), "%", target=1.0)
        for share, rate in false.items()
    ]
    rows = [["customers kept", "median", "95 % found by", "found by the limit"]]
    for share, limit, name in MISMATCHES:
        chance = crossed(share, boundary[0.5])
        claims.append(
            Claim(f"{name} found within {limit:,}", 100 * float(chance[limit]), "%", target=95.0, at_least=True)
        )
        median, late = (int(np.searchsorted(chance, p)) for p in (0.5, 0.95))
        rows.append([name, f"{median:,}", f"{late:,}", f"{chance[limit]:.1%}"])
    seeds = [["seed", "false mismatches", "upper limit"]]
    for seed in range(SEED, SEED + 1 + OTHER_SEEDS):
        hits = assigned_mismatches(seed)
        seeds.append([str(seed), f"{hits} of {EXPERIMENTS}", f"{upper_limit(hits, EXPERIMENTS):.1%}"])
    return Result(
        title="Split: sample ratio",
        about=f"Anytime-valid test at level {LEVEL:g}, looked at after every customer. 50/46 means that 4 of 50 "
        "customers of an arm are lost. The probabilities are exact.",
        claims=claims,
        tables=(
            ("Customers until a mismatch is found", rows),
            (f"Real assignments of {CUSTOMERS:,} customers: experiments with a mismatch at any look", seeds),
        ),
    )


def boundaries(share: float, looks: int) -> tuple[Counts, Counts]:
    """Return the smallest and largest challenger's count without a mismatch after 0 to `looks` customers."""
    n, limit = np.arange(looks + 1), -np.log(LEVEL)
    middle = np.rint(n * share).astype(np.int64)

    def edge(outside: Counts) -> Counts:
        """Bisect between the middle, which is never a mismatch, and a count beyond the last."""
        inside = middle.copy()
        while np.any(gap := np.abs(outside - inside) > 1):
            between = np.where(gap, (inside + outside) // 2, inside)
            possible = np.clip(between, 0, n)
            fits = (log_evidence(n - possible, possible, share) <= limit) & (possible == between)
            inside, outside = np.where(fits, between, inside), np.where(fits, outside, between)
        return inside

    return edge(np.full(looks + 1, -1)), edge(n + 1)


def crossed(share: float, boundary: tuple[Counts, Counts]) -> NDArray[np.float64]:
    """Return the probability of a mismatch within 0, 1, 2, … customers, if the challenger's true share is `share`."""
    low, high = boundary
    chance = np.zeros(int(high.max()) + 2)  # of the challenger's count, without a mismatch so far
    chance[0] = 1.0
    crossing = np.zeros(low.size)
    for n in range(1, low.size):
        a, b = low[n - 1], high[n - 1] + 1
        stayed = chance[a:b] * (1 - share)
        chance[a + 1 : b + 1] = chance[a:b] * share
        chance[a] = 0.0
        chance[a:b] += stayed
        lost = chance[a : low[n]].sum() + chance[high[n] + 1 : b + 1].sum()
        chance[a : low[n]] = 0.0
        chance[high[n] + 1 : b + 1] = 0.0
        crossing[n] = crossing[n - 1] + lost
    return crossing


def assigned_mismatches(seed: int) -> int:
    """Return the number of experiments of a seed in which the product's assignment has a mismatch at any look."""
    low, high = boundaries(0.2, CUSTOMERS)
    ids = [f"{seed}-{number}" for number in range(CUSTOMERS)]
    hits = 0
    for experiment in range(seed * EXPERIMENTS, (seed + 1) * EXPERIMENTS):
        counts = np.cumsum(challengers(experiment, 0.2, ids))
        hits += bool(np.any((counts < low[1:]) | (counts > high[1:])))
    return hits
