"""The table of replicas, on every database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from churnops.journal.replicas import ReplicaProcess, ReplicaStore

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
NEW = ReplicaProcess("a", "api-1", "0.0.0.0:8000", 7, "0.1.0", NOW)
LOADED = replace(NEW, folder="f2", model_version="tree-2", content_sha256="f" * 64, loaded_at=NOW, followed="f2")


@pytest.fixture
def store(engine: Engine) -> ReplicaStore:
    return ReplicaStore(engine)


def test_a_process_replaces_its_own_row_and_removes_it(store: ReplicaStore):
    other = replace(LOADED, id="b", host="api-2", refused="its hash differs")
    for process in (NEW, other, LOADED):
        store.write(process)
    assert [process for process, _ in store.read()] == [LOADED, other]
    store.remove("a")
    store.remove("unknown")
    assert [process for process, _ in store.read()] == [other]


def test_silence_is_counted_and_ends_after_a_day(store: ReplicaStore, engine: Engine):
    store.write(NEW)
    for hours, silent in ((1, timedelta(hours=1)), (25, timedelta(hours=26))):
        with engine.begin() as connection:
            connection.execute(text("UPDATE replicas SET seen_at = seen_at - :past"), {"past": hours * 3_600_000_000})
        ((_, age),) = store.read()
        assert silent <= age < silent + timedelta(minutes=30)
    store.write(replace(NEW, id="b"))
    assert [process.id for process, _ in store.read()] == ["b"]
