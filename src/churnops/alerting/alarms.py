"""Which alarms follow from a report, a failure or a deployment: what is told, in three facts. `alerts` tells it."""

from collections.abc import Sequence

from churnops.alerting.alerts import Alarm, Severity, Subject
from churnops.monitoring.budget import Trigger
from churnops.monitoring.report import Report
from churnops.settings import LIVE

_TITLES: dict[str, tuple[Severity, str]] = {
    "performance": ("critical", "the churn model performs worse than it must"),
    "feature_drift": ("warning", "customers differ from those the churn model was trained on"),
    "prediction_drift": ("warning", "churn scores differ from those expected"),
    "target_drift": ("warning", "the churn rate has changed"),
}

AFTER_RETRAINING: tuple[Subject, ...] = ("retraining_failed",)
"""What is over once a retraining has come to a decision, whichever that is: to be told as clear."""


def alarms(report: Report, link: str) -> tuple[list[Alarm], list[Subject]]:
    """Return the alarms that a finished cycle gives rise to, and the subjects that are all right.

    Both are about the report's source. A trigger that is unknown, or big and not certain, is in neither: its
    last alarm stays as it is. A report that acts as no source gives rise to nothing.
    """
    if report.aside:
        return [], []
    if report.examined_before:
        return [], ["cycle_failed"]
    firing = [_alarm(trigger, report, link) for trigger in report.recommendation.triggers if trigger.fired]
    clear: list[Subject] = [t.name for t in report.recommendation.triggers if t.big is False]
    return firing, ["cycle_failed", *clear]


def failure(reason: str, link: str, source: str = LIVE) -> Alarm:
    """Return the alarm of a cycle that failed, with the customers of a source."""
    if source == LIVE:
        facts = [reason, "the model is not watched until a cycle finishes", "run it by hand: churnops monitor"]
    else:
        facts = [reason, "these customers are not watched until a cycle of the same source finishes"]
    return Alarm("cycle_failed", "critical", "a monitoring cycle failed", tuple(facts), link)


def retraining_failed(reason: str, link: str, production: str = "production is as it was before") -> Alarm:
    """Return the alarm of a retraining that failed; `AFTER_RETRAINING` says what ends it.

    Parameters
    ----------
    reason : str
        One line. A retraining that came to the decision to keep the model has not failed.
    production : str
        What answers now.
    """
    facts = (reason, production, "run it by hand: churnops retrain")
    return Alarm("retraining_failed", "critical", "a retraining failed", facts, link)


def deployment(
    model_version: str, reason: str, facts: Sequence[str], link: str, *, severity: Severity = "info"
) -> Alarm:
    """Return the event of a new model in production."""
    return Alarm("deployed", severity, f"{model_version} is in production", (reason, *facts), link)


def rollback(model_version: str, reason: str, link: str) -> Alarm:
    """Return the event of an earlier model that is in production again."""
    return Alarm("rolled_back", "warning", f"back to {model_version}", (reason,), link)


def _alarm(trigger: Trigger, report: Report, link: str) -> Alarm:
    severity, title = _TITLES[trigger.name]
    drifted = report.feature_drift.drifted
    names = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
    watched = f"{report.model_version}, {report.rows:,} customers: {report.source}"
    extra = f"drifted: {names}" if trigger.name == "feature_drift" and names else "retraining is recommended"
    return Alarm(trigger.name, severity, title, (trigger.reason, extra, watched), link)
