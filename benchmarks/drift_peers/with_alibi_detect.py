"""alibi-detect: its Kolmogorov-Smirnov detector, with the correction by Bonferroni."""

from typing import Any

import numpy as np
from alibi_detect.cd import KSDrift
from clock import Columns, Figures, run
from numpy.typing import NDArray


def read(columns: Columns) -> NDArray[np.float64]:
    return np.stack(list(columns.values())).T  # rows by columns; a column lies in one piece


def fit(reference: NDArray[np.float64]) -> KSDrift:
    return KSDrift(reference, p_val=0.05, correction="bonferroni")


def check(detector: KSDrift, batch: NDArray[np.float64]) -> dict[str, Any]:
    return detector.predict(batch)["data"]


def figures(result: dict[str, Any]) -> Figures:
    return result["distance"], result["p_val"]


run(read, fit, check, figures)
