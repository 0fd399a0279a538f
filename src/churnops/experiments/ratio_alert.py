"""Alert of a sample-ratio mismatch, once for each split."""

from churnops.experiments.sample_ratio import judge_ratio
from churnops.journal.experiments import Experiment
from churnops.project import Project

MISMATCH = "mismatch_p_value"
"""Name of the p-value at the first mismatch among the details of a split."""


def alert_mismatch(project: Project, split: Experiment) -> bool:
    """Send an alert if the arms do not have their planned shares, unless it was sent before; return whether it is sent.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    champion, challenger = (count.customers for count in project.exposures.count(split.id))
    ratio = judge_ratio(champion, challenger, split.share)
    if not ratio.mismatch or not project.experiments.note_once(split.id, MISMATCH, ratio.p_value):
        return False
    from churnops.alerting.alarms import sample_ratio_mismatch
    from churnops.alerting.alerts import Alerts

    alarm = sample_ratio_mismatch(split.id, champion, challenger, split.share)
    Alerts.of(project.settings, project.alerts).announce(alarm)
    return True
