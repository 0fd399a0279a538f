"""Processes killed at each point of a deployment or rollback: the next service has a whole model."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from churnops.api.customers import CustomerForm
from churnops.model import Bundle
from churnops.pipelines.promote import promote
from churnops.pipelines.rollback import roll_back
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from churnops.tracking import Tracker
from churnops.tracking.models import log_bundle
from tests.support.deployments import aliases, copy, history, opened_registry
from tests.support.load import Recomputed
from tests.support.processes import start, wait_for
from tests.support.serving import Server

# What a process has done when it dies; "nothing" is before the first of them.
DEPLOY = (
    "nothing",
    "files",
    "folder",
    "log",
    "link made",
    "link swapped",
    "set alias",
    "set alias",
    "delete alias",
    "log",
)
ROLLBACK = ("nothing", "log", "link made", "link swapped", "set alias", "set alias", "log")
SEQUENCES = {"deploy": DEPLOY, "rollback": ROLLBACK}
POINTS = [(what, number) for what, sequence in SEQUENCES.items() for number in range(len(sequence))]

# Forks for each order on standard input. The child prints what it has done.
DIES = """
import json, os, signal, sys, traceback
from pathlib import Path
import mlflow, mlflow.artifacts
from churnops.journal import DeploymentLog
from churnops.pipelines.rollback import roll_back
from churnops.project import Project
from churnops.registry import Registry
from churnops.settings import load_settings
from churnops.tracking import Tracker

def child(order):
    settings, done = load_settings(Path(order["config"])), []
    def reach(what):
        done.append(what)
        if len(done) == order["point"]:
            os.kill(os.getpid(), signal.SIGKILL)
    def dies_after(owner, method, what, before=None):
        original = getattr(owner, method)
        def wrapped(*arguments, **options):
            if before:
                reach(before)
            result = original(*arguments, **options)
            reach(what)
            return result
        setattr(owner, method, wrapped)
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        bundle = registry.bundle(2)
        dies_after(Path, "rename", "folder", before="files")
        dies_after(DeploymentLog, "_append", "log")
        dies_after(Path, "symlink_to", "link made")
        dies_after(Path, "replace", "link swapped")
        dies_after(mlflow.MlflowClient, "set_registered_model_alias", "set alias")
        dies_after(mlflow.MlflowClient, "delete_registered_model_alias", "delete alias")
        if order["point"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if order["what"] == "deploy":
            with registry.deployed.locked():
                registry.deployed.deploy(bundle, 2, "a test")
        else:
            roll_back(settings, reason="a test")
    return done

for line in sys.stdin:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            done = child(json.loads(line))
            os.write(write, json.dumps(done).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write)
    with open(read, "rb") as pipe:
        done = json.loads(pipe.read() or b"null")
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    print(json.dumps({"killed": killed, "done": done}), flush=True)
"""


@dataclass(frozen=True)
class Template:
    """Projects to copy: for `rollback`, version 2 is deployed after version 1; for the other, it waits."""

    folders: dict[str, Path]
    bundles: tuple[Bundle, Bundle]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Template:
    """The small project with a second model registered."""
    folders = {what: tmp_path_factory.mktemp("kills") / what for what in ("deploy", "rollback")}
    settings = copy(project[0].root, folders["deploy"])
    tracker = Tracker(settings)
    with opened_registry(settings) as registry:
        first = registry.deployed.production()
        assert first is not None
        bundles = [model.bundle for model in project[1].trained.models.values()]
        second = next(bundle for bundle in bundles if bundle.algorithm != first.algorithm)
        run = tracker.client.create_run(tracker.experiment("A test"))
        version = registry.register(second, log_bundle(second, run.info.run_id), run.info.run_id)
        assert version == 2
        registry.make_challenger(version)
    settings = copy(folders["deploy"], folders["rollback"])
    with opened_registry(settings) as registry, registry.deployed.locked():
        registry.deployed.deploy(second, 2, "second")
    return Template(folders, (first, second))


@pytest.fixture(scope="module")
def dies() -> Iterator[Callable[[Settings, str, int | None], dict[str, Any]]]:
    """Deploy or roll back in a process that kills itself after a given number of steps."""
    with start([sys.executable, "-c", DIES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def order(settings: Settings, what: str, point: int | None) -> dict[str, Any]:
            document = {"config": str(settings.path("config.yaml")), "what": what, "point": point}
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield order
        process.stdin.close()


@pytest.mark.parametrize("what", SEQUENCES)
def test_the_list_of_kill_points_is_complete(
    tmp_path: Path, template: Template, dies: Callable[..., dict[str, Any]], what: str
):
    settings = copy(template.folders[what], tmp_path / "project")
    assert dies(settings, what, None) == {"killed": False, "done": list(SEQUENCES[what][1:])}


@pytest.mark.parametrize(("what", "point"), POINTS)
def test_after_a_kill_a_whole_model_answers_and_a_repetition_works(
    tmp_path: Path, template: Template, dies: Callable[..., dict[str, Any]], what: str, point: int
):
    settings = copy(template.folders[what], tmp_path / "project")
    models, known = settings.path("models"), len(history(settings))
    assert dies(settings, what, point) == {"killed": True, "done": None}

    old, new = (1, 2) if what == "deploy" else (2, 1)
    written, swapped = (point >= SEQUENCES[what].index(done) for done in ("log", "link swapped"))
    expected = new if swapped else old
    bundle = template.bundles[expected - 1]
    assert Bundle.load(models / "production").content_sha256 == bundle.content_sha256
    with Server(settings) as server:
        ready = wait_for("a model answers", lambda: (a := server.get("/health/ready")).status == 200 and a.json())
        assert (ready["model_version"], ready["warnings"]) == (bundle.version_name, [])
        form = CustomerForm(bundle.schema)
        customers = [form.example(bundle.probes, row) for row in range(5)]
        recomputed = Recomputed(customers, [bundle])
        for row, customer in enumerate(customers):
            answer = server.ask("POST", "/predict", json.dumps(customer).encode()).json()
            recomputed.check(row, answer)
            assert answer["churn_prediction"] == (answer["churn_probability"] >= bundle.threshold)
        wait_for("the log is closed", lambda: all(d.closed for d in history(settings)))
    assert [d.closed for d in history(settings)[known:]] == (["done" if swapped else "undone"] if written else [])
    assert (models / "production").readlink().name.endswith(f"-v{expected}")
    before = {"production": 1, "challenger": 2} if what == "deploy" else {"production": 2, "previous": 1}
    assert aliases(settings) == ({"production": new, "previous": old} if swapped else before)

    if what == "deploy":
        assert promote(settings, 2, "repeated", force=True).status == ("unchanged" if swapped else "deployed")
    elif not swapped:
        assert roll_back(settings, reason="repeated").version == new
    assert Bundle.load(models / "production").content_sha256 == template.bundles[new - 1].content_sha256
    assert aliases(settings) == {"production": new, "previous": old}
    assert {d.closed for d in history(settings)} <= {"done", "undone"}
    folders = {path.name for path in (models / "versions").iterdir() if not path.name.startswith(".unfinished-")}
    assert all(Bundle.load(models / "versions" / name) for name in folders)
