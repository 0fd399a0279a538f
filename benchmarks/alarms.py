"""Alarms: rate of false alarms without drift, and rate of detection with drift.

The 5,000 telecom customers are split at random many times: a model is trained on one part, deployed, and monitored on
the other. A life is a series of monitoring cycles of one deployed model. `ALARMS_SPLITS`, `ALARMS_LIVES` (per split)
and `ALARMS_SEED` change the size and the splits of a run.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from benchmarks.harness import Claim, Result
from benchmarks.product import Customers, Project, prepare
from churnops.data.profile import count_profile
from churnops.data.simulate import Drift, simulate
from churnops.evaluation.metrics import evaluate, point_metrics
from churnops.model import Bundle
from churnops.model.bundle import SCORE
from churnops.monitoring.budget import Recommendation, TriggerName, Verdicts, recommend
from churnops.monitoring.drift import ks
from churnops.monitoring.performance import judge_decline
from churnops.monitoring.verdicts import judge_columns, judge_labels, judge_scores
from churnops.schema import Columns
from churnops.settings import MonitoringSettings, Settings
from churnops.training.train import train_models

SPLITS, LIVES, SEED = (int(os.environ.get(f"ALARMS_{n}", d)) for n, d in (("SPLITS", 80), ("LIVES", 5), ("SEED", 1)))
CYCLES, ROWS, TRAINING_ROWS = 100, 500, 3333
BATCHES = 5  # batches of each kind of drift in each split
SIZES, ROW_COUNTS = (0.1, 0.2, 0.3, 0.4, 0.5), (100, 200, 500, 1000, 2000)
LOOKS = (1, 50, 100)
RULES = ("look by look", "every cycle a first look", "plain rule")
SHIFTED, LABELLED, WORSE = 8, 300, 0.70
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Deployed:
    """A deployed model, and the customers that it was not trained on."""

    bundle: Bundle
    unseen: Customers
    settings: Settings


@dataclass(frozen=True)
class Split:
    """Result of a split: cycles and lives with a false alarm by rule, and alarms by kind of drift and look."""

    auc: float  # ROC-AUC of the deployed model on unseen customers
    auc_drifted: float  # ROC-AUC after concept drift
    cycles: Mapping[str, NDArray[np.bool_]]  # rule: (lives, cycles)
    triggers: Mapping[str, Mapping[str, int]]  # rule: trigger: cycles
    detected: Mapping[tuple[str, int], NDArray[np.bool_]]  # (drift, rows): (batches, looks)


def measure() -> Result:
    """Run all splits, one process on each core."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        splits = list(pool.map(run_split, range(SPLITS)))
    alarms = {rule: np.stack([split.cycles[rule] for split in splits]) for rule in RULES}
    claims = [*_false_alarms(alarms), *_power(splits)]
    return Result(
        title="Alarms",
        about=(
            f"The 5,000 telecom customers are split at random {SPLITS} times: {TRAINING_ROWS:,} for training, the rest "
            "unseen. The product's steps train a random forest with its default hyperparameters (no search, to save "
            "time) and deploy its refit, with out-of-fold scores as reference. Each split has "
            f"{LIVES} lives of {CYCLES} cycles. A cycle monitors {ROWS} unseen customers, whose outcomes are all "
            "known, in one look that spends from the budget. Single cycles are judged as first looks, which get the "
            "largest part of the budget. The plain rule (`correction: none`) gets the same batches."
        ),
        claims=claims,
        tables=(
            ("Nothing changed: share of cycles in which a trigger fired", _trigger_table(splits, alarms)),
            (f"Shift of {SHIFTED} columns: recommended at looks {', '.join(map(str, LOOKS))}", _curve(splits)),
        ),
        notes=(
            "Limits are upper limits of Clopper and Pearson's two-sided 95 % intervals. Batches of a split share a "
            "model and 1,667 customers, so they are not independent. The second limit is therefore clustered by "
            "split. It uses an effective number of trials, estimated from the variance over the splits (Korn and "
            "Graubard 1998). If there was no alarm at all, the effective number of trials is the number of splits.",
            "The plain rule has no floor for the effect on scores, and the scores of a refit always differ a little "
            "from the out-of-fold ones. So the trigger for scores raises nearly all alarms of the plain rule. The "
            "table shows each trigger.",
            f"Shifted columns are {SHIFTED} of the 11 numbers and integers that no other column determines, drawn for "
            "each batch; charges follow the minutes. No outcomes are known, so only drift of columns and scores can "
            "detect the shift. For the lines 'ROC-AUC from … to …' (concept drift), the outcomes of a share of the "
            f"customers are permuted; {ROWS} customers are scored, and {LABELLED} outcomes are known.",
        ),
    )


def run_split(number: int) -> Split:
    """Train on one part of the customers and monitor the other: lives without drift, then batches with drift."""
    generator = np.random.default_rng([SEED, number])
    # Both rules need the same exact p-values of a batch, which take most of the time.
    ks.two_sample_p_value = lru_cache(1000)(ks.two_sample_p_value)
    deployed = deploy(Project.default(), generator, seed=number)
    ours = deployed.settings.monitoring
    plain = ours.model_copy(update={"correction": "none"})
    cycles = {rule: np.zeros((LIVES, CYCLES), dtype=np.bool_) for rule in RULES}
    triggers = {rule: dict.fromkeys(get_args(TriggerName), 0) for rule in RULES}
    scores = deployed.bundle.predict(deployed.unseen.columns).probability
    for life, cycle in np.ndindex(LIVES, CYCLES):
        chosen = generator.choice(scores.size, ROWS, replace=False)
        batch = deployed.unseen.rows(chosen)
        evidence = batch.columns, scores[chosen], batch.outcome.astype(np.float64)
        judge, simple = (Judge(deployed.bundle, settings, *evidence) for settings in (ours, plain))
        for rule, recommendation in zip(RULES, (judge.at(cycle + 1), judge.at(1), simple.at(1)), strict=True):
            cycles[rule][life, cycle] = recommendation.value
            for trigger in recommendation.triggers:
                triggers[rule][trigger.name] += bool(trigger.fired)
    seeds = iter(generator.integers(2**31, size=10_000).tolist())
    shown, auc_drifted = {}, math.nan
    for kind, rows, judges, auc_drifted in drifted(deployed, seeds):  # noqa: B007, the last is concept drift
        shown[kind, rows] = np.array([[judge.at(look).value for look in LOOKS] for judge in judges])
    return Split(point_metrics(deployed.unseen.outcome, scores)["roc_auc"], auc_drifted, cycles, triggers, shown)


class Judge:
    """Verdicts on one batch. Results that do not depend on the look are computed once."""

    def __init__(
        self, bundle: Bundle, settings: MonitoringSettings, columns: Columns, scores: Floats, outcome: Floats
    ) -> None:
        reference, target = bundle.reference, bundle.schema.target.name
        inputs = {name: profile for name, profile in reference.items() if name not in (SCORE, target)}
        decline = judge_decline(
            outcome, scores, promised=bundle.metrics["held_out"], churn_threshold=bundle.threshold, settings=settings
        )
        self._verdicts = Verdicts(
            decline,
            judge_columns(bundle.schema, inputs, count_profile(inputs, columns), bundle.linked, settings),
            judge_scores(reference[SCORE], reference[SCORE].count(scores), settings),
            judge_labels(target, reference[target], reference[target].count(outcome), settings),
        )
        self._settings = settings
        self.auc = decline.auc.value if decline.auc else math.nan

    def at(self, look: int) -> Recommendation:
        """Return the recommendation at the model's look number `look`."""
        return recommend(self._verdicts, self._settings, look)


def deploy(project: Project, generator: np.random.Generator, *, seed: int) -> Deployed:
    """Split the customers, and train a forest with the product's steps: default hyperparameters, no search."""
    raw, later = project.raw, project.production
    columns = {name: np.concatenate([values, later.columns[name]]) for name, values in raw.columns.items()}
    everyone = Customers(columns, np.concatenate([raw.outcome, later.outcome]), "0" * 64)
    order = generator.permutation(everyone.outcome.size)
    training = project.settings.training.model_copy(
        update={
            "families": ("random_forest",),
            "trials": {"random_forest": 1},
            "threads": 1,
        }
    )
    settings = project.settings.model_copy(update={"training": training, "random_state": seed})
    prepared, features = prepare(everyone.rows(np.sort(order[:TRAINING_ROWS])), settings)
    trained = train_models(prepared, features, settings)
    evaluated = trained.models[trained.winner].bundle
    probability = evaluated.predict(prepared.rows(prepared.held_out)).probability
    promise = evaluate(prepared.outcome[prepared.held_out], probability, threshold=evaluated.threshold, seed=seed)
    bundle = trained.refit.with_metadata(metrics={"held_out": promise.to_json()}, lineage={})
    return Deployed(bundle, everyone.rows(order[TRAINING_ROWS:]), settings)


def drifted(deployed: Deployed, seeds: Iterator[int]) -> Iterator[tuple[str, int, list[Judge], float]]:
    """Yield each kind of drift with its rows, the verdicts on its batches, and the mean ROC-AUC on them."""
    bundle, unseen = deployed.bundle, deployed.unseen

    def judge(columns: Columns, outcome: Floats) -> Judge:
        return Judge(bundle, deployed.settings.monitoring, columns, bundle.predict(columns).probability, outcome)

    for size, rows in product(SIZES, ROW_COUNTS):
        batches = [shifted(deployed, size, rows, next(seeds)) for _ in range(BATCHES)]
        yield f"{size:g}", rows, [judge(columns, np.full(rows, np.nan)) for columns in batches], math.nan
    auc = point_metrics(unseen.outcome, bundle.predict(unseen.columns).probability)["roc_auc"]
    # With the outcomes of a share s permuted, ROC-AUC is (1 - s) auc + s / 2.
    drift = Drift(concept=(auc - WORSE) / (auc - 0.5))
    judges, aucs = [], []
    for _ in range(BATCHES):
        outcome = unseen.outcome.astype(np.float64)
        made = simulate(
            unseen.columns, outcome, bundle.schema, drift, rows=ROWS, seed=next(seeds), linked=bundle.linked
        )
        made.outcome[LABELLED:] = np.nan
        judges.append(judge(made.columns, made.outcome))
        aucs.append(judges[-1].auc)
    yield "concept", LABELLED, judges, float(np.mean(aucs))


def shifted(deployed: Deployed, size: float, rows: int, seed: int) -> dict[str, Floats]:
    """Draw unseen customers, and shift eight independent columns by `size` standard deviations."""
    bundle, unseen = deployed.bundle, deployed.unseen
    free = [column.name for column in bundle.schema.inputs if column.numeric and column.name not in bundle.linked]
    chosen = np.random.default_rng(seed).choice(free, SHIFTED, replace=False)
    drift = Drift(covariate=size, columns=tuple(chosen.tolist()))
    outcome = unseen.outcome.astype(np.float64)
    return simulate(unseen.columns, outcome, bundle.schema, drift, rows=rows, seed=seed, linked=bundle.linked).columns


def upper_limit(alarms: int, trials: int, confidence: float = 0.95) -> float:
    """Return the upper limit of Clopper and Pearson's two-sided interval.

    >>> round(upper_limit(0, 400), 4)
    0.0092
    """
    return 1.0 if alarms >= trials else float(betaincinv(alarms + 1, trials - alarms, (1 + confidence) / 2))


def clustered_limit(alarmed: NDArray[np.bool_]) -> float:
    """Return the upper limit for trials of shape (splits, trials) that are correlated within a split.

    Korn and Graubard (Survey Methodology 24 (1998) 193-201): Clopper and Pearson's limit for the number of independent
    trials that gives the rate the same variance as its spread over the splits. If that spread is 0, because no trial
    raised an alarm, the splits are counted as the trials.
    """
    rates = alarmed.reshape(len(alarmed), -1).mean(axis=1)
    rate = rates.mean()
    if not 0.0 < rate < 1.0:
        return upper_limit(int(rate) * len(rates), len(rates))
    trials = min(alarmed.size, rate * (1 - rate) / max(rates.var(ddof=1) / len(rates), 1e-300))
    return float(betaincinv(rate * trials + 1, trials - rate * trials, 0.975))


def _false_alarms(alarms: Mapping[str, NDArray[np.bool_]]) -> list[Claim]:
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


def _power(splits: Sequence[Split]) -> list[Claim]:
    before, after = (float(np.mean([getattr(split, name) for split in splits])) for name in ("auc", "auc_drifted"))
    claims = []
    for kind, rows, drift in (
        ("0.3", ROWS, f"{SHIFTED} columns shifted by 0.3 sd, {ROWS} rows"),
        ("concept", LABELLED, f"ROC-AUC from {before:.2f} to {after:.2f}, {LABELLED} labels"),
    ):
        detected = np.concatenate([split.detected[kind, rows] for split in splits])
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


def _trigger_table(splits: Sequence[Split], alarms: Mapping[str, NDArray[np.bool_]]) -> list[Sequence[str]]:
    names = get_args(TriggerName)
    table: list[Sequence[str]] = [("rule", "any trigger", *names, "lives with any")]
    for rule, alarmed in alarms.items():
        counts = [sum(split.triggers[rule][name] for split in splits) for name in names]
        rates = [count / alarmed.size for count in (int(alarmed.sum()), *counts)]
        table.append((rule, *(f"{100 * rate:.3g} %" for rate in (*rates, alarmed.any(axis=2).mean()))))
    return table


def _curve(splits: Sequence[Split]) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("shift (sd)", *(f"{rows:,} rows" for rows in ROW_COUNTS))]
    for size in SIZES:
        cells = []
        for rows in ROW_COUNTS:
            detected = np.concatenate([split.detected[f"{size:g}", rows] for split in splits])
            cells.append(" / ".join(f"{100 * rate:.0f}" for rate in detected.mean(axis=0)) + " %")
        table.append((f"{size:g}", *cells))
    return table
