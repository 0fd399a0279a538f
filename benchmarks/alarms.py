"""Alarms: rate of false alarms without drift, and rate of detection with drift, on four tables.

`benchmarks/lives.py` simulates the lives of deployed models. `ALARMS_SPLITS`, `ALARMS_LIVES` (per split) and
`ALARMS_SEED` change the size and the splits of a run.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result
from benchmarks.limits import clustered_limit, upper_limit
from benchmarks.lives import CYCLES, LOOKS, PLANS, RULES, Plan, Split, run_split
from benchmarks.public import PublicProject
from benchmarks.simulated import TABLES
from churnops.monitoring.budget import TriggerName

SEED = int(os.environ.get("ALARMS_SEED", 1))
OTHER_SEEDS = 3
Alarms = Mapping[str, NDArray[np.bool_]]
AT_LOOKS = f"recommended at looks {', '.join(map(str, LOOKS))}"
PLAIN_NOTE = (
    "The plain rule has no floor for the effect on scores, and the scores of a refit always differ a little from the "
    "out-of-fold ones. So the trigger for scores raises most alarms of the plain rule. The table shows each trigger."
)


def measure(table: str = "telecom") -> Result:
    """Run all splits of a table, one process on each core."""
    plan = PLANS[table]
    size = {
        name.lower(): int(os.environ[f"ALARMS_{name}"])
        for name in ("SPLITS", "LIVES")
        if f"ALARMS_{name}" in os.environ
    }
    plan = replace(plan, **size)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:

        def run(seed: int, splits: int) -> list[Split]:
            return list(pool.map(partial(run_split, table, plan, seed), range(splits)))

        splits = run(SEED, plan.splits)
        others = {seed: run(seed, plan.other_splits) for seed in range(SEED + 1, SEED + 1 + OTHER_SEEDS)}
    alarms = _stacked(splits)
    return Result(
        title="Alarms" if table == "telecom" else f"Alarms: {TABLES[table].title if table in TABLES else table}",
        about=_about(table, plan),
        claims=[*_false_alarms(alarms), *_power(splits, plan)],
        tables=(
            ("Nothing changed: share of cycles in which a trigger fired", _trigger_table(splits, alarms)),
            (f"Shift of {plan.shifted} columns: {AT_LOOKS}", _shifts(splits, plan)),
            (f"{_fall(splits)}: {AT_LOOKS}", _falls(splits, plan)),
            (
                f"Other seeds, with {plan.other_splits} splits each: rates, in brackets their upper limits (clustered "
                "by split if there was an alarm) or lower limits",
                _other_seeds(others, plan),
            ),
        ),
        notes=_notes(table, plan),
    )


def _about(table: str, plan: Plan) -> str:
    lives = (
        f"Each split has {plan.lives} lives of {CYCLES} cycles. A cycle monitors {plan.rows:,} unseen customers, whose "
        "outcomes are all known, in one look that spends from the budget. Single cycles are judged as first looks, "
        "which get the largest part of the budget. The plain rule (`correction: none`) gets the same batches."
    )
    if table == "telecom":
        return (
            f"The 5,000 telecom customers are split at random {plan.splits} times: {plan.training_rows:,} for "
            "training, the rest unseen. The product's steps train a random forest with its default hyperparameters "
            "(no search, to save time) and deploy its refit, with out-of-fold scores as reference. " + lives
        )
    if table not in TABLES:
        return (
            f"{PublicProject.of(table).description} The table is split at random {plan.splits} times: "
            f"{plan.training_rows:,} customers for training, the rest unseen. The product's steps train a model of the "
            "general recipe (XGBoost, and a blend in every fourth split, one trial each) and deploy its refit. " + lives
        )
    return (
        f"{TABLES[table].description} `performance_threshold` is not set. In each of {plan.splits} splits the "
        f"product's steps train a model on {plan.training_rows:,} customers (logistic regression, and XGBoost in every "
        "fourth split, with default hyperparameters) and deploy its refit. All other customers are new. " + lives
    )


def _notes(table: str, plan: Plan) -> Sequence[str]:
    """Return the notes below the tables."""
    dependent = "share a model" if table in TABLES else "share a model and the unseen customers"
    limits = (
        f"Limits are upper limits of Clopper and Pearson's two-sided 95 % intervals. Batches of a split {dependent}, "
        "so they are not independent. The second limit is therefore clustered by split. It uses an effective number "
        "of trials, estimated from the variance over the splits (Korn and Graubard 1998). If there was no alarm at "
        "all, the effective number of trials is the number of splits."
    )
    if table == "telecom":
        drift = (
            f"For each batch, {plan.shifted} columns are drawn and shifted, from the 11 columns of kind number or "
            "integer that no other column determines. The charges follow the minutes. In the shifted batches no "
            "outcomes are known, so only drift of columns and scores can detect the shift. For the lines 'ROC-AUC from "
            "… to …' (concept drift), the outcomes of a share of the customers are permuted; "
            f"{plan.concept[0][0]} customers are scored, and {plan.concept[0][1]} outcomes are known."
        )
        return limits, PLAIN_NOTE, drift
    if table not in TABLES:
        drift = (
            f"For each batch, {plan.shifted} numbers that no other column determines are drawn and shifted: more than "
            "a third of the inputs. No outcomes are known. `drift_rate_threshold` is 0.30. Some numbers have few very "
            "large values and so a large standard deviation: a shift by 0.3 of it has a KS distance of 0.05 to 0.08 "
            "(balance, duration, campaign), which is below `min_distance` (0.08). For the lines 'ROC-AUC from "
            "… to …' (concept drift), the outcomes of half of the customers are permuted, so ROC-AUC falls halfway to "
            "0.5; all outcomes are known."
        )
        return limits, PLAIN_NOTE, drift
    drift = (
        f"For each batch, {plan.shifted} of the 7 numbers are drawn and shifted: a third of the 12 inputs. "
        "`drift_rate_threshold` is 0.30, so the trigger for columns fires only if all of the shifted columns drifted. "
        "No outcomes are known. The KS distance of a shift of 0.3 standard deviations is 0.09 to 0.13, close to "
        "`min_distance` (0.08). So large batches are needed to be certain of four columns together. For the lines "
        "'ROC-AUC from … to …' (concept drift), the outcomes of half of the customers are permuted, so ROC-AUC falls "
        "halfway to 0.5; all outcomes are known."
    )
    return limits, PLAIN_NOTE, drift


def _stacked(splits: Sequence[Split]) -> Alarms:
    """Return the cycles with an alarm by rule, shape (splits, lives, cycles)."""
    return {rule: np.stack([split.cycles[rule] for split in splits]) for rule in RULES}


def _detected(splits: Sequence[Split], kind: str, rows: int) -> NDArray[np.bool_]:
    """Return the batches with an alarm, shape (batches, looks)."""
    return np.concatenate([split.detected[kind, rows] for split in splits])


def _false_alarms(alarms: Alarms) -> list[Claim]:
    looks, first, plain = (alarms[rule] for rule in RULES)
    lives = f"lives of {CYCLES} cycles"
    claims = []
    for trials, target, alarmed, beside in (
        ("single cycles", 1.0, first, plain),
        (lives, 5.0, looks.any(axis=2), plain.any(axis=2)),
    ):
        limits = {"": upper_limit(int(alarmed.sum()), alarmed.size), ", clustered by split": clustered_limit(alarmed)}
        for clustering, limit in limits.items():
            claims.append(
                Claim(
                    f"nothing changed: {trials} with an alarm, upper limit{clustering}",
                    100 * limit,
                    "%",
                    target=target,
                    peer="plain rule, rate",
                    peer_measured=100 * float(beside.mean()),
                )
            )
    return claims


def _fall(splits: Sequence[Split]) -> str:
    before, after = (float(np.mean([getattr(split, name) for split in splits])) for name in ("auc", "auc_drifted"))
    return f"ROC-AUC from {before:.2f} to {after:.2f}"


def _power(splits: Sequence[Split], plan: Plan) -> list[Claim]:
    claims = []
    for kind, rows, drift in (
        ("0.3", plan.shift_claimed, f"{plan.shifted} columns shifted by 0.3 sd, {plan.shift_claimed:,} rows"),
        ("concept", plan.concept_claimed, f"{_fall(splits)}, {plan.concept_claimed:,} labels"),
    ):
        detected = _detected(splits, kind, rows)
        for place, look in enumerate(LOOKS):
            recommended = int(detected[:, place].sum())
            claims.append(
                Claim(
                    f"{drift}: recommended at look {look}",
                    100 * recommended / len(detected),
                    "%",
                    target=95,
                    at_least=True,
                    low=100 * (1 - upper_limit(len(detected) - recommended, len(detected))),
                    high=100 * upper_limit(recommended, len(detected)),
                )
            )
    return claims


def _trigger_table(splits: Sequence[Split], alarms: Alarms) -> list[Sequence[str]]:
    names = get_args(TriggerName)
    table: list[Sequence[str]] = [("rule", "any trigger", *names, "lives with any")]
    for rule, alarmed in alarms.items():
        counts = [sum(split.triggers[rule][name] for split in splits) for name in names]
        rates = [count / alarmed.size for count in (int(alarmed.sum()), *counts)]
        table.append((rule, *(f"{100 * rate:.3g} %" for rate in (*rates, alarmed.any(axis=2).mean()))))
    return table


def _rates(splits: Sequence[Split], kind: str, rows: int) -> str:
    return " / ".join(f"{100 * rate:.0f}" for rate in _detected(splits, kind, rows).mean(axis=0)) + " %"


def _shifts(splits: Sequence[Split], plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("shift (sd)", *(f"{rows:,} rows" for rows in plan.shift_rows))]
    table += [(f"{size:g}", *(_rates(splits, f"{size:g}", rows) for rows in plan.shift_rows)) for size in plan.shifts]
    return table


def _falls(splits: Sequence[Split], plan: Plan) -> list[Sequence[str]]:
    sizes = [labels for _, labels in plan.concept]
    return [[f"{labels:,} labels" for labels in sizes], [_rates(splits, "concept", labels) for labels in sizes]]


def _other_seeds(others: Mapping[int, Sequence[Split]], plan: Plan) -> list[Sequence[str]]:
    """Return the rates that have a target, for each seed; power is that of look 1 and of the last look."""
    shift, fall = f"shift of 0.3 sd, {plan.shift_claimed:,} rows", f"lower ROC-AUC, {plan.concept_claimed:,} labels"
    looks = f"looks {LOOKS[0]} / {LOOKS[-1]}"
    table: list[Sequence[str]] = [
        ("seed", "single cycles with an alarm", "lives with an alarm", f"{shift}: {looks}", f"{fall}: {looks}")
    ]
    for seed, splits in others.items():
        alarms = _stacked(splits)
        cells = []
        for alarmed in (alarms[RULES[1]], alarms[RULES[0]].any(axis=2)):
            limit = clustered_limit(alarmed) if alarmed.any() else upper_limit(0, alarmed.size)
            cells.append(f"{100 * alarmed.mean():.2g} % (≤ {100 * limit:.2g} %)")
        for kind, rows in (("0.3", plan.shift_claimed), ("concept", plan.concept_claimed)):
            detected = _detected(splits, kind, rows)[:, [0, -1]]
            lows = [100 * (1 - upper_limit(int((~column).sum()), column.size)) for column in detected.T]
            rates = " / ".join(f"{100 * rate:.0f}" for rate in detected.mean(axis=0))
            cells.append(f"{rates} % (≥ {' / '.join(f'{low:.0f}' for low in lows)} %)")
        table.append((str(seed), *cells))
    return table
