"""Policy of retraining: monitoring recommends, the policy permits, and later the gate decides on deployment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from churnops.settings import RetrainingSettings

Cause = Literal["monitoring", "schedule", "by hand"]
CAUSE_LABELS: Mapping[str, str] = {"monitoring": "a report", "schedule": "the schedule", "by hand": "a person"}
"""Origin of a request to retrain."""

MIN_COVERAGE = 0.8
"""Minimum known share of the due outcomes. Below it, the known ones possibly do not represent all customers."""


@dataclass(frozen=True)
class RetrainingTask:
    """Request to retrain: origin, reasons, and perhaps a file with more labelled customers."""

    cause: Cause
    because: tuple[str, ...] = ()
    batch: Path | None = None


@dataclass(frozen=True)
class Situation:
    """Facts for the policy's decision.

    Attributes
    ----------
    cause
        Origin of the request: a report, the schedule, or a person.
    deployed_at
        Time of the last deployment, from the deployment log; None if not known.
    due, labelled
        Numbers of due outcomes, and of known ones among them: in the journal or the task's file, whichever has the
        lower share of known ones.
    unseen
        Number of customers with known outcomes that the deployed model was not trained on.
    new
        Number of these whose outcomes became known since the last comparison with this model, if there was one.
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
    """Permission to retrain, with the reasons for or against it."""

    value: bool
    reasons: tuple[str, ...]


def scheduled(settings: RetrainingSettings, deployed_at: datetime | None, now: datetime) -> bool:
    """Return whether `every_days` is set and at least that many days have passed since the deployment."""
    return bool(settings.every_days) and deployed_at is not None and now - deployed_at >= timedelta(settings.every_days)


def permit(situation: Situation, settings: RetrainingSettings) -> Permission:
    """Decide whether a retraining may begin.

    A person's request is refused only if too few outcomes are known for a comparison. An automatic request also waits
    for the cooldown, and for `min_new_labels` since the last comparison: each comparison is another chance for
    an equal model to look better.

    Examples
    --------
    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 8, tzinfo=UTC)
    >>> asked = Situation("monitoring", now, now - timedelta(days=2), due=900, labelled=880, unseen=880, new=880)
    >>> permit(asked, RetrainingSettings()).value
    True
    >>> permit(asked, RetrainingSettings(retraining_cooldown_days=7)).reasons
    ('the model was deployed 2.0 days ago, and the cooldown is 7 days',)
    """
    against = []
    if not situation.unseen:
        against.append("no customer with a known outcome is new to the deployed model")
    elif situation.labelled < MIN_COVERAGE * situation.due:
        against.append(
            f"{situation.labelled:,} of {situation.due:,} due outcomes are known, but {MIN_COVERAGE:.0%} are needed: "
            "the known outcomes possibly do not represent all customers"
        )
    if situation.cause != "by hand":
        against += _against_automatic(situation, settings)
    if against:
        return Permission(False, tuple(against))
    return Permission(True, (f"{situation.unseen:,} customers with known outcomes are new to the deployed model",))


def _against_automatic(situation: Situation, settings: RetrainingSettings) -> list[str]:
    against = []
    cooldown = settings.retraining_cooldown_days
    # A cooldown of 0 days never refuses, even if another machine's clock dated the deployment ahead.
    if cooldown and situation.deployed_at and situation.now - situation.deployed_at < timedelta(cooldown):
        age = (situation.now - situation.deployed_at) / timedelta(days=1)
        against.append(f"the model was deployed {age:.1f} days ago, and the cooldown is {cooldown:g} days")
    new, needed = situation.new, settings.min_new_labels
    if situation.unseen and new < needed:
        since = " since the last comparison" if new < situation.unseen else ""
        against.append(f"{new:,} customers with known outcomes are new{since}, but {needed:,} are needed")
    return against
