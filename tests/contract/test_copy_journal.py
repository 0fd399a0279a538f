"""Copies of a journal, from each kind of database to each."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import Boolean, DateTime, Double, Engine, LargeBinary, Table, Text, delete, insert, select, update

from churnops.cli import main
from churnops.errors import JournalError
from churnops.journal import DeploymentLog, open_database
from churnops.journal import copy as copying
from churnops.journal.copy import copy_journal
from churnops.journal.tables import (
    api_keys,
    customers_log,
    cycles,
    decisions,
    metadata,
    microseconds,
    predictions,
)
from tests.support.journals import DAY, LASTING, POSTGRESQL, START, intent
from tests.support.parts import find_part
from tests.support.projects import write_project

targets = pytest.mark.parametrize("url", LASTING, indirect=True)
TEXTS = ("a", "B", "é", "b_1", "", "Z", "\N{PILE OF POO}", "-")


def value(table: Table, name: str, number: int) -> Any:
    """Return a value of the column's type; keys are different, and texts sort differently by the rules of languages."""
    column = table.c[name]
    if name in ("intent", "until"):
        return None if name == "intent" else "x"
    if isinstance(column.type, Text) or column.type.python_type is str:
        return f"{TEXTS[number % len(TEXTS)]}{number}" if column.primary_key else f"{name} {TEXTS[number % 8]} '\n"
    if isinstance(column.type, DateTime):
        return datetime(2026, 1, 1, 12, number % 60, 0, 123456, UTC)
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    if isinstance(column.type, Double):
        return number / 7
    if isinstance(column.type, LargeBinary):
        return bytes([0, number % 256, 255])
    return {"hash": number - 5, "at": microseconds(START) + number}.get(name, number)


def a_row(table: Table, number: int) -> dict[str, Any]:
    names = table.columns.keys()
    return {name: value(table, name, number) for name in names}


def fill(engine: Engine, first: int = 1, rows: int = 8) -> None:
    """Write rows to every table; columns that may be null are so in every third row."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            for number in range(first, first + (1 if table.name == "customers_history" else rows)):
                given = a_row(table, number)
                nulls = [c.name for c in table.columns if c.nullable and number % 3 == 0 and not c.foreign_keys]
                unique = {
                    name: f"{name} {number}" for name in ("content_sha256", "subject", "name", "state") if name in given
                }
                connection.execute(insert(table).values(given | unique | dict.fromkeys(nulls)))


def contents(url: str) -> dict[str, list[Any]]:
    engine = open_database(url)
    with engine.connect() as connection:
        rows = {table.name: sorted(map(repr, connection.execute(select(table)))) for table in metadata.sorted_tables}
    engine.dispose()
    zone = r", tzinfo=(datetime.timezone.utc|zoneinfo.ZoneInfo\(key='[^']*'\))"
    return {name: [re.sub(zone, "", row) for row in rows[name]] for name in rows}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tuple[str, Engine]]:
    """A SQLite journal with rows in every table."""
    url = f"sqlite:///{tmp_path}/source.db"
    engine = open_database(url)
    fill(engine)
    yield url, engine
    engine.dispose()


@targets
def test_a_copy_has_every_row_and_can_be_copied_back(source: tuple[str, Engine], url: str, tmp_path: Path) -> None:
    tables = copy_journal(source[0], url)
    assert {name: (table.rows, table.written) for name, table in tables.items()} == {
        name: (1, 1) if name == "customers_history" else (8, 8) for name in tables
    }
    back = f"sqlite:///{tmp_path}/back.db"
    again = copy_journal(url, back)
    assert contents(source[0]) == contents(back) != {}
    assert {name: table.sha256 for name, table in tables.items()} == {n: table.sha256 for n, table in again.items()}


@targets
def test_later_rows_are_numbered_after_the_copied_ones(source: tuple[str, Engine], url: str) -> None:
    copy_journal(source[0], url)
    engine = open_database(url)
    assert intent(DeploymentLog(engine), "later") == 9
    engine.dispose()


@targets
def test_an_interrupted_copy_continues_without_doubling(
    source: tuple[str, Engine], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGE", 3)

    def interrupt(done: int, share: float) -> None:
        assert share == pytest.approx(done / total)
        seen.append(done)
        if done > 30:
            raise KeyboardInterrupt

    seen: list[int] = []
    total = sum(len(rows) for rows in contents(source[0]).values())
    with pytest.raises(KeyboardInterrupt):
        copy_journal(source[0], url, interrupt)
    tables = copy_journal(source[0], url)
    assert sum(table.written for table in tables.values()) == total - seen[-1]
    assert contents(source[0]) == contents(url)


@targets
def test_a_second_copy_catches_up_with_a_journal_in_use(source: tuple[str, Engine], url: str) -> None:
    copy_journal(source[0], url)
    fill_later = ("alerts", "decisions", "predictions", "labels")
    with source[1].begin() as connection:
        connection.execute(update(api_keys).where(api_keys.c.id == "é2").values(revoked_at=77))
        connection.execute(delete(customers_log).where(customers_log.c.id < 5))
        for table in (metadata.tables[name] for name in fill_later):
            given = a_row(table, 0)
            connection.execute(insert(table).values(given | {"id": "0" if table is predictions else 99}))
    written = {name: table.written for name, table in copy_journal(source[0], url).items() if table.written}
    assert written == {"api_keys": 1} | dict.fromkeys(fill_later, 1)
    assert contents(source[0]) == contents(url)


@targets
@pytest.mark.parametrize("change", [insert(decisions), update(decisions)])
def test_a_journal_with_other_rows_is_refused(source: tuple[str, Engine], url: str, change: Any) -> None:
    copy_journal(source[0], url)
    engine = open_database(url)
    with engine.begin() as connection:
        row = a_row(decisions, 50)
        connection.execute(change.values(row if change.is_insert else {"reason": "another"}))
        connection.execute(delete(cycles).where(cycles.c.id == 8))  # would be copied first
    before = contents(url)
    with pytest.raises(JournalError, match="the target is not a copy of the source: the source lacks"):
        copy_journal(source[0], url)
    assert contents(url) == before
    engine.dispose()


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_predictions_go_to_the_partitions_of_their_months(source: tuple[str, Engine], url: str) -> None:
    with source[1].begin() as connection:
        connection.execute(insert(predictions).values(a_row(predictions, 9) | {"at": microseconds(START - 40 * DAY)}))
    copy_journal(source[0], url)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM predictions_{name}").fetchone()
            for name in ("2025_11", "2026_01", "default")
        ]
    assert counts == [(1,), (8,), (0,)]


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_pg_dump_and_pg_restore_keep_everything(source: tuple[str, Engine], url: str, tmp_path: Path) -> None:
    """The documented commands."""
    copy_journal(source[0], url)
    server, _, name = url.replace("+psycopg", "").rpartition("/")
    binaries, dump = Path(str(find_part("postgresql"))).resolve().parent, tmp_path / "churn.dump"
    subprocess.run([binaries / "pg_dump", "--format=custom", f"--file={dump}", f"{server}/{name}"], check=True)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_restored")
    restore = [binaries / "pg_restore", "--exit-on-error", f"--dbname={server}/{name}_restored", dump]
    subprocess.run(restore, check=True)
    assert contents(f"{url}_restored") == contents(source[0])
    engine = open_database(f"{url}_restored")
    assert intent(DeploymentLog(engine), "later") == 9
    engine.dispose()


def test_a_target_that_changes_meanwhile_fails_the_check(source: tuple[str, Engine], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/target.db"
    engine = open_database(url)

    def lose(done: int, share: float) -> None:
        with engine.begin() as connection:
            connection.execute(delete(decisions))

    with pytest.raises(
        JournalError, match="the copy is not complete: table decisions has other values, or 0 rows instead of 8"
    ):
        copy_journal(source[0], url, lose)
    engine.dispose()


def test_a_wrong_address_is_refused(source: tuple[str, Engine], tmp_path: Path) -> None:
    for target, reason in (
        (source[0], "both addresses are the same database"),
        (source[0].replace("source.db", "./source.db"), "both addresses are the same database"),
        ("postgresql", "an address is not one of a database"),
    ):
        with pytest.raises(JournalError, match=reason):
            copy_journal(source[0], target)
    with pytest.raises(JournalError, match="there is no journal"):
        copy_journal(f"sqlite:///{tmp_path}/none.db", source[0])
    assert not (tmp_path / "none.db").exists()


def test_the_command_copies_and_shows_the_hashes(source: tuple[str, Engine], tmp_path: Path) -> None:
    write_project(tmp_path)
    command = ["--config", str(tmp_path / "config.yaml"), "journal", "copy", "source.db", "copied.db"]
    done = CliRunner().invoke(main, command)
    assert "8 rows of predictions, 8 of them new" in done.output
    assert contents(source[0]) == contents(f"sqlite:///{tmp_path}/copied.db")
