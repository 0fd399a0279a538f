"""One monitoring cycle: collect customers, compare, report, track, alert, and retrain if permitted.

`python -m churnops.pipelines.run_monitoring [EXPERIMENT]` is `churnops monitor [--experiment EXPERIMENT]`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from churnops.alerting.alarms import alarms, failure
from churnops.alerting.alerts import Alerts, Delivery
from churnops.data.simulated import file_sha256
from churnops.errors import ChurnopsError, JournalError, reason_of
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.simulated import refuse_simulated
from churnops.model import Bundle
from churnops.monitoring import MonitoringCycle, Report
from churnops.monitoring.monitor import ModelMonitor
from churnops.pipelines.entry_point import run_command
from churnops.pipelines.sources import BatchSource
from churnops.project import Project
from churnops.retraining.policy import RetrainingTask, scheduled
from churnops.settings import LIVE, Settings
from churnops.traces import operation, span
from churnops.tracking import Tracker

EXPERIMENT = "ChurnPrediction-Monitoring"
STEP = "Monitor performance"
UNMATCHED_SHARE = 0.1  # largest share of the newest labels without a prediction; above it the cycle warns

Retrain = Callable[[Settings, RetrainingTask], str]
"""Runs a retraining task and returns its result as a sentence."""


@dataclass(frozen=True, repr=False)
class MonitoringSummary:
    """Result of a cycle, for people and as JSON.

    Attributes
    ----------
    retraining
        Result of the retraining, or the reason why there was none.
    warnings
        Warnings about journal entries dated ahead of this machine's clock, and about many unmatched labels.
    earlier
        The model's newest cycle with customers, if this cycle had none.
    """

    cycle: MonitoringCycle
    run_id: str
    deliveries: tuple[Delivery, ...]
    retraining: str
    warnings: tuple[str, ...] = ()
    earlier: Cycle | None = None

    def __repr__(self) -> str:
        return f"<MonitoringSummary {self.cycle.report.in_words()}>"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "report": self.cycle.report.to_json(),
            "monitoring_report": str(self.cycle.path),
            "run_id": self.run_id,
            "alerts": [vars(delivery) for delivery in self.deliveries],
            "retraining": self.retraining,
            "warnings": list(self.warnings),
            "newest_report_with_customers": self.earlier and self.earlier.report,
        }


@operation("churnops monitor")
def run_monitoring(
    settings: Settings,
    source: BatchSource,
    *,
    experiment: str | None = None,
    retrain: Retrain | None = None,
    permitted: bool = True,
) -> MonitoringSummary:
    """Run one cycle. It is safe to repeat a cycle, to run two at once, and to kill one.

    Parameters
    ----------
    experiment
        Id or name of the MLflow experiment to log to, which must exist. Default: `ChurnPrediction-Monitoring`.
    retrain
        Called when the report or the schedule recommends retraining. Default: `trigger_retraining`.
    permitted
        False prevents a retraining.

    Raises
    ------
    ChurnopsError
        - If the experiment does not exist, or the cycle would act on simulated customers outside a demonstration.
        - If no model is deployed, the batch cannot be collected, or the tracking store or the journal does not answer.
          If the cycle acts for a source, this failure is alerted, and recorded if the journal answers.
        - If the retraining fails. This failure is alerted by the retraining, and the cycle itself is complete.
    """
    acts_as = source.acts_as
    with Project.open(settings) as project:
        try:
            alerts = Alerts.of(settings, project.alerts)
        except JournalError as error:
            if acts_as is not None:
                alarm = failure(str(error), settings.alerts.link, acts_as)
                Alerts.of(settings, None).tell([alarm], [], acts_as, raised=True)
            raise
        if source.path is not None and acts_as is not None:
            refuse_simulated([source.path], project.simulated, settings)
        alerting = nullcontext if acts_as is None else partial(alert_failure, project.cycles, alerts, settings, acts_as)
        with alerting():
            tracker = Tracker(settings)
        logged = EXPERIMENT if experiment is None else tracker.existing_experiment(experiment)
        with alerting():
            bundle = project.require_deployed()
            with tracker.pipeline(logged, f"monitoring {datetime.now(UTC):%Y-%m-%d %H:%M:%S}") as run:
                cycle = run.step(STEP, _cycle, project, bundle, source)
        link = settings.alerts.link or run.address(STEP) or str(cycle.page)
        deliveries = alerts.tell(*alarms(cycle.report, link), acts_as or LIVE)
        unmatched = project.unmatched_labels(UNMATCHED_SHARE)
        warnings = (*project.entries_ahead(), *((unmatched,) if unmatched else ()))
        earlier = None if cycle.report.rows else project.cycles.newest_with_customers(bundle.content_sha256)
        # The last step, because it may deploy a model and nothing may fail after that.
        retraining = _retraining(project, cycle.report, source, retrain or _retrain, permitted)
        return MonitoringSummary(cycle, run.run_id, deliveries, retraining, warnings, earlier)


def _cycle(project: Project, bundle: Bundle, source: BatchSource) -> MonitoringCycle:
    """Collect a batch and check it: the step that is tracked."""
    started = datetime.now(UTC)
    with span("collect customers"):
        batch = source.collect(project.settings, project.journal, bundle)
    if source.path is not None and project.simulated.holds(source.path):
        batch = replace(batch, simulated=True)
    if batch.simulated and not project.settings.demonstration:  # the file may have changed since it was checked
        batch = replace(batch, acts_as=None)
    # Without new predictions the newest window is examined again, and must not cause a second alert or retraining.
    repeated = batch.acts_as == LIVE and batch.window is not None and batch.window[1] < started
    examined = repeated and project.cycles.examined(bundle.content_sha256, batch.sha256)
    cycle = ModelMonitor(project.settings, project.cycles).run_batch(bundle, batch, examined_before=examined)
    if batch.simulated:  # so that the file of customers that the cycle writes is known as simulated
        for content in cycle.artifacts.values():
            if isinstance(content, Path):
                project.simulated.add(file_sha256(content), batch.source)
    return cycle


@contextmanager
def alert_failure(log: CycleLog, alerts: Alerts, settings: Settings, source: str) -> Iterator[None]:
    """Record and alert the failure of a source's cycle, and raise its error again."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        try:
            log.record(Cycle(datetime.now(UTC), None, False, "failed", None, {"error": reason}, source))
        except ChurnopsError as unrecorded:
            error.add_note(f"the failure could not be recorded: {unrecorded}")
        alerts.tell([failure(reason, settings.alerts.link, source)], [], source, raised=True)
        raise


def _retraining(project: Project, report: Report, source: BatchSource, retrain: Retrain, permitted: bool) -> str:
    """Retrain if the report or the schedule recommends it; return the result as a sentence."""
    settings, deployed_at, now = project.settings, project.folder.since(), datetime.now(UTC)
    automatic = settings.retraining.automatic
    if report.recommendation.value:
        if report.report_only or report.examined_before:
            return f"recommended, but {_why_not(report)}"
        if report.unreadable_columns:
            return "recommended, but no model can be trained on a file with broken columns: repair them first"
        if not permitted:
            return "recommended, but this cycle stops after the report (--no-retrain)"
        if not automatic:
            return "recommended, but retraining.automatic is false: run `churnops retrain`"
        return retrain(settings, RetrainingTask("monitoring", tuple(report.recommendation.reasons), source.path))
    if permitted and automatic and not report.report_only and scheduled(settings.retraining, deployed_at, now):
        if any(caution.fired for caution in report.cautions if caution.name == "broken_columns"):
            return "due by retraining.every_days, but data about customers is broken: it waits for a sound cycle"
        because = f"the deployed model is older than {settings.retraining.every_days:g} days"
        return retrain(settings, RetrainingTask("schedule", (because,), source.path))
    return "not recommended"


def _why_not(report: Report) -> str:
    if report.simulated:
        return "simulated customers cause no retraining"
    if report.examined_before:
        return "an earlier cycle examined the same customers: they cause no second retraining"
    if report.past:
        return "a past window causes no retraining"
    return "a file without --act causes no retraining: add --act --source NAME"


def _retrain(settings: Settings, task: RetrainingTask) -> str:
    from churnops.pipelines.trigger_retraining import trigger_retraining  # loads scikit-learn and XGBoost

    summary, path = trigger_retraining(settings, task)
    return f"{summary.text} ({path or summary.warning})"


if __name__ == "__main__":
    run_command("monitor")
