"""Error budget: four triggers, judged again at each look, and one recommendation.

The budget is the chance, over a model's whole life and for one source of customers, of a recommendation to retrain
although nothing changed. Each trigger gets an equal part, and spends 1 / (k (k + 1)) of its part at look k. These
shares add up to 1 over all looks. So by the union bound the budget holds for any number of looks, whether they depend
on each other or not: an hourly look is as safe as a single one. The idea of spending error over looks is that of Lan
and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983) 659-663.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from churnops.monitoring.decline import Decline
from churnops.monitoring.verdicts import ColumnDrift, FeatureDrift
from churnops.settings import MonitoringSettings

TriggerName = Literal["performance", "feature_drift", "prediction_drift", "target_drift"]
TRIGGER_LABELS: Mapping[str, str] = {
    "performance": "performance",
    "feature_drift": "feature drift",
    "prediction_drift": "prediction drift",
    "target_drift": "target drift",
}
REASON_PREFIXES: Mapping[str, str] = {
    **TRIGGER_LABELS,
    "prediction_drift": "score drift",
    "target_drift": "label drift",
}
"""First words of a trigger's reason, before a colon."""
TRIGGERS = len(TRIGGER_LABELS)


def reason_without_prefix(reason: str) -> str:
    """Return a trigger's reason without the name of the trigger.

    >>> reason_without_prefix("feature drift: 2 of 9 columns drifted"), reason_without_prefix("as before")
    ('2 of 9 columns drifted', 'as before')
    """
    start, separator, rest = reason.partition(": ")
    return rest if separator and start in REASON_PREFIXES.values() else reason


@dataclass(frozen=True)
class Trigger:
    """One of the four conditions that recommend retraining.

    Attributes
    ----------
    big
        Whether the difference reaches its threshold; None if unknown.
    fired
        Whether the difference is big and meets one more condition: it is certain (`p_value` is not above `level`), or
        the trigger fired at the previous look. The plain rule has no such condition. None if unknown.
    p_value
        p-value of "nothing changed", corrected for the columns and tests behind it.
    level
        Highest p-value of a certain difference at this look; None under the plain rule, which has no budget.
    reason
        The verdict in words.
    """

    name: TriggerName
    big: bool | None
    fired: bool | None
    p_value: float | None
    level: float | None
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """Whether to train again, and why: the reasons of the triggers that fired.

    Attributes
    ----------
    look
        Number of this look at fresh evidence on the model; None for a batch that spends no error budget.
    budget
        Chance of a false recommendation over the whole life; None under the plain rule, which has no budget.
    """

    value: bool
    reasons: tuple[str, ...]
    triggers: tuple[Trigger, ...]
    look: int | None
    budget: float | None


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of a monitoring cycle: ROC-AUC, and drift of inputs, of scores and of known outcomes.

    `explained` are triggers whose difference a broken column explains.
    """

    performance: Decline
    features: FeatureDrift
    scores: ColumnDrift
    labels: ColumnDrift
    explained: Collection[TriggerName] = ()


def level(look: int, budget: float, triggers: int = TRIGGERS) -> float:
    """Return the level of one trigger at a look: the highest p-value of a certain difference.

    Parameters
    ----------
    look
        1 for the first look at the model, 2 for the second, ...
    budget
        In (0, 1): chance of any false recommendation over all looks and triggers.
    triggers
        Number of triggers that share the budget.

    Raises
    ------
    ValueError
        If `look` is below 1.

    Examples
    --------
    >>> level(1, 0.05)
    0.00625
    >>> round(sum(4 * level(look, 0.05) for look in range(1, 10_000)), 4)
    0.05
    """
    if look < 1:
        raise ValueError(f"look is {look}: looks are counted from 1")
    return budget / triggers / (look * (look + 1))


def recommend(
    verdicts: Verdicts, settings: MonitoringSettings, look: int | None, *, established: Collection[str] = ()
) -> Recommendation:
    """Decide whether to recommend retraining. Nothing else in churnops decides this.

    A trigger fires if its difference is big and its p-value is not above the level of this look. With `correction:
    none` a big difference is enough: the plain rule.

    Parameters
    ----------
    look
        Number of this look; a second look at the same batch keeps the number of the first. None for a batch that spends
        no error budget, such as a simulated one; it is judged at the level of a first look.
    established
        Triggers that fired at the previous look. They stay fired while their difference is big, although the level is
        lower now. The budget still holds, because they fired within it.

    Notes
    -----
    A model trained on a broken column would be worse, so a broken column alone recommends nothing (`explained`). The
    plain rule ignores it.
    """
    performance, features = verdicts.performance, verdicts.features
    scores, labels = verdicts.scores, verdicts.labels
    rate, allowed = features.drift_rate, settings.drift_rate_threshold
    conditions = (
        _Condition(
            "performance", performance.below, performance.p_value, performance.reason, performance.more_outcomes
        ),
        _Condition(
            "feature_drift",
            None if rate is None else rate > allowed,
            features.p_value,
            features.reason + ("" if rate is None else f"; the limit is {allowed:.0%}"),
        ),
        _Condition("prediction_drift", scores.drifted, scores.p_value, scores.reason),
        _Condition("target_drift", labels.drifted, labels.p_value, labels.reason),
    )
    budget = None if settings.correction == "none" else settings.false_alarm_budget
    allowed_p = None if budget is None else level(look or 1, budget)
    triggers = tuple(condition.trigger(allowed_p, condition.name in established) for condition in conditions)
    if budget is not None:
        triggers = _without_explained(triggers, verdicts.explained)
    reasons = tuple(trigger.reason for trigger in triggers if trigger.fired)
    return Recommendation(bool(reasons), reasons, triggers, look, budget)


def _without_explained(triggers: tuple[Trigger, ...], explained: Collection[str]) -> tuple[Trigger, ...]:
    """Leave the explained triggers with a big difference unknown, unless so many columns drifted that they fire too."""
    if any(trigger.fired for trigger in triggers if trigger.name == "feature_drift"):
        return triggers
    return tuple(
        replace(trigger, big=None, fired=None, reason=f"{trigger.reason}; cannot tell, because a column is broken")
        if trigger.big and trigger.name in explained
        else trigger
        for trigger in triggers
    )


@dataclass(frozen=True)
class _Condition:
    """A difference that a trigger judges; attributes as those of `Trigger`.

    `more` estimates how many more outcomes would make the difference certain at a level; None if it cannot.
    """

    name: TriggerName
    big: bool | None
    p_value: float | None
    reason: str
    more: Callable[[float], int | None] | None = None

    def trigger(self, level: float | None, established: bool) -> Trigger:
        """Return the trigger; see `Trigger.fired`. `established` means that it fired at the previous look."""
        name, big, p_value = self.name, self.big, self.p_value
        reason = f"{REASON_PREFIXES[name]}: {self.reason}"
        if not big or level is None:
            return Trigger(name, big, big, p_value, level, reason)
        if p_value is not None and p_value <= level:
            return Trigger(name, big, True, p_value, level, reason)
        if established:
            return Trigger(name, big, True, p_value, level, f"{reason}; certain at an earlier look, and still big")
        if p_value is None:
            return Trigger(name, big, None, None, level, f"{reason}; cannot tell whether it is certain")
        more = self.more(level) if self.more else None
        needed = "" if more is None else f": about {more:,} more outcomes are needed"
        return Trigger(name, big, False, p_value, level, f"{reason}; not certain yet{needed}")
