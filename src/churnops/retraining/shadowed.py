"""Decision of the gate by the evidence of a shadow."""

from churnops.experiments.shadow import look_at
from churnops.journal.experiments import Experiment
from churnops.model import Bundle
from churnops.project import Project
from churnops.retraining.gate import Decision, Verdict
from churnops.wire import ShadowLook, ShadowVerdict

_VERDICTS: dict[ShadowVerdict, Verdict] = {"better": "deploy", "not better": "keep"}


def decision_of_shadow(project: Project, challenger: Bundle, champion: Bundle) -> Decision | None:
    """Return the decision by the newest shadow of a challenger against this champion.

    A running shadow is looked at now. None if there is no such shadow, or it has no verdict: the gate compares then.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    shadows = project.experiments.newest(100, kind="shadow", champion=champion.content_sha256)
    own = next((shadow for shadow in shadows if shadow.challenger == challenger.content_sha256), None)
    if own is None or own.state == "stopped":
        return None
    look = look_at(project, own)
    verdict = _VERDICTS.get(look.verdict)
    return None if verdict is None else _decision(own, look, verdict)


def _decision(shadow: Experiment, look: ShadowLook, verdict: Verdict) -> Decision:
    return Decision(
        verdict=verdict,
        reason=f"shadow {shadow.id}: {look.reason}",
        metric="log_loss",
        champion=look.champion_log_loss,
        challenger=look.challenger_log_loss,
        gain=look.gain,
        standard_error=None,
        low=look.low,
        high=look.high,
        min_improvement=look.required_gain,
        confidence=1 - look.level,
        compared=1,
        rows=look.labelled,
        churned=look.churned,
        guards=(),
        labels_needed=None,
    )
