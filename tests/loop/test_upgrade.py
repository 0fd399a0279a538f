"""`churnops upgrade`: backup first, then the journal and MLflow's store; afterwards the project goes on as before."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest
import yaml
from click.testing import CliRunner

from churnops.cli import main
from churnops.doctor import machine
from churnops.journal.tables import SCHEMA_VERSION
from churnops.settings import load_settings
from churnops.tracking import upgrade as store_upgrade
from churnops.tracking.schema import newest_revision, stored_revision
from tests.support.faults import older_store
from tests.support.fixture_project import ACTIVE_TOKEN, PROJECTS, copy_project, restore_journal
from tests.support.postgres import Cluster
from tests.support.processes import PATIENCE
from tests.support.serving import Server

Typed = Callable[..., Any]


@pytest.fixture(params=PROJECTS, ids=lambda project: project.name)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project", request.param)


@pytest.fixture
def typed(root: Path) -> Typed:
    """Run a command in the project with `--json`, and return its document."""

    def run(*words: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["--config", str(root / "config.yaml"), *words, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return run


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM churnops_schema_version").fetchone()[0])


def test_an_upgraded_project_serves_monitors_and_rolls_back(root: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch):
    before = version(root / "journal.db")
    for _ in range(2):
        (journal, mlflow) = typed("upgrade", "--dry-run")["stores"]
        assert (journal["before"], journal["after"], journal["done"]) == (before, SCHEMA_VERSION, False)
        assert mlflow["before"] == mlflow["after"]
        assert version(root / "journal.db") == before
    journal = typed("upgrade")["stores"][0]
    assert (journal["done"], version(root / "journal.db")) == (True, SCHEMA_VERSION)
    assert version(Path(journal["backup"])) == before
    assert Path(journal["backup"]).stat().st_mode & 0o077 == 0
    assert [store["done"] for store in typed("upgrade")["stores"]] == [False, False]
    assert len(list(root.glob("*.before-upgrade-*"))) == 1
    settings = load_settings(root / "config.yaml")
    document = json.loads((root / "answers.json").read_text())
    with Server(settings) as server:
        body = json.dumps(document["customers"][0]).encode()
        headers = {"X-API-Key": ACTIVE_TOKEN, "Content-Type": "application/json"}
        with urlopen(Request(f"http://127.0.0.1:{server.port}/predict", body, headers), timeout=PATIENCE) as answer:
            assert json.load(answer)["model_version"] == document["answers"]["2"][0]["model_version"]
        monkeypatch.setenv("CHURNOPS_API__PORT", str(server.port))
        monkeypatch.setattr(machine, "_TIMEOUT", PATIENCE)
        rows = CliRunner().invoke(main, ["--config", str(root / "config.yaml"), "doctor", "--json"])
        assert not [row for row in json.loads(rows.stdout)["findings"] if str(server.port) in row["message"]]
    assert typed("monitor", "--no-retrain")["report"]["rows"] > 0
    assert typed("rollback", "--to", "1", "--reason", "a test")["version"] == 1


@pytest.mark.parametrize("root", PROJECTS[-1:], indirect=True)
def test_an_older_mlflow_store_is_copied_then_upgraded(root: Path, typed: Typed):
    older_store(root)
    older = stored_revision(root / "mlflow.db")
    store = typed("upgrade")["stores"][1]
    assert (store["before"], store["after"]) == (older, newest_revision())
    assert stored_revision(root / "mlflow.db") == newest_revision()
    assert stored_revision(Path(store["backup"])) == older
    assert typed("models")["versions"] == []


@pytest.mark.parametrize("root", PROJECTS[-1:], indirect=True)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_upgrade_leaves_store_and_backup(root: Path, error: BaseException, monkeypatch):
    older_store(root)
    older = stored_revision(root / "mlflow.db")

    def fail(database: Path) -> None:
        database.write_text("half of a migration")
        raise error

    monkeypatch.setattr(store_upgrade, "_migrate", fail)
    result = CliRunner().invoke(main, ["--config", str(root / "config.yaml"), "upgrade"])
    assert result.exit_code in (1, 2)
    (backup,) = root.glob("mlflow.db.before-upgrade-*")
    assert f"MLflow is as it was before; its backup is {backup}. Type `churnops upgrade` again" in result.output
    assert not list(root.glob("*.upgrading*"))
    assert stored_revision(root / "mlflow.db") == stored_revision(backup) == older


@pytest.mark.parametrize("root", PROJECTS[-1:], indirect=True)
def test_stores_of_newer_programs_are_refused(root: Path, typed: Typed):
    for name, table in (("mlflow.db", "alembic_version"), ("journal.db", "churnops_schema_version")):
        with closing(sqlite3.connect(root / name)) as connection, connection:
            connection.execute(f"UPDATE {table} SET version_num = 'ffff'")
        assert "upgrade" in typed("upgrade", code=2)["error"]
    assert list(root.glob("*.before-upgrade-*")) == []


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("root", PROJECTS[:1], indirect=True)
def test_a_journal_in_postgresql_needs_the_users_own_backup(root: Path, typed: Typed, cluster: Cluster):
    with psycopg.connect(cluster.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE upgraded")
    url = cluster.url.replace("/postgres", "/upgraded")
    restore_journal(url, PROJECTS[0])
    document = yaml.safe_load((root / "config.yaml").read_text())
    document["journal"]["url"] = url
    (root / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    assert "pg_dump" in typed("upgrade", code=2)["error"]
    (row,) = [row for row in typed("doctor", code=1)["findings"] if row["check"] == "journal"]
    assert row["command"].endswith("upgrade")
    assert [store["done"] for store in typed("upgrade", "--backed-up")["stores"]] == [True, False]
    rows = CliRunner().invoke(main, ["--config", str(root / "config.yaml"), "doctor", "--json"])
    assert {"journal", "clock"}.isdisjoint({row["check"] for row in json.loads(rows.stdout)["findings"]})
