"""Predictions: the trained forest and boosting as plain arrays, against the libraries that fitted them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result, median_seconds
from benchmarks.product import Project, prepare
from churnops.settings import Family
from churnops.training.candidates import CANDIDATES
from churnops.training.train import train_models

ROWS = 100_000
FAMILIES: tuple[Family, ...] = ("random_forest", "xgboost")
PEERS = {"random_forest": "scikit-learn", "xgboost": "XGBoost"}


def measure() -> Result:
    """Train both families as the main job does, fit the winning settings again with the libraries, and compare."""
    project = Project.default()
    training = project.settings.training.model_copy(update={"families": FAMILIES})
    settings = project.settings.model_copy(update={"training": training})
    prepared, features = prepare(project.raw, settings)
    trained = train_models(prepared, features, settings)
    rows = ~prepared.held_out
    drawn = np.random.default_rng(0).integers(prepared.outcome.size, size=ROWS)
    whole = features.build(prepared.imputer(prepared.columns))
    many, one = whole[drawn], whole[drawn[:1]]
    claims: list[Claim] = []
    for family, model in trained.models.items():
        params, seed = model.search.best.params, settings.random_state
        library = CANDIDATES[family].fit(params, whole[rows], prepared.outcome[rows], seed)
        ours, theirs = model.bundle.estimator.probability, _probability(library)
        for matrix, scale, unit, label in ((one, 1e6, "µs", "one row"), (many, 1e3, "ms", f"{ROWS:,} rows")):
            calls = 200 if matrix is one else 1
            claims.append(
                Claim(
                    f"{family}, {label}",
                    median_seconds(partial(ours, matrix), calls=calls) * scale,
                    unit,
                    peer=PEERS[family],
                    peer_measured=median_seconds(partial(theirs, matrix), calls=min(calls, 20)) * scale,
                )
            )
        difference = float(np.abs(ours(many) - theirs(many)).max())
        claims.append(Claim(f"{family}, largest difference of a probability", difference, target=1e-6))
    bundle = trained.models[trained.winner].bundle
    customer = {name: values[:1] for name, values in bundle.probes.items()}
    seconds = median_seconds(lambda: bundle.predict(customer), calls=200)
    claims.append(Claim(f"`Bundle.predict`, one customer ({trained.winner})", seconds * 1e6, "µs"))
    sizes = ", ".join(f"{family} {_trees(model.bundle.estimator)} trees" for family, model in trained.models.items())
    return Result(
        title="Prediction",
        about=(
            f"The main job's own models ({sizes}): the bundle's estimator against `predict_proba` of the library that "
            "fitted it, on the same feature matrix, one thread each. Medians of wall time."
        ),
        claims=claims,
        notes=[
            "`Bundle.predict` includes imputation and derived columns. XGBoost adds its leaves in float32 and the "
            "bundle in float64, which explains the larger difference. A call with one customer mostly measures "
            "the libraries' checks and preparation; a call with 100,000 customers, the walk through the trees.",
        ],
    )


def _probability(fitted: Any) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda matrix: fitted.predict_proba(matrix)[:, 1]


def _trees(estimator: Any) -> int:
    return int(estimator.roots.size)
