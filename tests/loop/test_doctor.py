"""`churnops doctor`: each finding is caused, named in plain words, and mended by its command where that is possible."""

import fcntl
import importlib
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.doctor import examination, machine, model, tracking
from churnops.files import lock_holders
from churnops.journal import DeploymentLog, open_database
from churnops.journal.alerts import AlertLog, Notice
from churnops.journal.backup import back_up
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.deployment_log import Intent
from churnops.journal.replicas import ReplicaProcess, ReplicaStore
from churnops.settings import apply_permissions, load_settings
from churnops.tracking.ending import PROCESS_TAG
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.object_stores import memory_store
from tests.support.processes import free_port
from tests.support.projects import write_project

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing is wrong."""
    root = copy_project(tmp_path_factory.mktemp("doctor") / "project", PROJECTS[-1])
    settings = load_settings(root / "config.yaml")
    open_database(settings.database_url(settings.journal.url)).dispose()
    before = os.umask(0o077)
    apply_permissions(settings)
    os.umask(before)
    return root


@pytest.fixture
def root(well: Path, tmp_path: Path) -> Path:
    root = tmp_path / "project"
    shutil.copytree(well, root, symlinks=True)
    set_ports(root, free_port(), free_port())
    return root


def set_ports(root: Path, api: int, dashboard: int) -> None:
    change_settings(root, api={"port": api}, dashboard={"port": dashboard})


def change_settings(root: Path, **sections: dict[str, Any]) -> None:
    document = yaml.safe_load((root / "config.yaml").read_text())
    for name, values in sections.items():
        document[name] = {**document.get(name, {}), **values}
    (root / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def typed(root: Path, *command: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(root / "config.yaml"), *command])


def findings(root: Path) -> tuple[int, list[dict[str, Any]]]:
    result = typed(root, "doctor", "--json")
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, json.loads(result.stdout)["findings"]


def execute(command: str, root: Path) -> int:
    """Run a command of a finding in the project's folder; return its exit code."""
    words = shlex.split(command)
    if words[0] == "churnops":
        return CliRunner().invoke(main, words[1:]).exit_code
    if words[0] == "python":
        assert words[1] == "-m"
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(words[2]).main()
        return int(str(ended.value.code))
    return subprocess.run(words, cwd=root, capture_output=True).returncode


@contextmanager
def journal(root: Path) -> Iterator[Any]:
    engine = open_database(f"sqlite:///{root}/journal.db")
    yield engine
    engine.dispose()


def change_database(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def production(root: Path) -> Path:
    return root / "models/production"


# Causes: each breaks one thing in the project.


def wrong_setting(root: Path) -> None:
    change_settings(root, journal={"label_horizon": -1})


def folder_instead_of_link(root: Path) -> None:
    production(root).unlink()
    production(root).mkdir()


def no_link(root: Path) -> None:
    production(root).unlink()


def damaged_bundle(root: Path) -> None:
    path = production(root).resolve() / "estimator.npz"
    path.write_bytes(path.read_bytes()[:-100])


def newer_bundle(root: Path) -> None:
    path = production(root).resolve() / "bundle.json"
    path.write_text(re.sub(r'"protocol": ?\d+', '"protocol": 999', path.read_text()))


def removed_version(root: Path) -> None:
    shutil.rmtree(production(root).resolve())


def other_version(root: Path) -> None:
    (other,) = (root / "models/versions").glob("*-v1")
    no_link(root)
    production(root).symlink_to(Path("versions", other.name))


def open_intent(root: Path) -> None:
    with journal(root) as engine:
        folder = "20260101T000000.000000Z-xgboost-v3"
        DeploymentLog(engine).open_intent(Intent(folder, 3, "f" * 64, production(root).resolve().name, "it", "ann"))


def unfinished_version(root: Path) -> None:
    (root / "models/versions/.unfinished-0123").mkdir()


def replica(root: Path, **values: Any) -> None:
    process = ReplicaProcess(
        "a", "api-1", "0.0.0.0:8000", 99_999_999, "0.0.1", NOW, folder=production(root).readlink().name
    )
    with journal(root) as engine:
        ReplicaStore(engine).write(replace(process, **values))


def replica_behind(root: Path) -> None:
    replica(root, folder="another")


def missing_journal(root: Path) -> None:
    back_up(f"sqlite:///{root}/journal.db", root / "BACKUP")
    for path in root.glob("journal.db*"):
        path.unlink()


def damaged_journal(root: Path) -> None:
    back_up(f"sqlite:///{root}/journal.db", root / "BACKUP")
    with closing(sqlite3.connect(root / "journal.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'api_keys'").fetchone()
    with (root / "journal.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def text_as_journal(root: Path) -> None:
    back_up(f"sqlite:///{root}/journal.db", root / "BACKUP")
    (root / "journal.db").write_text("no database" * 1000)


def newer_journal(root: Path) -> None:
    change_database(root / "journal.db", "UPDATE churnops_schema_version SET version_num = '9999'")


def entries_ahead(root: Path) -> None:
    with journal(root) as engine:
        CycleLog(engine).record(Cycle(NOW + 5 * HOUR, None, False, "failed", None, {"error": "the disk is full"}))


def missing_store(root: Path) -> None:
    (root / "mlflow.db").rename(root / "BACKUP")


def text_as_store(root: Path) -> None:
    (root / "mlflow.db").rename(root / "BACKUP")
    (root / "mlflow.db").write_text("no database" * 1000)


def newer_store(root: Path) -> None:
    change_database(root / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def abandoned_run(root: Path) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as store, store:
        (run,) = store.execute("SELECT run_uuid FROM runs LIMIT 1").fetchone()
        store.execute("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", (run,))
        name = f"{socket.gethostname()}/{Path('/proc/self/ns/pid').stat().st_ino}:99999999:1"
        store.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", (run, PROCESS_TAG))
        store.execute("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", (PROCESS_TAG, name, run))


def silent_server(root: Path) -> None:
    change_settings(root, tracking={"uri": f"http://127.0.0.1:{free_port()}"})


def failed_cycle(root: Path) -> None:
    with journal(root) as engine:
        CycleLog(engine).record(Cycle(NOW, None, False, "failed", None, {"error": "the disk is full"}))


def stopped_schedule(root: Path) -> None:
    with journal(root) as engine:
        for age in range(20, 10, -1):
            CycleLog(engine).record(Cycle(NOW - age * HOUR, None, False, "failed", None, {"error": "no customers"}))


def open_file(root: Path) -> None:
    (root / "journal.db").chmod(0o644)
    (root / "models").chmod(0o755)


def unfinished_scoring(root: Path) -> None:
    (root / "out").mkdir()
    (root / "out/.scored.parquet.unfinished").mkdir()


@dataclass(frozen=True)
class Case:
    """A cause, a part of the finding's message, the beginning of its command, and whether the command mends it."""

    cause: Callable[[Path], None]
    words: str
    command: str
    wrong: bool = True
    mends: bool | None = True
    """None: the command is not run, because it needs something that no test has."""


CASES = (
    Case(wrong_setting, "label_horizon", "churnops config check", mends=False),
    Case(folder_instead_of_link, "is not a link made by churnops", "mv "),
    Case(no_link, "version 2 was deployed, but the link", "churnops rollback --to 2"),
    Case(damaged_bundle, "estimator.npz", "churnops promote 2 "),
    Case(newer_bundle, "protocol", "churnops promote 2 "),
    Case(removed_version, "bundle", "churnops promote 2 "),
    Case(other_version, "which was not deployed last", "churnops rollback --to 2"),
    Case(open_intent, "the deploy of version 3, begun at", "python -m churnops.pipelines.recovery"),
    Case(unfinished_version, "left 1 unfinished folders", "churnops models prune", wrong=False),
    Case(
        replica_behind, "replica api-1 0.0.0.0:8000 answers with no model", "churnops deployments status", mends=False
    ),
    Case(replica, "runs churnops 0.0.1", "kill 99999999", wrong=False, mends=None),
    Case(missing_journal, "its journal", "churnops journal restore BACKUP"),
    Case(damaged_journal, "is damaged: ", "churnops journal restore BACKUP"),
    Case(text_as_journal, "file is not a database", "churnops journal restore BACKUP"),
    Case(newer_journal, "a newer churnops wrote the journal", "python -m pip install", mends=None),
    Case(entries_ahead, "dated ahead of this machine's clock", "timedatectl", mends=None),
    Case(missing_store, "the MLflow store", "cp BACKUP "),
    Case(text_as_store, "cannot be read: file is not a database", "cp BACKUP "),
    Case(newer_store, "have version ffffffffffff", "python -m pip install", mends=None),
    Case(abandoned_run, "a run of a killed process", "churnops ", wrong=False, mends=None),
    Case(silent_server, "does not answer", "churnops models", mends=None),
    Case(failed_cycle, "the newest monitoring cycle failed (the disk is full)", "churnops monitor"),
    Case(stopped_schedule, "monitoring ran every 60 min, and has not run for 11.0 hours", "churnops monitor"),
    Case(open_file, "can reach files with customers' data: journal.db, models", "chmod go-rwx"),
    Case(unfinished_scoring, "out/scored.parquet is unfinished", "rm -r ", wrong=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.cause.__name__)
def test_a_finding_names_the_command_that_mends_it(case: Case, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root)
    before = findings(root)[1]
    case.cause(root)
    code, rows = findings(root)
    (row,) = [row for row in rows if case.words in row["message"] and row not in before]
    command = row["command"].replace(f"--config {root}/config.yaml ", "")
    assert (command.startswith(case.command), row["wrong"]) == (True, case.wrong), row
    assert code == (1 if case.wrong else 0), rows
    if case.mends is None:
        return
    for path in root.glob("journal.db-*"):  # left by the cause
        path.unlink()
    assert execute(row["command"], root) == (0 if case.mends else 2)
    left = [row["message"] for row in findings(root)[1] if case.words in row["message"]]
    assert (not left) == case.mends, left


def test_all_is_well_in_a_sound_project_and_nothing_changes(root: Path):
    def state() -> list[tuple[str, int, int]]:
        paths = sorted(root.rglob("*"))
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in paths]

    before = state()
    result = typed(root, "doctor")
    assert (result.exit_code, "All is well." in result.output) == (0, True), result.output
    assert state() == before


def test_a_new_project_gets_a_note_and_no_files(tmp_path: Path):
    write_project(tmp_path)
    set_ports(tmp_path, free_port(), free_port())
    code, rows = findings(tmp_path)
    assert [(row["message"], row["wrong"]) for row in rows] == [("no model is deployed yet", False)]
    assert (code, [path.name for path in tmp_path.iterdir()]) == (0, ["config.yaml"])


def test_an_older_journal_is_found_and_left_as_it_is(tmp_path: Path):
    root = copy_project(tmp_path / "project", PROJECTS[0])
    before = (root / "journal.db").read_bytes()
    rows = findings(root)[1]
    (row,) = [row for row in rows if row["check"] == "journal"]
    assert row["command"].endswith(" upgrade")
    assert {row["check"] for row in rows if "not checked" in row["message"]} >= {"clock", "model health", "schedule"}
    assert (root / "journal.db").read_bytes() == before


def test_a_broken_check_does_not_hide_the_others(root: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(_: object) -> Any:
        raise KeyError("rows")

    monkeypatch.setattr(examination, "CHECKS", {"broken": broken, **examination.CHECKS})
    unfinished_scoring(root)
    code, rows = findings(root)
    assert code == 1
    assert {"this check failed: a defect: KeyError"} <= {row["message"] for row in rows}
    assert {"broken", "scorings"} <= {row["check"] for row in rows}


def test_ports_of_other_programs_are_found_and_ours_are_not(root: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        monkeypatch.setattr(machine, "_TIMEOUT", 0.05)
        set_ports(root, one.getsockname()[1], two.getsockname()[1])
        rows = [row for row in findings(root)[1] if row["check"] == "ports"]
        assert [re.search(r"(serve|dashboard) --port \d+$", row["command"]) is not None for row in rows] == [True, True]
        assert all("another program uses the port" in row["message"] for row in rows)
        monkeypatch.setattr(machine, "_answers", lambda *_: True)
        assert [row for row in findings(root)[1] if row["check"] == "ports"] == []


def test_a_full_disk_and_files_of_another_user_are_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 2**80)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "mlflow.db")
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "MiB left" in rows["disk"]["message"]
    assert "models prune --keep 3" in rows["disk"]["command"]
    assert rows["permissions"]["message"] == "this user cannot read and write mlflow.db"
    assert rows["permissions"]["command"] == f"sudo chown -R {os.getuid()} {root}/mlflow.db"


def test_alerts_that_did_not_arrive_are_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    with journal(root) as engine:
        notice = Notice("feature_drift", "event", "warning", "Customers changed", "…")
        AlertLog(engine).take(lambda _: [notice], ["one"], now=NOW, since=NOW - HOUR, lease=HOUR)
    monkeypatch.setenv("CHURNOPS_ALERTS__URLS", '["json://127.0.0.1:1"]')
    (row,) = [row for row in findings(root)[1] if row["check"] == "alerts"]
    assert row["command"].endswith("alerts test")


def test_the_process_that_holds_a_lock_is_named(root: Path):
    with (root / "models/.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holders(root / "models/.lock") == [os.getpid()]
        open_intent(root)
        rows = {row["check"]: row for row in findings(root)[1]}
        assert rows["locks"]["command"] == f"kill {os.getpid()}"
        assert "deployments" not in rows  # the deployment is in progress
    assert "locks" not in {row["check"] for row in findings(root)[1]}


def test_a_store_that_names_another_model_is_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    store = memory_store()
    monkeypatch.setattr(model, "ObjectStore", lambda address: store)
    change_settings(root, registry={"directory": "s3://bucket/models"})
    shutil.copytree(root / "models", load_settings(root / "config.yaml").models, symlinks=True)
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "names no model as deployed" in rows["model store"]["message"]
    store.create("production.json", b"{}")
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "was not written by this churnops" in rows["model store"]["message"]


def test_a_server_that_asks_for_a_password_answers(monkeypatch: pytest.MonkeyPatch, root: Path):
    def refuse(*_: object, **__: object) -> Any:
        raise tracking.HTTPError("http://mlflow", 401, "no", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(tracking, "urlopen", refuse)
    change_settings(root, tracking={"uri": "http://mlflow:5000"})
    assert [row for row in findings(root)[1] if row["check"] == "MLflow"] == []
