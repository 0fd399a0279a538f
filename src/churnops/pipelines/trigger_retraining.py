"""Retrain if that is permitted, deploy the challenger if the gate decides so, and write down why or why not.

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
from churnops.alerting.alerts import Alarm, Alerts
from churnops.data.identity import Identities
from churnops.data.read import encode, outcomes, read_table
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import DataError, JournalError, RegistryError, first_line, reason_of
from churnops.files import low_priority
from churnops.journal.decisions import RecordedDecision
from churnops.journal.simulated import refuse_simulated
from churnops.journal.tables import microseconds
from churnops.journal.turn import turn
from churnops.model import Bundle
from churnops.model.deployed import deployed_version
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.become import become
from churnops.pipelines.release import ReleaseCandidate, record_decision, release
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.folder import who
from churnops.registry.reference import save_reference
from churnops.registry.trained_on import load_trained_on, save_trained_on
from churnops.retraining.comparison import customers_of, labelled, production_rows
from churnops.retraining.outcome import Status
from churnops.retraining.pipeline import EXPERIMENT, STEPS, Retrained, RetrainingPipeline
from churnops.retraining.policy import Cause, Permission, Situation, permit
from churnops.retraining.rows import ProductionRows
from churnops.retraining.summary import RetrainingSummary
from churnops.schema import Schema
from churnops.settings import Settings
from churnops.tracking import PipelineRun, Tracker
from churnops.tracking.runner import Progress

RUNNING = "another retraining is running: its summary will be written when it is done"


def trigger_retraining(
    settings: Settings,
    cause: Cause,
    because: Sequence[str] = (),
    *,
    batch: Path | None = None,
    experiment: str | None = None,
    progress: Progress = lambda step, state: None,
    on_family: Callable[[str], None] = lambda name: None,
) -> tuple[RetrainingSummary, Path | None]:
    """Retrain, unless something is against it; return what was done, and the file it is written to.

    Only one process does so at a time, on all machines that share the journal's database. It is safe to kill: until
    the link in the folder of models moves, production is what it was.

    Parameters
    ----------
    because
        Why it is asked for.
    batch
        A file of customers with known outcomes, as of now, beside those of the journal.
    experiment
        Id or name of the MLflow experiment to log to, which must exist. Default: `ChurnPrediction-Retraining`.

    Raises
    ------
    ChurnopsError
        If it fails. But for a file or an experiment that does not exist, and for a file of simulated customers, that
        is told to the alert channels and written to a summary before, with the model that answers. Once the challenger
        is deployed nothing fails: what goes wrong from then on is a warning in the summary, and None in place of its
        file if that cannot be written.
    """
    if batch is not None and not batch.is_file():
        raise DataError(f"{batch} is not a file")
    if batch is not None:
        _refuse_simulated(settings, batch)
    asked = _Asked(settings, cause, tuple(because), datetime.now(UTC))
    with _failing_loudly(asked):
        tracker = Tracker(settings)
    logged = EXPERIMENT if experiment is None else tracker.existing_experiment(experiment)
    aftermath, path = Aftermath(), None
    with _failing_loudly(asked):
        with aftermath.warning("the journal was not closed in order"), Project.open(settings) as project:
            registry = Registry(tracker, project.folder)
            job = _Job(asked, project, registry, batch, aftermath)
            with turn(project.engine, f"retraining of {registry.name}", project.models / ".retraining") as mine:
                summary = job.do(tracker, logged, progress, on_family) if mine else job.refused((RUNNING,))
        summary = replace(summary, warning=aftermath.text)
        with aftermath.warning("the summary is not written"):
            path = summary.write(asked.folder)
    return replace(summary, warning=aftermath.text), path


def _refuse_simulated(settings: Settings, batch: Path) -> None:
    """Refuse a file of simulated customers before anything follows from it."""
    with suppress(JournalError), Project.open(settings) as project:  # which the retraining reports
        refuse_simulated([batch], project.simulated, settings)


@dataclass(frozen=True)
class _Asked:
    """What is asked for, by whom and when."""

    settings: Settings
    cause: Cause
    because: tuple[str, ...]
    started: datetime

    @property
    def folder(self) -> Path:
        """Where summaries are."""
        return self.settings.path(self.settings.monitoring.directory)

    def answering(self) -> str:
        """Return the name of the version folder in production."""
        return deployed_version(self.settings.path(self.settings.registry.directory)) or "none"

    def summary(self, status: Status, reason: str, permission: Permission, champion: str) -> RetrainingSummary:
        """Begin the summary."""
        return RetrainingSummary(
            self.started,
            self.cause,
            self.because,
            status,
            reason,
            permission,
            champion,
            demonstration=self.settings.demonstration,
        )


@contextmanager
def _failing_loudly(asked: _Asked) -> Iterator[None]:
    """Tell and write down that it failed, whatever the reason, and which model answers; the error itself goes on."""
    before = asked.answering()
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        after = asked.answering()
        state = "production is as it was before" if after == before else f"{after} answers now, before it was {before}"
        _tell_failure(asked.settings, retraining_failed(reason, asked.settings.alerts.link, state))
        failures = tuple(map(str, error.failures)) if isinstance(error, ValidationError) else ()
        summary = replace(
            asked.summary("failed", f"{reason}; {state}", Permission(True, ()), before), failures=failures
        )
        try:
            error.add_note(f"{state}; summary: {summary.write(asked.folder)}")
        except OSError as unwritten:
            error.add_note(f"{state}; its summary could not be written: {unwritten}")
        raise


def _tell_failure(settings: Settings, alarm: Alarm) -> None:
    """Tell the channels, also where the journal is what failed."""
    with Project.open(settings) as project:
        try:
            log = project.alerts
        except JournalError:  # which is no reason for silence
            log = None
        Alerts.of(settings, log).tell([alarm], [])


@dataclass(frozen=True)
class _Job:
    """One retraining."""

    asked: _Asked
    project: Project
    registry: Registry
    batch: Path | None
    aftermath: Aftermath

    @property
    def settings(self) -> Settings:
        return self.asked.settings

    @property
    def alerts(self) -> Alerts:
        return Alerts.of(self.settings, self.project.alerts)

    def do(
        self, tracker: Tracker, experiment: str, progress: Progress, on_family: Callable[[str], None]
    ) -> RetrainingSummary:
        """Ask the policy, retrain, and deploy if the gate says so."""
        tables = [*map(self.settings.path, self.settings.data.raw), *([self.batch] if self.batch else [])]
        refuse_simulated(tables, self.project.simulated, self.settings)
        champion, known = self._champion()
        rows = production_rows(self.project)
        file = _File.read(self.batch, self.settings.table, known) if self.batch else _File()
        permission = self._permission(champion, known, rows, file)
        if not permission.value:
            return self.refused(permission.reasons, champion)
        self._record("yes", permission.reasons, champion)
        name, summary = f"retraining {self.asked.started:%Y-%m-%d %H:%M:%S}", None
        try:
            with low_priority(), tracker.pipeline(experiment, name, progress) as run:
                pipeline = RetrainingPipeline(self._holding_out(champion), run)
                found = pipeline.run(champion, known, rows, self.batch, on_family=on_family)
                version = self._registered(found, run)
                evidence = {"known_at": microseconds(self.asked.started), "batch": file.sha256}
                record_decision(self.project, found.decision, found.challenger, champion, evidence=evidence)
                summary = self._released(found, version, champion, permission)
                run.tag("churnops.status", summary.status)
        except Exception as error:
            if summary is None:
                raise
            # What was decided is done. That MLflow, which alone is asked after it, does not know makes it no failure.
            self.aftermath.add(f"MLflow could not be told: {first_line(error)}")
        with self.aftermath.warning("the alert channels do not know"):
            self.alerts.tell([], AFTER_RETRAINING)
        return replace(summary, run_id=run.run_id, seconds=run.seconds)

    def refused(self, reasons: tuple[str, ...], champion: Bundle | None = None) -> RetrainingSummary:
        """Write down why nothing is retrained."""
        self._record("no", reasons, champion)
        name = champion.version_name if champion else self.project.folder.current() or "none"
        reason = "; ".join(reasons)
        return self.asked.summary("not permitted", reason, Permission(False, reasons), name)

    def _champion(self) -> tuple[Bundle, Identities]:
        with self.registry.deployed.locked():
            self.registry.deployed.recover()
            champion = self.registry.deployed.production()
        if champion is None:
            raise RegistryError("no model is deployed, so there is none to replace: type `churnops run` first")
        known = load_trained_on(self.project.models, champion.content_sha256)
        if known is None:
            raise RegistryError(
                f"it is not known whom {champion.version_name} was trained on, so nothing can be compared with it: "
                "`churnops run --deploy` deploys a model of which it is"
            )
        return champion, known

    def _registered(self, found: Retrained, run: PipelineRun) -> int:
        """Register the challenger, and keep whom it was trained on; return its version."""
        run_id, models, sha256 = run.runs[STEPS[5]], self.project.models, found.challenger.content_sha256
        save_trained_on(models, sha256, found.trained_on)
        save_reference(models, sha256, found.trained.reference)
        version = self.registry.register(found.challenger, run.models[run_id], run_id)
        run.tag("churnops.version", str(version))
        return version

    def _permission(self, champion: Bundle, known: Identities, rows: ProductionRows, file: "_File") -> Permission:
        """Ask the policy."""
        schema = self.settings.table
        table = labelled(rows.table, schema, rows.at, rows.customers)
        unseen = ~table.held_by(known) if table.outcome.size else np.zeros(0, np.bool_)
        since, batches = self._compared(champion)
        new = int((unseen & (rows.known > since)).sum()) + (0 if file.sha256 in batches else file.unseen)
        # Each source that has outcomes must have most of them; where it has none, no row of it is used.
        sources = [(rows.due, rows.labelled), (file.rows, file.labelled)]
        due, known_outcomes = min(
            (source for source in sources if source[1]), key=lambda source: source[1] / source[0], default=(0, 0)
        )
        situation = Situation(
            cause=self.asked.cause,
            now=self.asked.started,
            deployed_at=self.project.folder.since(),
            due=due,
            labelled=known_outcomes,
            unseen=int(unseen.sum()) + file.unseen,
            new=new,
        )
        return permit(situation, self.settings.retraining)

    def _holding_out(self, champion: Bundle) -> Settings:
        """Return the settings, with as many rows held out as the gate needed where it could last not tell."""
        decisions = self.project.decisions.newest(100, subject="deploy")
        last = next((d for d in decisions if d.champion == champion.content_sha256), None)
        needed = last.details.get("labels_needed") if last and last.verdict == "cannot tell" else None
        options = self.settings.retraining
        rows = max(options.holdout_rows, needed or 0)
        return self.settings.model_copy(update={"retraining": options.model_copy(update={"holdout_rows": rows})})

    def _compared(self, champion: Bundle) -> tuple[int, set[str]]:
        """Return what comparisons have had already: outcomes known by then (microseconds since 1970), and files.

        Those in which the champion was the challenger count too: it is in production because of them.
        """
        decisions = self.project.decisions.newest(100, subject="deploy")
        had = [
            (microseconds(d.at), d.details["evidence"])
            for d in decisions
            if champion.content_sha256 in (d.champion, d.challenger) and "evidence" in d.details
        ]
        return (
            # Not after the decision itself: the clock may have been ahead.
            max((min(int(evidence["known_at"]), at) for at, evidence in had), default=0),
            {evidence["batch"] for _, evidence in had if evidence["batch"]},
        )

    def _released(self, result: Retrained, version: int, champion: Bundle, permission: Permission) -> RetrainingSummary:
        """Release the challenger by the gate's decision on it."""
        candidate = ReleaseCandidate(
            result.challenger,
            version,
            facts=self.asked.because,
            by=who() if self.asked.cause == "by hand" else f"churnops ({self.asked.cause})",
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
        elif released.decision is not None and released.decision.verdict == "cannot tell":
            status = "cannot tell"
        reason = result.decision.reason if released.status == "unchanged" else released.reason
        summary = self.asked.summary(status, reason, permission, champion.version_name)
        return replace(summary, retrained=result, version=version, check=released.check)

    def _record(self, verdict: str, reasons: Sequence[str], champion: Bundle | None) -> None:
        asked = {"cause": self.asked.cause, "because": list(self.asked.because)}
        sha256 = champion.content_sha256 if champion else None
        decision = RecordedDecision(datetime.now(UTC), "retrain", verdict, "; ".join(reasons), sha256, None, asked)
        self.project.decisions.record(decision)


@dataclass(frozen=True)
class _File:
    """A batch file: its rows, those with an outcome, those of them new to the model in production, and its hash."""

    rows: int = 0
    labelled: int = 0
    unseen: int = 0
    sha256: str = ""

    @classmethod
    def read(cls, path: Path, schema: Schema, known: Identities) -> "_File":
        """Count a file's rows; of one that is not valid all, as the first step says what is wrong with it."""
        table, sha256 = read_table(path), hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            table = check_customers(table, schema, path.name, keep_outcome=True)
        except DataError:
            return cls(table.height, table.height, table.height, sha256)
        with_outcome = ~np.isnan(outcomes(table, schema))
        unseen = with_outcome & ~known.holds(encode(table, schema), customers_of(table, schema))
        return cls(table.height, int(with_outcome.sum()), int(unseen.sum()), sha256)


if __name__ == "__main__":
    become("retrain")
