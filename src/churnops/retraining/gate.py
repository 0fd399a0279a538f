"""Gate: a challenger replaces the champion only if its gain on the same rows is proven.

The verdict depends on the gain (positive if the challenger is better) and its one-sided bounds:

- `deploy`: the gain is above `min_improvement`, its lower bound is above 0, and every guard holds.
- `keep`: the upper bound is at most `min_improvement`, so a sufficient gain is excluded; or a guard is broken although
  the gain is proven.
- `cannot tell`: none of these, or too few customers of an outcome. Nothing is deployed; more labels may decide.

A guard is a metric that the challenger may worsen by at most a tolerance, however large the gain is. With
`confidence: null` the gain alone decides: no bounds, no guards.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.evaluation.metrics import HIGHER_IS_BETTER, METRIC_LABELS, point_metrics
from churnops.retraining.gain import bounds, corrected, labels_needed, round_up, spread
from churnops.settings import GateMetric, RetrainingSettings

Verdict = Literal["deploy", "keep", "cannot tell"]
VERDICT_LABELS: Mapping[str, str] = {
    "deploy": "deploy: the challenger is better, and may replace the champion",
    "keep": "keep: the champion stays",
    "cannot tell": "cannot tell yet: the champion stays",
}
GuardName = Literal["log_loss", "calibration_error"]

MIN_OF_EACH = 20
"""Minimum number of customers of each outcome for a verdict. An overconfident model without a gain had a lower
95 % bound above 0 in 12 % of samples with 14 churned customers, and in 6 % with 20 (log loss, telecom table)."""
_SIGN: Mapping[str, float] = {name: 1.0 if higher else -1.0 for name, higher in HIGHER_IS_BETTER.items()}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Guardrail:
    """A metric (lower is better) that may rise by at most `tolerance`."""

    name: GuardName
    champion: float
    challenger: float
    tolerance: float

    @property
    def held(self) -> bool:
        """Whether the rise is within the tolerance."""
        return self.challenger - self.champion <= self.tolerance


@dataclass(frozen=True)
class Decision:
    """Verdict on a challenger, with the evidence. A number that cannot be computed is None.

    Attributes
    ----------
    reason
        One sentence, with the numbers.
    champion, challenger
        The metric of each model on these rows.
    gain
        Difference of the metric, above 0 if the challenger is better.
    standard_error
        Standard error of the gain.
    low, high
        One-sided bounds of the gain, each at `confidence`; wider for the best of several challengers. None without a
        `confidence`.
    min_improvement
        Lower limit that the gain must exceed.
    confidence
        Confidence of the bounds; None for the plain rule, by which the gain alone decides.
    compared
        Number of challengers from which this one was chosen on these rows.
    rows, churned
        Number of all customers, and of churned customers.
    guards
        Guards; empty for the plain rule.
    labels_needed
        For the verdict `cannot tell`: total number of labels that proves a gain of this size in 90 % of cases; if an
        outcome is too rare, the number that probably includes it often enough. None for other verdicts, or if no number
        is enough.
    """

    verdict: Verdict
    reason: str
    metric: GateMetric
    champion: float | None
    challenger: float | None
    gain: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    min_improvement: float
    confidence: float | None
    compared: int
    rows: int
    churned: int
    guards: tuple[Guardrail, ...]
    labels_needed: int | None

    @property
    def deploy(self) -> bool:
        """Whether the verdict is `deploy`."""
        return self.verdict == "deploy"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, without NaN."""
        guards = [asdict(guard) | {"held": guard.held} for guard in self.guards]
        return asdict(self) | {"guards": guards}


def decide(
    outcome: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    settings: RetrainingSettings,
    *,
    compared: int = 1,
    seed: int,
) -> Decision:
    """Decide whether a challenger replaces the champion.

    Parameters
    ----------
    outcome : array of shape (n,)
        1 churned, 0 stayed.
    champion, challenger : arrays of shape (n,)
        Probabilities of churn for the same customers, on which neither model was trained.
    settings
        The metric, `min_improvement`, `confidence`, and the guards' tolerances.
    compared : int >= 1
        Number of challengers from which this one was chosen on these rows.
    seed : int
        Seed of the bootstrap, for average precision.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        If the shapes differ, an outcome is not 0 or 1, a probability is not in [0, 1], or `compared` is below 1.

    Notes
    -----
    The standard error is DeLong's (1988) for the gain in ROC-AUC, and a paired bootstrap's for average precision. The
    gain in log loss is the mean of the customers' differences, with its standard error and skewness: an overconfident
    model is slightly better on nearly all customers, and much worse on a few. The bounds use Student's t. Its degrees
    of freedom are the number of customers of the rarer outcome minus one, because these customers cause most of the
    uncertainty. Brunner and Munzel (Biometrical Journal 42 (2000) 17-25) allow more degrees, so these bounds are
    slightly wider.

    For the best of k challengers, a bound may be wrong with probability (1 - confidence) / k (Bonferroni). A challenger
    without a gain is deployed only if one of the k bounds is wrong. The probability of that is at most the sum of the k
    probabilities, for any dependence between the challengers and any choice of the best.

    Examples
    --------
    >>> customer = np.arange(1000)
    >>> outcome = np.isin(customer % 20, [1, 3, 5, 7])  # of odd customers 40 % churn, of even ones nobody
    >>> champion, challenger = np.full(1000, 0.2), np.where(customer % 2, 0.4, 0.01)
    >>> decision = decide(outcome, champion, challenger, RetrainingSettings(), seed=1)
    >>> decision.verdict, decision.gain, round(decision.low, 3)
    ('deploy', 0.3125, 0.298)
    >>> decide(outcome, challenger, champion, RetrainingSettings(), seed=1).verdict
    'keep'
    """
    y, p, q = _checked(outcome, champion, challenger, compared)
    rows, churned = y.size, int((y == 1.0).sum())
    rarer = min(churned, rows - churned)
    metric, confidence = settings.metric, settings.confidence
    before, after = ({} if rows == 0 else point_metrics(y, scores) for scores in (p, q))
    values = (before.get(metric, math.nan), after.get(metric, math.nan))
    gain = (values[1] - values[0]) * _SIGN[metric]
    error, skewness = spread(y, p, q, metric, seed=seed) if rarer > 1 else (math.nan, 0.0)
    low = high = math.nan
    if confidence is not None and rarer >= MIN_OF_EACH:
        low, high = bounds(gain, error, rarer, skewness, level=corrected(confidence, compared))
    guards = () if confidence is None or rows == 0 else _guards(before, after, settings)
    evidence = _Evidence(settings, compared, rows, churned, *values, gain, error, low, high, guards)
    verdict, reason = evidence.verdict()
    needed = evidence.labels_needed() if verdict == "cannot tell" else None
    if needed is not None:
        reason += f"; collect about {round_up(needed - rows):,} more labels"
    return Decision(
        verdict=verdict,
        reason=reason,
        metric=metric,
        champion=_or_none(values[0]),
        challenger=_or_none(values[1]),
        gain=_or_none(gain),
        standard_error=_or_none(error),
        low=_or_none(low),
        high=_or_none(high),
        min_improvement=settings.improvement,
        confidence=confidence,
        compared=compared,
        rows=rows,
        churned=churned,
        guards=guards,
        labels_needed=needed,
    )


@dataclass(frozen=True)
class _Evidence:
    """Numbers behind the verdict. A number that cannot be computed is NaN."""

    settings: RetrainingSettings
    compared: int
    rows: int
    churned: int
    before: float
    after: float
    gain: float
    error: float
    low: float
    high: float
    guards: tuple[Guardrail, ...]

    def verdict(self) -> tuple[Verdict, str]:
        """Return the verdict and its reason."""
        required, confidence, stayed = self.settings.improvement, self.settings.confidence, self.rows - self.churned
        least = 1 if confidence is None else MIN_OF_EACH
        if min(self.churned, stayed) < least:
            return "cannot tell", (
                f"{self.rows:,} outcomes are known ({self.churned:,} churned, {stayed:,} stayed), "
                f"but at least {least} of each are needed"
            )
        metric = (
            f"{METRIC_LABELS[self.settings.metric]} {self.after:.4f} instead of {self.before:.4f} "
            f"on {self.rows:,} customers ({self.churned:,} churned)"
        )
        if self.gain == self.error == 0.0:
            return "keep", f"{metric}: both models give the same scores"
        gain = f"{metric}: the gain of {self.gain:.4f}"
        if confidence is None:
            if self.gain > required:
                return "deploy", f"{gain} is above the required {required:g}, and no other rule applies"
            return "keep", f"{gain} is not above the required {required:g}"
        sure = f"{100 * confidence:g} % confidence" + (f", best of {self.compared}" if self.compared > 1 else "")
        if self.high <= required:
            return "keep", f"{gain} may be as high as {self.high:.4f} ({sure}), but more than {required:g} is required"
        if self.gain <= required:
            return "cannot tell", (
                f"{gain} may be as low as {self.low:.4f} or as high as {self.high:.4f} ({sure} each), "
                f"so the required {required:g} is neither proven nor excluded"
            )
        broken = " and ".join(
            f"{METRIC_LABELS[guard.name]} rises from {guard.champion:.4f} to {guard.challenger:.4f}, "
            f"by more than the allowed {guard.tolerance:g}"
            for guard in self.guards
            if not guard.held
        )
        if self.low <= 0.0:
            unproven = f"{gain} may be as low as {self.low:.4f} ({sure}), so it is not proven"
            return "cannot tell", f"{unproven}, and {broken}" if broken else unproven
        if broken:
            return "keep", f"{gain} is proven (at least {self.low:.4f}, {sure}), but {broken}"
        return "deploy", f"{gain} is above the required {required:g}, and at least {self.low:.4f} ({sure})"

    def labels_needed(self) -> int | None:
        """Return the total number of labels after which the gate can probably decide; None if no number is enough."""
        rarer, confidence = min(self.churned, self.rows - self.churned), self.settings.confidence
        if confidence is None or rarer == 0:
            return None
        if rarer < MIN_OF_EACH:
            return math.ceil(self.rows * MIN_OF_EACH / rarer)
        return labels_needed(
            self.gain,
            self.error,
            self.rows,
            min_improvement=self.settings.improvement,
            level=corrected(confidence, self.compared),
            low=self.low,
        )


def _checked(
    outcome: ArrayLike, champion: ArrayLike, challenger: ArrayLike, compared: int
) -> tuple[Floats, Floats, Floats]:
    y, p, q = (np.asarray(values, dtype=np.float64) for values in (outcome, champion, challenger))
    if y.ndim != 1 or not y.shape == p.shape == q.shape:
        raise ValueError(
            f"shapes are {y.shape}, {p.shape} and {q.shape}: give three arrays of shape (rows,) for the same rows"
        )
    if compared < 1:
        raise ValueError(f"compared is {compared}: give the number of challengers, at least 1")
    return y, p, q


def _guards(
    before: Mapping[str, float], after: Mapping[str, float], settings: RetrainingSettings
) -> tuple[Guardrail, ...]:
    tolerances: dict[GuardName, float] = {
        "log_loss": settings.max_log_loss_increase,
        "calibration_error": settings.max_calibration_error_increase,
    }
    return tuple(
        Guardrail(name, before[name], after[name], tolerance)
        for name, tolerance in tolerances.items()
        if name != settings.metric
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
