"""Confidence sequences for the performance trigger, against the present spending of the error budget.

Every rule sees the same simulated streams of due outcomes. `SEQUENCES_LIVES` and `SEQUENCES_SEED` change a run.
"""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from benchmarks.harness import Claim, Result
from benchmarks.limits import upper_limit
from benchmarks.simulated import TABLES, simulated_settings
from churnops.evaluation.delong import delong
from churnops.evaluation.metrics import evaluate
from churnops.experiments.sequence import boundary
from churnops.monitoring.budget import TRIGGERS, level
from churnops.monitoring.decline import allowed_decline, judge_decline

LIVES, SEED = (int(os.environ.get(f"SEQUENCES_{name}", n)) for name, n in (("LIVES", 200), ("SEED", 1)))
CYCLES, POOLED = 100, 4
CHANGES = ((0.5, 0), (0.5, 20), (0.75, 20))  # lost share of the distance to 0.5, and cycles before the change
HELD_OUT = {"rare": 10_000, "common": 1000}  # customers of the held-out evaluation
ROWS = {"rare": (1000, 5000), "common": (100, 500)}  # due outcomes of a cycle
OPTIMUM = 5  # cycles of evidence for which a sequence is narrowest
PRESENT, WINDOW, SPENT, SEQUENCE, RESTARTED = RULES = (
    "present: each cycle alone, spending",
    f"the last {POOLED} cycles together, spending",
    "all cycles together, spending",
    "all cycles together, confidence sequence",
    "since any earlier cycle, confidence sequences",
)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """A model's life: ROC-AUC and its variance in each cycle, and the result of the present rule in each cycle."""

    expected: float
    error: float  # standard error of the expected ROC-AUC
    line: float
    auc: Floats
    variance: Floats
    present: NDArray[np.bool_]


def stream(table: str, rows: int, lost: float, changed: int, seed: Sequence[int]) -> Stream:
    """Simulate a life whose ROC-AUC falls before the cycle number `changed`, counted from 0."""
    generator, settings = np.random.default_rng(seed), simulated_settings().monitoring
    score, outcome = TABLES[table].scored(HELD_OUT[table], generator)
    promise = evaluate(outcome, score, replicates=2, seed=0)
    held_out = delong(outcome, score)
    document = promise.to_json()
    aucs, variances, fired = np.zeros(CYCLES), np.zeros(CYCLES), np.zeros(CYCLES, dtype=np.bool_)
    document["metrics"]["roc_auc"] |= {"low": held_out.low, "high": held_out.high}
    for cycle in range(CYCLES):
        score, outcome = TABLES[table].scored(rows, generator)
        if cycle >= changed:
            moved = generator.choice(rows, round(lost * rows), replace=False)
            outcome[moved] = outcome[generator.permutation(moved)]
        judged = judge_decline(
            outcome.astype(np.float64), score, promised=document, churn_threshold=0.5, settings=settings
        )
        if judged.auc is not None and not math.isnan(judged.auc.standard_error):
            aucs[cycle], variances[cycle] = judged.auc.value, judged.auc.standard_error**2
        certain = judged.p_value is not None and judged.p_value <= level(cycle + 1, settings.false_alarm_budget)
        fired[cycle] = bool(judged.below) and certain
    line = held_out.value - allowed_decline(held_out.value, settings)
    return Stream(held_out.value, held_out.standard_error, line, aucs, variances, fired)


def first_alarms(table: str, rows: int, change: tuple[float, int], number: int) -> dict[str, int]:
    """Return the number of cycles of a life before the first alarm of each rule; `CYCLES` if there is none."""
    life = stream(table, rows, *change, [SEED, number])
    budget = simulated_settings().monitoring.false_alarm_budget
    looks, total, spread = np.arange(1, CYCLES + 1), np.cumsum(life.auc), np.cumsum(life.variance)
    levels = np.array([level(look, budget) for look in looks])

    def spending(cycles: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Test the mean of the last cycles at each look."""
        mean, variance = (_since(sums, looks - cycles) / cycles for sums in (total, spread))
        error = np.hypot(np.sqrt(variance / cycles), life.error)
        return (mean < life.line) & (ndtr((mean - life.expected) / error) <= levels)

    # Half of the trigger's share is for the expected ROC-AUC, which is uncertain once; the rest for the sequences.
    share = budget / TRIGGERS / 2
    lowest = life.expected + float(ndtri(share)) * life.error
    best = OPTIMUM * life.error**2 * HELD_OUT[table] / rows

    def sequence(start: int, alpha: float) -> NDArray[np.bool_]:
        """Compare the cycles since `start` with the lowest expected ROC-AUC at each look."""
        starts = np.minimum(start, looks)
        cycles, sums, variance = looks - starts, _since(total, starts), _since(spread, starts)
        return (sums < cycles * life.line) & (lowest * cycles - sums > boundary(variance, alpha, best))

    fired = {
        PRESENT: life.present,
        WINDOW: spending(np.minimum(looks, POOLED)),
        SPENT: spending(looks),
        SEQUENCE: sequence(0, share),
        RESTARTED: np.any([sequence(j, share / ((j + 1) * (j + 2))) for j in range(CYCLES)], axis=0),
    }
    return {rule: int(np.argmax(alarms)) if alarms.any() else CYCLES for rule, alarms in fired.items()}


def _since(sums: Floats, starts: NDArray[np.int64]) -> Floats:
    """Return cumulative sums without the first `starts` cycles."""
    return sums - np.concatenate([[0.0], sums])[starts]


@dataclass(frozen=True)
class Comparison:
    """First alarms of each rule, shape (lives,), on one table with one number of outcomes a cycle."""

    table: str
    rows: int
    unchanged: Mapping[str, NDArray[np.int64]]
    changed: Mapping[tuple[float, int], Mapping[str, NDArray[np.int64]]]

    def delay(self, change: tuple[float, int], rule: str) -> tuple[float, float]:
        """Return the median number of outcomes from the change to the alarm, and the share of lives with one."""
        first, start = self.changed[change][rule], change[1]
        first = first[first >= start]
        cycles = np.where(first < CYCLES, first - start + 1.0, np.inf)
        return self.rows * float(np.median(cycles)), float(np.isfinite(cycles).mean())


def measure() -> Result:
    """Run all lives, one process on each core."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:

        def run(table: str, rows: int, change: tuple[float, int], lives: int) -> dict[str, NDArray[np.int64]]:
            first = list(pool.map(partial(first_alarms, table, rows, change), range(lives), chunksize=10))
            return {rule: np.array([life[rule] for life in first]) for rule in RULES}

        comparisons = [
            Comparison(
                table,
                rows,
                run(table, rows, (0.0, 0), LIVES),
                {change: run(table, rows, change, LIVES // 4) for change in CHANGES},
            )
            for table, sizes in ROWS.items()
            for rows in sizes
        ]
    return Result(
        title="Confidence sequences",
        about=(
            "The trigger for performance judges the due outcomes of each cycle alone, and spends 1 / (k (k + 1)) of "
            "its share at look k. Confidence sequences could replace this: they hold at all looks together, so they "
            "may add up the evidence of many cycles. All rules see the same streams of outcomes by due date, on the "
            f"simulated tables. The scores are the true probabilities. The held-out evaluation has "
            f"{HELD_OUT['rare']:,} customers (5 % churn) or {HELD_OUT['common']:,} (27 % churn). A life has {CYCLES} "
            f"cycles. {LIVES} lives have no change, and {LIVES // 4} have each change: ROC-AUC loses a half or three "
            "quarters of its distance to 0.5, at once or after 20 cycles. `performance_threshold` is not set."
        ),
        claims=_claims(comparisons),
        tables=[(_caption(comparison), _table(comparison)) for comparison in comparisons],
        notes=(
            "In brackets: the share of lives in which the change is detected at all, if it is not 100 %. Lives with an "
            "alarm before the change do not count.",
            "Rules other than the present one add the ROC-AUC of single cycles, with DeLong's variances; the present "
            "rule also compares the counts of wrong predictions. All alarms also need a ROC-AUC below the limit. The "
            "sequences use half of the trigger's share for the uncertainty of the expected ROC-AUC. Sequences since "
            "any earlier cycle spend 1 / (j (j + 1)) of the other half on the j-th cycle.",
            "**Result: the present rule stays.** If all cycles are judged together, the good ones before a change hide "
            "the change for a long time, both with spending and with a confidence sequence. Sequences since any "
            "earlier cycle need up to twice as many outcomes as the present rule if a cycle has enough outcomes, and "
            "fewer only if a cycle has too few to be certain. In that case a longer window needs fewer still (the "
            "second rule): `window_days` sets it.",
        ),
    )


def _claims(comparisons: Sequence[Comparison]) -> list[Claim]:
    claims = []
    for comparison in comparisons:
        alarms = comparison.unchanged[PRESENT] < CYCLES
        name = f"{TABLES[comparison.table].title}, {comparison.rows:,} outcomes a cycle"
        limit = 100 * upper_limit(int(alarms.sum()), alarms.size)
        claims.append(Claim(f"{name}: lives with a false alarm of performance, upper limit", limit, "%", target=5))
    return claims


def _caption(comparison: Comparison) -> str:
    return (
        f"{TABLES[comparison.table].title}, {comparison.rows:,} outcomes a cycle: lives with a false alarm, and median "
        "number of outcomes from the change to the alarm"
    )


def _table(comparison: Comparison) -> list[Sequence[str]]:
    header = [f"{lost:g} lost {f'after {start} cycles' if start else 'at once'}" for lost, start in CHANGES]
    table: list[Sequence[str]] = [("rule", "false alarms (upper limit)", *header)]
    for rule in RULES:
        alarms = comparison.unchanged[rule] < CYCLES
        limit = upper_limit(int(alarms.sum()), alarms.size)
        cells = [f"{100 * alarms.mean():.1f} % (≤ {100 * limit:.1f} %)"]
        for change in CHANGES:
            median, share = comparison.delay(change, rule)
            number = "never" if math.isinf(median) else f"{median:,.0f}"
            cells.append(number if share == 1.0 else f"{number} ({100 * share:.0f} %)")
        table.append((rule, *cells))
    return table
