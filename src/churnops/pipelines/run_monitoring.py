"""One monitoring cycle from end to end: collect, check, report, track, alert, and retrain if that is permitted.

`python -m churnops.pipelines.run_monitoring [EXPERIMENT]` is `churnops monitor [--experiment EXPERIMENT]`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from churnops.errors import ChurnopsError, DataError, JournalError, RegistryError, reason_of
from churnops.journal import DeploymentLog, Journal
from churnops.journal.alerts import AlertLog
from churnops.journal.clock import entries_ahead
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.database import open_database
from churnops.journal.seen import unmatched_sentence
from churnops.model import Bundle
from churnops.monitoring import MonitoringCycle, Report
from churnops.monitoring.alarms import alarms, failure
from churnops.monitoring.alerts import Alerts, Delivery
from churnops.monitoring.batch import Batch
from churnops.monitoring.collect import batch_from_columns, batch_from_file, batch_from_journal
from churnops.monitoring.monitor import ModelMonitor
from churnops.pipelines.become import become
from churnops.registry import DeploymentFolder
from churnops.retraining.policy import Cause, scheduled
from churnops.settings import Settings
from churnops.tracking import Tracker

EXPERIMENT = "ChurnPrediction-Monitoring"
STEP = "Monitor performance"
UNMATCHED_SHARE = 0.1  # of the newest labels, above which those of customers without a prediction are a warning

Collect = Callable[[Settings, Journal, Bundle], Batch]
"""Collects what a cycle looks at, given the deployed bundle."""


@dataclass(frozen=True)
class Source:
    """Where a batch comes from. Nothing follows from one that is `aside`: a simulation, or a window of the past.

    `path` is the file, if it is one: its customers with known outcomes are rows to retrain on.
    """

    collect: Collect
    aside: bool = False
    path: Path | None = None


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


def window(length: timedelta | None = None, until: datetime | None = None) -> Source:
    """Collect predictions from the journal: of `length` (by default the settings' `window_days`) before `until` (now).

    Outcomes are those known by now, so that a past window is seen with the labels that came in since.
    """

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        now = datetime.now(UTC)
        return batch_from_journal(
            journal,
            bundle,
            until=until or now,
            length=length or timedelta(days=settings.monitoring.window_days),
            horizon=timedelta(days=settings.journal.label_horizon),
            known_at=now,
        )

    return Source(collect, aside=until is not None)


def file(path: Path) -> Source:
    """Collect a CSV or Parquet file of customers: production, as whoever names it says.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    return Source(lambda settings, journal, bundle: batch_from_file(path, bundle), path=path)


def simulation(seed: int | None = None, rows: int = 500) -> Source:
    """Make up a batch by the plain recipe, noise and flipped labels, from the production table or else the raw one."""
    from churnops.data.simulate import Drift
    from churnops.pipelines.simulate import simulate_customers

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        sources = [settings.path(source) for source in settings.data.production or settings.data.raw]
        chosen = settings.random_state if seed is None else seed
        drift = Drift(recipe=True, noisy=settings.monitoring.recipe_columns)
        made, _ = simulate_customers(sources, bundle.schema, drift, rows=rows, seed=chosen)
        source = f"simulated: {made.description}"
        return batch_from_columns(made.columns, made.outcome, bundle, source, simulated=True)

    return Source(collect, aside=True)


def run_monitoring(
    settings: Settings,
    source: Source,
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
        journal does not answer. All but the first are recorded and told to the alert channels before, unless the
        source is aside. If a retraining fails, which is told too; the cycle itself is finished then.
    """
    try:
        engine = open_database(settings.database_url(settings.journal.url))
    except JournalError as error:
        if not source.aside:
            Alerts(None, settings.alerts).tell([failure(str(error), settings.alerts.link)], [])
        raise
    try:
        alerts, log = Alerts(AlertLog(engine), settings.alerts), CycleLog(engine)
        loudly = nullcontext if source.aside else partial(failing_loudly, log, alerts, settings)
        with loudly():
            tracker = Tracker(settings)
        logged = EXPERIMENT if experiment is None else tracker.existing_experiment(experiment)
        with loudly():
            bundle = _production(settings)
            journal = Journal(engine, label_horizon=timedelta(days=settings.journal.label_horizon))
            monitor = ModelMonitor(settings, log)
            name = f"monitoring {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
            with tracker.pipeline(logged, name) as run:
                cycle = run.step(STEP, _cycle, monitor, bundle, source.collect, settings, journal)
        deliveries = alerts.tell(*alarms(cycle.report, settings.alerts.link or str(cycle.page)))
        deployed = DeploymentFolder(settings.path(settings.registry.directory), DeploymentLog(engine), None)
        retraining = _retraining(settings, cycle.report, source, deployed.since(), retrain or _retrain, permitted)
        unmatched = unmatched_sentence(engine, UNMATCHED_SHARE)
        warnings = (*entries_ahead(engine, datetime.now(UTC)), *((unmatched,) if unmatched else ()))
        return MonitoringSummary(cycle, run.run_id, deliveries, retraining, warnings)
    finally:
        engine.dispose()


def _cycle(
    monitor: ModelMonitor, bundle: Bundle, collect: Collect, settings: Settings, journal: Journal
) -> MonitoringCycle:
    """Collect a batch and check it: the step that is tracked."""
    return monitor.run(bundle, collect(settings, journal, bundle))


def _production(settings: Settings) -> Bundle:
    deployed = settings.path(settings.registry.directory) / "production"
    if not deployed.exists():
        raise RegistryError(f"no model is deployed in {deployed.parent}: type `churnops run` first")
    return Bundle.load(deployed)


@contextmanager
def failing_loudly(log: CycleLog, alerts: Alerts, settings: Settings) -> Iterator[None]:
    """Record and tell that a cycle failed, whatever the reason, and raise it again."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        try:
            log.record(Cycle(datetime.now(UTC), None, False, "failed", None, {"error": reason}))
        except ChurnopsError as unrecorded:
            error.add_note(f"and it could not be recorded: {unrecorded}")
        alerts.tell([failure(reason, settings.alerts.link)], [])
        raise


def _retraining(
    settings: Settings, report: Report, source: Source, deployed_at: datetime | None, retrain: Retrain, permitted: bool
) -> str:
    """Retrain if the report recommends it or the schedule does; say in words what came of it."""
    now, automatic = datetime.now(UTC), settings.retraining.automatic
    if report.recommendation.value:
        if report.aside:
            return "recommended; a batch that is simulated or of the past retrains nothing"
        if not permitted:
            return "recommended; stopped after the report, as asked"
        if not automatic:
            return "recommended; retraining.automatic is false: type `churnops retrain`"
        return retrain(settings, "monitoring", report.recommendation.reasons, source.path)
    if permitted and automatic and not report.aside and scheduled(settings.retraining, deployed_at, now):
        because = f"the model in production is older than {settings.retraining.every_days:g} days"
        return retrain(settings, "schedule", (because,), source.path)
    return "not recommended"


def _retrain(settings: Settings, cause: Cause, because: Sequence[str], batch: Path | None) -> str:
    from churnops.pipelines.trigger_retraining import trigger_retraining  # scikit-learn and XGBoost, only here

    summary, path = trigger_retraining(settings, cause, because, batch=batch)
    return f"{summary.text} ({path or summary.warning})"


if __name__ == "__main__":
    become("monitor")
