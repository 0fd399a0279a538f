"""When to retrain: monitoring recommends, the policy permits. Whether the new model is deployed, the gate decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from churnops.settings import RetrainingSettings

Cause = Literal["monitoring", "schedule", "by hand"]
CAUSE_LABELS: Mapping[str, str] = {"monitoring": "a report", "schedule": "the schedule", "by hand": "a person"}
"""Who asked for a retraining."""

MIN_COVERAGE = 0.8
"""Share of the outcomes due that must be known: whose outcome is known may not be like the others."""


@dataclass(frozen=True)
class Situation:
    """What the policy looks at.

    Attributes
    ----------
    cause
        Who asks: a report that recommends retraining, the schedule, or a person.
    deployed_at
        When the model in production was deployed, from the deployment log; None if that is not known.
    due, labelled
        Outcomes of production customers that are due by now, and how many of them are known.
    unseen
        Customers with known outcomes that the model in production was not trained on.
    new
        How many of those became known since a challenger was last compared with this model; all, if none was.
    """

    cause: Cause
    now: datetime
    deployed_at: datetime | None
    due: int
    labelled: int
    unseen: int
    new: int


@dataclass(frozen=True)
class Permission:
    """Whether a retraining may begin, and why: what is against it, or what it is for."""

    value: bool
    reasons: tuple[str, ...]


def scheduled(settings: RetrainingSettings, deployed_at: datetime | None, now: datetime) -> bool:
    """Say whether the model in production is older than `every_days` allows, where a schedule is set."""
    return bool(settings.every_days) and deployed_at is not None and now - deployed_at >= timedelta(settings.every_days)


def permit(situation: Situation, settings: RetrainingSettings) -> Permission:
    """Say whether a retraining may begin.

    A person may always ask: for them only what makes a comparison impossible is an obstacle. Every comparison is one
    more chance that an equal model looks better, so by itself nothing is retrained before `min_new_labels` have come in
    since the last one.

    Examples
    --------
    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 8, tzinfo=UTC)
    >>> asked = Situation("monitoring", now, now - timedelta(days=2), due=900, labelled=880, unseen=880, new=880)
    >>> permit(asked, RetrainingSettings()).value
    True
    >>> permit(asked, RetrainingSettings(retraining_cooldown_days=7)).reasons
    ('the model in production was deployed 2.0 days ago, the cooldown is 7 days',)
    """
    against = []
    if not situation.unseen:
        against.append("there are no customers with known outcomes that the model in production was not trained on")
    elif situation.labelled < MIN_COVERAGE * situation.due:
        share = situation.labelled / situation.due
        against.append(
            f"of the {situation.due:,} outcomes due {share:.0%} are known, {MIN_COVERAGE:.0%} are needed: "
            "whose outcome is known may not be like the others"
        )
    if situation.cause != "by hand":
        against += _against_automatic(situation, settings)
    if against:
        return Permission(False, tuple(against))
    return Permission(True, (f"{situation.unseen:,} customers with known outcomes are new to the model in production",))


def _against_automatic(situation: Situation, settings: RetrainingSettings) -> list[str]:
    against = []
    cooldown = settings.retraining_cooldown_days
    # Another machine's clock may be ahead: without a cooldown nothing waits for it.
    if cooldown and situation.deployed_at and situation.now - situation.deployed_at < timedelta(cooldown):
        age = (situation.now - situation.deployed_at) / timedelta(days=1)
        against.append(f"the model in production was deployed {age:.1f} days ago, the cooldown is {cooldown:g} days")
    new, needed = situation.new, settings.min_new_labels
    if situation.unseen and new < needed:
        since = " since the last comparison" if new < situation.unseen else ""
        against.append(f"{new:,} customers with known outcomes are new{since}, {needed:,} are needed")
    return against
