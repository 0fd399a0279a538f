"""Lives: a model is trained and deployed, and then monitored in cycles, without and with drift."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.product import Customers, Project, prepare
from benchmarks.public import PublicProject
from benchmarks.simulated import TABLES, SimulatedTable, simulated_settings
from churnops.data.profile import count_profile
from churnops.data.simulate import Drift, Simulated, simulate
from churnops.evaluation.metrics import evaluate, point_metrics
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.monitoring.budget import Recommendation, TriggerName, Verdicts, recommend
from churnops.monitoring.decline import judge_decline
from churnops.monitoring.drift import ks, model_slack
from churnops.monitoring.verdicts import judge_columns, judge_labels, judge_scores
from churnops.schema import Columns
from churnops.settings import Family, MonitoringSettings, Settings
from churnops.training.train import train_models

CYCLES = 100
LOOKS = (1, 50, 100)
RULES = ("look by look", "every cycle a first look", "plain rule")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Size of the simulation on a table.

    Attributes
    ----------
    training_rows
        Rows that the model is trained on.
    splits, other_splits, lives
        Number of deployed models, with the first seed and with each other seed, and of lives of each.
    rows
        Customers in a cycle of a life without drift, all with a known outcome.
    shifted, shifts
        Number of shifted columns, and sizes of the shift in standard deviations.
    shift_rows, shift_claimed
        Numbers of customers in a batch with shifted columns, and the number with a target.
    worse
        ROC-AUC after concept drift. None: halfway between that of the model and 0.5.
    concept, concept_claimed
        Numbers of customers, and of known outcomes, in a batch with concept drift; and the outcomes with a target.
    batches
        Batches of each kind of drift for each split.
    """

    training_rows: int
    splits: int
    other_splits: int
    lives: int
    rows: int
    shifted: int
    shifts: tuple[float, ...]
    shift_rows: tuple[int, ...]
    shift_claimed: int
    worse: float | None
    concept: tuple[tuple[int, int], ...]
    concept_claimed: int
    batches: int


def _all(*sizes: int) -> tuple[tuple[int, int], ...]:
    """Return batches of these sizes, with all outcomes known."""
    return tuple((rows, rows) for rows in sizes)


PLANS: Mapping[str, Plan] = {
    "telecom": Plan(
        training_rows=3333,
        splits=80,
        other_splits=4,
        lives=5,
        rows=500,
        shifted=8,
        shifts=(0.1, 0.2, 0.3, 0.4, 0.5),
        shift_rows=(100, 200, 500, 1000, 2000),
        shift_claimed=500,
        worse=0.70,
        concept=((500, 300),),
        concept_claimed=300,
        batches=5,
    ),
    "rare": Plan(
        training_rows=50_000,
        splits=64,
        other_splits=6,
        lives=3,
        rows=1000,
        shifted=4,
        shifts=(0.2, 0.3, 0.4),
        shift_rows=(500, 1000, 2000, 5000),
        shift_claimed=5000,
        worse=None,
        concept=_all(5000, 10_000, 15_000, 20_000),
        concept_claimed=15_000,
        batches=3,
    ),
    "common": Plan(
        training_rows=5000,
        splits=80,
        other_splits=10,
        lives=3,
        rows=500,
        shifted=4,
        shifts=(0.2, 0.3, 0.4),
        shift_rows=(500, 1000, 2000, 5000),
        shift_claimed=5000,
        worse=None,
        concept=_all(300, 500, 1000, 2000),
        concept_claimed=1000,
        batches=3,
    ),
    "bank": Plan(
        training_rows=3000,
        splits=80,
        other_splits=4,
        lives=2,
        rows=500,
        shifted=6,
        shifts=(0.3, 0.5, 0.7),
        shift_rows=(500, 1000, 2000, 5000),
        shift_claimed=2000,
        worse=None,
        concept=_all(300, 500, 1000, 2000),
        concept_claimed=1000,
        batches=2,
    ),
}


@dataclass(frozen=True)
class Unseen:
    """Customers of a table that the model was not trained on."""

    customers: Customers

    def batch(self, rows: int, generator: np.random.Generator) -> Customers:
        """Draw customers of a cycle, each at most once."""
        return self.customers.rows(generator.choice(self.customers.outcome.size, rows, replace=False))

    def pool(self, rows: int, seed: int) -> Customers:
        """Return the table from which a batch of `rows` customers with drift is made."""
        return self.customers


@dataclass(frozen=True)
class Endless:
    """New customers of a simulated table; methods as those of `Unseen`."""

    table: SimulatedTable

    def batch(self, rows: int, generator: np.random.Generator) -> Customers:
        """Draw new customers."""
        return self.table.draw(rows, generator)

    def pool(self, rows: int, seed: int) -> Customers:
        """Draw new customers."""
        return self.table.draw(rows, np.random.default_rng(seed))


@dataclass(frozen=True)
class Deployed:
    """A deployed model, and the customers that it was not trained on."""

    bundle: Bundle
    unseen: Unseen | Endless
    settings: Settings
    auc: float  # ROC-AUC on unseen customers

    def scores(self, columns: Columns) -> Floats:
        """Return the model's probabilities."""
        return self.bundle.predict(columns).probability

    def judge(self, columns: Columns, outcome: Floats) -> "Judge":
        """Return the verdicts on a batch."""
        return Judge(self.bundle, self.settings.monitoring, columns, self.scores(columns), outcome)


@dataclass(frozen=True)
class Split:
    """Result of a split: cycles and lives with a false alarm by rule, and alarms by kind of drift and look."""

    auc: float  # ROC-AUC of the deployed model on unseen customers
    auc_drifted: float  # mean ROC-AUC in batches with concept drift
    cycles: Mapping[str, NDArray[np.bool_]]  # rule: (lives, cycles)
    triggers: Mapping[str, Mapping[str, int]]  # rule: trigger: cycles
    detected: Mapping[tuple[str, int], NDArray[np.bool_]]  # (drift, rows): (batches, looks)


def run_split(table: str, plan: Plan, seed: int, number: int) -> Split:
    """Train on one part of the customers and monitor others: lives without drift, then batches with drift."""
    generator = np.random.default_rng([seed, number])
    # Both rules need the same exact p-values of a batch, which take most of the time.
    ks.two_sample_p_value = lru_cache(1000)(ks.two_sample_p_value)
    deployed = deploy(table, plan.training_rows, generator, number)
    cycles, triggers = live(deployed, plan, generator)
    seeds = iter(generator.integers(2**31, size=10_000).tolist())
    shown, aucs = {}, []
    for kind, rows, judges in drifted(deployed, plan, seeds):
        shown[kind, rows] = np.array([[judge.at(look).value for look in LOOKS] for judge in judges])
        aucs += [judge.auc for judge in judges if kind == "concept"]
    return Split(deployed.auc, float(np.mean(aucs)), cycles, triggers, shown)


def deploy(table: str, rows: int, generator: np.random.Generator, number: int) -> Deployed:
    """Train a model on `rows` customers of a table with the product's steps: default hyperparameters, no search.

    The telecom table gets a random forest; the simulated ones get logistic regression, and XGBoost in every fourth
    split; a public table gets XGBoost, and a blend in every fourth split.
    """
    family: Family
    if table in TABLES:
        family = "xgboost" if number % 4 == 3 else "logistic_regression"
        settings, simulated_table = simulated_settings(), TABLES[table]
        bundle = trained(simulated_table.draw(rows, generator), settings, family, number)
        return _deployed(bundle, Endless(simulated_table), settings, simulated_table.draw(20_000, generator))
    project = Project.default() if table == "telecom" else PublicProject.of(table)
    everyone = project.everyone
    order = generator.permutation(everyone.outcome.size)
    family = "random_forest" if table == "telecom" else "blend" if number % 4 == 3 else "xgboost"
    bundle = trained(everyone.rows(np.sort(order[:rows])), project.settings, family, number)
    unseen = everyone.rows(order[rows:])
    return _deployed(bundle, Unseen(unseen), project.settings, unseen)


def trained(customers: Customers, settings: Settings, family: Family, seed: int) -> Bundle:
    """Return the bundle of the refit, with the held-out evaluation of the evaluated fit."""
    update = {"families": (family,), "trials": {family: 1}, "threads": 1}
    training = settings.training.model_copy(update=update)
    settings = settings.model_copy(update={"training": training, "random_state": seed})
    prepared, features = prepare(customers, settings)
    models = train_models(prepared, features, settings)
    evaluated = models.models[models.winner].bundle
    probability = evaluated.predict(prepared.rows(prepared.held_out)).probability
    outcome = prepared.outcome[prepared.held_out]
    promise = evaluate(outcome, probability, threshold=evaluated.threshold, seed=seed)
    return models.refit.with_metadata(metrics={"held_out": promise.to_json()}, lineage={})


def _deployed(bundle: Bundle, unseen: Unseen | Endless, settings: Settings, customers: Customers) -> Deployed:
    auc = point_metrics(customers.outcome, bundle.predict(customers.columns).probability)["roc_auc"]
    return Deployed(bundle, unseen, settings, auc)


def live(
    deployed: Deployed, plan: Plan, generator: np.random.Generator
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, dict[str, int]]]:
    """Return the cycles with an alarm, and the number of cycles in which each trigger fired, by rule."""
    ours = deployed.settings.monitoring
    plain = ours.model_copy(update={"correction": "none"})
    cycles = {rule: np.zeros((plan.lives, CYCLES), dtype=np.bool_) for rule in RULES}
    triggers = {rule: dict.fromkeys(get_args(TriggerName), 0) for rule in RULES}
    for life, cycle in np.ndindex(plan.lives, CYCLES):
        batch = deployed.unseen.batch(plan.rows, generator)
        evidence = batch.columns, deployed.scores(batch.columns), batch.outcome.astype(np.float64)
        judge, simple = (Judge(deployed.bundle, settings, *evidence) for settings in (ours, plain))
        for rule, recommendation in zip(RULES, (judge.at(cycle + 1), judge.at(1), simple.at(1)), strict=True):
            cycles[rule][life, cycle] = recommendation.value
            for trigger in recommendation.triggers:
                triggers[rule][trigger.name] += bool(trigger.fired)
    return cycles, triggers


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
            judge_columns(bundle, count_profile(inputs, columns), settings),
            judge_scores(reference[SCORE], reference[SCORE].count(scores), settings, model_slack(bundle.metrics)),
            judge_labels(target, reference[target], reference[target].count(outcome), settings),
        )
        self._settings = settings
        self.auc = decline.auc.value if decline.auc else math.nan

    def at(self, look: int) -> Recommendation:
        """Return the recommendation at the model's look number `look`."""
        return recommend(self._verdicts, self._settings, look)


def drifted(deployed: Deployed, plan: Plan, seeds: Iterator[int]) -> Iterator[tuple[str, int, list[Judge]]]:
    """Yield each kind of drift with its rows or outcomes, and the verdicts on its batches."""
    for size, rows in product(plan.shifts, plan.shift_rows):
        batches = [shifted(deployed, plan, size, rows, next(seeds)) for _ in range(plan.batches)]
        yield f"{size:g}", rows, [deployed.judge(columns, np.full(rows, np.nan)) for columns in batches]
    worse = (deployed.auc + 0.5) / 2 if plan.worse is None else plan.worse
    # With the outcomes of a share s permuted, ROC-AUC is (1 - s) auc + s / 2.
    drift = Drift(concept=(deployed.auc - worse) / (deployed.auc - 0.5))
    for rows, labels in plan.concept:
        judges = []
        for _ in range(plan.batches):
            made = _simulated(deployed, drift, rows, next(seeds))
            made.outcome[labels:] = np.nan
            judges.append(deployed.judge(made.columns, made.outcome))
        yield "concept", labels, judges


def shifted(deployed: Deployed, plan: Plan, size: float, rows: int, seed: int) -> dict[str, Floats]:
    """Draw unseen customers, and shift independent columns by `size` standard deviations."""
    bundle = deployed.bundle
    free = [column.name for column in bundle.schema.inputs if column.numeric and column.name not in bundle.linked]
    chosen = np.random.default_rng(seed).choice(free, plan.shifted, replace=False)
    return _simulated(deployed, Drift(covariate=size, columns=tuple(chosen.tolist())), rows, seed).columns


def _simulated(deployed: Deployed, drift: Drift, rows: int, seed: int) -> Simulated:
    bundle, customers = deployed.bundle, deployed.unseen.pool(rows, seed)
    outcome = customers.outcome.astype(np.float64)
    return simulate(customers.columns, outcome, bundle.schema, drift, rows=rows, seed=seed, linked=bundle.linked)
