"""After the swap of the link a deployment stands: every later failure is a warning."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from churnops.alerting.alerts import Alerts
from churnops.cli import main
from churnops.errors import JournalError, RegistryError
from churnops.journal import DeploymentLog
from churnops.journal.database import open_database
from churnops.monitoring import ModelMonitor
from churnops.pipelines.run_all import EXPERIMENT, run_all
from churnops.registry import DeploymentFolder, Registry
from churnops.settings import Settings, load_settings
from churnops.tracking import Tracker
from churnops.tracking.pipeline_run import PipelineRun
from tests.support.deployments import opened_registry
from tests.support.projects import quick, write_project, write_small_data

Patch = pytest.MonkeyPatch


def change(document: dict[str, Any]) -> None:
    quick(document)
    document["training"]["families"] = ["decision_tree"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions; the first one is deployed."""
    folder = tmp_path_factory.mktemp("aftermath")
    write_small_data(folder, 400)
    settings = load_settings(write_project(folder, change))
    run_all(settings)
    shorten(settings)
    assert run_all(settings).deployed.status == "challenger"
    return folder


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(template, tmp_path / "project", symlinks=True)
    return load_settings(tmp_path / "project/config.yaml")


def shorten(settings: Settings) -> None:
    """Give the next run other rows to train on."""
    path = settings.path("data/raw/churn-20.csv")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-60]))


def typed(settings: Settings, *command: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(settings.path("config.yaml")), *command])


def fail(error: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


def after_the_swap(patch: Patch, then: Callable[[DeploymentFolder], object]) -> None:
    recover = DeploymentFolder.recover

    def recovered(folder: DeploymentFolder) -> Any:
        if folder.log.open_intents():
            then(folder)
        return recover(folder)

    patch.setattr(DeploymentFolder, "recover", recovered)


def journal_lost(folder: DeploymentFolder) -> None:
    folder.log._engine.dispose()
    shutil.move(folder.folder.parent / "journal.db", folder.folder.parent / "lost.db")
    (folder.folder.parent / "journal.db").mkdir()


FAULTS: dict[str, Callable[[Patch], None]] = {
    "the link's folder is not flushed": lambda p: p.setattr(
        "churnops.registry.place.fsync_folder", fail(OSError(5, "Input/output error"))
    ),
    "a defect": lambda p: after_the_swap(p, fail(ZeroDivisionError())),
    "the aliases: refused": lambda p: p.setattr(Registry, "name_production", fail(RegistryError("no answer"))),
    "the aliases: a defect": lambda p: p.setattr(Registry, "name_production", fail(KeyError("alias"))),
    "the intent": lambda p: p.setattr(DeploymentLog, "close", fail(JournalError("the database is read-only"))),
    "the alert": lambda p: p.setattr(Alerts, "announce", fail(RuntimeError("cannot schedule new futures"))),
    "the screen": lambda p: (
        [p.setattr(f"churnops.screens.show_{what}", fail(ValueError("a bad width"))) for what in ("run", "promotion")]
        and None
    ),
}
OF_A_RUN: dict[str, Callable[[Patch], None]] = {
    "a tag": lambda p: p.setattr(PipelineRun, "tag", fail(ConnectionError("connection refused"))),
    "the first cycle": lambda p: p.setattr(ModelMonitor, "run_batch", fail(OSError(28, "No space left on device"))),
    "the alarms": lambda p: p.setattr(Alerts, "tell", fail(RuntimeError("cannot schedule new futures"))),
    "the MLflow store": lambda p: after_the_swap(p, lambda folder: (folder.folder.parent / "mlflow.db").unlink()),
    "the journal": lambda p: after_the_swap(p, journal_lost),
}
SILENT = {"the screen"}  # the result itself is whole


def closed(settings: Settings) -> list[str | None]:
    with opened_registry(settings) as registry:
        with registry.deployed.locked():
            registry.deployed.recover()
        return [deployment.closed for deployment in registry.deployed.log.history()]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_promotion_stands_although_a_later_step_fails(settings: Settings, monkeypatch: Patch, fault: str):
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        result = typed(settings, "promote", "2", "--reason", "a test", "--force")
    assert result.exit_code == 0, result.output
    assert settings.path("models/production").readlink().name.endswith("-v2")
    assert "warning: " in result.stderr
    assert closed(settings) == ["done", "done"]  # the next command finishes what is open


@pytest.mark.parametrize("fault", [*FAULTS, "the journal"])
def test_a_rollback_stands_although_a_later_step_fails(settings: Settings, monkeypatch: Patch, fault: str):
    assert typed(settings, "promote", "2", "--reason", "a test", "--force").exit_code == 0
    with monkeypatch.context() as patch:
        ({**FAULTS, **OF_A_RUN})[fault](patch)
        result = typed(settings, "rollback", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["version"], document["warning"] is None) == (1, fault in SILENT)
    assert settings.path("models/production").readlink().name.endswith("-v1")
    if fault != "the journal":
        assert closed(settings) == ["done", "done", "done"]


@pytest.mark.parametrize("fault", [*FAULTS, *OF_A_RUN])
def test_the_main_job_is_done_when_its_model_is_deployed(settings: Settings, monkeypatch: Patch, fault: str):
    shorten(settings)
    with monkeypatch.context() as patch:
        ({**FAULTS, **OF_A_RUN})[fault](patch)
        result = typed(settings, "run", "--deploy", *([] if fault == "the screen" else ["--json"]))
    assert result.exit_code == 0, result.output
    assert settings.path("models/production").readlink().name.endswith("-v3")
    if fault == "the screen":
        assert "the work is done, but its result cannot be shown" in result.stderr
        return
    document = json.loads(result.stdout)
    assert document["status"] == "deployed"
    assert document["warning"]
    assert (document["monitoring"] is None) == (fault in ("the first cycle", "the MLflow store", "the journal"))


def test_a_run_whose_first_cycle_fails_is_finished_and_says_so(settings: Settings, monkeypatch: Patch):
    shorten(settings)
    with monkeypatch.context() as patch:
        OF_A_RUN["the first cycle"](patch)
        summary = run_all(settings, deploy=True)
    assert summary.cycle is None
    assert summary.deployed.warning == "the first monitoring cycle failed: [Errno 28] No space left on device"
    client = Tracker(settings).client
    parent = client.get_run(summary.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["churnops.warning"] == summary.deployed.warning
    below = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{summary.run_id}'")
    assert {run.info.run_name: run.info.status for run in below}["7/7 Monitor performance"] == "FAILED"
    assert client.get_experiment_by_name(EXPERIMENT) is not None


def test_where_nothing_was_deployed_a_failed_cycle_fails_the_run(settings: Settings, monkeypatch: Patch):
    monkeypatch.setattr(ModelMonitor, "run_batch", fail(OSError(28, "No space left on device")))
    assert typed(settings, "run").exit_code == 2
    assert settings.path("models/production").readlink().name.endswith("-v1")


def test_a_failure_before_the_swap_is_a_failure(settings: Settings, monkeypatch: Patch):
    monkeypatch.setattr(DeploymentLog, "open_intent", fail(JournalError("the database is read-only")))
    assert typed(settings, "promote", "2", "--reason", "a test", "--force").exit_code == 2
    assert settings.path("models/production").readlink().name.endswith("-v1")


def test_a_journal_lost_after_the_swap_is_completed_on_its_return(settings: Settings, monkeypatch: Patch):
    with monkeypatch.context() as patch:
        after_the_swap(patch, journal_lost)
        result = typed(settings, "promote", "2", "--reason", "a test", "--force")
    assert result.exit_code == 0, result.output
    settings.path("journal.db").rmdir()
    settings.path("lost.db").rename(settings.path("journal.db"))
    engine = open_database(settings.database_url(settings.journal.url))
    assert [d.closed for d in DeploymentLog(engine).history()] == ["done", None]
    engine.dispose()
    assert closed(settings) == ["done", "done"]
