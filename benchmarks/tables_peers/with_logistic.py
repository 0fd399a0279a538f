"""Logistic regression: categories one-hot, numbers standardized, strength of L2 by cross-validation."""

import numpy as np
import pandas as pd
from frame import Outcomes, categories, run
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    words = categories(train)
    numbers = [name for name in train if name not in words]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), words),
        ],
        sparse_threshold=0,
    )
    model = LogisticRegressionCV(
        Cs=np.logspace(-4, 2, 7),
        cv=5,
        scoring="neg_log_loss",
        max_iter=1000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
    pipeline = make_pipeline(columns, model)
    pipeline.fit(train, outcome)
    return pipeline.predict_proba(valid)[:, 1]


run(_fit_and_score)
