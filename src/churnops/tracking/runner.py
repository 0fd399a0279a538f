"""Run the steps of a pipeline in order, each tracked as an MLflow run below the pipeline's run."""

import contextlib
import inspect
import io
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import yaml

from churnops import __version__
from churnops.errors import ChurnopsError, first_line, redact
from churnops.files import file_lock, temporary_folder
from churnops.model import Bundle
from churnops.process import has_ended, this_process
from churnops.schema import nearest
from churnops.settings import Settings
from churnops.step import StepResult
from churnops.tracking.answers import answering, interrupted
from churnops.tracking.environment import environment, git_commit, requirements
from churnops.tracking.moved import correct_addresses
from churnops.tracking.output import Tee, printed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger("churnops.tracking")

Result = TypeVar("Result", bound=StepResult)
Progress = Callable[[str, str], None]
"""Called with a step's name and "started", "finished" or "failed"."""

ENV_URI = "MLFLOW_TRACKING_URI"
PROCESS_TAG = "churnops.process"
"""Tag of a run: the process that executes it."""
LOCAL_SERVER = "http://127.0.0.1:5000"  # where `mlflow ui` listens
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000


def tracking_uri(settings: Settings) -> str:
    """Return the address of the store: `MLFLOW_TRACKING_URI`, or else the setting."""
    return os.environ.get(ENV_URI) or settings.database_url(settings.tracking.uri)


class Tracker:
    """Opens the MLflow store of the settings; creates the store and experiments if they are missing.

    Raises
    ------
    ChurnopsError
        If the store cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
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
        lock = file_lock(settings.path(settings.registry.directory) / ".lock") if self._local else nullcontext()
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
        # A server chooses the folder of the artifacts itself; a local store would use the current folder.
        folder = self.settings.path(self.settings.tracking.artifacts)
        location = folder.resolve().as_uri() if self._local else None
        try:
            return str(self.client.create_experiment(name, artifact_location=location))
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
    ) -> Iterator["PipelineRun"]:
        """Open the pipeline's run; it ends as failed if the block raises.

        Raises
        ------
        ChurnopsError
            If the store fails within the block, for example because the disk is full.
        """
        import mlflow

        with answering(f"the MLflow store {redact(self.uri)}"):
            experiment_id = self.experiment(experiment)
            _end_abandoned_runs(self.client, experiment_id)
            run = PipelineRun(self, experiment_id, name, progress)
        try:
            with _closing(self.client, run.run_id):
                run.log_environment()
                yield run
        except mlflow.MlflowException as error:
            if interrupted(error):
                raise KeyboardInterrupt from error
            raise ChurnopsError(f"the MLflow store {redact(self.uri)} failed: {first_line(error)}") from error


class PipelineRun:
    """One execution of a pipeline: a parent run, and `step` to run functions below it.

    `runs` maps the name of a step, or of its child, to its run's id. `models` maps a run's id to the address of its
    logged bundle. `page` is the address of the MLflow page that lists the runs; None if the store is a database other
    than SQLite.
    """

    def __init__(self, tracker: Tracker, experiment_id: str, name: str, progress: Progress) -> None:
        self._client = tracker.client
        self._experiment_id = experiment_id
        self._progress = progress
        self.commit = git_commit(tracker.settings.root)
        self._tags = {"mlflow.source.name": "churnops", "mlflow.source.type": "LOCAL"}
        self._tags |= {"churnops.version": __version__, PROCESS_TAG: this_process()}
        self._tags |= {"mlflow.source.git.commit": self.commit} if self.commit else {}
        self._environment = {
            "environment/requirements.txt": requirements(),
            "environment/environment.json": environment(),
        }
        self._config = redact(tracker.settings.model_dump_json(by_alias=True))
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, str] = {}
        self.models: dict[str, str] = {}
        self.run_id = self._create(name, parent=None)
        self._on_server = tracker.uri.startswith("http")
        server = LOCAL_SERVER if tracker.uri.startswith("sqlite:") else redact(tracker.uri).rstrip("/")
        self._runs = f"{server}/#/experiments/{experiment_id}/runs" if server.startswith("http") else None
        # Without this, MLflow first shows its pages for language models.
        self.page = f"{self._runs}?workflowType=machine_learning" if self._runs else None

    def address(self, step: str) -> str | None:
        """Return the address of a step's page on the tracking server; None if the store is a database."""
        return f"{self._runs}/{self.runs[step]}" if self._on_server and self._runs else None

    def log_environment(self) -> None:
        """Log packages, platform and settings (without secrets) in the pipeline's run."""
        config = yaml.safe_dump(json.loads(self._config), sort_keys=False, allow_unicode=True)
        self._log_files(self.run_id, {**self._environment, "config.yaml": config})

    def conclude(self, result: StepResult, description: str, tags: Mapping[str, str]) -> None:
        """Log the pipeline's result in its own run, for people who compare runs.

        `description` is Markdown. The names of `tags` get the prefix `churnops.`.
        """
        self._log_result(self.run_id, result)
        named = {f"churnops.{name}": value for name, value in tags.items()}
        for key, value in {**named, "mlflow.note.content": description}.items():
            self.tag(key, value[:MAX_TAG_LENGTH])

    def add_metrics(self, child: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a nested run."""
        run_id = self.runs[child]
        self._client.log_batch(run_id, metrics=self._metrics(metrics, self._model_of(run_id)))

    def step(self, name: str, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Call `function` and track its result in a run called `name`.

        The run has parameters, metrics, artifacts, data sets, source code, printed output and environment; the
        result's children become nested runs. A failure is tracked too, and raised again.
        """
        self._progress(name, "started")
        started = time.perf_counter()
        run_id = self.runs[name] = self._create(name, self.run_id)
        files: dict[str, str | bytes] = {**self._environment, **_source(function)}
        out, err = io.StringIO(), io.StringIO()
        with _closing(self._client, run_id):
            try:
                with redirect_stdout(Tee(sys.stdout, out)), redirect_stderr(Tee(sys.stderr, err)):
                    result = function(*args, **kwargs)
                self._log_result(run_id, result)
            except BaseException as error:
                self._progress(name, "failed")
                files |= {"error.txt": traceback.format_exc()} | printed(out, err)
                files |= error.artifacts if isinstance(error, ChurnopsError) else {}
                with _noted(error):
                    self._log_files(run_id, files)
                raise
            self._log_files(run_id, files | printed(out, err))
        self.seconds[name] = time.perf_counter() - started
        self._progress(name, "finished")
        return result

    def artifact(self, step: str, name: str) -> Path | None:
        """Return the path of a step's artifact; None if the artifacts are not on this machine."""
        uri = urlsplit(self._client.get_run(self.runs[step]).info.artifact_uri)
        return Path(unquote(uri.path), name) if uri.scheme == "file" else None

    def tag(self, key: str, value: str) -> None:
        """Tag the pipeline's run."""
        self._client.set_tag(self.run_id, key, value)

    def _create(self, name: str, parent: str | None, started: int | None = None) -> str:
        tags = self._tags | ({"mlflow.parentRunId": parent} if parent else {})
        return str(self._client.create_run(self._experiment_id, started, tags=tags, run_name=name).info.run_id)

    def _log_result(self, run_id: str, result: StepResult) -> None:
        from mlflow.entities import Param

        if isinstance(result.bundle, Bundle):
            from churnops.tracking.models import log_bundle

            self.models[run_id] = log_bundle(result.bundle, run_id, result.params)
        params = [Param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in result.params.items()]
        metrics = self._metrics(result.metrics, self._model_of(run_id))
        for name, values in result.folds.items():
            for fold, value in enumerate(values, start=1):
                metrics += self._metrics({name: value}, step=fold)
        self._client.log_batch(run_id, metrics=metrics, params=params)
        self._log_files(run_id, result.artifacts)
        self._log_datasets(run_id, result)
        begun = _milliseconds() - round(1000 * sum(child.seconds or 0.0 for child in result.children.values()))
        for name, child in result.children.items():
            ended = None if child.seconds is None else begun + round(1000 * child.seconds)
            child_id = self.runs[name] = self._create(name, run_id, None if ended is None else begun)
            with _closing(self._client, child_id, ended):
                self._log_result(child_id, child)
            begun = ended or begun

    def _model_of(self, run_id: str) -> str | None:
        address = self.models.get(run_id)
        return address.removeprefix("models:/") if address else None

    def _metrics(self, metrics: Mapping[str, float], model_id: str | None = None, step: int = 0) -> "list[Metric]":
        from mlflow.entities import Metric

        now = _milliseconds()
        return [Metric(key, float(value), now, step, model_id=model_id) for key, value in metrics.items()]

    def _log_datasets(self, run_id: str, result: StepResult) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        inputs = [
            DatasetInput(Dataset(name, sha256[:32], "code", source), [InputTag("mlflow.data.context", name)])
            for name, (source, sha256) in result.datasets.items()
        ]
        if not inputs:
            return
        try:
            self._client.log_inputs(run_id, datasets=inputs)
        except MlflowException:  # another run stored the same data set at this moment; a second call finds it
            self._client.log_inputs(run_id, datasets=inputs)

    def _log_files(self, run_id: str, files: Mapping[str, str | bytes]) -> None:
        with temporary_folder() as private:
            folder = private / "files"  # MLflow copies a folder's permissions; those of `private` are too strict
            folder.mkdir()
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                # Printed output may contain file names that are not UTF-8.
                data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
                path.write_bytes(data)
            if files:
                self._client.log_artifacts(run_id, str(folder))


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _end_abandoned_runs(client: "MlflowClient", experiment_id: str) -> None:
    """End the runs of killed processes of this machine as KILLED."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if has_ended(run.data.tags.get(PROCESS_TAG, "")):
            client.set_terminated(run.info.run_id, "KILLED")


@contextlib.contextmanager
def _closing(client: "MlflowClient", run_id: str, ended: int | None = None) -> Iterator[None]:
    """End a run as FINISHED, or as FAILED or KILLED if the block raises; always raise the block's own error.

    A finished run ends at `ended`, in milliseconds since 1970, by default now.

    Nested runs that an interruption left open are ended too.
    """
    try:
        yield
        client.set_terminated(run_id, "FINISHED", ended)
    except BaseException as error:
        state = "KILLED" if interrupted(error) else "FAILED"
        if state == "KILLED":
            traceback.clear_frames(error.__traceback__)  # a cursor of an interrupted call would lock the store
        with _noted(error):
            client.set_terminated(run_id, state)
            experiment = client.get_run(run_id).info.experiment_id
            below = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([experiment], below):
                client.set_terminated(child.info.run_id, state)
        raise


@contextlib.contextmanager
def _noted(error: BaseException) -> Iterator[None]:
    """Turn a failure to track `error` (disk full, server gone) into a note on `error`, so that `error` is raised."""
    try:
        yield
    except Exception as untracked:
        error.add_note(f"MLflow could not record this failure: {first_line(untracked)}")


def _source(function: Callable[..., Any]) -> dict[str, str | bytes]:
    """Return the source file of a step's function."""
    path = inspect.getsourcefile(function)
    return {f"code/{Path(path).name}": Path(path).read_text(encoding="utf-8")} if path else {}


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
