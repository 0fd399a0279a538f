"""Faults of a project that `churnops doctor` finds: causes, the words of the finding, and its command."""

import re
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from churnops.journal import DeploymentLog, open_database
from churnops.journal.alerts import AlertLog, Notice
from churnops.journal.backup import back_up
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.deployment_log import Intent
from churnops.journal.replicas import ReplicaProcess, ReplicaStore
from churnops.model import Bundle
from churnops.tracking.ending import PROCESS_TAG
from churnops.tracking.schema import _revisions, newest_revision
from tests.support.experiments import start_experiment
from tests.support.processes import free_port

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def set_ports(root: Path, api: int, dashboard: int) -> None:
    change_settings(root, api={"port": api}, dashboard={"port": dashboard})


def change_settings(root: Path, **sections: dict[str, Any]) -> None:
    document = yaml.safe_load((root / "config.yaml").read_text())
    for name, values in sections.items():
        document[name] = {**document.get(name, {}), **values}
    (root / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


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


def another_project(root: Path) -> None:
    other_version(root)
    with journal(root) as engine:
        log, folder = DeploymentLog(engine), "20260101T000000.000000Z-xgboost-v1"
        log.close(log.get(log.open_intent(Intent(folder, 1, "f" * 64, None, "it", "ann"))), "done")


def lost_challenger(root: Path) -> None:
    champion = Bundle.load(production(root)).content_sha256
    with journal(root) as engine:
        start_experiment(engine, kind="split", share=0.5, champion=champion)


def lost_champion(root: Path) -> None:
    with journal(root) as engine:
        start_experiment(engine, folder=production(root).resolve().name)


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


def other_store(root: Path) -> None:
    """Replace MLflow's store by that of another project."""
    shutil.copy(root / "mlflow.db", root / "BACKUP")
    change_database(root / "mlflow.db", "DELETE FROM model_versions")


def text_as_store(root: Path) -> None:
    (root / "mlflow.db").rename(root / "BACKUP")
    (root / "mlflow.db").write_text("no database" * 1000)


def newer_store(root: Path) -> None:
    change_database(root / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def abandoned_run(root: Path) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as store, store:
        (run,) = store.execute("SELECT run_uuid FROM runs WHERE experiment_id = 2 LIMIT 1").fetchone()
        store.execute("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", (run,))
        name = f"{socket.gethostname()}/{Path('/proc/self/ns/pid').stat().st_ino}:99999999:1"
        store.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", (run, PROCESS_TAG))
        store.execute("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", (PROCESS_TAG, name, run))


def older_store(root: Path) -> None:
    """Write an MLflow store of the version before the newest."""
    path, revision = root / "mlflow.db", _revisions()[newest_revision()]
    path.unlink()
    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    InitialBase.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.upgrade(config, str(revision))
    engine.dispose()


def store_in_a_server(root: Path) -> None:
    change_settings(root, tracking={"uri": "postgresql+psycopg://127.0.0.1:1/mlflow"})


def silent_database(root: Path) -> None:
    change_settings(root, journal={"url": "postgresql+psycopg://127.0.0.1:1/churn"})


def silent_server(root: Path) -> None:
    change_settings(root, tracking={"uri": f"http://127.0.0.1:{free_port()}"})


def failed_cycle(root: Path) -> None:
    with journal(root) as engine:
        CycleLog(engine).record(Cycle(NOW, None, False, "failed", None, {"error": "the disk is full"}))


def open_alarm(root: Path) -> None:
    take_notice(root, Notice("feature_drift", "firing", "warning", "Customers changed", "…"))


def take_notice(root: Path, notice: Notice) -> None:
    with journal(root) as engine:
        AlertLog(engine).take(lambda _: [notice], ["one"], now=NOW, since=NOW - HOUR, lease=HOUR)


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
    Case(lost_challenger, "split 1 is running without its challenger", "churnops split stop"),
    Case(
        lost_champion, "shadow 1 is running, but its champion tree-cccccccccccc is not deployed", "churnops shadow stop"
    ),
    Case(another_project, "does another project use this journal?", "churnops models", mends=None),
    Case(open_intent, "the deploy of version 3, begun at", "python -m churnops.pipelines.recovery"),
    Case(unfinished_version, "left 1 unfinished folders", "churnops models prune", wrong=False),
    Case(
        replica_behind, "replica api-1 0.0.0.0:8000 answers with no model", "churnops deployments status", mends=False
    ),
    Case(replica, "runs churnops 0.0.1", "churnops deployments status", wrong=False, mends=None),
    Case(missing_journal, "its journal", "churnops journal restore BACKUP"),
    Case(damaged_journal, "is damaged: ", "churnops journal restore BACKUP"),
    Case(text_as_journal, "file is not a database", "churnops journal restore BACKUP"),
    Case(silent_database, "connection failed", "pg_isready", mends=None),
    Case(newer_journal, "a newer churnops wrote the journal", "python -m pip install", mends=None),
    Case(entries_ahead, "dated ahead of this machine's clock", "timedatectl", mends=None),
    Case(missing_store, "the MLflow store", "cp BACKUP "),
    Case(other_store, "version 2 is deployed, but the MLflow store", "cp BACKUP "),
    Case(text_as_store, "cannot be read: file is not a database", "cp BACKUP "),
    Case(older_store, "and MLflow here needs", "churnops upgrade"),
    Case(store_in_a_server, "is a database server", "churnops models", wrong=False, mends=None),
    Case(newer_store, "have version ffffffffffff", "python -m pip install", mends=None),
    Case(abandoned_run, "a run of a killed process in ChurnPrediction-Monitoring", "churnops monitor", wrong=False),
    Case(silent_server, "does not answer", "churnops models", mends=None),
    Case(failed_cycle, "the newest monitoring cycle failed (the disk is full)", "churnops monitor"),
    Case(open_alarm, "Customers changed. No later report shows", "churnops retrain", mends=None),
    Case(stopped_schedule, "monitoring ran every 60 min, and has not run for 11", "churnops monitor"),
    Case(open_file, "can reach files with customers' data: journal.db, models", "chmod go-rwx"),
    Case(unfinished_scoring, "out/scored.parquet is unfinished", "rm -r ", wrong=False),
)
