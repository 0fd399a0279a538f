"""One monitoring cycle from end to end: collect, check, report, track, alert, and retrain if that is permitted.

`python -m churnops.pipelines.run_monitoring [EXPERIMENT]` is `churnops monitor [--experiment EXPERIMENT]`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from churnops.alerting.alarms import alarms, failure
from churnops.alerting.alerts import Alerts, Delivery
from churnops.errors import ChurnopsError, JournalError, reason_of
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.simulated import refuse_simulated
from churnops.model import Bundle
from churnops.monitoring import MonitoringCycle, Report
from churnops.monitoring.monitor import ModelMonitor
from churnops.pipelines.become import become
from churnops.pipelines.sources import BatchSource
from churnops.project import Project
from churnops.retraining.policy import Cause, scheduled
from churnops.settings import LIVE, Settings
from churnops.tracking import Tracker

EXPERIMENT = "ChurnPrediction-Monitoring"
STEP = "Monitor performance"
UNMATCHED_SHARE = 0.1  # of the newest labels, above which those of customers without a prediction are a warning

Retrain = Callable[[Settings, Cause, Sequence[str], Path | None], str]
"""Retrains for a cause, because of some reasons, also on a file; says in words what came of it."""


@dataclass(frozen=True)
class MonitoringSummary:
    """What a cycle did, for screens and machines; `retraining` says in words what followed from it.

    `warnings` name entries of the journal that are dated ahead of this machine's clock, and labels of customers without
    a prediction, if they are many.
    """

    cycle: MonitoringCycle
    run_id: str
    deliveries: tuple[Delivery, ...]
    retraining: str
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "report": self.cycle.report.to_json(),
            "monitoring_report": str(self.cycle.path),
            "run_id": self.run_id,
            "alerts": [vars(delivery) for delivery in self.deliveries],
            "retraining": self.retraining,
            "warnings": list(self.warnings),
        }


def run_monitoring(
    settings: Settings,
    source: BatchSource,
    *,
    experiment: str | None = None,
    retrain: Retrain | None = None,
    permitted: bool = True,
) -> MonitoringSummary:
    """Run one cycle. It is safe to repeat, to run twice at once, and to kill.

    Parameters
    ----------
    experiment
        Id or name of the MLflow experiment to log to, which must exist. Default: `ChurnPrediction-Monitoring`.
    retrain
        What to call when the report recommends retraining, or the schedule does. Default: `trigger_retraining`.
    permitted
        False stops after the report.

    Raises
    ------
    ChurnopsError
        If there is no such experiment, nothing is deployed, the batch cannot be collected, or the tracking store or the
        journal does not answer. All but the first are recorded and told to the alert channels before, if the cycle
        acts for a source. If the cycle would act on simulated customers, but for a demonstration. If a retraining
        fails, which is told too; the cycle itself is finished then.
    """
    whose = source.acts_as
    with Project.open(settings) as project:
        try:
            alerts = Alerts.of(settings, project.alerts)
        except JournalError as error:
            if whose is not None:
                Alerts.of(settings, None).tell([failure(str(error), settings.alerts.link, whose)], [], whose)
            raise
        if source.path is not None and whose is not None:
            refuse_simulated([source.path], project.simulated, settings)
        loudly = nullcontext if whose is None else partial(failing_loudly, project.cycles, alerts, settings, whose)
        with loudly():
            tracker = Tracker(settings)
        logged = EXPERIMENT if experiment is None else tracker.existing_experiment(experiment)
        with loudly():
            bundle = project.require_deployed()
            with tracker.pipeline(logged, f"monitoring {datetime.now(UTC):%Y-%m-%d %H:%M:%S}") as run:
                cycle = run.step(STEP, _cycle, project, bundle, source)
        deliveries = alerts.tell(*alarms(cycle.report, settings.alerts.link or str(cycle.page)), whose or LIVE)
        unmatched = project.unmatched_labels(UNMATCHED_SHARE)
        warnings = (*project.entries_ahead(), *((unmatched,) if unmatched else ()))
        # Last, since it may deploy: nothing after it can fail.
        retraining = _retraining(project, cycle.report, source, retrain or _retrain, permitted)
        return MonitoringSummary(cycle, run.run_id, deliveries, retraining, warnings)


def _cycle(project: Project, bundle: Bundle, source: BatchSource) -> MonitoringCycle:
    """Collect a batch and check it: the step that is tracked."""
    batch = source.collect(project.settings, project.journal, bundle)
    if source.path is not None and project.simulated.holds(source.path):
        batch = replace(batch, simulated=True)
    if batch.simulated and not project.settings.demonstration:  # also if the file was changed since it was checked
        batch = replace(batch, acts_as=None)
    cycle = ModelMonitor(project.settings, project.cycles).run(bundle, batch)
    if batch.simulated:  # the customers are written to a file again
        for name, content in cycle.artifacts.items():
            if name.endswith(".csv"):
                project.simulated.add(sha256(str(content).encode()).hexdigest(), batch.source)
    return cycle


@contextmanager
def failing_loudly(log: CycleLog, alerts: Alerts, settings: Settings, source: str) -> Iterator[None]:
    """Record and tell that a cycle of a source failed, whatever the reason, and raise it again."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        try:
            log.record(Cycle(datetime.now(UTC), None, False, "failed", None, {"error": reason}, source))
        except ChurnopsError as unrecorded:
            error.add_note(f"and it could not be recorded: {unrecorded}")
        alerts.tell([failure(reason, settings.alerts.link, source)], [], source)
        raise


def _retraining(project: Project, report: Report, source: BatchSource, retrain: Retrain, permitted: bool) -> str:
    """Retrain if the report recommends it or the schedule does; say in words what came of it."""
    settings, deployed_at, now = project.settings, project.folder.since(), datetime.now(UTC)
    automatic = settings.retraining.automatic
    if report.recommendation.value:
        if report.aside:
            return f"recommended; {_why_not(report)}"
        if not permitted:
            return "recommended; stopped after the report, as asked"
        if not automatic:
            return "recommended; retraining.automatic is false: type `churnops retrain`"
        return retrain(settings, "monitoring", report.recommendation.reasons, source.path)
    if permitted and automatic and not report.aside and scheduled(settings.retraining, deployed_at, now):
        because = f"the model in production is older than {settings.retraining.every_days:g} days"
        return retrain(settings, "schedule", (because,), source.path)
    return "not recommended"


def _why_not(report: Report) -> str:
    if report.simulated:
        return "simulated customers retrain nothing"
    if report.past:
        return "a window of the past retrains nothing"
    return "a file that is reported on retrains nothing: --act --source NAME acts on it"


def _retrain(settings: Settings, cause: Cause, because: Sequence[str], batch: Path | None) -> str:
    from churnops.pipelines.trigger_retraining import trigger_retraining  # scikit-learn and XGBoost, only here

    summary, path = trigger_retraining(settings, cause, because, batch=batch)
    return f"{summary.text} ({path or summary.warning})"


if __name__ == "__main__":
    become("monitor")
