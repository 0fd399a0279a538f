"""Performance: how well the model separates churners from the others, on known outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnops.evaluation.labelled_scores import LabelledScores
from churnops.evaluation.metrics import Evaluation, evaluate
from churnops.monitoring.batch import NO_SCORES, LabelCoverage, Resolved
from churnops.monitoring.decline import Decline, Promise, judge_decline
from churnops.settings import Settings


@dataclass(frozen=True)
class Performance:
    """All metrics on the labelled rows (None without both outcomes), the verdict, and the number of labels."""

    evaluation: Evaluation | None
    decline: Decline
    coverage: LabelCoverage


def measure_performance(
    resolved: Resolved, promised: Mapping[str, Any] | None, churn_threshold: float, settings: Settings
) -> Performance:
    """Measure performance on known outcomes, and compare it with the held-out evaluation.

    Parameters
    ----------
    resolved
        Predictions with outcomes. A NaN is an unknown outcome: its row is left out, and never counts as "stayed". If
        there are no scores (NaN), the verdict is "cannot tell".
    promised
        The document of `Evaluation.to_json`, see `promised_at`.
    churn_threshold
        Probability from which a customer is predicted to churn.
    """
    outcome, probability, options = resolved.churned, resolved.probability, settings.evaluation
    if np.isnan(probability).any():
        promise = Promise.read(promised)
        decline = Decline(None, promise.auc if promise else None, NO_SCORES, rows=outcome.size)
        return Performance(None, decline, resolved.coverage)
    decline = judge_decline(
        outcome,
        probability,
        promised=promised,
        churn_threshold=churn_threshold,
        settings=settings.monitoring,
        confidence=options.confidence,
    )
    known = ~np.isnan(outcome)
    evaluation = None
    if decline.auc is not None:
        evaluation = evaluate(
            outcome[known],
            probability[known],
            threshold=churn_threshold,
            confidence=options.confidence,
            replicates=options.bootstrap_replicates,
            seed=settings.random_state,
        )
    return Performance(evaluation, decline, resolved.coverage)


def promised_at(metrics: Mapping[str, Any], threshold: float) -> Mapping[str, Any] | None:
    """Return the held-out evaluation in a Bundle's metrics, with the errors at a threshold of people's choice.

    The errors are counted again from the Bundle's labelled scores. Models of earlier versions have none: then wrong
    predictions are compared only at the model's own threshold.
    """
    promised: Mapping[str, Any] | None = metrics.get("held_out")
    scores = LabelledScores.read(metrics)
    if promised is None or scores is None or promised.get("threshold") == threshold:
        return promised
    at_threshold = {**promised, "threshold": threshold, "confusion": scores.confusion(threshold)}
    at_threshold.pop("repeats", None)  # its folds differ in their thresholds; this threshold is the same in all
    return at_threshold
