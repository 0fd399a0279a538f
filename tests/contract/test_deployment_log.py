"""One suite over every database the deployment log runs on."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from churnops.errors import JournalError
from churnops.journal import DeploymentLog, open_database
from churnops.journal.deployment_log import Intent
from tests.support.journals import LASTING, intent


def test_an_intent_is_open_until_it_is_closed(engine: Engine):
    log = DeploymentLog(engine)
    before = len(log.history())
    first, second = intent(log, "a"), intent(log, "b", previous="a")
    assert second > first
    assert [d.folder for d in log.open_intents()] == ["a", "b"]
    log.close(log.get(first), "undone")
    log.close(log.get(second), "done")
    assert log.open_intents() == []
    one, two = log.history()[before:]
    assert (one.folder, one.closed, one.previous, one.version) == ("a", "undone", None, 7)
    assert (two.folder, two.closed, two.previous, two.reason) == ("b", "done", "a", "it is better")


def test_user_and_reason_are_kept_unchanged(engine: Engine):
    log = DeploymentLog(engine)
    given = {"folder": "b", "version": 8, "content_sha256": "e" * 64, "previous": "c", "reason": "[red]Ünder\x1b\nnoon"}
    number = log.open_intent(Intent(**given, by="ann \u202e", kind="rollback"))
    log.close(log.get(number), "done")
    found = log.get(number)
    assert {name: getattr(found, name) for name in given} == given
    assert (found.by, found.kind, found.closed) == ("ann \u202e", "rollback", "done")
    assert log.get(intent(log, "a")).kind == "deploy"


def test_texts_longer_than_their_column_are_cut(engine: Engine):
    log = DeploymentLog(engine)
    number = log.open_intent(
        Intent(folder="a", version=1, content_sha256="f" * 64, previous=None, reason="r" * 3000, by="b" * 300)
    )
    found = log.get(number)
    assert (len(found.reason), found.by) == (2000, "b" * 200)


def test_closing_twice_changes_nothing(engine: Engine):
    log = DeploymentLog(engine)
    opened = log.get(intent(log, "c"))
    log.close(opened, "done")
    rows = log.history()
    log.close(opened, "undone")
    assert log.history() == rows


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_times_are_utc_wherever_the_database_is(engine: Engine, zone: str):
    log = DeploymentLog(engine)
    number = intent(log, "d")
    with closing(engine.raw_connection()) as connection:  # the one connection that the pool has at this moment
        if engine.dialect.name == "postgresql":
            connection.cursor().execute(f"SET TIME ZONE '{zone}'")
            connection.commit()
    at = log.get(number).at
    assert at.tzinfo is UTC
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    log.close(log.open_intents()[-1], "done")
    engine.dispose()


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_the_next_process_reads_earlier_entries(url: str):
    first = open_database(url)
    number = intent(DeploymentLog(first), "e")
    first.dispose()
    second = open_database(url)
    assert DeploymentLog(second).get(number).closed is None
    DeploymentLog(second).close(DeploymentLog(second).get(number), "undone")
    second.dispose()


@pytest.mark.parametrize(
    "wrong", ["nonsense", "mysql://u:hunter2@localhost/x", "postgresql+psycopg://u:hunter2@127.0.0.1:1/x"]
)
def test_an_unopenable_database_is_one_line_without_the_password(wrong: str):
    with pytest.raises(JournalError) as caught:
        open_database(wrong)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_database_is_one_line(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE deployments")
    with pytest.raises(JournalError, match="journal's database failed: no such table"):
        DeploymentLog(engine).history()
    engine.dispose()
