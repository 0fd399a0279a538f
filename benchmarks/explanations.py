"""SHAP values: both algorithms of the bundle (tables, walk through trees) against shap, XGBoost itself and Woodelf."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from woodelf import WoodelfExplainer

from benchmarks.harness import Claim, Result, median_seconds
from benchmarks.product import Project, prepare
from churnops.model import TreeEnsemble
from churnops.settings import Family
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.train import train_models

with warnings.catch_warnings():  # about the library's colours
    warnings.simplefilter("ignore")
    import shap

ROWS = 100_000
WALKED_ROWS = 1_000
FAMILIES: tuple[Family, ...] = ("random_forest",)

Matrix = NDArray[np.float64]
Explain = Callable[[Matrix], Any]


def measure() -> Result:
    """Explain with the main job's forest, a fixed boosting and a forest grown to the end, one thread each."""
    project = Project.default()
    training = project.settings.training.model_copy(update={"families": FAMILIES})
    settings = project.settings.model_copy(update={"training": training})
    prepared, features = prepare(project.raw, settings)
    model = train_models(prepared, features, settings).models["random_forest"]
    whole, outcome, rows = features.build(prepared.imputer(prepared.columns)), prepared.outcome, ~prepared.held_out
    forest = CANDIDATES["random_forest"].fit(
        model.search.best.params, whole[rows], outcome[rows], settings.random_state
    )
    boosting = xgboost.XGBClassifier(
        n_estimators=200, max_depth=5, learning_rate=0.1, tree_method="hist", n_jobs=1, random_state=0
    ).fit(whole, outcome)
    grown = RandomForestClassifier(n_estimators=60, n_jobs=1, random_state=0).fit(whole, outcome)
    many = whole[np.random.default_rng(0).integers(outcome.size, size=ROWS)]

    claims = [
        *_compare("main job's forest", forest, many, {"shap": (10, 3)}),
        *_compare("XGBoost 200 x depth 5", boosting, many, {"shap": (10, 5), "XGBoost": (10, 5)}),
        *_compare("forest grown to the end", grown, many[:WALKED_ROWS], {"shap": (4, 4)}),
    ]
    bundle, one = model.bundle, many[:1]
    claims.append(
        _claim(
            "main job's forest, probability of one row",
            partial(bundle.estimator.probability, one),
            "scikit-learn",
            partial(forest.predict_proba, one),
            50,
            one,
        )
    )
    customer = {name: values[:1] for name, values in bundle.probes.items()}
    seconds = median_seconds(lambda: bundle.explain(customer), calls=200)
    claims.append(Claim("`Bundle.explain`, one customer, features and prediction included", seconds * 1e6, "µs", 100.0))
    top = bundle.explain(customer).top
    claims.append(Claim("`Explanation.top`", median_seconds(lambda: top(bundle.selected), calls=200) * 1e6, "µs"))
    return Result(
        title="Explanations",
        about=(
            "Exact path-dependent SHAP values from the same feature matrix, one thread each. Medians of wall time, "
            "without the preparation of the peers. Targets are shares of the peer's time in the same run."
        ),
        claims=claims,
        notes=[
            "For XGBoost's models shap calls XGBoost (`pred_contribs`), whose time includes its DMatrix. XGBoost adds "
            "in float32 and the bundle in float64, which explains the difference.",
            "Woodelf has no target: it is made for many rows and prepares the trees again at every call. Trees grown "
            "to the end are too large for tables, so the bundle walks them. No family of the main job has such trees.",
        ],
    )


def _compare(label: str, fitted: Any, many: Matrix, targets: dict[str, tuple[int, int]]) -> list[Claim]:
    """Compare a model with each peer, on one row and on all of `many`; a target is a multiple of the peer's speed."""
    trees = export(fitted)
    assert isinstance(trees, TreeEnsemble)
    peers: dict[str, Explain] = {"shap": _shap(fitted)}
    if isinstance(fitted, xgboost.XGBClassifier):
        peers["XGBoost"] = _xgboost(fitted)
    if len(many) == ROWS:
        peers["Woodelf"] = _woodelf(fitted)
    claims = []
    for place, matrix in enumerate((many[:1], many)):
        for peer, explain in peers.items():
            times = targets[peer][place] if peer in targets else None
            name = f"{label}, {'one row' if place == 0 else f'{len(many):,} rows'}"
            claims.append(
                _claim(name, partial(trees.contributions, matrix), peer, partial(explain, matrix), times, matrix)
            )
    some = many[:WALKED_ROWS]
    ours, theirs = trees.contributions(some), np.asarray(peers["shap"](some))
    theirs = theirs[..., 1] if theirs.ndim == 3 else theirs
    claims.append(Claim(f"{label}, largest difference from shap", float(np.abs(ours - theirs).max()), target=1e-4))
    probability = trees.probability(some)
    score = np.log(probability / (1.0 - probability)) if trees.link == "logistic" else probability
    missing = float(np.abs(trees.base_value + ours.sum(axis=1) - score).max())
    claims.append(Claim(f"{label}, largest distance of sum and score", missing, target=1e-6))
    ready = median_seconds(lambda: export(fitted).contributions(many[:1])) - median_seconds(lambda: export(fitted))
    claims.append(Claim(f"{label}, first explanation", ready * 1e3, "ms", 300.0))
    return claims


def _claim(
    name: str, ours: Callable[[], Any], peer: str, theirs: Callable[[], Any], times: int | None, matrix: Matrix
) -> Claim:
    """Return a claim on both times, with a share of the peer's time as target."""
    few = len(matrix) == 1
    scale, unit = (1e6, "µs") if few else (1e3, "ms")
    measured = median_seconds(ours, calls=200 if few else 1) * scale
    peer_measured = median_seconds(theirs, repeats=7 if few else 3, calls=5 if few else 1) * scale
    target = float(f"{peer_measured / times:.3g}") if times else None
    return Claim(name, measured, unit, target, peer=peer, peer_measured=peer_measured)


def _shap(fitted: Any) -> Explain:
    explain: Explain = shap.TreeExplainer(fitted, feature_perturbation="tree_path_dependent").shap_values
    return explain


def _xgboost(fitted: xgboost.XGBClassifier) -> Explain:
    booster = fitted.get_booster()
    booster.set_param({"nthread": 1})
    return lambda matrix: booster.predict(xgboost.DMatrix(matrix, nthread=1), pred_contribs=True)


def _woodelf(fitted: Any) -> Explain:
    explainer = WoodelfExplainer(fitted, feature_perturbation="tree_path_dependent")
    return lambda matrix: explainer.shap_values(pd.DataFrame(matrix), verbose=False)
