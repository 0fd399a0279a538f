"""Databases of every older version, filled as they were in use: upgraded, with each row and each answer still there."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, Table, create_engine, select

from churnops.journal import DecisionLog, DeploymentLog, Journal, open_database
from churnops.journal.alerts import AlertLog, Notice
from churnops.journal.cycles import CycleLog
from churnops.journal.keys import KeyStore, verify
from churnops.journal.tables import VERSION_TABLE
from tests.support.fixture_project import ACTIVE_TOKEN, PROJECT_1, REVOKED_TOKEN
from tests.support.journals import LASTING, differences, migrate_to, older_values

Rows = Mapping[str, list[dict[str, Any]]]
TABLES = {
    "0001": ("deployments",),
    "0002": ("deployments", "predictions", "labels", "api_keys"),
    "0003": ("deployments", "predictions", "labels", "api_keys", "looks", "cycles", "profiles", "alerts", "deliveries"),
}
TABLES["0004"] = (*TABLES["0003"], "decisions")
TABLES["0007"] = TABLES["0004"]
FIXTURE = f"file:{PROJECT_1}/journal.db?immutable=1"  # so that SQLite deletes no file beside it


@pytest.fixture(params=TABLES)
def older(request: pytest.FixtureRequest, url: str) -> tuple[str, Rows]:
    """A database of an older version with the rows of the fixture project, for the tables that it has."""
    engine, rows = create_engine(url), {}
    with engine.begin() as connection:
        migrate_to(connection, request.param)
    with engine.begin() as connection, closing(sqlite3.connect(FIXTURE, uri=True)) as fixture:
        fixture.row_factory = sqlite3.Row
        for name in TABLES[request.param]:
            table = Table(name, MetaData(), autoload_with=connection, resolve_fks=False)
            kept = [dict(row) for row in fixture.execute(f"SELECT * FROM {name}")]
            columns = [column for column in table.c if column.name in kept[0]]  # the fixture is of version 0004
            rows[name] = [{column.name: typed(column, row[column.name]) for column in columns} for row in kept]
            if "key" in table.c:
                rows[name] = [row | {"key": "0123abcd"} for row in rows[name]]
            connection.execute(table.insert(), rows[name])
    engine.dispose()
    return url, rows


def typed(column: Any, value: Any) -> Any:
    """Return a value of SQLite as the type of a column, which may be one of PostgreSQL."""
    if value is None:
        return None
    kind = column.type.python_type
    if kind is datetime:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return kind(value) if kind in (bool, bytes) else value


@pytest.fixture
def upgraded(older: tuple[str, Rows]) -> Iterator[tuple[Engine, Rows]]:
    """The database after this program has opened it."""
    url, rows = older
    engine = open_database(url)
    yield engine, rows
    engine.dispose()


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_an_older_database_keeps_every_row(upgraded: tuple[Engine, Rows]):
    engine, before = upgraded
    assert differences(engine) == []
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {VERSION_TABLE}").scalar() == 1
        for name, rows in before.items():
            if name == "predictions":
                continue
            table = Table(name, MetaData(), autoload_with=connection, resolve_fks=False)
            columns = [table.c[column] for column in rows[0]]
            found = [dict(row) for row in connection.execute(select(*columns).order_by(table.c.id)).mappings()]
            for row in found:
                row |= {key: value.replace(tzinfo=UTC) for key, value in row.items() if isinstance(value, datetime)}
            assert found == sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_packed_predictions_are_those_of_the_older_database(upgraded: tuple[Engine, Rows]):
    engine, before = upgraded
    journal = Journal(engine, label_horizon=timedelta(days=30))
    for row in before.get("predictions", ()):
        recorded = journal.prediction(row["id"])
        assert recorded is not None
        after = {name: older_values(recorded.row)[name] for name in row}
        assert {**after, **exactly(after)} == {**row, **exactly(row)}
        assert not recorded.row.rest, f"not packed: {recorded.row.rest}"
    with engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar()
    assert count == len(before.get("predictions", ()))


def exactly(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's JSON documents with the texts of their numbers: 1 and 1.0 differ."""
    return {name: json.loads(row[name], parse_int=str, parse_float=str) for name in ("inputs", "top_shap_features")}


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_an_older_database_is_read_as_before(upgraded: tuple[Engine, Rows]):
    engine, rows = upgraded
    assert len(DeploymentLog(engine).history()) == 4
    if "api_keys" in rows:
        active = KeyStore(engine).active()
        assert verify(ACTIVE_TOKEN, active) is not None
        assert verify(REVOKED_TOKEN, active) is None
    if "predictions" in rows:
        journal, now = Journal(engine, label_horizon=timedelta(days=30)), datetime.now(UTC)
        first = rows["predictions"][0]
        found = journal.prediction(first["id"])
        assert found is not None
        assert found.row.churn_probability == first["churn_probability"]
        outcomes = [one.churned for one in journal.resolved(datetime(2026, 1, 1, tzinfo=UTC), now, now)]
        assert sum(churned is not None for churned in outcomes) >= 122
    if "cycles" in rows:
        assert len(CycleLog(engine).newest(100, report_only=None)) == len(rows["cycles"])
        assert len(AlertLog(engine).newest(100)) == len(rows["alerts"])
    if "decisions" in rows:
        assert len(DecisionLog(engine).newest(100)) == len(rows["decisions"])


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_an_alert_of_version_0006_still_fires(url: str):
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate_to(connection, "0006")
    with engine.begin() as connection:
        table = Table("alerts", MetaData(), autoload_with=connection)
        given = {"at": 0, "subject": "broken_columns", "source": "weekly", "state": "firing"}
        connection.execute(table.insert(), given | {"severity": "critical", "title": "Broken", "body": ""})
    engine.dispose()
    opened = open_database(url)
    (firing,) = AlertLog(opened).firing(["broken_columns"])
    opened.dispose()
    assert firing.alert.notice == Notice("broken_columns", "firing", "critical", "Broken", "", "weekly")
