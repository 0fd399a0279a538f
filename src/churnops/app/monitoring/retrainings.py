"""What followed from a recommendation: retrainings that were asked for, whether permitted, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from churnops.app.shared.documents import text, texts
from churnops.journal.decisions import RecordedDecision
from churnops.retraining.gate import VERDICT_LABELS
from churnops.retraining.outcome import STATUS_LABELS
from churnops.retraining.policy import CAUSE_LABELS
from churnops.words import capital

OPEN = "no decision is recorded: it is still running, or it failed (see the alerts)"


@dataclass(frozen=True)
class RetrainingRequest:
    """A retraining that was asked for; all texts but `outcome` are from outside."""

    at: datetime
    by: str
    because: str
    permitted: bool
    reason: str
    outcome: str


def retrainings(decisions: Sequence[RecordedDecision]) -> list[RetrainingRequest]:
    """Match decisions to retrain with the decisions to deploy that followed.

    Parameters
    ----------
    decisions
        Of both subjects, newest first. A decision to deploy ends the retraining last permitted before it.
    """
    found, ended = [], None
    for decision in decisions:
        if decision.subject == "deploy":
            ended = decision
            continue
        permitted = decision.verdict == "yes"
        outcome, reason = STATUS_LABELS["not permitted"], decision.reason
        if permitted:
            outcome = VERDICT_LABELS.get(ended.verdict, ended.verdict) if ended else OPEN
            reason = ended.reason if ended else decision.reason
            ended = None
        asked = decision.details
        because = "; ".join(texts(asked.get("because")))
        by = CAUSE_LABELS.get(text(asked.get("cause")), "not recorded")
        found.append(RetrainingRequest(decision.at, by, because, permitted, reason, outcome))
    return found


def followed(asked: Sequence[RetrainingRequest], report_at: datetime, recommended: bool, automatic: bool) -> str:
    """Say what followed from a report, newest first; the outcome is a sentence of ours, without reasons."""
    later = [one for one in asked if one.at >= report_at]
    if later:
        first = later[-1]
        return f"A retraining was asked for on {first.at:%Y-%m-%d %H:%M} UTC by {first.by}. {capital(first.outcome)}."
    if not recommended:
        return ""
    if not automatic:
        return "Nothing has followed yet: retraining by itself is switched off. Type churnops retrain."
    return "Nothing has followed yet: it is about to, or it was stopped after the report. Type churnops retrain."
