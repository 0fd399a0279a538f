"""LightGBM, well-set: rate 0.05, and leaves and number of trees by cross-validation with early stopping."""

import lightgbm
import numpy as np
import pandas as pd
from frame import Outcomes, run
from numpy.typing import NDArray

LEAVES = (7, 15, 31)
SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "seed": 0,
    "verbosity": -1,
}


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    trials = []
    for leaves in LEAVES:
        settings = SETTINGS | {"num_leaves": leaves}
        losses = lightgbm.cv(
            settings,
            lightgbm.Dataset(train, outcome),
            num_boost_round=3000,
            nfold=4,
            seed=0,
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )["valid binary_logloss-mean"]
        trials.append((min(losses), len(losses), settings))
    _, trees, settings = min(trials, key=lambda trial: trial[0])
    return lightgbm.train(settings, lightgbm.Dataset(train, outcome), num_boost_round=trees).predict(valid)


run(_fit_and_score)
