"""MLflow's own processes on what the main job left: the interface, a model server, and a tracking server."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.pipelines.run_all import EXPERIMENT, RunSummary, run_all
from churnops.settings import Settings, load_settings
from churnops.step import StepResult
from churnops.tracking import Tracker
from tests.support.processes import PATIENCE, free_port, start, wait_for
from tests.support.projects import quick, write_project, write_small_data

MLFLOW = str(Path(sys.executable).with_name("mlflow"))


@contextmanager
def process(*command: str, cwd: Path, health: str, **variables: str) -> Iterator[None]:
    """Run a server until the block ends; wait until it answers at `health`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    environment["UVICORN_TIMEOUT_WORKER_HEALTHCHECK"] = "120"  # on a busy machine workers take long to start
    log = cwd / "server.log"
    with log.open("w") as output:
        server = start(
            command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        wait_for("the server answers", lambda: _answers(server, health, log))
        yield
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=PATIENCE)


def _answers(server: "subprocess.Popen[Any]", health: str, log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(health, timeout=PATIENCE):
            return True
    except OSError:
        return False


def post(url: str, document: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return dict(json.load(answer))


def test_mlflow_ui_without_flags_shows_everything(project: tuple[Settings, RunSummary]):
    settings, summary = project
    base = "http://127.0.0.1:5000"
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", 5000)) == 0:
            base = ""
    port = [] if base else ["--port", str(free_port())]
    base = base or f"http://127.0.0.1:{port[1]}"
    with process(MLFLOW, "ui", *port, cwd=settings.root, health=f"{base}/health"):
        found = post(f"{base}/api/2.0/mlflow/experiments/search", {"max_results": 10})["experiments"]
        (experiment,) = [e for e in found if e["name"] == EXPERIMENT]
        runs = post(
            f"{base}/api/2.0/mlflow/runs/search",
            {"experiment_ids": [experiment["experiment_id"]], "max_results": 100},
        )["runs"]
        assert len(runs) == 12  # the parent, seven steps and four families
        page = f"{base}/get-artifact?path=confusion_matrix.html&run_uuid="
        evaluation = next(r["info"]["run_id"] for r in runs if r["info"]["run_name"] == "6/7 Evaluation")
        with urllib.request.urlopen(page + evaluation, timeout=PATIENCE) as answer:
            assert b"<svg" in answer.read()
        with urllib.request.urlopen(
            f"{base}/api/2.0/mlflow/registered-models/get?name=churn", timeout=PATIENCE
        ) as answer:
            aliases = json.load(answer)["registered_model"]["aliases"]
        assert aliases == [{"alias": "production", "version": str(summary.deployed.version)}]


def test_mlflow_models_serve_answers_as_the_bundle_does(project: tuple[Settings, RunSummary]):
    settings, _ = project
    port = free_port()
    serve = (MLFLOW, "models", "serve", "-m", "models:/churn@production", "--env-manager", "local")
    table = pl.read_csv(settings.root / "data/production/churn-later.csv").head(7)
    rows = table.rename(settings.table.rename(table.columns)).drop("churn").to_dicts()
    columns = encode(check_customers(table, settings.table, "rows"), settings.table)
    with process(
        *serve,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        cwd=settings.root,
        health=f"http://127.0.0.1:{port}/ping",
        MLFLOW_TRACKING_URI="sqlite:///mlflow.db",
    ):
        answer = post(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": rows})["predictions"]
    bundle = Bundle.load(settings.root / "models/production")
    assert [row["churn_probability"] for row in answer] == bundle.predict(columns).probability.tolist()
    assert {row["model_version"] for row in answer} == {bundle.version_name}


def test_a_tracking_server_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["training"]["families"] = ["decision_tree"]

    (tmp_path / "server").mkdir()
    (tmp_path / "project").mkdir()
    write_small_data(tmp_path / "project", 300, store=False)
    settings = load_settings(write_project(tmp_path / "project", change))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = (MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    with process(
        *command, cwd=tmp_path / "server", health=f"{address}/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        summary = run_all(settings)
        client = MlflowClient(address)
        assert client.get_run(summary.run_id).info.status == "FINISHED"
        version = client.get_model_version_by_alias("churn", "production")
        assert version.tags["content_sha256"] == summary.evaluated.bundle.content_sha256
        evaluation = client.list_artifacts(summary.run_id, "environment")
        assert {item.path for item in evaluation} == {"environment/environment.json", "environment/requirements.txt"}
        with Tracker(settings).pipeline(EXPERIMENT, "one step") as run:
            run.step("a step", StepResult)
        experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
        assert run.address("a step") == f"{address}/#/experiments/{experiment}/runs/{run.runs['a step']}"
    assert not (settings.root / "mlflow.db").exists()
    assert not (settings.root / "mlartifacts").exists()
    assert Bundle.load(settings.root / "models/production")
