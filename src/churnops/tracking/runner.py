"""Tracker: opens the MLflow store of a project, and the runs of its pipelines."""

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.address import is_object_address
from churnops.errors import ChurnopsError, first_line, redact
from churnops.files import file_lock
from churnops.schema import nearest
from churnops.settings import Settings
from churnops.tracking.answers import answering, interrupted
from churnops.tracking.artifacts import is_client_error, mlflow_address
from churnops.tracking.ending import closing, end_abandoned_runs
from churnops.tracking.moved import correct_addresses
from churnops.tracking.pipeline_run import PipelineRun, Progress

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("churnops.tracking")

ENV_URI = "MLFLOW_TRACKING_URI"


def tracking_uri(settings: Settings) -> str:
    """Return the address of the store: `MLFLOW_TRACKING_URI`, or else the setting."""
    return os.environ.get(ENV_URI) or settings.database_url(settings.tracking.uri)


def artifact_location(settings: Settings, uri: str) -> str | None:
    """Return the address of a new experiment's artifacts; None if MLflow's server at `uri` chooses it.

    If `uri` is a database, MLflow itself would choose the current folder.
    """
    if uri.startswith(("http", "databricks")):
        return None
    given = settings.tracking.artifacts
    return mlflow_address(given, os.environ) if is_object_address(given) else settings.path(given).resolve().as_uri()


class Tracker:
    """Opens the MLflow store of the settings; creates the store and experiments if they are missing.

    Raises
    ------
    ChurnopsError
        If the store cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # With a tracking server, MLflow would print an address after each run.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # If tqdm is installed, MLflow would draw bars between the lines of churnops.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # With MLflow's default of 7, a wrong address would be an error only after minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        import mlflow

        self.settings = settings
        self.uri = tracking_uri(settings)
        given = os.environ.get(ENV_URI)
        mlflow.set_tracking_uri(self.uri)
        if given is None:  # MLflow sets the variable too, and the next project in this process would use it
            os.environ.pop(ENV_URI, None)
        # Two processes must not create the store at once.
        lock = file_lock(settings.models / ".lock") if self._local else nullcontext()
        try:
            with lock, _quiet():
                self._follow_move()
                self.client: MlflowClient = mlflow.MlflowClient()
                self.client.search_experiments(max_results=1)
        except Exception as error:  # a damaged file, a missing driver and a silent server each raise their own errors
            raise ChurnopsError(f"the MLflow store {redact(self.uri)} cannot be opened: {first_line(error)}") from None

    @property
    def _local(self) -> bool:
        return self.uri.startswith("sqlite:")

    def _follow_move(self) -> None:
        """Correct the addresses of the artifacts if the project, with its store, was moved or copied."""
        database, root = Path(self.uri.removeprefix("sqlite:///")), self.settings.root.resolve()
        if not self._local or not database.resolve().is_relative_to(root):
            return
        before = correct_addresses(database, root, self.settings.tracking.artifacts)
        if before is not None:
            log.warning("the project was moved or copied from %s: MLflow's files are now found in %s", before, root)

    def experiment(self, name: str) -> str:
        """Return the id of the experiment `name`; create it if it does not exist."""
        import mlflow

        existing = self.client.get_experiment_by_name(name)
        if existing is not None and existing.lifecycle_stage == "deleted":
            restore = f"mlflow experiments restore --experiment-id {existing.experiment_id}"
            raise ChurnopsError(f"the MLflow experiment {name} was deleted: type `{restore}`")
        if existing is not None:
            return str(existing.experiment_id)
        try:
            return str(
                self.client.create_experiment(name, artifact_location=artifact_location(self.settings, self.uri))
            )
        except mlflow.MlflowException:  # another process may have created it first
            existing = self.client.get_experiment_by_name(name)
            if existing is None:
                raise
            return str(existing.experiment_id)

    def existing_experiment(self, id_or_name: str) -> str:
        """Return the name of the experiment with this id or name.

        Raises
        ------
        ChurnopsError
            If there is none, or it was deleted.
        """
        import mlflow

        experiment = self.client.get_experiment_by_name(id_or_name)
        if experiment is None and id_or_name.isdecimal():
            with contextlib.suppress(mlflow.MlflowException):  # there is no such id
                experiment = self.client.get_experiment(id_or_name)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            names = sorted(item.name for item in self.client.search_experiments())
            raise ChurnopsError(f"there is no MLflow experiment {id_or_name!r}: {nearest(id_or_name, names)}")
        return str(experiment.name)

    @contextlib.contextmanager
    def pipeline(
        self, experiment: str, name: str, progress: Progress = lambda step, state: None
    ) -> Iterator[PipelineRun]:
        """Open the pipeline's run; it ends as failed if the block raises.

        Raises
        ------
        ChurnopsError
            If the store, or that of its artifacts, fails within the block, for example because the disk is full.
        """
        import mlflow

        with answering(f"the MLflow store {redact(self.uri)}"):
            experiment_id = self.experiment(experiment)
            end_abandoned_runs(self.client, experiment_id)
            run = PipelineRun(self.client, self.uri, self.settings, experiment_id, name, progress)
        try:
            with closing(self.client, run.run_id):
                run.log_environment()
                yield run
        except mlflow.MlflowException as error:
            if interrupted(error):
                raise KeyboardInterrupt from error
            raise ChurnopsError(f"the MLflow store {redact(self.uri)} failed: {first_line(error)}") from error
        except Exception as error:
            if not is_client_error(error):
                raise
            store = self.settings.tracking.artifacts
            raise ChurnopsError(f"the store of MLflow's artifacts {store} failed: {first_line(error, 400)}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the log of the store's creation: dozens of lines on migrations."""
    loggers = [logging.getLogger(name) for name in ("alembic", "alembic.runtime.migration", "mlflow.store.db.utils")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
