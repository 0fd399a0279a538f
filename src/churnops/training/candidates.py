"""Families of models: the estimator of each, its default hyperparameters, and the space of the search."""

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
Fitted = Any
"""A fitted scikit-learn pipeline, tree or forest, or an XGBClassifier; neither library has types."""


@dataclass(frozen=True)
class CandidateFamily:
    """A family of models.

    Attributes
    ----------
    make
        Function from hyperparameters and a seed to an unfitted estimator that uses one thread.
    default
        Hyperparameters of the first trial.
    space
        Values of each hyperparameter, from which the search draws.
    """

    name: str
    make: Callable[[Params, int], Fitted]
    default: Params
    space: Mapping[str, Sequence[Any]]

    def fit(
        self,
        params: Params,
        matrix: NDArray[np.float64],
        outcome: NDArray[np.bool_],
        seed: int,
        weight: NDArray[np.float64] | None = None,
    ) -> Fitted:
        """Fit to a feature matrix of shape (n, k) and outcomes of shape (n,).

        `weight` has the weight of each row, shape (n,); rows of weight 0 are left out.
        """
        estimator = self.make(params, seed)
        if weight is not None:
            counted = weight > 0
            matrix, outcome, weight = matrix[counted], outcome[counted], weight[counted]
        if weight is None or (weight == weight[0]).all():  # with weights, even equal ones, a forest draws other rows
            return estimator.fit(matrix, outcome.astype(np.int64))
        name = f"{estimator.steps[-1][0]}__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
        scaled = weight / weight.mean()  # mean 1, so that limits such as a leaf's smallest weight are in rows
        return estimator.fit(matrix, outcome.astype(np.int64), **{name: scaled})


CANDIDATES: Mapping[str, CandidateFamily] = {
    candidate.name: candidate
    for candidate in (
        CandidateFamily(
            "logistic_regression",
            # Not liblinear: all threads share its random numbers, so results would depend on their order.
            lambda params, seed: make_pipeline(
                StandardScaler(), LogisticRegression(solver="lbfgs", max_iter=2000, random_state=seed, **params)
            ),
            default={"C": 0.3},
            space={"C": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]},
        ),
        CandidateFamily(
            "decision_tree",
            lambda params, seed: DecisionTreeClassifier(random_state=seed, **params),
            default={"criterion": "gini", "max_depth": 6, "min_samples_leaf": 10, "ccp_alpha": 0.006},
            space={
                "criterion": ["gini", "entropy"],
                "max_depth": [5, 6, 8],
                "min_samples_leaf": [5, 10, 20, 40],
                "ccp_alpha": [0.005, 0.008, 0.012],
            },
        ),
        CandidateFamily(
            "random_forest",
            lambda params, seed: RandomForestClassifier(n_jobs=1, random_state=seed, **params),
            default={
                "n_estimators": 60,
                "max_depth": 6,
                "max_features": 0.8,
                "min_samples_leaf": 10,
                "max_samples": 0.6,
                "ccp_alpha": 0.001,
            },
            space={
                "n_estimators": [60, 80],
                "max_depth": [5, 6, 7],
                "max_features": [0.7, 0.8],
                "min_samples_leaf": [5, 10, 15],
                "max_samples": [0.6, 0.7],
                "ccp_alpha": [0.0008, 0.001, 0.0012],
            },
        ),
        CandidateFamily(
            "xgboost",
            lambda params, seed: XGBClassifier(tree_method="hist", n_jobs=1, random_state=seed, **params),
            default={
                "n_estimators": 160,
                "learning_rate": 0.05,
                "max_depth": 4,
                "min_child_weight": 1.0,
                "subsample": 1.0,
                "colsample_bytree": 0.7,
                "reg_lambda": 0.3,
                "gamma": 3.0,
            },
            space={
                "n_estimators": [120, 160, 240],
                "learning_rate": [0.05, 0.08],
                "max_depth": [4, 5],
                "min_child_weight": [0.5, 1.0, 2.0],
                "subsample": [0.95, 1.0],
                "colsample_bytree": [0.7, 0.85],
                "reg_lambda": [0.3, 1.0],
                "gamma": [2.5, 3.0, 4.0],
            },
        ),
    )
}
