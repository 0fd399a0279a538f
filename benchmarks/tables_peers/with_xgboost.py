"""XGBoost, well-set: rate 0.05, and depth and number of trees by cross-validation with early stopping."""

import numpy as np
import pandas as pd
import xgboost
from frame import Outcomes, run
from numpy.typing import NDArray

DEPTHS = (3, 4, 5)
SETTINGS = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "learning_rate": 0.05,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "min_child_weight": 2,
    "nthread": 1,
    "seed": 0,
}


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    matrix = xgboost.DMatrix(train, outcome, enable_categorical=True, nthread=1)
    trials = []
    for depth in DEPTHS:
        settings = SETTINGS | {"max_depth": depth}
        losses = xgboost.cv(
            settings, matrix, num_boost_round=3000, nfold=4, stratified=True, early_stopping_rounds=50, seed=0
        )["test-logloss-mean"]
        trials.append((losses.min(), int(losses.argmin()) + 1, settings))
    _, trees, settings = min(trials, key=lambda trial: trial[0])
    model = xgboost.train(settings, matrix, num_boost_round=trees)
    return model.predict(xgboost.DMatrix(valid, enable_categorical=True, nthread=1))


run(_fit_and_score)
