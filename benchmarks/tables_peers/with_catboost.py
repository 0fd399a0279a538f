"""CatBoost with 1,000 trees, and its other settings at default."""

import catboost
import numpy as np
import pandas as pd
from frame import Outcomes, categories, run
from numpy.typing import NDArray


def _fit_and_score(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> NDArray[np.float64]:
    words = categories(train)
    model = catboost.CatBoostClassifier(
        iterations=1000, cat_features=words, thread_count=1, random_seed=0, verbose=False, allow_writing_files=False
    )
    model.fit(_filled(train, words), outcome)
    return model.predict_proba(_filled(valid, words))[:, 1]


def _filled(frame: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """Return the frame with a level of its own for missing categories, which CatBoost refuses."""
    return frame.assign(**{name: frame[name].astype(object).fillna("missing").astype(str) for name in words})


run(_fit_and_score)
