"""XGBoost with its default settings."""

import numpy as np
import pandas as pd
import xgboost
from frame import Outcomes, run
from numpy.typing import NDArray


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    model = xgboost.XGBClassifier(enable_categorical=True, n_jobs=1)
    return model.fit(train, outcome).predict_proba(valid)[:, 1]


run(_fit_and_score)
