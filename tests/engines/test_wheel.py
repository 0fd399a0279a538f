"""The wheel suffices: in an environment without the repository, its commands train, serve and monitor in empty folders.

The environment is empty but for the wheel. It sees the other packages of this environment, and not its churnops.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from churnops.demo.plan import DEFAULT
from tests.support.processes import QUICK, free_port, run, wait_for
from tests.support.projects import REPOSITORY

SOURCE = REPOSITORY / "src"
ALONE = {"PYTHONPATH": ""}
SHORT = {
    "drift": 0.0,
    "before_seconds": 5,
    "quiet_seconds": 5,
    "label_horizon_seconds": 3,
    "label_delay_seconds": 0.5,
    "window_seconds": 6,
    "cycle_seconds": 2,
    "batch_rows": 500,
}


def build(project: Path, folder: Path, target: str) -> Path:
    """Build a wheel or an sdist of a source tree, as `make dist` does."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder))
    run_quietly(*command, cwd=project)
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def run_quietly(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPOSITORY, tmp_path_factory.mktemp("dist"), "wheel")


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's commands; the `.pth` files of this environment are not read in it."""
    folder = tmp_path_factory.mktemp("wheel") / "environment"
    run_quietly(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip(folder, "install", "--no-index", "--no-deps", "--ignore-installed", str(wheel))
    return folder / "bin"


def pip(environment: Path, *arguments: str) -> str:
    return run_quietly(sys.executable, "-m", "pip", "--python", str(environment), *arguments, cwd=environment)


def test_archives_hold_the_whole_package_and_its_data(wheel: Path, tmp_path: Path):
    """A wheel that is built from the sdist has the same bytes."""
    with tarfile.open(build(REPOSITORY, tmp_path, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert build(unpacked, tmp_path / "again", "wheel").read_bytes() == wheel.read_bytes()

    files = {f"churnops/{path}" for path in tracked("src/churnops") if path != "demo/data"}
    files |= {f"churnops/demo/data/{path}" for path in tracked("data")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files
    assert {"churnops/py.typed", "churnops/demo/data/raw/churn-80.csv"} < names


def tracked(folder: str) -> list[str]:
    return subprocess.check_output(("git", "ls-files"), cwd=REPOSITORY / folder, text=True).splitlines()


def test_an_installed_package_installs_its_extras(environment: Path):
    """The command of the messages, `pip install 'churnops[serve]'`, asks no index for churnops itself."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    output = pip(environment.parent, "install", "--no-index", f"churnops[{','.join(extras)}]")
    assert re.search(r"already satisfied: churnops\[.*\] in \./lib/", output), output


def test_commands_work_in_empty_folders(environment: Path, tmp_path: Path):
    churnops = str(environment / "churnops")
    plan = yaml.safe_load(DEFAULT.read_text()) | SHORT
    plan["settings"]["monitoring"] = {"false_alarm_budget": 1e-6}  # the customers of a look depend on the machine
    plan["settings"]["training"] |= {"families": ["random_forest"], "trials": {"random_forest": 1}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    demo = run(churnops, "demo", "--plan", "plan.yaml", cwd=tmp_path, **ALONE)
    assert "customers were scored; no alarms fired, no new models were deployed" in demo.stdout
    assert (tmp_path / "churnops-demo/timeline.svg").exists()
    again = run(churnops, "demo", cwd=tmp_path, code=2, **ALONE)
    assert again.stderr == "error: churnops-demo is not empty: give a new folder, churnops demo FOLDER\n"

    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(tmp_path / "churnops-demo/data/raw/churn-80.csv", own / "customers.csv")
    run(churnops, "init", "customers.csv", "--target", "Churn", cwd=own, **ALONE)
    run(churnops, "run", cwd=own, **QUICK, **ALONE)
    with serving(churnops, own) as address:
        assert 0.0 < predict_example(address) < 1.0
    report = json.loads(run(churnops, "monitor", "--no-retrain", "--json", cwd=own, **ALONE).stdout)["report"]
    assert report["performance"]["reason"]


@contextmanager
def serving(churnops: str, folder: Path) -> Iterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen((churnops, "serve", "--port", str(port)), cwd=folder, env=os.environ | ALONE) as process:
        try:
            wait_for("the service is ready", lambda: ready(address))
            yield address
        finally:
            process.terminate()


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health/ready") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def predict_example(address: str) -> float:
    """Return the churn probability of the customer in the API's own document."""
    with urllib.request.urlopen(f"{address}/openapi.json") as answer:
        body = json.load(answer)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    request = urllib.request.Request(
        f"{address}/predict", json.dumps(body["example"]).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return float(json.load(answer)["churn_probability"])
