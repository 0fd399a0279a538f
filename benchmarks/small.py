"""Honesty of the claim on small tables: 200 customers, 20 of whom churned, evaluated by repeated cross-validation."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
from scipy.stats import binomtest, t

from benchmarks.harness import Claim, Result
from benchmarks.product import Customers
from benchmarks.simulated import SCHEMA, SimulatedTable, signal, simulated_settings
from churnops.data.preprocess import PreparedTable, preprocess
from churnops.evaluation.delong import delong
from churnops.evaluation.metrics import Interval, evaluate
from churnops.settings import Settings
from churnops.training.repeated import repeated_scores
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import train_models

TABLE = SimulatedTable("small", 0.1, 0.8)
ROWS, CHURNED, TABLES, FRESH = 200, 20, 40, 20_000
FIRST_SEED = 1_000
FAMILIES = ("logistic_regression", "xgboost", "blend")  # forest and tree take half of the time, and seldom win
REPEATS = 1
WORKERS = 4


@dataclass(frozen=True)
class Trial:
    """The claimed ROC-AUC of one table, that of the deployed model on fresh customers, and that of the true order.

    The ROC-AUC of the true probabilities has a known mean, so `best`, on the table's customers, tells the luck of the
    draw.
    """

    claimed: Interval
    true: float
    best: float

    @property
    def covered(self) -> bool:
        """Whether the interval contains the true value."""
        return self.claimed.low <= self.true <= self.claimed.high


def measure() -> Result:
    """Train on 40 tables with shuffled outcomes, and on 40 tables whose outcomes depend on the inputs."""
    seeds = range(FIRST_SEED, FIRST_SEED + TABLES)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        shuffled, drawn = (list(pool.map(work, seeds)) for work in (shuffled_trial, drawn_trial))
    chance = [trial.claimed.value - 0.5 for trial in shuffled]
    excess = [trial.claimed.value - trial.true for trial in drawn]
    adjusted = _without_luck(excess, [trial.best - TABLE.roc_auc for trial in drawn])
    widths = [trial.claimed.high - trial.claimed.low for trial in drawn]
    return Result(
        title="Small tables",
        about=(
            f"{TABLES} tables of {ROWS} customers, {CHURNED} of whom churned, from a simulated table "
            f"(`benchmarks/simulated.py`) in which the true probabilities have a ROC-AUC of {TABLE.roc_auc:g}; and as "
            "many with shuffled outcomes. Each is evaluated by cross-validation of the whole training, as with "
            f"`evaluation.split: repeated`, but to save time with {REPEATS} repeat and the families "
            f"{', '.join(FAMILIES)}. The true ROC-AUC is that of the deployed model on {FRESH:,} fresh customers."
        ),
        claims=[
            _distance("shuffled outcomes: distance of the mean claimed ROC-AUC from 0.5", chance, 0.02),
            _distance("distance of the mean claimed ROC-AUC from the mean true one", adjusted, 0.01),
            _coverage(drawn),
        ],
        notes=[
            f"Claimed minus 0.5, with shuffled outcomes: {_mean(chance)}. Claimed minus true: {_mean(excess)}; "
            f"without the luck of the draw: {_mean(adjusted)}. In brackets: 95 % intervals of the mean over the tables "
            "(Student). The interval of the share is Clopper and Pearson's.",
            "Luck of the draw: the ROC-AUC of the true probabilities on the 200 customers, minus its known mean. What "
            "a linear regression on it explains is taken out (a control variate).",
            f"Standard deviation of claimed minus true over the tables: {np.std(excess, ddof=1):.3f}. Mean width of "
            f"the intervals: {np.mean(widths):.3f}. Mean true ROC-AUC: {np.mean([trial.true for trial in drawn]):.3f}.",
        ],
    )


def shuffled_trial(seed: int) -> Trial:
    """Evaluate a table whose outcomes nothing predicts."""
    generator = np.random.default_rng(seed)
    drawn = _draw(generator)
    return Trial(_claimed(replace(drawn, outcome=generator.permutation(drawn.outcome))), 0.5, 0.5)


def drawn_trial(seed: int) -> Trial:
    """Evaluate a table, and score fresh customers with the model that would be deployed."""
    generator = np.random.default_rng(seed)
    customers, settings = _draw(generator), _settings()
    fresh = TABLE.draw(FRESH, generator)
    model = train_models(*_prepare(customers, settings), settings).refit
    true = delong(fresh.outcome, model.predict(fresh.columns).probability).value
    return Trial(_claimed(customers), true, delong(customers.outcome, signal(customers.columns)).value)


def _settings() -> Settings:
    simulated = simulated_settings()
    training = simulated.training.model_copy(update={"recipe": "general", "families": FAMILIES, "threads": 1})
    evaluation = simulated.evaluation.model_copy(update={"threshold": "auto", "split": "repeated"})
    return simulated.model_copy(update={"training": training, "evaluation": evaluation})


def _draw(generator: np.random.Generator) -> Customers:
    """Draw customers with exactly the number of churners."""
    many = TABLE.draw(20 * ROWS, generator)
    places = [np.flatnonzero(many.outcome)[:CHURNED], np.flatnonzero(~many.outcome)[: ROWS - CHURNED]]
    rows = np.sort(np.concatenate(places))
    columns = {name: values[rows] for name, values in many.columns.items()}
    return replace(many, columns=columns, outcome=many.outcome[rows])


def _prepare(customers: Customers, settings: Settings) -> tuple[PreparedTable, SelectedFeatures]:
    nobody = np.zeros(customers.outcome.shape, np.bool_)
    given = {"sha256": customers.sha256, "held_out": nobody, "seed": settings.random_state}
    prepared = preprocess(customers.columns, customers.outcome, SCHEMA.model_inputs, **given)
    return prepared, select_features(prepared, SCHEMA, settings.features, one_hot=False)


def _claimed(customers: Customers) -> Interval:
    settings = _settings()
    prepared, features = _prepare(customers, settings)
    scores = repeated_scores(prepared, features.build, settings, repeats=REPEATS)
    evaluation = evaluate(
        customers.outcome, scores.probability, threshold=scores.threshold, fold=scores.fold, seed=settings.random_state
    )
    return evaluation.metrics["roc_auc"]


def _without_luck(values: Sequence[float], luck: Sequence[float]) -> list[float]:
    """Take out of the values what a linear regression on the luck, whose mean is 0, explains."""
    slope = np.cov(values, luck)[0, 1] / np.var(luck, ddof=1)
    return [float(value - slope * chance) for value, chance in zip(values, luck, strict=True)]


def _distance(name: str, values: Sequence[float], target: float) -> Claim:
    return Claim(name, abs(float(np.mean(values))), target=target)


def _mean(values: Sequence[float]) -> str:
    """Return the mean with its 95 % interval."""
    mean = np.mean(values)
    width = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:.4f} [{mean - width:.4f}, {mean + width:.4f}]"


def _coverage(trials: Sequence[Trial]) -> Claim:
    test = binomtest(sum(trial.covered for trial in trials), len(trials)).proportion_ci(method="exact")
    share = float(np.mean([trial.covered for trial in trials]))
    name = "95 % intervals that contain the true ROC-AUC"
    return Claim(name, 100 * share, "%", 90.0, at_least=True, low=100 * test.low, high=100 * test.high)
