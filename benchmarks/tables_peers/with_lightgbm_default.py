"""LightGBM with its default settings."""

import lightgbm
import numpy as np
import pandas as pd
from frame import Outcomes, run
from numpy.typing import NDArray


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    model = lightgbm.LGBMClassifier(n_jobs=1, verbosity=-1)
    return model.fit(train, outcome).predict_proba(valid)[:, 1]


run(_fit_and_score)
