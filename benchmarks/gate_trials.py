"""Trials of the gate: models are trained on one part of the customers and compared on samples of the other part.

The other part is the population, so its gain is the true one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from benchmarks.rivals import Bools, Floats, Halves, mixed, quality
from churnops.retraining.gain import labels_needed
from churnops.retraining.gate import decide
from churnops.settings import Family, RetrainingSettings

CHALLENGERS, SAMPLES = 3, 20
RULES: Mapping[str, RetrainingSettings] = {
    "gate": RetrainingSettings(),
    "plain rule": RetrainingSettings(confidence=None),
    "gate, log loss": RetrainingSettings(metric="log_loss"),
    "gate, average precision": RetrainingSettings(metric="average_precision"),
}
FEWER_SAMPLES = {"gate, average precision": 2}  # a bootstrap each
BILL = ("total_charge", "bill_without_voice_mail")


@dataclass(frozen=True)
class Plan:
    """Size of the comparisons on a table.

    Attributes
    ----------
    training_rows, population
        Rows for training, and for the comparisons; a telecom population has the rest of the 5,000 customers.
    splits, other_splits
        Number of splits with the first seed, and with each other seed.
    groups
        Champions of a split, each with `CHALLENGERS` challengers.
    families
        Families of champions and challengers.
    rules
        Rules of `RULES` to try.
    rows, equal_rows
        Rows of a comparison, and those of comparisons of equally good models.
    hidden
        Features that a bad model lacks.
    gains, sizes, tries
        True gains, and for each of them rows and number of the comparisons with each bad model.
    claimed
        Rows at which a gain of 0.04 has a target.
    """

    training_rows: int
    population: int
    splits: int
    other_splits: int
    groups: int
    families: tuple[Family, ...]
    rules: tuple[str, ...]
    rows: int
    equal_rows: tuple[int, ...]
    hidden: tuple[str, ...]
    gains: tuple[float, ...]
    sizes: tuple[int, ...]
    tries: int
    claimed: int


PLANS: Mapping[str, Plan] = {
    "telecom": Plan(
        training_rows=2500,
        population=2500,
        splits=60,
        other_splits=2,
        groups=5,
        families=("random_forest", "xgboost"),
        rules=tuple(RULES),
        rows=667,
        equal_rows=(140, 300, 667),
        hidden=("customer_service_calls", "many_service_calls", "international_plan_risk", *BILL),
        gains=(0.01, 0.02, 0.03, 0.04, 0.06),
        sizes=(300, 667, 1000, 2000, 4000, 8000),
        tries=10,
        claimed=2000,
    ),
    "rare": Plan(
        training_rows=10_000,
        population=10_000,
        splits=24,
        other_splits=4,
        groups=3,
        families=("logistic_regression", "xgboost"),
        rules=("gate", "plain rule", "gate, log loss"),
        rows=2000,
        equal_rows=(667, 2000),
        hidden=("satisfaction", "tenure"),
        gains=(0.02, 0.04),
        sizes=(1000, 2000, 4000, 8000, 16_000),
        tries=5,
        claimed=8000,
    ),
    "common": Plan(
        training_rows=3000,
        population=6000,
        splits=36,
        other_splits=5,
        groups=3,
        families=("logistic_regression", "xgboost"),
        rules=("gate", "plain rule", "gate, log loss"),
        rows=667,
        equal_rows=(140, 667),
        hidden=("satisfaction", "tenure"),
        gains=(0.02, 0.04),
        sizes=(300, 667, 1000, 2000, 4000),
        tries=5,
        claimed=2000,
    ),
    "bank": Plan(
        training_rows=3000,
        population=10_000,
        splits=36,
        other_splits=4,
        groups=3,
        families=("logistic_regression", "xgboost"),
        rules=("gate", "plain rule", "gate, log loss"),
        rows=667,
        equal_rows=(300, 667),
        hidden=("duration", "month"),
        gains=(0.02, 0.04),
        sizes=(300, 667, 1000, 2000, 4000),
        tries=5,
        claimed=2000,
    ),
}


@dataclass(frozen=True)
class Split:
    """Result of a split.

    Attributes
    ----------
    deployed, worse
        By rule, shape (groups, samples, 2); last axis: a single challenger, the best of them. The gate's decision, and
        whether the true gain of the metric is not above 0.
    curve
        By gain and rows, shape (3, kinds, samples): whether the gate deployed; the labels that it asked for, 0 if it
        deployed and infinite if it gave no number; and the labels that its formula gives for the true gain. NaN where
        no such champion can be made.
    equal
        By metric and rows, shape (pairs, samples): whether the gain of an equally good model seemed proven, NaN with
        too few churned customers.
    bill
        By family, shapes (families,) and (families, samples): true gain of log loss by the monthly bill, and whether
        the gate deployed. None for other tables than telecom.
    """

    deployed: Mapping[str, Bools]
    worse: Mapping[str, Bools]
    curve: Mapping[tuple[float, int], Floats]
    equal: Mapping[tuple[str, int], Floats]
    bill: tuple[Floats, Bools] | None


def run_split(table: str, plan: Plan, seed: int, number: int) -> Split:
    """Train on one part, compare on samples of the other."""
    generator, families = np.random.default_rng([seed, number]), plan.families
    halves = Halves.of(table, plan.training_rows, plan.population, generator)
    matrix = halves.matrix()
    groups = [
        [halves.scores(str(generator.choice(families)), matrix) for _ in range(1 + CHALLENGERS)]
        for _ in range(plan.groups)
    ]
    results = {
        rule: np.stack(
            [compare(halves.outcome, models, rule, plan.rows, [seed, number, k]) for k, models in enumerate(groups)]
        )
        for rule in plan.rules
    }
    good, other = (halves.scores(family, matrix) for family in families)
    weak = [
        halves.scores(families[0], matrix, rows=150),
        halves.scores(families[1], halves.matrix(*plan.hidden)),
        halves.scores(families[0], matrix, stale=1.0),
    ]
    return Split(
        {rule: made[..., 0] for rule, made in results.items()},
        {rule: made[..., 1] for rule, made in results.items()},
        power(plan, halves.outcome, (good, other, weak), generator),
        equally_good(plan, halves.outcome, (good, other, *weak[:2]), generator),
        bill(plan, halves, matrix, generator) if table == "telecom" else None,
    )


def compare(outcome: Bools, models: Sequence[Floats], rule: str, rows: int, seed: Sequence[int]) -> Bools:
    """Return whether a challenger is deployed, and whether it has no gain, shape (samples, 2, 2).

    The second axis: a single challenger, the best of them. Every rule gets the same samples.
    """
    settings, generator = RULES[rule], np.random.default_rng(seed)
    truth = [quality(outcome, scores, settings.metric) for scores in models]
    made = np.zeros((FEWER_SAMPLES.get(rule, SAMPLES), 2, 2), dtype=np.bool_)
    for sample in range(len(made)):
        drawn = generator.integers(outcome.size, size=rows)
        y, (champion, *challengers) = outcome[drawn], [scores[drawn] for scores in models]
        best = int(np.argmax([quality(y, scores, settings.metric) for scores in challengers]))
        for place, chosen, compared in ((0, 0, 1), (1, best, len(challengers))):
            decision = decide(y, champion, challengers[chosen], settings, compared=compared, seed=sample)
            made[sample, place] = decision.deploy, truth[1 + chosen] <= truth[0]
    return made


def power(
    plan: Plan, outcome: Bools, models: tuple[Floats, Floats, Sequence[Floats]], generator: np.random.Generator
) -> dict[tuple[float, int], Floats]:
    """Compare a good model with models that are worse by a known amount: see `Split.curve`.

    `models` are the good model's scores, another model's, and those of bad ones.
    """
    settings, results, (good, other, weak) = RULES["gate"], {}, models
    for gain in plan.gains:
        champions = [mixed(outcome, good, other, scores, gain) for scores in weak]
        for rows in plan.sizes:
            made = np.full((3, len(weak), plan.tries), np.nan)
            for kind, champion in enumerate(champions):
                for sample in range(plan.tries if champion is not None else 0):
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
    plan: Plan, outcome: Bools, models: Sequence[Floats], generator: np.random.Generator
) -> dict[tuple[str, int], Floats]:
    """Compare equally good models, each as the challenger: see `Split.equal`."""
    shares, (good, *others) = {}, models
    for metric, rule in (("roc_auc", "gate"), ("log_loss", "gate, log loss")):
        pairs, settings = [], RULES[rule]
        for other in others:
            worse, better = sorted((good, other), key=lambda scores: quality(outcome, scores, metric))
            equal = mixed(outcome, worse, better, generator.permutation(better), 0.0, metric)
            pairs += [(worse, equal), (equal, worse)]
        if metric == "log_loss":
            cautious, sure = (expit(steepness * logit(np.clip(good, 1e-4, 1 - 1e-4))) for steepness in (0.5, 5.0))
            pairs.append((cautious, mixed(outcome, cautious, good, sure, 0.0, metric)))
        for rows in plan.equal_rows:
            made = np.full((len(pairs), SAMPLES), np.nan)
            for pair, (champion, challenger) in enumerate(pairs):
                for sample in range(0 if champion is None or challenger is None else SAMPLES):
                    drawn = generator.integers(outcome.size, size=rows)
                    decision = decide(outcome[drawn], champion[drawn], challenger[drawn], settings, seed=sample)
                    if decision.low is not None:
                        made[pair, sample] = decision.low > 0 and decision.gain > settings.improvement
            shares[metric, rows] = made
    return shares


def bill(plan: Plan, halves: Halves, matrix: Floats, generator: np.random.Generator) -> tuple[Floats, Bools]:
    """Compare each family with and without the monthly bill, by log loss."""
    without, gains = halves.matrix(*BILL), np.zeros(len(plan.families))
    deployed = np.zeros((len(plan.families), SAMPLES), dtype=np.bool_)
    for place, family in enumerate(plan.families):
        champion, challenger = halves.scores(family, without), halves.scores(family, matrix)
        y, settings = halves.outcome, RULES["gate, log loss"]
        gains[place] = quality(y, challenger, "log_loss") - quality(y, champion, "log_loss")
        for sample in range(SAMPLES):
            drawn = generator.integers(y.size, size=plan.rows)
            decision = decide(y[drawn], champion[drawn], challenger[drawn], settings, seed=sample)
            deployed[place, sample] = decision.deploy
    return gains, deployed
