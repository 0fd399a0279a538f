"""Deployments in S3: processes killed at each point, and a service that follows a store with faults."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from churnops.objects import ObjectStore
from churnops.pipelines.promote import promote
from churnops.pipelines.recovery import recover
from churnops.pipelines.rollback import roll_back
from churnops.pipelines.run_all import RunSummary
from churnops.project import Project
from churnops.registry.production_document import PRODUCTION
from churnops.settings import Settings, load_settings
from churnops.tracking import Tracker
from churnops.tracking.models import log_bundle
from tests.support.deployments import aliases, copy, history, opened_registry
from tests.support.object_stores import BUCKET, StoreServer
from tests.support.processes import start

# What a process has done when it dies; "nothing" is before the first of them.
DEPLOY = (
    "nothing",
    "folder",
    *["file"] * 3,
    "log",
    "document",
    "link",
    "set alias",
    "set alias",
    "delete alias",
    "log",
)
ROLLBACK = ("nothing", "folder", "log", "document", "link", "set alias", "set alias", "log")
SEQUENCES = {"deploy": DEPLOY, "rollback": ROLLBACK}
POINTS = [
    (what, number)
    for what, sequence in SEQUENCES.items()
    for number, done in enumerate(sequence)
    if done != sequence[min(number + 1, len(sequence) - 1)] or number == len(sequence) - 1
]
"""The points at which a process is killed: of equal steps in a row, only after the last one."""

# Forks for each order on standard input. The child prints what it has done.
DIES = """
import json, os, signal, sys, traceback
from pathlib import Path
import mlflow, mlflow.artifacts
from churnops.journal import DeploymentLog
from churnops.objects import ObjectStore
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
    def dies_after(owner, method, what):
        original = getattr(owner, method)
        def wrapped(*arguments, **options):
            result = original(*arguments, **options)
            reach(what)
            return result
        setattr(owner, method, wrapped)
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        bundle = registry.bundle(2)
        dies_after(Path, "rename", "folder")
        dies_after(ObjectStore, "upload", "file")
        dies_after(DeploymentLog, "_append", "log")
        dies_after(ObjectStore, "replace", "document")
        dies_after(Path, "replace", "link")
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


def in_store(settings: Settings, address: str, copy_directory: str = "models-copy") -> Settings:
    """Write the address of the models into a project's settings."""
    path = settings.path("config.yaml")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["registry"] |= {"directory": address, "copy_directory": copy_directory}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load_settings(path)


def copy_objects(source: str, target: str) -> None:
    """Copy all objects below an address to another one."""
    bucket = ObjectStore(f"s3://{BUCKET}")
    old, new = source.removeprefix(f"{bucket.address}/"), target.removeprefix(f"{bucket.address}/")
    for entry in bucket.entries(old):
        stored = bucket.read(entry.name, max_bytes=2**30)
        assert stored is not None
        bucket.create(new + entry.name.removeprefix(old), stored.data)


@pytest.fixture(scope="module")
def templates(
    tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary], s3_running: StoreServer
) -> Iterator[dict[str, Settings]]:
    """Projects to copy: for `rollback`, version 2 is deployed after version 1; for `deploy`, it waits."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_running.variables.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("kills")
        deploy = in_store(copy(project[0].root, folder / "deploy"), s3_running.place("template-deploy").address)
        assert promote(deploy, 1, "moved to a store").status == "deployed"
        first, tracker = project[1].deployed, Tracker(deploy)
        bundles = {model.bundle.version_name: model.bundle for model in project[1].trained.models.values()}
        second = next(bundle for name, bundle in bundles.items() if name != first.model_version)
        with opened_registry(deploy) as registry:
            run = tracker.client.create_run(tracker.experiment("A test"))
            assert registry.register(second, log_bundle(second, run.info.run_id), run.info.run_id) == 2
            registry.make_challenger(2)
        address = s3_running.place("template-rollback").address
        copy_objects(deploy.registry.directory, address)
        rollback = in_store(copy(deploy.root, folder / "rollback"), address)
        assert promote(rollback, 2, "second", force=True).status == "deployed"
        yield {"deploy": deploy, "rollback": rollback}


@pytest.fixture(scope="module")
def dies(s3_running: StoreServer) -> Iterator[Callable[[Settings, str, int | None], dict[str, Any]]]:
    """Deploy or roll back in a process that kills itself after a given number of steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_running.variables.items():
            patch.setenv(name, value)
        process = start([sys.executable, "-c", DIES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        def order(settings: Settings, what: str, point: int | None) -> dict[str, Any]:
            document = {"config": str(settings.path("config.yaml")), "what": what, "point": point}
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield order
        process.stdin.close()


@pytest.fixture
def make(tmp_path: Path, templates: dict[str, Settings], s3: StoreServer) -> Callable[[str], Settings]:
    def made(what: str) -> Settings:
        copy_objects(templates[what].registry.directory, s3.address)
        return in_store(copy(templates[what].root, tmp_path / "project"), s3.address)

    return made


@pytest.mark.parametrize("what", SEQUENCES)
def test_the_list_of_kill_points_in_a_store_is_complete(
    make: Callable[[str], Settings], dies: Callable[..., dict[str, Any]], what: str
):
    assert dies(make(what), what, None) == {"killed": False, "done": list(SEQUENCES[what][1:])}


@pytest.mark.parametrize(("what", "point"), POINTS)
def test_after_a_kill_every_machine_has_the_same_whole_model(
    make: Callable[[str], Settings], dies: Callable[..., dict[str, Any]], what: str, point: int
):
    settings = make(what)
    known, store = len(history(settings)), ObjectStore(settings.registry.directory)
    assert dies(settings, what, point) == {"killed": True, "done": None}

    old, new = (1, 2) if what == "deploy" else (2, 1)
    written, swapped = (point >= SEQUENCES[what].index(done) for done in ("log", "document"))
    expected = new if swapped else old
    document = store.read(PRODUCTION, max_bytes=2**16)
    assert document is not None
    assert json.loads(document.data)["version"] == expected
    elsewhere = in_store(settings, settings.registry.directory, "another-machine")
    with Project.open(elsewhere) as project:
        assert recover(project)[1] is None
        assert project.require_deployed().content_sha256 == json.loads(document.data)["content_sha256"]
    assert [d.closed for d in history(settings)[known:]] == (["done" if swapped else "undone"] if written else [])
    before = {"production": 1, "challenger": 2} if what == "deploy" else {"production": 2, "previous": 1}
    assert aliases(settings) == ({"production": new, "previous": old} if swapped else before)

    if what == "deploy":
        assert promote(settings, 2, "repeated", force=True).status == ("unchanged" if swapped else "deployed")
    elif not swapped:
        assert roll_back(settings, reason="repeated").version == new
    with Project.open(settings) as project:
        project.require_deployed()
        current = project.folder.current()
    assert current is not None
    assert current.endswith(f"-v{new}")
    assert aliases(settings) == {"production": new, "previous": old}
    assert {d.closed for d in history(settings)} <= {"done", "undone"}
