"""Two simulated customer tables with a known churn rate and a known best ROC-AUC.

A table has twelve inputs: seven numbers, three choices and two flags. A customer churns with the probability
`expit(intercept + slope * signal)`. The signal is a sum of effects of the inputs, so the rest of the outcome is chance.
Slope and intercept are chosen so that the table has its churn rate, and the signal its ROC-AUC: no model is better.
Customers are drawn by a random generator, so there is no limit to their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from benchmarks.harness import ROOT
from benchmarks.product import Customers
from churnops.schema import Column, Schema
from churnops.settings import Settings, load_settings

Floats = NDArray[np.float64]
TUNING_ROWS, TUNING_SEED = 100_000, 2026
CHOICES: Mapping[str, Mapping[str, tuple[float, float]]] = {  # choice: its share of customers, its effect
    "contract": {"monthly": (0.5, 0.5), "yearly": (0.3, -0.2), "two years": (0.2, -0.9)},
    "payment": {"card": (0.4, -0.1), "transfer": (0.3, -0.1), "cheque": (0.2, 0.3), "other": (0.1, 0.0)},
    "region": {"north": (0.3, 0.0), "south": (0.25, 0.1), "east": (0.2, -0.1), "west": (0.15, 0.0), "sea": (0.1, 0.1)},
}
FLAGS: Mapping[str, tuple[float, float]] = {"paperless": (0.6, 0.2), "partner": (0.4, -0.2)}
SCHEMA = Schema(
    columns=(
        Column(name="tenure", kind="integer", minimum=1),
        Column(name="monthly_fee", kind="number", minimum=0),
        Column(name="data_used", kind="number", minimum=0),
        Column(name="calls", kind="integer", minimum=0),
        Column(name="support_calls", kind="integer", minimum=0),
        Column(name="late_days", kind="integer", minimum=0),
        Column(name="satisfaction", kind="number", minimum=0, maximum=100),
        *(Column(name=name, kind="category", choices=tuple(choices)) for name, choices in CHOICES.items()),
        *(Column(name=name, kind="flag", choices=("no", "yes")) for name in FLAGS),
        Column(name="churn", kind="target", choices=("no", "yes")),
    )
)


@dataclass(frozen=True)
class SimulatedTable:
    """A table, by its churn rate and the ROC-AUC of the true probabilities."""

    title: str
    churn_rate: float
    roc_auc: float

    @property
    def description(self) -> str:
        """Two sentences for the page."""
        return (
            "A simulated table (`benchmarks/simulated.py`): seven numbers, three choices, two flags, and an outcome "
            "that depends on them by a logistic model with noise. "
            f"{100 * self.churn_rate:.0f} % of the customers churn, and the ROC-AUC of the true probabilities is "
            f"{self.roc_auc:g}."
        )

    def draw(self, rows: int, generator: np.random.Generator) -> Customers:
        """Draw customers with outcomes."""
        columns = _columns(rows, generator)
        intercept, slope = _tuned(self.churn_rate, self.roc_auc)
        outcome = generator.random(rows) < expit(intercept + slope * signal(columns))
        return Customers(columns, outcome, "0" * 64)

    def scored(self, rows: int, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
        """Draw true probabilities of churn, which are the scores of the best model, and outcomes."""
        intercept, slope = _tuned(self.churn_rate, self.roc_auc)
        probability = expit(intercept + slope * generator.choice(_signals(), rows))
        return probability, generator.random(rows) < probability


TABLES: Mapping[str, SimulatedTable] = {
    "rare": SimulatedTable("5 % churn", 0.05, 0.73),
    "common": SimulatedTable("27 % churn", 0.27, 0.85),
}


def simulated_settings() -> Settings:
    """Return the default settings with this Schema, and without derived columns and `performance_threshold`."""
    default = load_settings(ROOT / "config.yaml", environment={})
    monitoring = default.monitoring.model_copy(update={"performance_threshold": None})
    features = default.features.model_copy(update={"derived": ()})
    return default.model_copy(update={"table": SCHEMA, "monitoring": monitoring, "features": features})


def signal(columns: Mapping[str, Floats]) -> Floats:
    """Return the sum of the inputs' effects on churn, shape (rows,)."""
    effects = (
        -0.5 * np.log(columns["tenure"] / 20)
        + 0.02 * (columns["monthly_fee"] - 45)
        - 0.2 * np.log1p(columns["data_used"])
        + 0.3 * np.minimum(columns["support_calls"], 5)
        + 0.4 * (columns["late_days"] > 7)
        - 0.02 * (columns["satisfaction"] - 60)
    )
    for name, choices in CHOICES.items():
        effects = effects + np.array([effect for _, effect in choices.values()])[columns[name].astype(np.intp)]
    for name, (_, effect) in FLAGS.items():
        effects = effects + effect * columns[name]
    return effects


def expected_auc(values: Floats, probability: Floats) -> float:
    """Return the expected ROC-AUC of distinct values of customers who churn with a known probability.

    >>> expected_auc(np.array([0.1, 0.2]), np.array([0.0, 1.0]))
    1.0
    """
    p = probability[np.argsort(values)]
    below = np.cumsum(1 - p) - (1 - p)
    return float((p * below).sum() / (p.sum() * (1 - p).sum() - (p * (1 - p)).sum()))


@lru_cache
def _tuned(churn_rate: float, roc_auc: float) -> tuple[float, float]:
    """Return intercept and slope."""
    values = _signals()

    def intercept(slope: float) -> float:
        return float(brentq(lambda a: float(expit(a + slope * values).mean()) - churn_rate, -20, 20, xtol=1e-4))

    def excess(slope: float) -> float:
        return expected_auc(values, expit(intercept(slope) + slope * values)) - roc_auc

    slope = float(brentq(excess, 0.1, 5.0, xtol=1e-3))
    return intercept(slope), slope


@lru_cache
def _signals() -> Floats:
    """Return the signals of many customers."""
    return signal(_columns(TUNING_ROWS, np.random.default_rng(TUNING_SEED)))


def _columns(rows: int, generator: np.random.Generator) -> dict[str, Floats]:
    use = generator.normal(size=rows)  # fee and calls are correlated, by 0.3
    columns = {
        "tenure": np.minimum(1 + np.floor(generator.gamma(1.5, 18.0, rows)), 240),
        "monthly_fee": np.round(45 + (6 * use + 8 * generator.normal(size=rows)).clip(-40, 40), 2),
        "data_used": np.round(generator.gamma(2.0, 6.0, rows), 1),
        "calls": generator.poisson(40 * np.exp(0.2 * use + 0.3 * generator.normal(size=rows))).astype(np.float64),
        "support_calls": generator.poisson(1.5, rows).astype(np.float64),
        "late_days": np.floor(generator.gamma(1.0, 5.0, rows)),
        "satisfaction": np.round(100 * generator.beta(3.0, 2.0, rows), 1),
    }
    for name, choices in CHOICES.items():
        shares = [share for share, _ in choices.values()]
        columns[name] = np.searchsorted(np.cumsum(shares)[:-1], generator.random(rows)).astype(np.float64)
    for name, (share, _) in FLAGS.items():
        columns[name] = (generator.random(rows) < share).astype(np.float64)
    return columns
