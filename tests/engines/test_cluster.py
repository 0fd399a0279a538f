"""Work on Dask clusters: the results of one process, whatever is killed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from churnops.cluster import Workers, completed, open_workers
from churnops.data.preprocess import preprocess
from churnops.data.read import encode, outcomes
from churnops.errors import ClusterError
from churnops.experiments.assignment import arm_of
from churnops.experiments.split import running_split
from churnops.model.deployed import require_deployed
from churnops.monitoring.folder import batch_from_folder
from churnops.pipelines.run_all import RunSummary, run_all
from churnops.project import Project
from churnops.scoring.file import FileScorer, ScoredFile
from churnops.scoring.folder import FolderScorer
from churnops.scoring.unfinished import NewerRunError
from churnops.settings import Settings, load_settings
from churnops.training.select import select_features
from churnops.training.train import train_models
from tests.support.dask import after, kill_local_worker, local_workers, scheduler, worker
from tests.support.experiments import start_with_threshold
from tests.support.processes import wait_for
from tests.support.projects import LATER, quick, write_project, write_small_data

FILES, ROWS = 12, 100


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Path:
    """A project with a deployed model, and a data set of 12 files."""
    folder = tmp_path_factory.mktemp("clustered")
    write_project(folder)
    shutil.copytree(project[0].path("models"), folder / "models", symlinks=True)
    table = pl.read_csv(LATER)
    for number in range(FILES):
        (folder / f"in/month={number}").mkdir(parents=True)
        table.slice(number * ROWS, ROWS).write_parquet(folder / f"in/month={number}/a.parquet")
    predict(folder, folder / "expected", "")
    return folder


def predict(here: Path, target: Path, address: str, **callbacks: Any) -> ScoredFile:
    scorer = FolderScorer(FileScorer(here / "models", explain=True), address)
    return scorer.score(here / "in", target, **callbacks)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_local_workers_give_the_bytes_of_one_process_though_killed(here: Path, tmp_path: Path):
    with open_workers("local:2", 1):
        listening = {
            connection.laddr.ip
            for process in (psutil.Process(), *local_workers())
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        for name, act in (("a", lambda: None), ("b", kill_local_worker)):
            target = tmp_path / name
            done = predict(here, target, "local:2", on_rows=after(1, act))
            assert (done.rows, done.resumed_rows) == (FILES * ROWS, 0)
            assert contents(target) == contents(here / "expected")
    wait_for("the workers end", lambda: not local_workers())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, ExitStack, "subprocess.Popen[Any]"]]:
    """A running cluster with two workers: its address, its processes, and its scheduler."""
    with ExitStack() as processes:
        address, process = processes.enter_context(scheduler(tmp_path))
        for _ in range(2):
            processes.enter_context(worker(tmp_path, address))
        yield address, processes, process


def test_a_cluster_puts_customers_into_the_arms_of_one_process(
    here: Path, tmp_path: Path, running: tuple[str, ExitStack, "subprocess.Popen[Any]"]
):
    settings = load_settings(here / "config.yaml")
    ids = [f"C-{number}" for number in range(FILES * ROWS)]
    table = pl.read_csv(LATER).head(len(ids)).with_columns(pl.Series("customer_id", ids))
    for number in range(FILES):
        (tmp_path / f"in/month={number}").mkdir(parents=True)
        table.slice(number * ROWS, ROWS).write_parquet(tmp_path / f"in/month={number}/a.parquet")
    started = start_with_threshold(settings, "split", 0.4)
    with Project.open(settings) as project:
        split = running_split(project, project.require_deployed())
        assert split is not None
        assert split.message is None
        for name, address in (("one", ""), ("cluster", running[0])):
            scorer = FolderScorer(FileScorer(here / "models", arms=split.arms), address)
            assert scorer.score(tmp_path / "in", tmp_path / name).rows == len(ids)
        project.experiments.end(started.id, "stopped", "ann", "enough")
    assert contents(tmp_path / "cluster") == contents(tmp_path / "one")
    scored = pl.concat([pl.read_parquet(path) for path in sorted(tmp_path.glob("cluster/*.parquet"))])
    arms = {id_: arm_of(started.id, 0.4, id_) for id_ in ids}
    models = {"champion": started.champion_name, "challenger": started.challenger_name}
    assert dict(scored.select("customer_id", "experiment_arm").iter_rows()) == arms
    assert set(scored.select("experiment_arm", "model_version").iter_rows()) == set(models.items())


def test_a_lost_scheduler_is_one_line_and_the_next_run_continues(
    here: Path,
    tmp_path: Path,
    running: tuple[str, ExitStack, "subprocess.Popen[Any]"],
    monkeypatch: pytest.MonkeyPatch,
):
    address, processes, process = running
    target = tmp_path / "out"
    with pytest.raises(ClusterError, match=r"the connection to the Dask scheduler of tcp://.* is lost") as caught:
        predict(here, target, address, on_rows=after(2 * ROWS, process.kill))
    assert "\n" not in str(caught.value)
    assert "finished rows are kept" in caught.value.__notes__[0]
    assert not target.exists()
    monkeypatch.setattr("churnops.cluster.dask_workers.CONNECT_SECONDS", 2)
    with pytest.raises(ClusterError, match=f"no Dask scheduler answers at {address}"):
        predict(here, target, address)
    monkeypatch.undo()
    processes.enter_context(scheduler(tmp_path, int(address.rpartition(":")[2])))
    processes.enter_context(worker(tmp_path, address))
    done = predict(here, target, address)
    assert 2 * ROWS <= done.resumed_rows < FILES * ROWS
    assert contents(target) == contents(here / "expected")


def test_a_cluster_without_workers_is_a_warning_until_one_joins(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    warnings = []
    with scheduler(tmp_path) as (address, _), ExitStack() as processes:
        only = processes.enter_context(worker(tmp_path, address))

        def warn(text: str, *values: object) -> None:
            warnings.append(text % values)
            processes.enter_context(worker(tmp_path, address))

        monkeypatch.setattr("churnops.cluster.dask_workers.IDLE_SECONDS", 1.0)
        monkeypatch.setattr("churnops.cluster.dask_workers.log.warning", warn)
        predict(here, tmp_path / "out", address, on_rows=after(1, only.kill))
    assert len(warnings) == 1
    assert warnings[0].startswith(f"the Dask cluster at {address} has had no workers for ")
    assert contents(tmp_path / "out") == contents(here / "expected")


def test_a_killed_command_is_continued_by_another_process(
    here: Path, tmp_path: Path, running: tuple[str, ExitStack, "subprocess.Popen[Any]"]
):
    address, target = running[0], tmp_path / "out"
    code = (
        "import os, signal, sys; from pathlib import Path; from churnops.scoring.file import FileScorer\n"
        "from churnops.scoring.folder import FolderScorer\n"
        "here, target, address = sys.argv[1:]\n"
        "scorer = FolderScorer(FileScorer(Path(here, 'models'), explain=True), address)\n"
        f"kill = lambda done, *_: done < {2 * ROWS} or os.kill(os.getpid(), signal.SIGKILL)\n"
        "scorer.score(Path(here, 'in'), Path(target), on_rows=kill)"
    )
    records = tmp_path / ".out.unfinished"
    command = [sys.executable, "-c", code, str(here), str(target), address]
    killed = subprocess.run(command, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert records.exists()
    done = predict(here, target, "")
    assert done.resumed_rows >= 2 * ROWS
    assert contents(target) == contents(here / "expected")
    assert not records.exists()


def test_a_worker_of_another_version_is_refused_by_name(here: Path, tmp_path: Path):
    other = tmp_path / "other.py"
    other.write_text("import churnops; churnops.__version__ = '9.9.9'")
    with (
        scheduler(tmp_path) as (address, _),
        worker(tmp_path, address, "--preload", str(other)),
        pytest.raises(ClusterError, match=r"worker tcp://.* has churnops 9\.9\.9, and this process ") as caught,
    ):
        predict(here, tmp_path / "out", address)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


class ForeignError(Exception):
    """It cannot be made again from its message, as errors of some packages."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


def fail() -> None:
    raise ForeignError(7, "no more paper")


def overtaken() -> None:
    raise NewerRunError("a newer run writes the result")


def test_a_store_error_of_a_worker_keeps_its_class():
    with (
        open_workers("local:1", 1) as workers,
        pytest.raises(NewerRunError, match=r"^worker \S+ of the Dask cluster: a newer run writes the result$"),
    ):
        workers.submit(overtaken).result()


def test_an_error_that_cannot_be_sent_is_named():
    with (
        open_workers("local:1", 1) as workers,
        pytest.raises(ClusterError, match=r"a task failed on worker \S+.*, see its log: ForeignError: 7: no more"),
    ):
        workers.submit(fail).result()


def test_run_gives_the_same_bundle_though_a_worker_is_killed(tmp_path: Path, project: tuple[Settings, RunSummary]):
    def clustered(document: dict[str, Any]) -> None:
        quick(document)
        document["cluster"] = {"address": "local:2"}

    write_small_data(tmp_path)
    killed = iter([kill_local_worker])
    settings = load_settings(write_project(tmp_path, clustered))
    summary = run_all(settings, on_family=lambda family: next(killed, lambda: None)())
    assert summary.trained.refit.content_sha256 == project[1].trained.refit.content_sha256
    assert next(killed, None) is None


def test_the_general_recipe_gives_the_same_bundle(tmp_path: Path, telecom: pl.DataFrame):
    def general(document: dict[str, Any]) -> None:
        quick(document)
        document["training"] |= {"recipe": "general", "families": ["logistic_regression", "xgboost"], "folds": 2}

    settings = load_settings(write_project(tmp_path, general))
    schema, table = settings.table, telecom.head(400)
    columns, outcome = encode(table, schema), outcomes(table, schema) == 1.0
    prepared = preprocess(columns, outcome, schema.model_inputs, sha256="0" * 64, held_out=0.2, seed=42)
    features = select_features(prepared, schema, settings.features, one_hot=False)
    hashes = {
        train_models(prepared, features, settings.changed("cluster", {"address": address})).refit.content_sha256
        for address in ("", "local:2")
    }
    assert len(hashes) == 1


def test_a_folder_is_counted_as_in_one_process_though_killed(here: Path, monkeypatch: pytest.MonkeyPatch):
    killed = iter([kill_local_worker])

    def killing(workers: Workers, *arguments: Any) -> Iterator[Any]:
        for counts in completed(workers, *arguments):
            if workers.description:
                next(killed, lambda: None)()
            yield counts

    monkeypatch.setattr("churnops.monitoring.folder.completed", killing)
    bundle = require_deployed(here / "models")
    one, two = (batch_from_folder(here / "in", bundle, here / "models", address=address) for address in ("", "local:2"))
    assert one.rows == two.rows == FILES * ROWS
    assert one.sha256 == two.sha256
    assert next(killed, None) is None
