"""The journal's database: created, migrated, adopted or refused."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect

from churnops.errors import JournalError
from churnops.journal import DeploymentLog, Journal, database, open_database
from churnops.journal.alerts import AlertLog
from churnops.journal.cycles import CycleLog
from churnops.journal.tables import SCHEMA_VERSION, VERSION_TABLE, deployments, metadata
from tests.support.journals import LASTING, POSTGRESQL, differences, intent
from tests.support.processes import PATIENCE, run_fresh, start

lasting = pytest.mark.parametrize("url", LASTING, indirect=True)
OPEN = "import sys; from churnops.journal import open_database; open_database(sys.argv[1]).dispose()"


def python(program: str, url: str) -> "subprocess.Popen[str]":
    command = (sys.executable, "-c", program, url)
    return start(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_migrations_lead_to_the_tables_that_the_code_knows(engine: Engine):
    assert differences(engine) == []
    names = set(inspect(engine).get_table_names())
    partitions = {name for name in names if name.startswith("predictions_")}
    assert names - partitions == {*metadata.tables, VERSION_TABLE}


def test_the_newest_migration_is_the_version_that_the_code_knows():
    scripts = ScriptDirectory(str(Path(database.__file__).with_name("migrations")))
    assert scripts.get_heads() == [SCHEMA_VERSION]


def first_release(engine: Engine) -> int:
    """Make the only table of databases without a version, with one deployment; return its number."""
    deployments.create(engine)
    number = intent(DeploymentLog(engine), "a")
    with engine.begin() as connection:
        for later in ("kind", '"by"'):
            connection.exec_driver_sql(f"ALTER TABLE deployments DROP COLUMN {later}")
    return number


@lasting
def test_a_database_from_before_there_were_versions_is_adopted(url: str):
    old = create_engine(url)
    number = first_release(old)
    old.dispose()
    for _ in range(2):
        engine = open_database(url)
        assert DeploymentLog(engine).get(number).folder == "a"
        assert differences(engine) == []
        engine.dispose()


@lasting
def test_a_newer_database_is_refused_in_one_line(url: str):
    engine = open_database(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(JournalError, match=r"version 9999; this churnops reads .*: upgrade churnops") as caught:
        open_database(url)
    assert "\n" not in str(caught.value)


@lasting
def test_processes_that_start_at_once_migrate_once(url: str):
    processes = [python(OPEN, url) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    engine = open_database(url)
    assert differences(engine) == []
    engine.dispose()


@lasting
def test_a_migration_that_is_killed_leaves_the_old_version(url: str):
    old = create_engine(url)
    first_release(old)
    killed = python(
        f"import os; from alembic import op; op.create_index = lambda *a, **k: os.kill(os.getpid(), 9); {OPEN}", url
    )
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    assert inspect(old).get_table_names() == ["deployments"]
    old.dispose()
    engine = open_database(url)
    assert differences(engine) == []
    engine.dispose()


@lasting
def test_a_current_database_costs_no_import_of_alembic(url: str, tmp_path: Path):
    open_database(url).dispose()
    run_fresh(sys.executable, "-c", f"{OPEN}; assert 'alembic' not in sys.modules", url, cwd=tmp_path)


@lasting
def test_another_programs_versions_are_left_alone(url: str):
    old = create_engine(url)
    with old.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('mlflows')")
    engine = open_database(url)
    with old.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == ["mlflows"]
    for each in (engine, old):
        each.dispose()


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_decides_when_sqlite_flushes(tmp_path: Path, durability: database.Durability, synchronous: int):
    engine = open_database(f"sqlite:///{tmp_path}/journal.db", durability=durability)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
@pytest.mark.parametrize(
    ("durability", "server", "expected"),
    [("process", "off", "off"), ("power", "off", "on"), ("power", "remote_apply", "remote_apply")],
)
def test_durability_decides_when_postgresql_flushes(
    url: str, durability: database.Durability, server: str, expected: str
):
    engine = open_database(url)
    name = url.rpartition("/")[2]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = {server}")
    engine.dispose()
    engine = open_database(url, durability=durability)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected
    engine.dispose()


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database at all, but a text" * 100)
    with pytest.raises(JournalError, match="file is not a database") as caught:
        open_database(f"sqlite:///{path}")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(JournalError, match="cannot be opened: unable to open database file") as caught:
        open_database(f"sqlite:///{tmp_path}/nowhere/journal.db")
    assert "nowhere" not in str(caught.value)


def test_a_memory_database_is_one_for_all_threads():
    engine = open_database("sqlite:///:memory:")
    thread = Thread(target=Journal(engine, label_horizon=timedelta(1)).check)
    thread.start()
    thread.join()  # an exception in it would be a warning, and so an error
    engine.dispose()


@lasting
def test_rows_from_before_there_were_sources_are_of_live_traffic(url: str):
    """Cycles, looks and alerts of version 0005 stay, and a source of files begins its looks at 1."""
    old = create_engine(url)
    migrate_to(old, "0005")
    with old.begin() as connection:
        connection.exec_driver_sql("INSERT INTO looks VALUES (1, 5, 'model', 1, 'batch')")
        connection.exec_driver_sql(
            "INSERT INTO cycles VALUES (1, 5, 'model', false, 'finished', 'r.json', '{\"drift_rate\": 0.5}')"
        )
        connection.exec_driver_sql("INSERT INTO alerts VALUES (1, 5, 'performance', 'firing', 'critical', 't', 'b')")
    old.dispose()
    engine = open_database(url)
    log = CycleLog(engine)
    (cycle,) = log.newest()
    assert (cycle.source, cycle.report, cycle.summary) == ("live", "r.json", {"drift_rate": 0.5})
    assert log.look("model", "batch") == 1
    with engine.begin() as connection:  # PostgreSQL's sequence does not know of the rows above
        connection.exec_driver_sql("DELETE FROM looks")
    (firing,) = AlertLog(engine).firing(["performance"])
    assert firing.alert.notice.incident == "performance"
    assert differences(engine) == []
    engine.dispose()


def migrate_to(engine: Engine, version: str) -> None:
    """Bring an empty database to an older version."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
