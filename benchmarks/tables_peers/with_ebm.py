"""Explainable boosting machine (interpret) with its default settings; four bags instead of 14 for many rows."""

import numpy as np
import pandas as pd
from frame import Outcomes, categories, run
from interpret.glassbox import ExplainableBoostingClassifier
from numpy.typing import NDArray

FEW_ROWS = 10_000


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    words = categories(train)
    types = ["nominal" if name in words else "continuous" for name in train]
    bags = 14 if len(train) < FEW_ROWS else 4
    model = ExplainableBoostingClassifier(feature_types=types, outer_bags=bags, n_jobs=1, random_state=0)
    return model.fit(_objects(train, words), outcome).predict_proba(_objects(valid, words))[:, 1]


def _objects(frame: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].astype(object) for name in words})


run(_fit_and_score)
