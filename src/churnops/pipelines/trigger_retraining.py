"""Retrain if the policy permits it, release the challenger by the gate's decision, and write a summary.

`python -m churnops.pipelines.trigger_retraining [EXPERIMENT]` is `churnops retrain [--experiment EXPERIMENT]`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from churnops.alerting.alarms import AFTER_RETRAINING, retraining_failed
from churnops.alerting.alerts import Alerts
from churnops.alerting.notices import Alarm
from churnops.data.identity import Identities
from churnops.data.query import QUERY
from churnops.data.read import encode, outcomes, read_table
from churnops.data.stored import fetch_tables
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import DataError, JournalError, RegistryError, first_line, reason_of
from churnops.experiments.budget import gate_options
from churnops.files import low_priority
from churnops.journal.decisions import RecordedDecision
from churnops.journal.simulated import refuse_simulated
from churnops.journal.tables import microseconds
from churnops.journal.turn import turn
from churnops.model import Bundle
from churnops.model.deployed import deployed_version
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.card import CARD_TAG, card_address
from churnops.pipelines.conclusions import conclude_retraining
from churnops.pipelines.entry_point import run_command
from churnops.pipelines.release import ReleaseCandidate, record_decision, release
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.folder import who
from churnops.registry.reference import save_reference
from churnops.registry.trained_on import load_trained_on, save_trained_on
from churnops.retraining.comparison import customers_of, labelled, personal_inputs, production_rows
from churnops.retraining.outcome import Status
from churnops.retraining.pipeline import EXPERIMENT, STEPS, Retrained, RetrainingPipeline
from churnops.retraining.policy import Permission, RetrainingTask, Situation, permit
from churnops.retraining.rows import ProductionRows
from churnops.retraining.summary import RetrainingSummary
from churnops.schema import Schema
from churnops.settings import Settings
from churnops.traces import operation
from churnops.tracking import PipelineRun, Tracker
from churnops.tracking.pipeline_run import Progress

RUNNING = "another retraining is running and will write its own summary"


@operation("churnops retrain")
def trigger_retraining(
    settings: Settings,
    task: RetrainingTask,
    *,
    experiment: str | None = None,
    progress: Progress = lambda step, state: None,
    on_family: Callable[[str], None] = lambda name: None,
) -> tuple[RetrainingSummary, Path | None]:
    """Retrain if the policy permits it; return the summary and its file.

    Only one process retrains at a time among all machines that share the journal's database. The process may be killed:
    until the link swap in the folder of models, the deployed model is unchanged.

    Parameters
    ----------
    experiment
        Id or name of the MLflow experiment to log to, which must exist. Default: `ChurnPrediction-Retraining`.

    Raises
    ------
    ChurnopsError
        If the retraining fails. An alert and a summary then contain the reason and the deployed model; there is neither
        for a missing file or experiment, or for a file of simulated customers. After the challenger's deployment,
        failures are warnings in the summary; the path is None if the summary cannot be written.
    """
    if task.batch is not None:
        if not task.batch.is_file():
            raise DataError(f"{task.batch} {'is not a file' if task.batch.exists() else 'does not exist'}")
        with suppress(JournalError), Project.open(settings) as project:  # the code below reports a journal that is down
            refuse_simulated([task.batch], project.simulated, settings)
    attempt = _Attempt(settings, task, datetime.now(UTC))
    with _alert_failure(attempt):
        tracker = Tracker(settings)
    logged = EXPERIMENT if experiment is None else tracker.existing_experiment(experiment)
    aftermath, path = Aftermath(), None
    with _alert_failure(attempt):
        with aftermath.warning("the journal was not closed"), Project.open(settings) as project:
            registry = Registry(tracker, project.folder)
            job = _Job(attempt, project, registry, aftermath)
            with turn(project.engine, f"retraining of {registry.name}", project.models / ".retraining") as first:
                summary = job.run(tracker, logged, progress, on_family) if first else job.refuse((RUNNING,))
        summary = replace(summary, warning=aftermath.text)
        with aftermath.warning("the summary is not written"):
            path = summary.write(attempt.folder)
    return replace(summary, warning=aftermath.text), path


@dataclass(frozen=True)
class _Attempt:
    """A task, with the time of its start."""

    settings: Settings
    task: RetrainingTask
    started: datetime

    @property
    def folder(self) -> Path:
        """Folder of the summaries."""
        return self.settings.path(self.settings.monitoring.directory)

    def deployed(self) -> str:
        """Return the name of the deployed folder."""
        return deployed_version(self.settings.models) or "none"

    def summary(self, status: Status, reason: str, permission: Permission, champion: str) -> RetrainingSummary:
        """Begin the summary."""
        return RetrainingSummary(
            self.started,
            self.task.cause,
            self.task.because,
            status,
            reason,
            permission,
            champion,
            demonstration=self.settings.demonstration,
        )


@contextmanager
def _alert_failure(attempt: _Attempt) -> Iterator[None]:
    """Alert a failure and write its summary, with the deployed model; raise the error again."""
    before = attempt.deployed()
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        after = attempt.deployed()
        state = (
            "the deployed model is unchanged"
            if after == before
            else f"{after} is deployed now; {before} was deployed before"
        )
        _send(attempt.settings, retraining_failed(reason, attempt.settings.alerts.link, state))
        failures = tuple(map(str, error.failures)) if isinstance(error, ValidationError) else ()
        summary = replace(
            attempt.summary("failed", f"{reason}; {state}", Permission(True, ()), before), failures=failures
        )
        try:
            error.add_note(f"{state}; summary: {summary.write(attempt.folder)}")
        except OSError as unwritten:
            error.add_note(f"{state}; its summary could not be written: {unwritten}")
        raise


def _send(settings: Settings, alarm: Alarm) -> None:
    """Send an alarm, even if the journal is down."""
    with Project.open(settings) as project:
        try:
            log = project.alerts
        except JournalError:
            log = None
        Alerts.of(settings, log).tell([alarm], [], raised=True)


@dataclass(frozen=True)
class _Job:
    """One retraining, from the policy's permission to the release of the challenger."""

    attempt: _Attempt
    project: Project
    registry: Registry
    aftermath: Aftermath

    @property
    def settings(self) -> Settings:
        return self.attempt.settings

    @property
    def task(self) -> RetrainingTask:
        return self.attempt.task

    @property
    def alerts(self) -> Alerts:
        return Alerts.of(self.settings, self.project.alerts)

    def run(
        self, tracker: Tracker, experiment: str, progress: Progress, on_family: Callable[[str], None]
    ) -> RetrainingSummary:
        """Ask the policy, retrain, and release the challenger."""
        batch = self.task.batch
        fetch_tables(self.settings)
        tables = [*map(self.settings.path, self.settings.training_tables), *([batch] if batch else [])]
        refuse_simulated(tables, self.project.simulated, self.settings)
        champion, known = self._champion()
        if batch is None and (reason := personal_inputs(self.settings.table)):
            advice = "give a file of later customers with `churnops retrain --batch FILE`"
            return self.refuse((f"{reason}: {advice}",), champion)
        rows = production_rows(self.project)
        file = _File.read(batch, self.settings.table, known) if batch else _File()
        permission = self._permission(champion, known, rows, file)
        if not permission.value:
            return self.refuse(permission.reasons, champion)
        self._record("yes", permission.reasons, champion)
        name, summary = f"retraining {self.attempt.started:%Y-%m-%d %H:%M:%S}", None
        try:
            with low_priority(), tracker.pipeline(experiment, name, progress) as run:
                pipeline = RetrainingPipeline(self._with_holdout(champion), run)
                retrained = pipeline.run(champion, known, rows, batch, on_family=on_family)
                version = self._register(retrained, run)
                evidence = {"known_at": microseconds(self.attempt.started), "batch": file.sha256}
                record_decision(self.project, retrained.decision, retrained.challenger, champion, evidence=evidence)
                summary = self._release(retrained, version, champion, permission)
                conclude_retraining(run, summary, retrained, champion)
        except Exception as error:
            if summary is None:
                raise
            self.aftermath.add(f"MLflow lacks the end of this run: {first_line(error)}")
        with self.aftermath.warning("no alert was sent"):
            self.alerts.tell([], AFTER_RETRAINING)
        return replace(summary, run_id=run.run_id, seconds=run.seconds)

    def refuse(self, reasons: tuple[str, ...], champion: Bundle | None = None) -> RetrainingSummary:
        """Record the reasons against a retraining, and return them as a summary."""
        self._record("no", reasons, champion)
        name = champion.version_name if champion else self.project.folder.current() or "none"
        return self.attempt.summary("not permitted", "; ".join(reasons), Permission(False, reasons), name)

    def _champion(self) -> tuple[Bundle, Identities]:
        with self.registry.deployed.locked():
            self.registry.deployed.recover()
            champion = self.registry.deployed.production()
        if champion is None:
            raise RegistryError("no model is deployed yet: type `churnops run` first")
        known = load_trained_on(self.project.models, champion.content_sha256)
        if known is None:
            raise RegistryError(
                f"the training rows of {champion.version_name} are not known, so no model can be compared with it: "
                "deploy another one with `churnops run --deploy`"
            )
        return champion, known

    def _register(self, retrained: Retrained, run: PipelineRun) -> int:
        """Register the challenger and keep the identities of its training rows; return its version."""
        run_id, models, sha256 = run.runs[STEPS[5]], self.project.models, retrained.challenger.content_sha256
        save_trained_on(models, sha256, retrained.trained_on)
        save_reference(models, sha256, retrained.trained.reference)
        self.project.place.share_customers(sha256)
        auc = retrained.evaluation(retrained.trained.winner).metrics["roc_auc"].value
        lineage = retrained.challenger.lineage
        tags = {"reason": self.task.cause, "roc_auc": f"{auc:.4f}", "training_sha256": lineage["data_sha256"]}
        tags[CARD_TAG] = card_address(run_id)
        return self.registry.register(retrained.challenger, run.models[run_id], run_id, tags)

    def _permission(self, champion: Bundle, known: Identities, rows: ProductionRows, file: "_File") -> Permission:
        """Ask the policy."""
        schema = self.settings.table
        table = labelled(rows.table, schema, rows.at, rows.customers)
        unseen = ~table.held_by(known) if table.outcome.size else np.zeros(0, np.bool_)
        since, batches = self._used_evidence(champion)
        new = int((unseen & (rows.known > since)).sum()) + (0 if file.sha256 in batches else file.unseen)
        # The source with the lower share of known outcomes decides; one without outcomes adds no rows and is ignored.
        sources = [(rows.due, rows.labelled), (file.rows, file.labelled)]
        due, known_outcomes = min(
            (source for source in sources if source[1]), key=lambda source: source[1] / source[0], default=(0, 0)
        )
        situation = Situation(
            cause=self.task.cause,
            now=self.attempt.started,
            deployed_at=self.project.folder.since(),
            due=due,
            labelled=known_outcomes,
            unseen=int(unseen.sum()) + file.unseen,
            new=new,
        )
        return permit(situation, self.settings.retraining)

    def _with_holdout(self, champion: Bundle) -> Settings:
        """Return the settings; the holdout grows if the gate's last decision on this champion needs more labels."""
        decisions = self.project.decisions.newest(100, subject="deploy")
        last = next((d for d in decisions if d.champion == champion.content_sha256), None)
        needed = last.details.get("labels_needed") if last and last.verdict == "cannot tell" else None
        options = gate_options(self.project, champion.content_sha256)
        rows = max(options.holdout_rows, needed or 0)
        return self.settings.model_copy(update={"retraining": options.model_copy(update={"holdout_rows": rows})})

    def _used_evidence(self, champion: Bundle) -> tuple[int, set[str]]:
        """Return the time (microseconds since 1970) before which outcomes were compared, and the SHA-256 of used files.

        Earlier comparisons with the champion count, and the comparison that led to the champion's own deployment.
        """
        decisions = self.project.decisions.newest(100, subject="deploy")
        used = [
            (microseconds(d.at), d.details["evidence"])
            for d in decisions
            if champion.content_sha256 in (d.champion, d.challenger) and "evidence" in d.details
        ]
        return (
            # At most the time of the decision, because a clock may have been ahead.
            max((min(int(evidence["known_at"]), at) for at, evidence in used), default=0),
            {evidence["batch"] for _, evidence in used if evidence["batch"]},
        )

    def _release(self, result: Retrained, version: int, champion: Bundle, permission: Permission) -> RetrainingSummary:
        """Release the challenger by the gate's decision."""
        candidate = ReleaseCandidate(
            result.challenger,
            version,
            facts=self.task.because,
            by=who() if self.task.cause == "by hand" else f"churnops ({self.task.cause})",
            decision=result.decision,
            champion=champion.content_sha256,
        )
        with self.registry.deployed.locked():
            released = release(self.project, self.registry, candidate)
            self.aftermath.deployed = released.swapped
            self.aftermath.add(released.warning)
        status: Status = "kept"
        if released.status == "deployed" or released.status == "rolled back":
            status = released.status
        elif released.decision and released.decision.verdict == "cannot tell" and not released.unaccepted_leaks:
            status = "cannot tell"
        reason = result.decision.reason if released.status == "unchanged" else released.reason
        summary = self.attempt.summary(status, reason, permission, champion.version_name)
        return replace(summary, retrained=result, version=version, check=released.check)

    def _record(self, verdict: str, reasons: Sequence[str], champion: Bundle | None) -> None:
        details = {"cause": self.task.cause, "because": list(self.task.because)}
        sha256 = champion.content_sha256 if champion else None
        decision = RecordedDecision(datetime.now(UTC), "retrain", verdict, "; ".join(reasons), sha256, None, details)
        self.project.decisions.record(decision)


@dataclass(frozen=True)
class _File:
    """Counts of a batch file: all rows, labelled rows, and labelled rows that are new to the deployed model."""

    rows: int = 0
    labelled: int = 0
    unseen: int = 0
    sha256: str = ""

    @classmethod
    def read(cls, path: Path, schema: Schema, known: Identities) -> "_File":
        """Count a file's rows. In an invalid file all rows count; step 1 then reports its errors."""
        table = read_table(path, schema)
        content = table.write_csv().encode() if path.suffix.lower() == QUERY else path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            table = check_customers(table, schema, path.name, keep_outcome=True, may_have_gaps=True)
        except DataError:
            return cls(table.height, table.height, table.height, sha256)
        with_outcome = ~np.isnan(outcomes(table, schema))
        unseen = with_outcome & ~known.holds(encode(table, schema), customers_of(table, schema))
        return cls(table.height, int(with_outcome.sum()), int(unseen.sum()), sha256)


if __name__ == "__main__":
    run_command("retrain")
