"""Requests to retrain after a recommendation: permission and result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from churnops.journal.decisions import RecordedDecision
from churnops.retraining.gate import VERDICT_LABELS
from churnops.retraining.outcome import STATUS_LABELS
from churnops.retraining.policy import CAUSE_LABELS
from churnops.untrusted import text, texts
from churnops.words import capital

OPEN = "no decision yet: it is still running, or it failed (see the alerts)"


@dataclass(frozen=True)
class RetrainingRequest:
    """A request to retrain; `because`, `reason` and an unknown verdict as `outcome` are texts from outside."""

    at: datetime
    by: str
    because: str
    permitted: bool
    reason: str
    outcome: str


def retrainings(decisions: Sequence[RecordedDecision]) -> list[RetrainingRequest]:
    """Return the requests to retrain, each with the decision to deploy that ended it, newest first.

    Parameters
    ----------
    decisions
        Decisions to retrain and to deploy, newest first. A decision to deploy ends the last request permitted before.
    """
    requests, ended = [], None
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
        details = decision.details
        because = "; ".join(texts(details.get("because")))
        by = CAUSE_LABELS.get(text(details.get("cause")), "not recorded")
        requests.append(RetrainingRequest(decision.at, by, because, permitted, reason, outcome))
    return requests


def followed(requests: Sequence[RetrainingRequest], report_at: datetime, recommended: bool, automatic: bool) -> str:
    """Describe the first request after a report, without the request's reasons; `requests` are newest first."""
    later = [request for request in requests if request.at >= report_at]
    if later:
        first = later[-1]
        return f"{capital(first.by)} requested a retraining on {first.at:%Y-%m-%d %H:%M} UTC. {capital(first.outcome)}."
    if not recommended:
        return ""
    if not automatic:
        return "No retraining yet: automatic retraining is switched off. Type churnops retrain."
    return "No retraining yet: it has not started, or it was stopped. Type churnops retrain."
