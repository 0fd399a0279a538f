"""Gate: rate of deployments without a true gain, and rate of deployments with one, on four tables.

`benchmarks/gate_trials.py` trains and compares the models. `GATE_SPLITS` and `GATE_SEED` change a run.
"""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_trials import CHALLENGERS, PLANS, RULES, SAMPLES, Plan, Split, run_split
from benchmarks.harness import Claim, Result
from benchmarks.limits import ratio_limit
from benchmarks.public import PublicProject
from benchmarks.rivals import Bools, Floats
from benchmarks.simulated import TABLES

SEED, OTHER_SEEDS, POWER = int(os.environ.get("GATE_SEED", 1)), 3, 0.9
CHOICES = ("a single challenger", f"the best of {CHALLENGERS}")
NAMES = {"random_forest": "a forest", "logistic_regression": "a logistic regression", "xgboost": "XGBoost"}
LIMITS = (
    "Limits are upper limits of two-sided 95 % intervals. They are clustered by pair (a champion and its challengers) "
    "or by split: they use an effective number of trials, estimated from the variance over pairs or splits (Korn and "
    "Graubard 1998)."
)
EQUAL = (
    "How two equally good models are made: a better model's scores are mixed with permuted scores until it is exactly "
    "as good as a worse model. For log loss, an overconfident and an equally good cautious model are compared too. "
    "Guards are off. If the measured gain were normally distributed, its lower bound would be wrong in 5 % of "
    "comparisons. Here it can be wrong more often, because only the few churned customers distinguish the models."
)


def measure(table: str = "telecom") -> Result:
    """Run all splits of a table, one process on each core."""
    plan = PLANS[table]
    if "GATE_SPLITS" in os.environ:
        plan = replace(plan, splits=int(os.environ["GATE_SPLITS"]))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:

        def run(seed: int, splits: int) -> list[Split]:
            return list(pool.map(partial(run_split, table, plan, seed), range(splits)))

        splits = run(SEED, plan.splits)
        others = {seed: run(seed, plan.other_splits) for seed in range(SEED + 1, SEED + 1 + OTHER_SEEDS)}
    curve = {key: np.stack([split.curve[key] for split in splits]) for key in splits[0].curve}
    claims = [
        *_false_deployments(splits),
        _deployed(f"true gain of 0.04 ROC-AUC, {plan.claimed:,} rows: deployed", curve[0.04, plan.claimed][:, 0], 90),
    ]
    tables = [
        (
            "Three columns are shares of all comparisons: those deployed, those without a true gain, and those "
            "deployed falsely. The last column is the share deployed falsely among the comparisons without a true gain",
            _rules_table(splits, plan),
        ),
        (
            "Share deployed, by true gain of ROC-AUC and number of rows. The brackets show it for each of the three "
            f"bad models that are mixed into the champion (see below): {' / '.join(_bad_models(table, plan))}",
            _curve_table(curve, plan),
        ),
        (
            "Two equally good models: share of comparisons with a proven gain, average / worst pair",
            _equal(splits, plan),
        ),
        (
            f"Other seeds, with {plan.other_splits} splits each: false deployments, and in brackets the upper limit by "
            "pair",
            _other_seeds(others, plan),
        ),
    ]
    notes = [LIMITS, _made_note(plan), EQUAL]
    if table == "telecom":
        needed = [_needed(curve, plan, gain) for gain in plan.gains[1:]]
        claims += _telecom_claims(splits, plan, needed)
        caption = "Rows at which 90 % are deployed, and the number of rows that the gate names"
        tables.insert(2, (caption, _needed_table(curve, plan, needed)))
        notes += _telecom_notes(splits)
    title = "Gate" if table == "telecom" else f"Gate: {TABLES[table].title if table in TABLES else table}"
    return Result(title, _about(table, plan), claims, tables, notes)


def _about(table: str, plan: Plan) -> str:
    trained = (
        f"are trained on bootstrap samples of the training rows: {plan.splits * plan.groups:,} champions with "
        f"{CHALLENGERS} challengers each. They are compared on {SAMPLES} samples of {plan.rows:,} rows. A deployment "
        "is false if the true gain is not above 0."
    )
    if table == "telecom":
        return (
            f"The 5,000 telecom customers are split at random {plan.splits} times: {plan.training_rows:,} for "
            "training, and the rest as the population. Comparison samples are drawn from the population with "
            "replacement, so the gain in the population is the true gain. Random forests and XGBoost at their "
            f"defaults {trained}"
        )
    description = TABLES[table].description if table in TABLES else PublicProject.of(table).description
    return (
        f"{description} Each of {plan.splits} splits draws {plan.training_rows:,} customers for training "
        f"and {plan.population:,} as the population. Comparison samples are drawn from the population with "
        "replacement, so the gain in the population is the true gain. Logistic regressions and XGBoost at their "
        f"defaults {trained}"
    )


def _bad_models(table: str, plan: Plan) -> tuple[str, str, str]:
    first, second = (NAMES[family] for family in plan.families)
    hidden = ", ".join(plan.hidden)
    if table == "telecom":
        hidden = "the service-call, international-plan and bill features"
    return f"{first} trained on 150 rows", f"{second} without {hidden}", f"{first} trained on permuted outcomes"


def _made_note(plan: Plan) -> str:
    first, second = (NAMES[family] for family in plan.families)
    return (
        f"How a gain of a known size is made: the challenger is {first}; the champion's scores are those of {second}, "
        "mixed with those of a bad model until the challenger has this gain. Gains are exact to 0.001 in the "
        f"population. All guards are on. The required gain is {RULES['gate'].improvement:g}."
    )


def _bills(splits: Sequence[Split]) -> tuple[Floats, Bools]:
    """Return true gains by the monthly bill and whether the gate deployed, by split and family."""
    bills = [split.bill for split in splits if split.bill is not None]
    return np.stack([gains for gains, _ in bills]), np.stack([deployed for _, deployed in bills])


def _telecom_claims(
    splits: Sequence[Split], plan: Plan, needed: Sequence[tuple[float, float, float, float]]
) -> list[Claim]:
    factor = max(max(ratio, 1 / ratio) for _, _, _, ratio in needed)
    name = f"gate by log loss, only the challenger has the monthly bill, {plan.rows} rows: deployed"
    return [
        _deployed(name, _bills(splits)[1], 95),
        Claim("labels needed: largest factor between the gate's number and the measurement", factor, target=1.25),
    ]


def _telecom_notes(splits: Sequence[Split]) -> list[str]:
    gains, _ = _bills(splits)
    return [
        "In use, the gate computes its number of rows from the measured gain. If the measured gain is below the true "
        "gain, the gate names more rows than are needed. If the measured gain is above the true gain, the gate may "
        "deploy at once and name no number. The third column of 'Rows at which 90 % are deployed' avoids this: it is "
        "computed from the true gain, with the standard error measured on 667 rows.",
        f"With the features of the monthly bill, a model's log loss is lower by {gains.min():.3f} to "
        f"{gains.max():.3f} than without them (smallest and largest true gain over families and splits).",
    ]


def _stacked(splits: Sequence[Split], rule: str, place: int) -> tuple[Bools, Bools]:
    """Return shape (splits, groups, samples): deployed, and without a true gain."""
    deployed, worse = (np.stack([getattr(s, name)[rule][..., place] for s in splits]) for name in ("deployed", "worse"))
    return deployed, worse


def _false_deployments(splits: Sequence[Split]) -> list[Claim]:
    claims = []
    for place, choice in enumerate(CHOICES):
        deployed, worse = _stacked(splits, "gate", place)
        plainly, no_better = _stacked(splits, "plain rule", place)
        for among, trials, peer in (
            ("comparisons", np.ones_like(worse), (plainly & no_better).mean()),
            ("those without a true gain", worse, plainly[no_better].mean()),
        ):
            for cluster, axes in (("pair", 2), ("split", (1, 2))):
                hits, tried = (made.sum(axis=axes).ravel() for made in (deployed & worse, trials))
                claims.append(
                    Claim(
                        f"false deployments, {choice}: share of {among}, upper limit by {cluster}",
                        100 * ratio_limit(hits, tried),
                        "%",
                        target=5,
                        peer="plain rule, rate",
                        peer_measured=100 * peer,
                    )
                )
    return claims


def _deployed(name: str, made: NDArray[np.generic], target: float) -> Claim:
    """Return a claim on the share deployed, shape (splits, ...), with its lower limit by split."""
    flat = made.reshape(len(made), -1).astype(np.float64)
    missed, tried = np.nansum(1 - flat, axis=1), (~np.isnan(flat)).sum(axis=1)
    rate = 100 * float(np.nanmean(flat))
    low = 100 * (1 - ratio_limit(missed, tried))
    return Claim(name, rate, "%", target=target, at_least=True, low=low, high=100.0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rules_table(splits: Sequence[Split], plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        ("rule", "challenger", "deployed", "without a true gain", "falsely", "falsely, of those without")
    ]
    for rule in plan.rules:
        for place, choice in enumerate(CHOICES):
            deployed, worse = _stacked(splits, rule, place)
            shares = deployed.mean(), worse.mean(), (deployed & worse).mean(), deployed[worse].mean()
            table.append((rule, choice, *map(_percent, shares)))
    return table


def _curve_table(curve: Mapping[tuple[float, int], Floats], plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("true gain", *(f"{rows:,} rows" for rows in plan.sizes))]
    for gain in plan.gains:
        cells = []
        for rows in plan.sizes:
            deployed = curve[gain, rows][:, 0]
            kinds = " / ".join(f"{100 * share:.0f}" for share in np.nanmean(deployed, axis=(0, 2)))
            cells.append(f"{_percent(np.nanmean(deployed))} ({kinds})")
        table.append((f"{gain:g}", *cells))
    return table


def _needed(curve: Mapping[tuple[float, int], Floats], plan: Plan, gain: float) -> tuple[float, float, float, float]:
    """Return the gain, the rows at which 90 % are deployed, the median of the gate's number, and their ratio.

    Between the tested numbers of rows, the share is assumed to be linear in their logarithm.
    """
    shares = np.maximum.accumulate([np.nanmean(curve[gain, rows][:, 0]) for rows in plan.sizes])
    measured = math.exp(float(np.interp(POWER, shares, np.log(plan.sizes))))
    planned = float(np.nanmedian(curve[gain, plan.rows][:, 2]))
    return gain, measured, planned, planned / measured


def _needed_table(
    curve: Mapping[tuple[float, int], Floats], plan: Plan, needed: Sequence[tuple[float, float, float, float]]
) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        (
            "true gain",
            "rows at which 90 % are deployed",
            f"gate's number, from {plan.rows} rows",
            "ratio",
            "median of the gate's number after 300 rows, over the comparisons in which it gives one",
        )
    ]
    for gain, measured, planned, ratio in needed:
        numbers = curve[gain, 300][:, 1]
        named = numbers[np.isfinite(numbers) & (numbers > 0)]
        table.append((f"{gain:g}", f"{measured:,.0f}", f"{planned:,.0f}", f"{ratio:.2f}", f"{np.median(named):,.0f}"))
    return table


def _equal(splits: Sequence[Split], plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("metric", *(f"{rows} rows" for rows in plan.equal_rows))]
    for metric in ("roc_auc", "log_loss"):
        cells = []
        for rows in plan.equal_rows:
            pairs = np.nanmean(np.stack([split.equal[metric, rows] for split in splits]), axis=(0, 2))
            cells.append(f"{_percent(float(pairs.mean()))} / {_percent(float(pairs.max()))}")
        table.append((metric, *cells))
    return table


def _other_seeds(others: Mapping[int, Sequence[Split]], plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        ("seed", *CHOICES, f"true gain of 0.04 ROC-AUC, {plan.claimed:,} rows: deployed (lower limit)")
    ]
    for seed, splits in others.items():
        cells = []
        for place in range(len(CHOICES)):
            deployed, worse = _stacked(splits, "gate", place)
            hits = (deployed & worse).sum(axis=2).ravel()
            limit = ratio_limit(hits, np.full(hits.size, SAMPLES))
            cells.append(f"{_percent(hits.sum() / worse.size)} (≤ {_percent(limit)})")
        proven = _deployed("", np.stack([split.curve[0.04, plan.claimed] for split in splits])[:, 0], 90)
        table.append((str(seed), *cells, f"{proven.measured:.1f} % (≥ {proven.low:.1f} %)"))
    return table
