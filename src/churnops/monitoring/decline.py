"""Decline of ROC-AUC: compared with a threshold and with the held-out evaluation, on known outcomes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtr, ndtri

from churnops.evaluation.delong import AUC, delong
from churnops.monitoring.drift.exact import fisher_p_value, stratified_p_value
from churnops.settings import MonitoringSettings

MIN_OUTCOMES = 10
"""Number of churners, and of stayers, that a verdict needs. With `correction: none` (the plain rule), one of each is
enough."""

STRONG = 0.8
"""ROC-AUC from which the whole `max_decline` is accepted."""


@dataclass(frozen=True)
class DeclineTest:
    """Comparison of ROC-AUC with one line.

    Attributes
    ----------
    name
        `threshold`: the line is `performance_threshold`. `expected`: the line is `allowed_decline` below the ROC-AUC of
        the held-out evaluation.
    line
        Lowest acceptable ROC-AUC.
    below
        Whether ROC-AUC is below the line.
    p_value
        p-value of "not lower than the threshold" or "not lower than expected". None under the plain rule, or if all
        scores are equal and wrong predictions are not compared.
    gap
        Distance from the threshold or the expected ROC-AUC, in log-odds; negative if ROC-AUC is lower.
    error, expected_error
        Standard errors of ROC-AUC and of the expected ROC-AUC, in log-odds; the latter is 0 for a threshold.
    comparisons
        Number of p-values behind `p_value`, which is the smallest of them times this number.
    """

    name: Literal["threshold", "expected"]
    line: float
    below: bool
    p_value: float | None
    gap: float | None = None
    error: float = math.nan
    expected_error: float = 0.0
    comparisons: int = 1

    def rows_needed(self, rows: int, level: float) -> float:
        """Return about how many outcomes would make this decline certain at a level; infinity if no number would."""
        if self.gap is None or self.gap >= 0.0:
            return math.inf
        z = float(ndtri(level / self.comparisons))
        variance = (self.gap / z) ** 2 - self.expected_error**2
        return rows * self.error**2 / variance if variance > 0.0 else math.inf


@dataclass(frozen=True)
class Errors:
    """Wrong predictions, beside those of the held-out evaluation at the same share of churners.

    Attributes
    ----------
    wrong, expected
        Numbers of wrong predictions.
    p_value
        p-value of "neither churners nor stayers are predicted wrongly more often": twice the smaller of two p-values.
    """

    wrong: int
    expected: float
    rows: int
    p_value: float

    def __str__(self) -> str:
        are = "prediction is" if self.wrong == 1 else "predictions are"
        return f"{self.wrong:,} of {self.rows:,} {are} wrong, {round(self.expected):,} were expected"


@dataclass(frozen=True)
class Decline:
    """Verdict on ROC-AUC.

    Attributes
    ----------
    auc
        ROC-AUC with DeLong's interval; None without both outcomes.
    promised
        ROC-AUC of the held-out evaluation, if the model has one.
    reason
        The verdict in words.
    tests
        Comparisons with the threshold and the expected ROC-AUC, if these exist; under the plain rule, only with the
        threshold. Each has an equal share of the trigger's level.
    errors
        Wrong predictions; None without a held-out evaluation at the same threshold, after a repeated cross-validation,
        in which each fold has its own threshold, and under the plain rule.
    rows
        Number of known outcomes.
    """

    auc: AUC | None
    promised: float | None
    reason: str
    tests: tuple[DeclineTest, ...] = ()
    errors: Errors | None = None
    rows: int = 0

    @property
    def line(self) -> float | None:
        """Lowest acceptable ROC-AUC: the highest line of the tests; None without tests."""
        return max((test.line for test in self.tests), default=None)

    @property
    def below(self) -> bool | None:
        """Whether ROC-AUC is below a line; None if unknown."""
        return any(test.below for test in self.tests) if self.tests else None

    @property
    def p_value(self) -> float | None:
        """Smallest p-value, times the number of tests: of the tests with ROC-AUC below their line, or else of all."""
        crossed = [test for test in self.tests if test.below] or self.tests
        known = [test.p_value for test in crossed if test.p_value is not None]
        return min(1.0, len(self.tests) * min(known)) if known else None

    def more_outcomes(self, level: float) -> int | None:
        """Return about how many more outcomes would make this decline certain at a level, with two digits.

        Return None if no number is enough, because ROC-AUC is not below any line (lowest acceptable value), or because
        the expected ROC-AUC is itself too uncertain.
        """
        crossed = [test for test in self.tests if test.below]
        needed = min((test.rows_needed(self.rows, level / len(self.tests)) for test in crossed), default=math.inf)
        more = max(1.0, needed - self.rows)
        return int(float(f"{more:.2g}")) if math.isfinite(more) else None


def judge_decline(
    outcome: NDArray[np.float64],
    probability: NDArray[np.float64],
    *,
    promised: Mapping[str, Any] | None,
    churn_threshold: float,
    settings: MonitoringSettings,
    confidence: float = 0.95,
) -> Decline:
    """Judge ROC-AUC: whether it is below a line, and the p-value of a decline.

    Notes
    -----
    There are up to two tests. One compares ROC-AUC with `performance_threshold`. The other compares it with the held-
    out evaluation: its line is `allowed_decline` lower, and its p-value is that of the most significant of three
    comparisons, multiplied by three. The first compares ROC-AUC, with the standard errors of both sides, in log-odds,
    where a normal distribution fits better if there are few churners. The second compares the error rates of churners
    and of stayers, combined in one test. The third compares the share of stayers predicted to churn. The last two are
    exact one-sided tests of counts. They assume no normal distribution, and detect more if few churners make ROC-AUC
    uncertain. None of the three depends on the churn rate, so a change of it is no decline.
    """
    known = ~np.isnan(outcome)
    y, p = outcome[known], probability[known]
    churned = int(y.sum())
    promise = Promise.read(promised)
    plain = settings.correction == "none"
    expected = promise.auc if promise else None
    auc = delong(y, p, confidence=confidence) if 0 < churned < y.size else None
    needed = 1 if plain else MIN_OUTCOMES
    if auc is None or min(churned, y.size - churned) < needed:
        reason = (
            f"{y.size} outcomes are known ({churned} churned, {y.size - churned} stayed); {needed} of each are needed"
        )
        return Decline(auc, expected, reason, rows=y.size)
    threshold, errors, tests = settings.performance_threshold, None, []
    if threshold is not None:
        tests.append(
            DeclineTest("threshold", threshold, auc.value < threshold, None)
            if plain
            else _test("threshold", auc, threshold, threshold)
        )
    if promise is not None and not plain:
        errors = _errors(y, p, promise, churn_threshold)
        line = promise.auc - allowed_decline(promise.auc, settings)
        tests.append(_test("expected", auc, line, promise.auc, promise, errors))
    return Decline(auc, expected, _reason(auc, expected, tests, errors, settings), tuple(tests), errors, y.size)


def allowed_decline(expected: float, settings: MonitoringSettings) -> float:
    """Return the decline below the expected ROC-AUC that is accepted.

    This is `max_decline` if a ROC-AUC of at least 0.8 is expected. A weaker model has less to lose, so it may lose the
    same share of its distance to 0.5 as a model with 0.8: a third, with the default. Otherwise a model with 0.72 could
    lose half of its distance, and still be below the line only by chance.

    Examples
    --------
    >>> settings = MonitoringSettings(max_decline=0.1)
    >>> [round(allowed_decline(expected, settings), 3) for expected in (0.95, 0.8, 0.73, 0.5)]
    [0.1, 0.1, 0.077, 0.0]
    """
    return settings.max_decline * min(1.0, max(0.0, (expected - 0.5) / (STRONG - 0.5)))


@dataclass(frozen=True)
class Promise:
    """Results of the held-out evaluation that a verdict needs."""

    auc: float
    standard_error: float
    rows: int
    threshold: float
    confusion: Mapping[str, int] | None

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "Promise | None":
        """Read the document of `Evaluation.to_json`; return None without a ROC-AUC with its interval."""
        auc = (document or {}).get("metrics", {}).get("roc_auc", {})
        if document is None or any(auc.get(part) is None for part in ("value", "low", "high")):
            return None
        width = 2 * float(ndtri((1 + document["confidence"]) / 2))
        return cls(
            auc=auc["value"],
            standard_error=(auc["high"] - auc["low"]) / width,
            rows=document["rows"],
            threshold=document["threshold"],
            confusion=None if "repeats" in document else document.get("confusion"),
        )


def _test(
    name: Literal["threshold", "expected"],
    auc: AUC,
    line: float,
    expected: float,
    promise: Promise | None = None,
    errors: Errors | None = None,
) -> DeclineTest:
    """Test "ROC-AUC is not lower than `expected`"; if `errors` is given, also "there are not more errors"."""
    below = auc.value < line
    comparisons = 3 if errors else 1
    if promise:  # at least half a row's share away from 0 and 1, which have no log-odds
        expected = min(max(expected, 0.5 / promise.rows), 1.0 - 0.5 / promise.rows)
    gap, error, expected_error, p_value = None, math.nan, 0.0, None
    if auc.value >= 1.0:
        p_value = 1.0
    elif not math.isnan(auc.standard_error) and 0.0 < expected < 1.0:
        gap = float(logit(auc.value) - logit(expected))
        error = auc.standard_error / (auc.value * (1.0 - auc.value))
        if promise:
            expected_error = promise.standard_error / (expected * (1.0 - expected))
        p_value = float(ndtr(gap / math.hypot(error, expected_error)))
    elif not math.isnan(auc.standard_error):
        p_value = float(expected <= 0.0)
    smallest = [p_value, errors.p_value / 2 if errors else None]
    known = [value for value in smallest if value is not None]
    combined = min(1.0, comparisons * min(known)) if known else None
    return DeclineTest(name, line, below, combined, gap, error, expected_error, comparisons)


def _errors(y: NDArray[np.float64], p: NDArray[np.float64], promise: Promise, churn_threshold: float) -> Errors | None:
    """Compare the errors among churners and among stayers with those of the held-out evaluation."""
    then = promise.confusion
    if then is None or promise.threshold != churn_threshold:
        return None
    flagged, left = p >= churn_threshold, y == 1.0
    tables, wrong, expected = [], 0, 0.0
    for errors, rows, before, all_before in (
        (int((left & ~flagged).sum()), int(left.sum()), then["fn"], then["fn"] + then["tp"]),
        (int((flagged & ~left).sum()), int((~left).sum()), then["fp"], then["fp"] + then["tn"]),
    ):
        tables.append(np.array([[errors, rows - errors], [before, all_before - before]]))
        wrong += errors
        expected += rows * before / all_before if all_before else 0.0
    smaller = min(stratified_p_value(*tables), fisher_p_value(tables[1], "greater"))
    return Errors(wrong, expected, y.size, min(1.0, 2 * smaller))


def _reason(
    auc: AUC, expected: float | None, tests: Sequence[DeclineTest], errors: Errors | None, settings: MonitoringSettings
) -> str:
    reason = f"ROC-AUC is {auc.value:.3f}"
    if not tests:
        return f"{reason}; there is no performance_threshold and no evaluation to compare it with"
    crossed = {test.name for test in tests if test.below}
    if not crossed:
        reason += f", not below the limit of {max(test.line for test in tests):.3g}"
    if "threshold" in crossed:
        reason += f", below the threshold of {settings.performance_threshold:.3g}"
    if "expected" in crossed:
        allowed = 0.0 if expected is None else allowed_decline(expected, settings)
        reason += f"{' and' if len(crossed) > 1 else ','} more than {allowed:.3g} below the expected {expected:.3f}"
    elif expected is not None:
        reason += f" ({expected:.3f} was expected)"
    return reason if errors is None else f"{reason}; {errors}"
