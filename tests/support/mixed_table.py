"""Customers with numbers, gaps, flags, and categories of few and of many levels, as encoded columns."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable, preprocess
from churnops.schema import Column, Schema
from churnops.settings import FAMILIES, Settings
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import TrainedModels, train_models

CITIES = 300


def with_cities(count: int) -> Schema:
    """Return the Schema with this number of cities."""
    return Schema(
        columns=(
            Column(name="age", kind="integer", nullable=True),
            Column(name="spend", kind="number", nullable=True),
            Column(name="plan", kind="category", choices=("basic", "gold", "plus", "trial"), nullable=True),
            Column(name="city", kind="category", choices=tuple(f"city {number}" for number in range(count))),
            Column(name="online", kind="flag", choices=("No", "Yes")),
            Column(name="churn", kind="target", choices=("No", "Yes")),
        )
    )


SCHEMA = with_cities(CITIES)


def settings(**training: Any) -> Settings:
    """Return settings of the recipe for any table."""
    document = {
        "schema": SCHEMA.model_dump(),
        "features": {"derived": [{"name": "spend_by_age", "expression": "spend / age"}]},
        "training": {"recipe": "general", "families": [*FAMILIES, "blend"], "folds": 3, **training},
        "evaluation": {"threshold": "auto"},
    }
    return Settings.parse(document, Path())


def customers(rows: int, seed: int = 0) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Return encoded columns and outcomes; about a quarter churned."""
    rng = np.random.default_rng(seed)
    age, spend = np.round(rng.uniform(18, 80, rows)), rng.gamma(2.0, 30.0, rows)
    plan, online = rng.integers(0, 4, rows).astype(float), rng.integers(0, 2, rows).astype(float)
    city = np.minimum(rng.geometric(0.02, rows), CITIES).astype(float) - 1
    by_city = np.random.default_rng(1).normal(0.0, 0.7, CITIES)
    log_odds = -1.6 + 1.2 * (age < 30) + 0.01 * spend * (plan == 3) + 0.5 * online + by_city[city.astype(int)]
    outcome = rng.random(rows) < 1.0 / (1.0 + np.exp(-log_odds))
    spend[rng.random(rows) < 0.1] = np.nan
    age[rng.random(rows) < 0.05] = np.nan
    plan[rng.random(rows) < 0.05] = np.nan
    return {"age": age, "spend": spend, "plan": plan, "city": city, "online": online}, outcome


def prepare(
    columns: dict[str, NDArray[np.float64]], outcome: NDArray[np.bool_], chosen: Settings
) -> tuple[PreparedTable, SelectedFeatures]:
    """Run steps 3 and 4."""
    prepared = preprocess(columns, outcome, chosen.table.model_inputs, sha256="0" * 64, held_out=0.2, seed=1)
    return prepared, select_features(prepared, chosen.table, chosen.features, one_hot=False)


@lru_cache(maxsize=1)
def trained() -> tuple[PreparedTable, TrainedModels]:
    """Return 1,500 customers, and the models of all families of the recipe."""
    prepared, features = prepare(*customers(1500), settings())
    return prepared, train_models(prepared, features, settings())
