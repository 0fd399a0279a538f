"""Performance: does the model still tell churners from the rest, on customers whose outcome is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.evaluation.metrics import Evaluation, evaluate
from churnops.settings import EvaluationSettings


@dataclass(frozen=True)
class Performance:
    """Metrics on the labelled rows of a batch; `below_threshold` is None when it cannot be told."""

    evaluation: Evaluation | None
    labelled: int
    rows: int
    below_threshold: bool | None
    reason: str


def measure_performance(
    probability: NDArray[np.float64], outcome: NDArray[np.float64], *,
    threshold: float, churn_threshold: float, settings: EvaluationSettings, seed: int,
) -> Performance:  # fmt: skip
    """Compare ROC-AUC with `threshold`, on rows whose `outcome` is 0 or 1; NaN is an outcome not known yet.

    One outcome only, or no label: it cannot be told.
    """
    known = ~np.isnan(outcome)
    labelled, rows = int(known.sum()), outcome.size
    if np.unique(outcome[known]).size < 2:
        reason = f"{labelled} of {rows} outcomes are known, and both outcomes are needed"
        return Performance(None, labelled, rows, None, reason)
    evaluation = evaluate(
        outcome[known], probability[known], threshold=churn_threshold, replicates=settings.bootstrap_replicates,
        confidence=settings.confidence, seed=seed,
    )  # fmt: skip
    found = evaluation.metrics["roc_auc"]
    below = found.value < threshold
    interval = f"[{found.low:.3f}, {found.high:.3f}]"
    reason = f"ROC-AUC {found.value:.3f} {interval} is {'below' if below else 'not below'} {threshold:g}"
    return Performance(evaluation, labelled, rows, below, reason)
