"""One execution of a pipeline: a run of MLflow, with a run below it for each step."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import yaml

from churnops import __version__
from churnops.errors import ChurnopsError, redact
from churnops.files import temporary_folder
from churnops.model import Bundle
from churnops.process import this_process
from churnops.settings import Settings
from churnops.step import StepResult
from churnops.traces import span
from churnops.tracking.ending import PROCESS_TAG, closing, noted
from churnops.tracking.environment import environment, git_commit, requirements
from churnops.tracking.output import kept_output
from churnops.tracking.source import ARCHIVE, function_source, package_source

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

Result = TypeVar("Result", bound=StepResult)
Progress = Callable[[str, str], None]
"""Called with a step's name and "started", "finished" or "failed"."""

LOCAL_SERVER = "http://127.0.0.1:5000"  # where `mlflow ui` listens
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000


class PipelineRun:
    """One execution of a pipeline: a parent run, and `step` to run functions below it.

    `runs` maps the name of a step, or of its child, to its run's id. `models` maps a run's id to the address of its
    logged bundle. `page` is the address of the MLflow page that lists the runs; None if the store is a database other
    than SQLite.
    """

    def __init__(
        self, client: "MlflowClient", uri: str, settings: Settings, experiment_id: str, name: str, progress: Progress
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._model_name = settings.registry.model_name
        self._progress = progress
        self.commit = git_commit(settings.root)
        self._tags = {"mlflow.source.name": "churnops", "mlflow.source.type": "LOCAL"}
        self._tags |= {"churnops.version": __version__, PROCESS_TAG: this_process()}
        self._tags |= {"mlflow.source.git.commit": self.commit} if self.commit else {}
        self._environment = {
            "environment/requirements.txt": requirements(),
            "environment/environment.json": environment(),
        }
        self._config = redact(settings.model_dump_json(by_alias=True))
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, str] = {}
        self.models: dict[str, str] = {}
        self.run_id = self._create(name, parent=None)
        self._on_server = uri.startswith("http")
        server = LOCAL_SERVER if uri.startswith("sqlite:") else redact(uri).rstrip("/")
        self._runs = f"{server}/#/experiments/{experiment_id}/runs" if server.startswith("http") else None
        # Without this, MLflow first shows its pages for language models.
        self.page = f"{self._runs}?workflowType=machine_learning" if self._runs else None

    def address(self, step: str) -> str | None:
        """Return the address of a step's page on the tracking server; None if the store is a database."""
        return f"{self._runs}/{self.runs[step]}" if self._on_server and self._runs else None

    def link(self, text: str, step: str | None = None, artifact: str | None = None) -> str:
        """Return a Markdown link within MLflow's pages: to the run of a step, by default the parent, or to its file."""
        run_id = self.run_id if step is None else self.runs[step]
        page = f"/artifacts/{artifact}" if artifact else ""
        return f"[{text}](#/experiments/{self._experiment_id}/runs/{run_id}{page})"

    def version_link(self, version: int) -> str:
        """Return a Markdown link to the page of a registered version."""
        return f"[version {version}](#/models/{quote(self._model_name, safe='')}/versions/{version})"

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

    def log_source(self) -> None:
        """Log all source code of churnops in the pipeline's run, so that a training can be repeated."""
        self._log_files(self.run_id, {ARCHIVE: package_source()})

    def add(self, child: str, result: StepResult) -> None:
        """Add a result to a nested run and its model."""
        self._log_result(self.runs[child], result)

    def step(self, name: str, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Call `function` and track its result in a run called `name`.

        The run has parameters, metrics, artifacts, data sets, source code, printed output and environment; the
        result's children become nested runs. A failure is tracked too, and raised again.
        """
        self._progress(name, "started")
        started = time.perf_counter()
        run_id = self.runs[name] = self._create(name, self.run_id)
        files: dict[str, str | bytes | Path] = {**self._environment, **function_source(function)}
        with span(name), closing(self._client, run_id):
            try:
                with kept_output() as output:
                    result = function(*args, **kwargs)
                self._log_result(run_id, result)
            except BaseException as error:
                self._progress(name, "failed")
                output.add_error(error)
                files |= {"error.txt": traceback.format_exc(), **output.files()}
                files |= error.artifacts if isinstance(error, ChurnopsError) else {}
                with noted(error):
                    self._log_files(run_id, files)
                raise
            output.add_result(result.summary)
            self._log_files(run_id, files | output.files())
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
        self._log_datasets(run_id, result)
        params = [Param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in result.params.items()]
        metrics = [*self._model_metrics(run_id, result), *_metrics(result.other_metrics)]
        for name, values in result.folds.items():
            for fold, value in enumerate(values, start=1):
                metrics += _metrics({name: value}, step=fold)
        self._client.log_batch(run_id, metrics=metrics, params=params)
        self._log_files(run_id, result.artifacts)
        begun = _milliseconds() - round(1000 * sum(child.seconds or 0.0 for child in result.children.values()))
        for name, child in result.children.items():
            ended = None if child.seconds is None else begun + round(1000 * child.seconds)
            child_id = self.runs[name] = self._create(name, run_id, None if ended is None else begun)
            with closing(self._client, child_id, ended):
                self._log_result(child_id, child)
            begun = ended or begun

    def _model_metrics(self, run_id: str, result: StepResult) -> "list[Metric]":
        """Return the result's metrics; if the run has a model, as metrics of the model on the result's data set."""
        model = self.models.get(run_id)
        if model is None:
            return _metrics(result.metrics)
        about = {"model_id": model.removeprefix("models:/")}
        for name, (_, sha256) in result.datasets.items():
            about |= {"dataset_name": name, "dataset_digest": _digest(sha256)}
        return _metrics(result.metrics, about=about)

    def _log_datasets(self, run_id: str, result: StepResult) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        inputs = [
            DatasetInput(Dataset(name, _digest(sha256), "code", source), [InputTag("mlflow.data.context", name)])
            for name, (source, sha256) in result.datasets.items()
        ]
        if not inputs:
            return
        try:
            self._client.log_inputs(run_id, datasets=inputs)
        except MlflowException:  # another run stored the same data set at this moment; a second call finds it
            self._client.log_inputs(run_id, datasets=inputs)

    def _log_files(self, run_id: str, files: Mapping[str, str | bytes | Path]) -> None:
        with temporary_folder() as private:
            folder = private / "files"  # MLflow copies a folder's permissions; those of `private` are too strict
            folder.mkdir()
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    path.symlink_to(content.resolve())  # MLflow copies the file
                    continue
                # Printed output may contain file names that are not UTF-8.
                data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
                path.write_bytes(data)
            if files:
                self._client.log_artifacts(run_id, str(folder))


def _metrics(
    metrics: Mapping[str, float], step: int = 0, about: Mapping[str, str] = MappingProxyType({})
) -> "list[Metric]":
    """Return MLflow's metrics; `about` has their model and data set."""
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(key, float(value), now, step, **about) for key, value in metrics.items()]


def _digest(sha256: str) -> str:
    return sha256[:32]  # MLflow's column has 36 characters


def _milliseconds() -> int:
    return int(time.time() * 1000)
