"""`churnops doctor`: each finding is caused, named in plain words, and mended by its command where that is possible."""

import fcntl
import importlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.doctor import examination, machine, model, tracking
from churnops.doctor import journal as checks
from churnops.errors import StoreError
from churnops.files import lock_folder, lock_holders
from churnops.journal import open_database
from churnops.journal.alerts import Notice
from churnops.settings import apply_permissions, load_settings
from tests.support.faults import CASES, Case, change_settings, open_intent, set_ports, take_notice, unfinished_scoring
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.object_stores import memory_store
from tests.support.processes import free_port
from tests.support.projects import write_project


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


def test_without_a_project_the_command_fails_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["doctor"])
    assert (result.exit_code, "churnops init" in result.output) == (2, True)


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
        assert all("is in use: stop the program" in row["message"] for row in rows)
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
    take_notice(root, Notice("feature_drift", "event", "warning", "Customers changed", "…"))
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


def test_a_scoring_that_is_in_progress_is_no_finding(root: Path):
    folder = root / ".scored.csv.unfinished"
    with lock_folder(folder):
        assert "scorings" not in {row["check"] for row in findings(root)[1]}
    assert "scorings" in {row["check"] for row in findings(root)[1]}


def test_a_store_that_names_another_model_is_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    store = memory_store()
    monkeypatch.setattr(model, "ObjectStore", lambda address: store)
    change_settings(root, registry={"directory": "s3://bucket/models"})
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "models-copy/production is missing" in rows["deployed model"]["message"]
    assert rows["deployed model"]["command"].endswith("deployments status")
    shutil.copytree(root / "models", load_settings(root / "config.yaml").models, symlinks=True)
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "names no model as deployed" in rows["model store"]["message"]
    store.create("production.json", b"{}")
    rows = {row["check"]: row for row in findings(root)[1]}
    assert "was not written by this churnops" in rows["model store"]["message"]


def test_a_store_without_an_answer_and_a_slow_clock_are_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    class Silent:
        def read(self, *_: object, **__: object) -> Any:
            raise StoreError("s3://bucket/models does not answer")

    monkeypatch.setattr(model, "ObjectStore", lambda address: Silent())
    monkeypatch.setattr(checks, "database_time", lambda _: datetime.now(UTC) + timedelta(hours=1))
    change_settings(root, registry={"directory": "s3://bucket/models"})
    rows = {row["check"]: row for row in findings(root)[1]}
    assert rows["model store"]["message"] == "s3://bucket/models does not answer"
    assert "clock is 60 minutes behind that of the journal's server" in rows["clock"]["message"]


def test_a_server_that_asks_for_a_password_answers(monkeypatch: pytest.MonkeyPatch, root: Path):
    def refuse(*_: object, **__: object) -> Any:
        raise tracking.HTTPError("http://mlflow", 401, "no", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(tracking, "urlopen", refuse)
    change_settings(root, tracking={"uri": "http://mlflow:5000"})
    assert [row for row in findings(root)[1] if row["check"] == "MLflow"] == []


def test_a_journal_on_a_full_disk_is_not_restored(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "_LOG_BYTES", 2**62)
    assert not [row for row in findings(root)[1] if row["check"] == "journal"]
    (root / "journal.db").write_bytes(b"no database")
    (row,) = [row for row in findings(root)[1] if row["check"] == "journal"]
    assert row["message"].endswith("its disk is full, so free some space")
    assert row["command"] == f"df -h {shlex.quote(str(root))}"


def test_a_read_only_file_system_is_named(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "is_frozen", lambda path: True)
    rows = [row for row in findings(root)[1] if row["check"] == "permissions"]
    assert [row["command"] for row in rows] == [f"sudo mount -o remount,rw {shlex.quote(str(root))}"]
