"""The families a model is chosen from: how each is made, its well-tried setting, and the space searched around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

Params = Mapping[str, Any]
Fitted = Pipeline | DecisionTreeClassifier | RandomForestClassifier | XGBClassifier


@dataclass(frozen=True)
class Candidate:
    """A family: `make(params, seed)` gives an unfitted estimator that uses one thread."""

    name: str
    make: Callable[[Params, int], Fitted]
    default: Params
    space: Mapping[str, Sequence[Any]]

    def fit(self, params: Params, matrix: NDArray[np.float64], outcome: NDArray[np.bool_], seed: int) -> Fitted:
        """Fit to a feature matrix of shape (n, k) and outcomes of shape (n,)."""
        return self.make(params, seed).fit(matrix, outcome.astype(np.int64))


CANDIDATES: Mapping[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate(
            "logistic_regression",
            lambda params, seed: make_pipeline(
                StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed, **params)
            ),
            default={"C": 1.0},
            space={"C": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]},
        ),
        Candidate(
            "decision_tree",
            lambda params, seed: DecisionTreeClassifier(random_state=seed, **params),
            default={"max_depth": 6, "min_samples_leaf": 20},
            space={"max_depth": [4, 5, 6, 8], "min_samples_leaf": [5, 10, 20, 40]},
        ),
        Candidate(
            "random_forest",
            lambda params, seed: RandomForestClassifier(n_jobs=1, random_state=seed, **params),
            default={"n_estimators": 200, "max_features": 0.5, "min_samples_leaf": 5},
            space={"n_estimators": [200], "max_features": [0.3, 0.5, 0.7], "min_samples_leaf": [3, 5, 10]},
        ),
        Candidate(
            "xgboost",
            lambda params, seed: XGBClassifier(tree_method="hist", n_jobs=1, random_state=seed, **params),
            default={"n_estimators": 150, "max_depth": 4, "learning_rate": 0.05, "subsample": 0.8,
                     "colsample_bytree": 0.8, "min_child_weight": 3, "reg_lambda": 1.0},
            space={"n_estimators": [100, 150, 200], "max_depth": [3, 4, 5], "learning_rate": [0.03, 0.05, 0.08],
                   "subsample": [0.6, 0.8], "colsample_bytree": [0.6, 0.8], "min_child_weight": [1, 3, 5],
                   "reg_lambda": [1.0, 3.0]},
        ),
    )
}  # fmt: skip
