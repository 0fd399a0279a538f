"""Alarms that follow from a report, a failure or a deployment; `alerts` sends them."""

from collections.abc import Sequence

from churnops.alerting.notices import Alarm, Severity, Subject
from churnops.monitoring.budget import Trigger, reason_without_prefix
from churnops.monitoring.cautions import Caution
from churnops.monitoring.messages import MESSAGES
from churnops.monitoring.report import Report
from churnops.settings import LIVE
from churnops.words import capital

AFTER_RETRAINING: tuple[Subject, ...] = ("retraining_failed",)
"""Subjects whose alarms end when a retraining run has decided, for or against the new model."""


def alarms(report: Report, link: str) -> tuple[list[Alarm], list[Subject]]:
    """Return the alarms of a finished cycle, and the subjects that are clear: their earlier alarms end.

    Both lists concern the report's source. A trigger or caution that is unknown, or big but not certain, is in neither,
    so its last alarm stays. A report without consequences has no alarm, and customers examined before cause none.
    """
    if report.report_only:
        return [], []
    if report.examined_before:
        return [], ["cycle_failed"]
    verdicts: tuple[Trigger | Caution, ...] = (*report.recommendation.triggers, *report.cautions)
    firing = [_alarm(verdict, report, link) for verdict in verdicts if verdict.fired]
    clear: list[Subject] = [verdict.name for verdict in verdicts if verdict.big is False]
    return firing, ["cycle_failed", *clear]


def failure(reason: str, link: str, source: str = LIVE) -> Alarm:
    """Return the alarm of a failed cycle with the customers of a source."""
    todo = "run `churnops monitor` by hand." if source == LIVE else "monitor a file of the same source by hand."
    facts = (_sentence(reason), f"The model is not watched until a cycle finishes. Next: {todo}")
    return Alarm("cycle_failed", "critical", "A monitoring cycle failed", facts, link)


def retraining_failed(reason: str, link: str, production: str = "The deployed model is unchanged.") -> Alarm:
    """Return the alarm of a failed retraining; a later decision ends it (`AFTER_RETRAINING`).

    Parameters
    ----------
    reason : str
        One line. A retraining that decided to keep the deployed model has not failed.
    production : str
        Sentence on the deployed model.
    """
    facts = (_sentence(reason), f"{_sentence(production)} Next: run `churnops retrain` by hand.")
    return Alarm("retraining_failed", "critical", "A retraining failed", facts, link)


def deployment(
    model_version: str, reason: str, facts: Sequence[str], link: str, *, severity: Severity = "info"
) -> Alarm:
    """Return the event of a newly deployed model."""
    return Alarm("deployed", severity, f"{model_version} is deployed", (_sentence(reason), *facts), link)


def rollback(model_version: str, reason: str, link: str) -> Alarm:
    """Return the event of a rollback: an earlier model is deployed again."""
    return Alarm("rolled_back", "warning", f"Rolled back to {model_version}", (_sentence(reason),), link)


def slow_challenger(challenger: str, champion: str, split: int) -> Alarm:
    """Return the event that a split has ended because its challenger was slow."""
    facts = (
        f"The challenger {challenger} took too long three times (setting api.challenger_milliseconds).",
        f"The deployed model {champion} answers all customers again; no answer was lost.",
    )
    return Alarm("split_stopped", "warning", f"Split {split} has stopped", facts)


def sample_ratio_mismatch(split: int, champion: int, challenger: int, share: float) -> Alarm:
    """Return the event that the arms of a split, of so many customers, do not have their planned shares."""
    facts = (
        f"{champion:,} customers in the champion's arm and {challenger:,} in the challenger's do not fit the share of "
        f"{share:g}.",
        "Customers were lost or changed their arm (sample ratio mismatch), so the arms cannot be compared.",
        "Next: `churnops split report`, then find out which customers are missing.",
    )
    return Alarm("split_mismatch", "warning", f"Split {split} cannot be compared", facts)


def _alarm(verdict: Trigger | Caution, report: Report, link: str) -> Alarm:
    message = MESSAGES[verdict.name]
    severity = verdict.severity if isinstance(verdict, Caution) else message.severity
    reason = reason_without_prefix(verdict.reason)
    examined = f"Model {report.model_version} on {report.rows:,} customers ({report.source})."
    facts = (_sentence(reason), f"Next: {message.todo}", examined)
    columns = verdict.columns if isinstance(verdict, Caution) else {}
    return Alarm(verdict.name, severity, message.event, facts, link, columns)


def _sentence(text: str) -> str:
    """Return a text with a capital first letter and a full stop."""
    return capital(text) if text.endswith((".", "!", "?")) else f"{capital(text)}."
