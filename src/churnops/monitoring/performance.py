"""Performance: how well the model separates churners from the others, on known outcomes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtr, ndtri

from churnops.evaluation.delong import AUC, delong
from churnops.evaluation.metrics import Evaluation, evaluate
from churnops.monitoring.batch import LabelCoverage, Resolved
from churnops.monitoring.drift.exact import fisher_p_value
from churnops.settings import MonitoringSettings, Settings

MIN_OUTCOMES = 10
"""Number of customers with each outcome that a verdict needs."""


@dataclass(frozen=True)
class Decline:
    """Verdict on ROC-AUC.

    Attributes
    ----------
    auc
        ROC-AUC with DeLong's interval; None without both outcomes.
    promised
        ROC-AUC of the held-out evaluation, if the model has one.
    line
        Lowest acceptable ROC-AUC.
    below
        Whether ROC-AUC is below the line; None if unknown.
    p_value
        p-value of "as good as promised" (or, without a promise, "as good as the threshold"); None under the plain rule.
    reason
        The verdict in words.
    """

    auc: AUC | None
    promised: float | None
    line: float
    below: bool | None
    p_value: float | None
    reason: str


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
        An outcome that is NaN is unknown: it is left out, never "stayed".
    promised
        `bundle.metrics.get("held_out")`, the document of `Evaluation.to_json`.
    churn_threshold
        Probability from which a customer is predicted to churn.
    """
    outcome, probability, options = resolved.churned, resolved.probability, settings.evaluation
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


def judge_decline(
    outcome: NDArray[np.float64],
    probability: NDArray[np.float64],
    *,
    promised: Mapping[str, Any] | None,
    churn_threshold: float,
    settings: MonitoringSettings,
    confidence: float = 0.95,
) -> Decline:
    """Judge ROC-AUC: whether it is below the line, and the p-value of a decline.

    Notes
    -----
    The line is `performance_threshold`, or the promise (ROC-AUC of the held-out evaluation) minus `max_decline` if that
    is higher. The p-value is the smallest of up to three, times their number. One compares ROC-AUC with the promise by
    both standard errors, in log-odds, where the normal approximation is better with few churners. Two compare counts
    with the held-out evaluation by Fisher's exact test, one-sided: wrong predictions among all, and customers who
    stayed among those predicted to churn. These two need no approximation, and detect more if few churners make ROC-AUC
    uncertain. A change of the churn rate alone moves both, but then ROC-AUC is not below the line.
    """
    known = ~np.isnan(outcome)
    y, p = outcome[known], probability[known]
    churned = int(y.sum())
    promise = _Promise.read(promised)
    plain = settings.correction == "none"
    line = settings.performance_threshold
    if promise is not None and not plain:
        line = max(line, promise.auc - settings.max_decline)
    expected = promise.auc if promise else None
    auc = delong(y, p, confidence=confidence) if 0 < churned < y.size else None
    needed = 1 if plain else MIN_OUTCOMES
    if auc is None or min(churned, y.size - churned) < needed:
        reason = (
            f"{y.size} outcomes are known ({churned} churned, {y.size - churned} stayed); {needed} of each are needed"
        )
        return Decline(auc, expected, line, None, None, reason)
    below = auc.value < line
    reason = f"ROC-AUC is {auc.value:.3f}, {'below' if below else 'not below'} the line of {line:.3g}"
    if plain:
        return Decline(auc, expected, line, below, None, reason)
    p_values = [_p_value_of_auc(auc, promise, settings.performance_threshold)]
    if promise is not None:
        reason += f" ({promise.auc:.3f} was expected)"
        then = promise.confusion
        if then is not None and promise.threshold == churn_threshold:
            flagged, left = p >= churn_threshold, y == 1.0
            wrong, before = int((flagged != left).sum()), then["fp"] + then["fn"]
            stayed = int((flagged & ~left).sum())
            tables = (
                [[wrong, y.size - wrong], [before, promise.rows - before]],
                [[stayed, int(flagged.sum()) - stayed], [then["fp"], then["tp"]]],
            )
            p_values += [fisher_p_value(np.array(table), "greater") for table in tables]
            expected_wrong = round(y.size * before / promise.rows)
            are = "prediction is" if wrong == 1 else "predictions are"
            reason += f"; {wrong:,} of {y.size:,} {are} wrong, {expected_wrong:,} were expected"
    known_p = [value for value in p_values if value is not None]
    p_value = min(1.0, min(known_p) * len(known_p)) if known_p else None
    return Decline(auc, expected, line, below, p_value, reason)


@dataclass(frozen=True)
class _Promise:
    """Results of the held-out evaluation that a verdict needs."""

    auc: float
    standard_error: float
    rows: int
    threshold: float
    confusion: Mapping[str, int] | None

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "_Promise | None":
        auc = (document or {}).get("metrics", {}).get("roc_auc", {})
        if document is None or any(auc.get(part) is None for part in ("value", "low", "high")):
            return None
        width = 2 * float(ndtri((1 + document["confidence"]) / 2))
        return cls(
            auc=auc["value"],
            standard_error=(auc["high"] - auc["low"]) / width,
            rows=document["rows"],
            threshold=document["threshold"],
            confusion=document.get("confusion"),
        )


def _p_value_of_auc(auc: AUC, promise: _Promise | None, threshold: float) -> float | None:
    """Return the p-value of "not lower than promised" (or the threshold); None without a standard error."""
    if auc.value >= 1.0:
        return 1.0
    if math.isnan(auc.standard_error):
        return None
    expected, error = (promise.auc, promise.standard_error) if promise else (threshold, 0.0)
    if promise:  # 1 has no log-odds, so half a pair of rows is subtracted
        expected = min(max(expected, 0.5 / promise.rows), 1.0 - 0.5 / promise.rows)
    if not 0.0 < expected < 1.0:
        return float(expected <= 0.0)
    errors = (e / (v * (1.0 - v)) for e, v in ((auc.standard_error, auc.value), (error, expected)))  # in log-odds
    return float(ndtr((logit(auc.value) - logit(expected)) / math.hypot(*errors)))
