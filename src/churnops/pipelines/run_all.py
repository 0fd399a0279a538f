"""Main job: seven steps from raw tables to a tracked, deployed and monitored model."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnops.alerting.alarms import alarms
from churnops.alerting.alerts import Alerts
from churnops.cluster import open_workers
from churnops.data.accepted import leaks_named
from churnops.data.read import table_paths
from churnops.data.skipped import Skipped
from churnops.data.stored import fetch_tables
from churnops.errors import DataError
from churnops.evaluation.held_out import EvaluatedModels, evaluate_models
from churnops.evaluation.metrics import Evaluation
from churnops.journal.simulated import is_simulated, refuse_simulated
from churnops.model import Bundle
from churnops.monitoring import ModelMonitor, MonitoringCycle
from churnops.monitoring.batch import Batch
from churnops.monitoring.collect import batch_from_columns, batch_from_table
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.card import CARD_TAG, card_address
from churnops.pipelines.conclusions import conclude_run
from churnops.pipelines.prepare import Prepared, prepare_data, source_paths
from churnops.pipelines.release import Release, ReleaseCandidate, check_replaceable, release
from churnops.pipelines.run_monitoring import alert_failure
from churnops.pipelines.sources import PRODUCTION
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.reference import save_reference
from churnops.registry.trained_on import save_trained_on
from churnops.schema import Columns
from churnops.settings import Settings
from churnops.traces import operation
from churnops.tracking import PipelineRun, Tracker
from churnops.tracking.pipeline_run import Progress
from churnops.training.select import select_features
from churnops.training.train import TrainedModels, train_models
from churnops.training.winner_refits import WinnerRefits

EXPERIMENT = "ChurnPrediction-Pipeline"
STEPS = (
    "1/7 Validate data",
    "2/7 Merge raw data",
    "3/7 Pre-processing",
    "4/7 Feature engineering",
    "5/7 Train models",
    "6/7 Evaluation",
    "7/7 Monitor performance",
)


@dataclass(frozen=True, repr=False)
class RunSummary:
    """Results of the main job, for people and as JSON.

    Attributes
    ----------
    cycle
        First monitoring cycle; None if no model is deployed, or if it failed, with the reason in `deployed.warning`.
    evaluation_page
        The winner's evaluation page; None if it is on another machine.
    runs_page
        Address of the MLflow page that lists the runs, served by `mlflow ui` for a local store; None if unknown.
    skipped
        Files and columns that were not used.
    """

    trained: TrainedModels
    evaluated: EvaluatedModels
    deployed: Release
    cycle: MonitoringCycle | None
    run_id: str
    evaluation_page: Path | None
    runs_page: str | None
    seconds: Mapping[str, float]
    skipped: Skipped

    def __repr__(self) -> str:
        return f"<RunSummary {self.winner}: {self.deployed.headline}>"

    @property
    def winner(self) -> str:
        """Family of the best model."""
        return self.evaluated.winner

    @property
    def metrics(self) -> Mapping[str, float]:
        """The winner's metrics; `evaluation` has their intervals."""
        return {name: metric.value for name, metric in self.evaluation.metrics.items()}

    @property
    def evaluation(self) -> Evaluation:
        """The winner's evaluation on held-out rows, or by repeated cross-validation."""
        return self.evaluated.evaluations[self.winner]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "winner": self.winner,
            "status": self.deployed.status,
            "reason": self.deployed.reason,
            "gate": self.deployed.decision.to_json() if self.deployed.decision else None,
            "warning": self.deployed.warning,
            "version": self.deployed.version,
            "model_version": self.deployed.model_version,
            "production": str(self.deployed.folder) if self.deployed.folder else None,
            "cross_validation": {
                name: dict(m.bundle.metrics["cross_validation"]) for name, m in self.trained.models.items()
            },
            "held_out": self.evaluation.to_json(),
            "suspected_leaks": [suspect.to_json() for suspect in self.evaluated.suspects],
            "without_suspects": dict(self.evaluated.metrics_without) or None,
            "random_split": dict(self.evaluated.random_split) or None,
            "unaccepted_leaks": list(self.deployed.unaccepted_leaks),
            "monitoring": self.cycle.report.to_json() if self.cycle else None,
            "monitoring_report": str(self.cycle.path) if self.cycle else None,
            "run_id": self.run_id,
            "seconds": dict(self.seconds),
            "skipped": asdict(self.skipped),
        }


@operation("churnops run")
def run_all(
    settings: Settings,
    *,
    deploy: bool = False,
    hold: bool = False,
    accept_leak: Iterable[str] = (),
    progress: Progress = lambda step, state: None,
    on_family: Callable[[str], None] = lambda family: None,
) -> RunSummary:
    """Run the seven steps.

    Parameters
    ----------
    deploy
        Deploy the winner without the gate. By default the gate decides, and a refused winner becomes the challenger.
    hold
        Deploy nothing, even if the gate permits it: a person may promote the challenger later.
    accept_leak
        Names or headers of columns that contain the outcome, with which the winner may be deployed nevertheless.

    Raises
    ------
    ChurnopsError
        If a file or folder of the settings is missing or `accept_leak` has a name that is no input (before any step
        starts), or a step refuses its input. Steps 1 to 6 do not change the deployed model.
    """
    options = _ReleaseOptions(deploy, hold, leaks_named(settings.table, accept_leak))
    fetch_tables(settings)
    for sources in (settings.training_tables, settings.data.production):
        table_paths(source_paths(settings, sources))
    tracker = Tracker(settings)
    with Project.open(settings) as project:
        registry = Registry(tracker, project.folder)
        with registry.deployed.locked():
            registry.deployed.recover()
            check_replaceable(registry.deployed, "skip" if deploy else "ask", "`churnops run --deploy` replaces it")
        tracked = tracker.pipeline(EXPERIMENT, f"run {datetime.now(UTC):%Y-%m-%d %H:%M:%S}", progress)
        return _run(project, registry, tracked, options, on_family)


@dataclass(frozen=True)
class _ReleaseOptions:
    """Whether to deploy without the gate, whether to deploy nothing, and the names of the accepted leaks."""

    deploy: bool
    hold: bool
    accepted_leaks: frozenset[str]


@dataclass(frozen=True)
class _Made:
    """Results of steps 1 to 6."""

    prepared: Prepared
    trained: TrainedModels
    evaluated: EvaluatedModels


def _run(
    project: Project,
    registry: Registry,
    tracked: AbstractContextManager[PipelineRun],
    options: _ReleaseOptions,
    on_family: Callable[[str], None],
) -> RunSummary:
    settings = project.settings
    refuse_simulated(
        source_paths(settings, (*settings.training_tables, *settings.data.production)), project.simulated, settings
    )
    alerts, aftermath = Alerts.of(settings, project.alerts), Aftermath()
    cycle: MonitoringCycle | None = None
    with aftermath.warning("this run is incomplete in MLflow"), tracked as run:
        with open_workers(settings.cluster.address, settings.training.threads):  # one cluster for all searches
            made = _train(settings, run, on_family)
        evaluation_page = run.artifact(STEPS[5], "evaluation.html")
        with registry.deployed.locked():
            deployed = _release(project, registry, run, made, options, aftermath)
        with aftermath.warning("the first monitoring cycle failed"):
            if deployed.folder is not None:
                cycle = _watch(project, alerts, run, made.prepared.production)
        if aftermath.text:
            run.tag("churnops.warning", aftermath.text)
    if cycle is not None:
        with aftermath.warning("the alerts of the first monitoring cycle were not sent"):
            link = settings.alerts.link or run.address(STEPS[6]) or str(cycle.page)
            alerts.tell(*alarms(cycle.report, link), PRODUCTION)
    deployed = replace(deployed, warning=aftermath.text)
    return RunSummary(
        made.trained,
        made.evaluated,
        deployed,
        cycle,
        run.run_id,
        evaluation_page,
        run.page,
        run.seconds,
        made.prepared.skipped,
    )


def _train(settings: Settings, run: PipelineRun, on_family: Callable[[str], None]) -> _Made:
    """Run steps 1 to 6."""
    run.log_source()
    ready = prepare_data(settings, run, STEPS[:3])
    prepared, one_hot = ready.table, settings.training.recipe == "report"
    features = run.step(STEPS[3], select_features, prepared, settings.table, settings.features, one_hot=one_hot)
    trained = run.step(STEPS[4], train_models, prepared, features, settings, on_family=on_family)
    evaluated = run.step(
        STEPS[5],
        evaluate_models,
        {name: model.bundle for name, model in trained.models.items()},
        trained.winner,
        trained.refit.with_metadata(metrics={}, lineage=_lineage(run)),
        prepared,
        settings,
        skipped=ready.skipped,
        left_out=features.left_out,
        refits=WinnerRefits(trained, prepared, features, settings),
    )
    return _Made(ready, trained, evaluated)


def _watch(
    project: Project, alerts: Alerts, run: PipelineRun, production: Mapping[str, pl.DataFrame]
) -> MonitoringCycle:
    """Run step 7 on the deployed model."""
    settings, log = project.settings, project.cycles
    with alert_failure(log, alerts, settings, PRODUCTION):
        deployed = project.require_deployed()
        batch = _batch(production, deployed)
        tables = table_paths(source_paths(settings, settings.data.production))
        simulated = any(is_simulated(table, project.simulated) for table in tables)
        return run.step(STEPS[6], ModelMonitor(settings, log).run_batch, deployed, replace(batch, simulated=simulated))


def _lineage(run: PipelineRun) -> dict[str, Any]:
    return {"run_id": run.run_id, "git_commit": run.commit, "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _release(
    project: Project, registry: Registry, run: PipelineRun, made: _Made, options: _ReleaseOptions, aftermath: Aftermath
) -> Release:
    """Register the winner's refit, and release it."""
    bundle, run_id, models = made.evaluated.bundle, run.runs[STEPS[5]], project.models
    auc = made.evaluated.evaluations[made.evaluated.winner].metrics["roc_auc"].value
    tags = {"roc_auc": f"{auc:.4f}", "training_sha256": made.prepared.table.sha256, "reason": "main job"}
    tags[CARD_TAG] = card_address(run_id)
    version = registry.register(bundle, run.models[run_id], run_id, tags)
    save_trained_on(models, bundle.content_sha256, made.prepared.trained_on)
    save_reference(models, bundle.content_sha256, made.trained.reference)
    project.place.share_customers(bundle.content_sha256)
    candidate = ReleaseCandidate(
        bundle,
        version,
        "requested with --deploy" if options.deploy else None,
        facts=[_fact(made.evaluated)],
        accepted_leaks=options.accepted_leaks,
        held=options.hold,
    )
    released = release(project, registry, candidate, gate="skip" if options.deploy else "ask")
    aftermath.deployed = released.swapped
    aftermath.add(released.full_warning)
    with aftermath.warning("MLflow lacks the result of this run"):
        conclude_run(run, made.trained, made.evaluated, released, _fact(made.evaluated))
    return released


def _fact(evaluated: EvaluatedModels) -> str:
    evaluation = evaluated.evaluations[evaluated.winner]
    auc = evaluation.metrics["roc_auc"]
    return f"ROC-AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) {evaluation.basis}"


def _batch(tables: Mapping[str, pl.DataFrame], bundle: Bundle) -> Batch:
    """Join the production tables into a batch for the deployed model.

    The settings may have changed since the model's training. If the customers do not fit its Schema, the batch is
    empty and the verdict is "cannot tell". The batch's source contains the reason.
    """
    nobody: Columns = {}
    if not tables:
        return batch_from_columns(
            nobody, np.empty(0), bundle, "no customers later than the training table yet", acts_as=PRODUCTION
        )
    try:
        table = pl.concat(tables.values(), how="diagonal_relaxed")
        return batch_from_table(table, bundle, ", ".join(tables), acts_as=PRODUCTION)
    except DataError as error:
        source = f"the deployed model has another schema: {str(error).splitlines()[0]}"
        return batch_from_columns(nobody, np.empty(0), bundle, source, acts_as=PRODUCTION)
