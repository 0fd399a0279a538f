"""`compose.yaml`: the images train, serve, monitor and show a project, with PostgreSQL, MLflow and Prometheus."""

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

import churnops
from tests.support.compose import FILE, Compose
from tests.support.images import Images
from tests.support.postgres import Cluster
from tests.support.processes import wait_for
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data
from tests.support.prometheus import prometheus

FOLDER = REPOSITORY / "deploy/compose"
ANSWER = ("churn_probability", "churn_prediction", "base_value", "top_shap_features")
API, DASHBOARD, MLFLOW = "http://127.0.0.1:8000", "http://127.0.0.1:8501", "http://127.0.0.1:5000"


def test_the_file_follows_the_schema_of_compose():
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))


def test_hadolint_accepts_the_dockerfile():
    run("hadolint", str(REPOSITORY / "Dockerfile"))


def run(program: str, *arguments: str) -> None:
    done = subprocess.run((str(Path(sys.executable).with_name(program)), *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_mounted_file_exists():
    services = yaml.safe_load(FILE.read_text())["services"]
    mounts = [mount.partition(":")[0] for service in services.values() for mount in service.get("volumes", ())]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert len(files) >= 6
    assert [name for name in files if not (REPOSITORY / name).exists()] == []


@pytest.fixture
def compose(images: Images, serve_image: str, full_image: str, cluster: Cluster, tmp_path: Path) -> Compose:
    parts = urlsplit(cluster.url.replace("+psycopg", ""))
    with psycopg.connect(parts.geturl(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE churnops")  # as the image of PostgreSQL does
        connection.execute((FOLDER / "databases.sql").read_bytes())
    project = tmp_path / "project"
    write_project(project, quick)
    write_small_data(project, store=False)
    for path in (project, *project.rglob("*")):
        shutil.chown(path, 1000, 1000)
    names = {"churnops-serve:0.1.0": serve_image, "churnops:0.1.0": full_image}
    return Compose(images, names, project, {"CHURN_PASSWORD": "trusted"}, {"PGPORT": str(parts.port)})


def test_a_project_is_trained_served_monitored_and_shown(compose: Compose, tmp_path: Path):
    project = tmp_path / "project"
    with running(compose, "mlflow", f"{MLFLOW}/health"):
        assert "Deployed folder" in compose.run("monitor", "churnops", "run")
        key = compose.run("api", "churnops", "keys", "add", "crm", "--scope", "predict", "--scope", "metrics").strip()
        with running(compose, "api", f"{API}/health/ready"):
            document = ask(f"{API}/openapi.json", key)
            customer = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
            answer = ask(f"{API}/predict", key, customer)
            expected = churnops.load_model(project / "models/production").explain(customer)
            assert {name: answer[name] for name in ANSWER} == {name: expected[name] for name in ANSWER}
            with running(compose, "dashboard", f"{DASHBOARD}/_stcore/health"):
                pass
            with prometheus(tmp_path / "prometheus", 8000, key) as server:
                wait_for("Prometheus reads the service", lambda: server.value("up") == 1.0)
        report = json.loads(compose.run("monitor", "churnops", "monitor", "--no-retrain", "--json"))["report"]
        assert report["rows"] == 1


@contextmanager
def running(compose: Compose, service: str, address: str) -> Iterator[None]:
    """Start a service of the file, wait until it answers, check its health, and stop it at the end."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", urlsplit(address).port))  # fails if another program uses the port
    process = compose.start(service)
    try:
        wait_for(f"{service} answers", lambda: answers(process, address))
        compose.check_health(service)
        yield
    finally:
        process.kill()
        process.communicate()


def answers(process: subprocess.Popen[str], address: str) -> bool:
    assert process.poll() is None, process.communicate()
    try:
        with urllib.request.urlopen(address) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(address: str, key: str, body: Any = None) -> Any:
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
        return json.load(answer)
