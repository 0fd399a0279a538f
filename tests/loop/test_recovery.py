"""Processes that die, race or find a new store: production is wholly one model, and the next run sets it right."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowException

from churnops.model import Bundle
from churnops.pipelines.run_all import EXPERIMENT, RunSummary, run_all
from churnops.settings import Settings, load_settings
from churnops.step import StepResult
from churnops.tracking import Tracker
from churnops.tracking.ending import PROCESS_TAG
from tests.support.deployments import opened_registry
from tests.support.processes import CHURNOPS, PATIENCE, start, wait_for
from tests.support.projects import copied, quick, write_project, write_small_data

DIES = """
import os, sys
from churnops.registry import Registry
from churnops.registry.place import Place
from churnops.cli import main
owner = {"swap": Place, "name_production": Registry}[sys.argv[1]]
setattr(owner, sys.argv[1], lambda *arguments: os._exit(9))
main(["run", "--deploy"])
"""


def change(document: dict[str, Any]) -> None:
    quick(document)
    document["training"]["families"] = ["decision_tree"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_data(tmp_path, 300)
    write_project(tmp_path, change)
    return tmp_path


def begin(*command: str, folder: Path) -> "subprocess.Popen[str]":
    return start(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("step", "status"), [("swap", "deployed"), ("name_production", "unchanged")])
def test_a_killed_deployment_is_set_right_by_the_next_run(folder: Path, step: str, status: str):
    dying = begin(sys.executable, "-c", DIES, step, folder=folder)
    dying.communicate(timeout=PATIENCE)
    assert dying.returncode == 9
    swapped = (folder / "models/production").exists()
    assert swapped == (status == "unchanged")
    assert not swapped or Bundle.load(folder / "models/production")

    summary = run_all(load_settings(folder / "config.yaml"))
    assert summary.deployed.status == status
    with opened_registry(load_settings(folder / "config.yaml")) as registry:
        assert {d.closed for d in registry.deployed.log.history()} == ({"done"} if swapped else {"undone", "done"})
        assert [v.aliases for v in registry.versions()] == [("production",)]


def test_a_killed_deployment_and_a_new_store(folder: Path):
    dying = begin(sys.executable, "-c", DIES, "name_production", folder=folder)
    dying.communicate(timeout=PATIENCE)
    (folder / "mlflow.db").unlink()
    summary = run_all(load_settings(folder / "config.yaml"))
    assert summary.deployed.status == "unchanged"
    with opened_registry(load_settings(folder / "config.yaml")) as registry:
        assert [v.aliases for v in registry.versions()] == [("production",)]
        assert registry.deployed.log.open_intents() == []


def test_a_new_store_learns_what_is_in_production(folder: Path):
    run_all(load_settings(folder / "config.yaml"))
    settings = copied(load_settings(folder / "config.yaml"), folder / "copy")  # MLflow keeps the first store open
    settings.path("mlflow.db").unlink()
    for _ in range(2):  # and the second time nothing changes
        assert run_all(settings).deployed.status == "unchanged"
        with opened_registry(settings) as registry:
            assert [(v.version, v.aliases) for v in registry.versions()] == [(1, ("production",))]


def test_two_runs_at_once_deploy_once(folder: Path):
    runs = [begin(CHURNOPS, "run", "--json", folder=folder) for _ in range(2)]
    outputs = [run.communicate(timeout=PATIENCE) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    documents = [json.loads(out) for out, _ in outputs]
    assert sorted(document["status"] for document in documents) == ["deployed", "unchanged"]
    assert {document["version"] for document in documents} == {1}
    with opened_registry(load_settings(folder / "config.yaml")) as registry:
        assert [d.closed for d in registry.deployed.log.history()] == ["done"]


def test_an_interrupted_run_is_marked_killed_and_deploys_nothing(folder: Path):
    write_project(folder, lambda document: document["training"].update(recipe="general"))  # it would run for minutes
    run = begin(CHURNOPS, "run", folder=folder)
    wait_for("the run has begun", (folder / "mlartifacts").exists)
    os.kill(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1, errors
    assert "Traceback" not in errors
    assert not (folder / "models/production").exists()
    client = Tracker(load_settings(folder / "config.yaml")).client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    states = {r.info.status for r in client.search_runs([experiment.experiment_id])}
    assert "KILLED" in states
    assert states <= {"KILLED", "FINISHED"}


def test_an_interruption_within_a_call_of_the_store_is_one(folder: Path):
    """The store's library turns Ctrl-C within a transaction into an error of its own."""

    def step() -> StepResult:
        try:
            raise KeyboardInterrupt
        finally:
            raise MlflowException("This transaction is closed")

    tracker = Tracker(load_settings(folder / "config.yaml"))
    with pytest.raises(KeyboardInterrupt), tracker.pipeline(EXPERIMENT, "a run") as run:
        run.step("a step", step)
    assert {tracker.client.get_run(one).info.status for one in (run.run_id, run.runs["a step"])} == {"KILLED"}


KILLED_IN_A_STEP = """
import os, sys
from pathlib import Path
from churnops.settings import Settings, load_settings
from churnops.tracking import Tracker
from churnops.tracking.ending import PROCESS_TAG
with Tracker(load_settings(Path("config.yaml"))).pipeline(sys.argv[1], "killed") as run:
    run.step("a step", lambda: os._exit(9))
"""


def test_runs_of_a_killed_process_end_as_killed_with_the_next_run(folder: Path):
    dying = begin(sys.executable, "-c", KILLED_IN_A_STEP, EXPERIMENT, folder=folder)
    dying.communicate(timeout=PATIENCE)
    assert dying.returncode == 9
    tracker = Tracker(load_settings(folder / "config.yaml"))
    experiment = tracker.experiment(EXPERIMENT)
    dead = tracker.client.search_runs([experiment])
    assert [run.info.status for run in dead] == ["RUNNING"] * 2
    elsewhere = tracker.client.create_run(experiment, tags={PROCESS_TAG: "another-machine:1:1"})
    with tracker.pipeline(EXPERIMENT, "a run") as run, tracker.pipeline(EXPERIMENT, "another"):
        states = {r.info.run_id: r.info.status for r in tracker.client.search_runs([experiment])}
        assert [states[one.info.run_id] for one in dead] == ["KILLED"] * 2
        assert states[run.run_id] == states[elsewhere.info.run_id] == "RUNNING"


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_project_in_another_place_keeps_its_files_together(
    tmp_path: Path, project: tuple[Settings, RunSummary], how: str, caplog: pytest.LogCaptureFixture
):
    original, place = copied(project[0], tmp_path / "the original").root, tmp_path / "näxt one"
    with opened_registry(load_settings(original / "config.yaml")) as registry:
        (version,) = registry.versions()
    before = {path: path.read_bytes() for path in original.rglob("*") if path.is_file()}
    if how == "moved":
        original.rename(place)
    else:
        shutil.copytree(original, place, symlinks=True)
    settings = load_settings(place / "config.yaml")
    caplog.clear()
    with opened_registry(settings) as registry:
        assert registry.bundle(version.version).content_sha256 == version.content_sha256
    assert [record.getMessage() for record in caplog.records] == [
        f"the project was moved or copied from {original}: MLflow's files are now found in {place}"
    ]
    tracker = Tracker(settings)
    with tracker.pipeline(EXPERIMENT, "a run") as run:
        run.step("a step", StepResult)
    artifact = run.artifact("a step", "environment/environment.json")
    assert artifact is not None
    assert artifact.is_file()
    assert artifact.is_relative_to(place)
    assert len(caplog.records) == 1
    if how == "moved":
        assert not original.exists()
    else:
        assert {path: path.read_bytes() for path in original.rglob("*") if path.is_file()} == before


def test_a_changed_folder_of_artifacts_is_no_move(tmp_path: Path, project: tuple[Settings, RunSummary]):
    settings = copied(project[0], tmp_path / "copy")
    Tracker(settings)
    (settings.root / "mlartifacts").rename(tmp_path / "elsewhere")
    with closing(sqlite3.connect(settings.root / "mlflow.db")) as store:
        stored = store.execute("SELECT artifact_uri FROM runs ORDER BY run_uuid").fetchall()
        Tracker(settings)
        assert store.execute("SELECT artifact_uri FROM runs ORDER BY run_uuid").fetchall() == stored


def test_an_odd_answer_of_the_store_is_one_line(tmp_path: Path, project: tuple[Settings, RunSummary]):
    settings = copied(project[0], tmp_path / "copy")
    with closing(sqlite3.connect(settings.root / "mlflow.db")) as store:
        store.execute("UPDATE model_versions SET creation_time = 1000000000000000000")
        store.commit()
    for command in (("models",), ("promote", "1", "--reason", "a test", "--force")):
        done = begin(CHURNOPS, *command, folder=settings.root)
        _, errors = done.communicate(timeout=PATIENCE)
        assert done.returncode == 2, errors
        assert errors.splitlines()[-1].startswith("error: the answer of the model registry cannot be read")
        assert "Traceback" not in errors
