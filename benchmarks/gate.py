"""Gate: rate of deployments without a true gain, and rate of deployments with one.

The 5,000 telecom customers are split at random many times: models are trained on one half and compared on samples of
the other half. That half is the population, so its gain is the true one. `GATE_SPLITS` and `GATE_SEED` change a run.
"""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, logit

from benchmarks.alarms import upper_limit
from benchmarks.harness import Claim, Result
from benchmarks.product import Project
from benchmarks.rivals import TRAINING_ROWS, Bools, Floats, Halves, mixed, quality
from churnops.retraining.gain import labels_needed
from churnops.retraining.gate import decide
from churnops.settings import RetrainingSettings

SPLITS, SEED = (int(os.environ.get(f"GATE_{name}", default)) for name, default in (("SPLITS", 60), ("SEED", 1)))
GROUPS, CHALLENGERS, SAMPLES, ROWS = 5, 3, 20, 667
FAMILIES = ("random_forest", "xgboost")
GAINS, SIZES, TRIES, POWER = (0.01, 0.02, 0.03, 0.04, 0.06), (300, 667, 1000, 2000, 4000, 8000), 10, 0.9
BILL = ("total_charge", "bill_without_voice_mail")
HIDDEN = ("customer_service_calls", "many_service_calls", "international_plan_risk", *BILL)
KINDS = (
    "a forest trained on 150 rows",
    "XGBoost without the service-call, international-plan and bill features",
    "a forest trained on permuted outcomes",
)
EQUAL_ROWS = (140, 300, ROWS)
RULES: Mapping[str, RetrainingSettings] = {
    "gate": RetrainingSettings(),
    "plain rule": RetrainingSettings(confidence=None),
    "gate, log loss": RetrainingSettings(metric="log_loss"),
    "gate, average precision": RetrainingSettings(metric="average_precision"),
}
FEWER_SAMPLES = {"gate, average precision": 2}  # a bootstrap each
CHOICES = ("a single challenger", f"the best of {CHALLENGERS}")


@dataclass(frozen=True)
class Split:
    """Result of a split.

    Attributes
    ----------
    deployed, worse
        By rule, shape (groups, samples, 2), the last axis as in CHOICES: the gate's decision, and whether the true gain
        of the metric is not above 0.
    curve
        By gain and rows, shape (3, kinds, samples): whether the gate deployed; the labels that it asked for, 0 if it
        deployed and infinite if it gave no number; and the labels that its formula gives for the true gain. NaN where
        no such champion can be made.
    equal
        By metric and rows, shape (pairs, samples): whether the gain of an equally good model seemed proven, NaN with
        too few churned customers.
    bill
        By family, shapes (families,) and (families, samples): true gain of log loss by the monthly bill, and whether
        the gate deployed.
    """

    deployed: Mapping[str, Bools]
    worse: Mapping[str, Bools]
    curve: Mapping[tuple[float, int], Floats]
    equal: Mapping[tuple[str, int], Floats]
    bill: tuple[Floats, Bools]


def measure() -> Result:
    """Run all splits, one process on each core."""
    splits = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        for split in pool.map(run_split, range(SPLITS)):
            splits.append(split)
            print(f"gate: {len(splits)} of {SPLITS} splits", flush=True)
    curve = {key: np.stack([split.curve[key] for split in splits]) for key in splits[0].curve}
    bill = np.stack([split.bill[1] for split in splits])
    gains = np.stack([split.bill[0] for split in splits])
    needed = [_needed(curve, gain) for gain in GAINS[1:]]
    factor = max(max(ratio, 1 / ratio) for _, _, _, ratio in needed)
    return Result(
        title="Gate",
        about=(
            f"The 5,000 telecom customers are split at random {SPLITS} times: {TRAINING_ROWS:,} for training, and the "
            "rest as the population. Comparison samples are drawn from the population with replacement, so the gain "
            "in the population is the true gain. Random forests and XGBoost at their defaults are trained on "
            f"bootstrap samples of the training rows: {SPLITS * GROUPS:,} champions with {CHALLENGERS} challengers "
            f"each. They are compared on {SAMPLES} samples of {ROWS} rows. "
            "A deployment is false if the true gain is not above 0."
        ),
        claims=[
            *_false_deployments(splits),
            _deployed(f"true gain of 0.04 ROC-AUC, {2000:,} rows: deployed", curve[0.04, 2000][:, 0], 90),
            _deployed(f"log loss with the monthly bill instead of without, {ROWS} rows: deployed", bill, 95),
            Claim("labels needed: largest factor between the gate's number and the measurement", factor, target=1.25),
        ],
        tables=(
            (
                "Shares of all comparisons: deployed, without a true gain, deployed falsely. Last column: deployed "
                "falsely, as a share of the comparisons without a true gain",
                _rules_table(splits),
            ),
            (
                "Share deployed, by true gain of ROC-AUC and number of rows. The brackets show it for each of the "
                f"three bad models that are mixed into the champion (see below): {' / '.join(KINDS)}",
                _curve_table(curve),
            ),
            (
                "Rows at which 90 % are deployed, and the number of rows that the gate names",
                _needed_table(curve, needed),
            ),
            (
                "Two equally good models: share of comparisons with a proven gain, average / worst pair",
                _equal_table(splits),
            ),
        ),
        notes=(
            "Limits are upper limits of two-sided 95 % intervals. They are clustered by pair (a champion and its "
            "challengers) or by split: they use an effective number of trials, estimated from the variance over "
            "pairs or splits (Korn and Graubard 1998).",
            "How a gain of a known size is made: the challenger is a random forest; the champion's scores are those of "
            "XGBoost, mixed with those of a bad model until the challenger has this gain. Gains are exact to 0.001 in "
            f"the population. All guards are on. The required gain is {RULES['gate'].improvement:g}.",
            "In use, the gate computes its number of rows from the measured gain. If the measured gain is below the "
            "true gain, the number is larger; if it is above, the gate may deploy at once and give no number. The "
            "table uses the true gain instead, and compares the number with the rows at which 90 % are deployed.",
            f"With the features of the monthly bill, a model's log loss is lower by {gains.min():.3f} to "
            f"{gains.max():.3f} than without them (smallest and largest true gain over families and splits).",
            "How two equally good models are made: a better model's scores are mixed with permuted scores until it is "
            "exactly as good as a worse model. For log loss, an overconfident and an equally good cautious model are "
            "compared too. Guards are off. If the measured gain were normally distributed, its lower bound would be "
            "wrong in 5 % of comparisons. Here it can be wrong more often, because only the few churned customers (one "
            "in seven) distinguish the models.",
        ),
    )


def run_split(number: int) -> Split:
    """Train on one half, compare on samples of the other."""
    generator = np.random.default_rng([SEED, number])
    halves = Halves(Project.default(), generator)
    matrix = halves.matrix()
    groups = [
        [halves.scores(str(generator.choice(FAMILIES)), matrix) for _ in range(1 + CHALLENGERS)] for _ in range(GROUPS)
    ]
    results = {
        rule: np.stack([compare(halves.outcome, models, rule, [SEED, number, k]) for k, models in enumerate(groups)])
        for rule in RULES
    }
    good, other = (halves.scores(family, matrix) for family in FAMILIES)
    weak = [
        halves.scores("random_forest", matrix, rows=150),
        halves.scores("xgboost", halves.matrix(*HIDDEN)),
        halves.scores("random_forest", matrix, stale=1.0),
    ]
    return Split(
        {rule: made[..., 0] for rule, made in results.items()},
        {rule: made[..., 1] for rule, made in results.items()},
        power(halves.outcome, good, other, weak, generator),
        equally_good(halves.outcome, good, (other, *weak[:2]), generator),
        bill(halves, matrix, generator),
    )


def compare(outcome: Bools, models: Sequence[Floats], rule: str, seed: Sequence[int]) -> Bools:
    """Return shape (samples, 2, 2): for each of CHOICES whether the challenger is deployed, and whether it has no gain.

    Every rule gets the same samples.
    """
    settings, generator = RULES[rule], np.random.default_rng(seed)
    truth = [quality(outcome, scores, settings.metric) for scores in models]
    made = np.zeros((FEWER_SAMPLES.get(rule, SAMPLES), 2, 2), dtype=np.bool_)
    for sample in range(len(made)):
        drawn = generator.integers(outcome.size, size=ROWS)
        y, (champion, *challengers) = outcome[drawn], [scores[drawn] for scores in models]
        best = int(np.argmax([quality(y, scores, settings.metric) for scores in challengers]))
        for place, chosen, compared in ((0, 0, 1), (1, best, len(challengers))):
            decision = decide(y, champion, challengers[chosen], settings, compared=compared, seed=sample)
            made[sample, place] = decision.deploy, truth[1 + chosen] <= truth[0]
    return made


def power(
    outcome: Bools, good: Floats, other: Floats, weak: Sequence[Floats], generator: np.random.Generator
) -> dict[tuple[float, int], Floats]:
    """Compare a good model with models that are worse by a known amount: see `Split.curve`."""
    settings, results = RULES["gate"], {}
    for gain in GAINS:
        champions = [mixed(outcome, good, other, scores, gain) for scores in weak]
        for rows in SIZES:
            made = np.full((3, len(KINDS), TRIES), np.nan)
            for kind, champion in enumerate(champions):
                for sample in range(TRIES if champion is not None else 0):
                    drawn = generator.integers(outcome.size, size=rows)
                    decision = decide(outcome[drawn], champion[drawn], good[drawn], settings, seed=sample)
                    planned = labels_needed(
                        gain, decision.standard_error, rows, min_improvement=settings.improvement, level=0.95
                    )
                    needed = 0 if decision.deploy else decision.labels_needed or math.inf
                    made[:, kind, sample] = decision.deploy, needed, planned or math.inf
            results[gain, rows] = made
    return results


def equally_good(
    outcome: Bools, good: Floats, others: Sequence[Floats], generator: np.random.Generator
) -> dict[tuple[str, int], Floats]:
    """Compare equally good models, each as the challenger: see `Split.equal`."""
    shares = {}
    for metric, rule in (("roc_auc", "gate"), ("log_loss", "gate, log loss")):
        pairs, settings = [], RULES[rule]
        for other in others:
            worse, better = sorted((good, other), key=lambda scores: quality(outcome, scores, metric))
            equal = mixed(outcome, worse, better, generator.permutation(better), 0.0, metric)
            pairs += [(worse, equal), (equal, worse)]
        if metric == "log_loss":
            cautious, sure = (expit(steepness * logit(np.clip(good, 1e-4, 1 - 1e-4))) for steepness in (0.5, 5.0))
            pairs.append((cautious, mixed(outcome, cautious, good, sure, 0.0, metric)))
        for rows in EQUAL_ROWS:
            made = np.full((len(pairs), SAMPLES), np.nan)
            for pair, (champion, challenger) in enumerate(pairs):
                for sample in range(0 if champion is None or challenger is None else SAMPLES):
                    drawn = generator.integers(outcome.size, size=rows)
                    decision = decide(outcome[drawn], champion[drawn], challenger[drawn], settings, seed=sample)
                    if decision.low is not None:
                        made[pair, sample] = decision.low > 0 and decision.gain > settings.improvement
            shares[metric, rows] = made
    return shares


def bill(halves: Halves, matrix: Floats, generator: np.random.Generator) -> tuple[Floats, Bools]:
    """Compare each family with and without the monthly bill, by log loss."""
    without, gains = halves.matrix(*BILL), np.zeros(len(FAMILIES))
    deployed = np.zeros((len(FAMILIES), SAMPLES), dtype=np.bool_)
    for place, family in enumerate(FAMILIES):
        champion, challenger = halves.scores(family, without), halves.scores(family, matrix)
        y, settings = halves.outcome, RULES["gate, log loss"]
        gains[place] = quality(y, challenger, "log_loss") - quality(y, champion, "log_loss")
        for sample in range(SAMPLES):
            drawn = generator.integers(y.size, size=ROWS)
            decision = decide(y[drawn], champion[drawn], challenger[drawn], settings, seed=sample)
            deployed[place, sample] = decision.deploy
    return gains, deployed


def ratio_limit(hits: Floats, trials: Floats) -> float:
    """Return the upper limit of a share, from hits and trials by cluster: see `alarms.clustered_limit`.

    Clusters may differ in size, so the variance is that of a ratio (Cochran, *Sampling Techniques*, 1977, 6.3).

    >>> round(ratio_limit(np.zeros(400), np.full(400, 20.0)), 4)
    0.0092
    """
    hits, trials = hits[trials > 0].astype(np.float64), trials[trials > 0].astype(np.float64)
    rate, clusters = hits.sum() / trials.sum(), trials.size
    if not 0.0 < rate < 1.0:
        return upper_limit(int(rate) * clusters, clusters)
    variance = clusters / (clusters - 1) * ((hits - rate * trials) ** 2).sum() / trials.sum() ** 2
    alone = min(trials.sum(), rate * (1 - rate) / max(variance, 1e-300))
    return float(betaincinv(rate * alone + 1, alone - rate * alone, 0.975))


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


def _rules_table(splits: Sequence[Split]) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        ("rule", "challenger", "deployed", "without a true gain", "falsely", "falsely, of those without")
    ]
    for rule in RULES:
        for place, choice in enumerate(CHOICES):
            deployed, worse = _stacked(splits, rule, place)
            shares = deployed.mean(), worse.mean(), (deployed & worse).mean(), deployed[worse].mean()
            table.append((rule, choice, *map(_percent, shares)))
    return table


def _curve_table(curve: Mapping[tuple[float, int], Floats]) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("true gain", *(f"{rows:,} rows" for rows in SIZES))]
    for gain in GAINS:
        cells = []
        for rows in SIZES:
            deployed = curve[gain, rows][:, 0]
            kinds = " / ".join(f"{100 * share:.0f}" for share in np.nanmean(deployed, axis=(0, 2)))
            cells.append(f"{_percent(np.nanmean(deployed))} ({kinds})")
        table.append((f"{gain:g}", *cells))
    return table


def _needed(curve: Mapping[tuple[float, int], Floats], gain: float) -> tuple[float, float, float, float]:
    """Return the gain, the rows at which 90 % are deployed, the median of the gate's number, and their ratio.

    Between the tested numbers of rows, the share is assumed to be linear in their logarithm.
    """
    shares = np.maximum.accumulate([np.nanmean(curve[gain, rows][:, 0]) for rows in SIZES])
    measured = math.exp(float(np.interp(POWER, shares, np.log(SIZES))))
    planned = float(np.nanmedian(curve[gain, ROWS][:, 2]))
    return gain, measured, planned, planned / measured


def _needed_table(
    curve: Mapping[tuple[float, int], Floats], needed: Sequence[tuple[float, float, float, float]]
) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        (
            "true gain",
            "rows at which 90 % are deployed",
            f"gate's number, from {ROWS} rows",
            "ratio",
            "median of the gate's number after 300 rows, over the comparisons in which it gives one",
        )
    ]
    for gain, measured, planned, ratio in needed:
        numbers = curve[gain, 300][:, 1]
        named = numbers[np.isfinite(numbers) & (numbers > 0)]
        table.append((f"{gain:g}", f"{measured:,.0f}", f"{planned:,.0f}", f"{ratio:.2f}", f"{np.median(named):,.0f}"))
    return table


def _equal_table(splits: Sequence[Split]) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [("metric", *(f"{rows} rows" for rows in EQUAL_ROWS))]
    for metric in ("roc_auc", "log_loss"):
        cells = []
        for rows in EQUAL_ROWS:
            pairs = np.nanmean(np.stack([split.equal[metric, rows] for split in splits]), axis=(0, 2))
            cells.append(f"{_percent(float(pairs.mean()))} / {_percent(float(pairs.max()))}")
        table.append((metric, *cells))
    return table
