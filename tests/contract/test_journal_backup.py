"""Backup while the journal is in use, and restore while it is not."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from churnops.errors import JournalError
from churnops.journal import open_database
from churnops.journal.backup import back_up, restore
from churnops.journal.sqlite_log import SqliteLog
from tests.support.journals import write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


def fill(url: str, rows: int) -> None:
    engine = open_database(url)
    write(engine, rows)
    engine.dispose()


def test_a_backup_includes_the_log_and_does_not_disturb_writers(url: str, path: Path, tmp_path: Path):
    engine = open_database(url, moves_log=False)
    log = SqliteLog(engine)
    write(engine, 5)
    target = tmp_path / "backup.db"
    assert back_up(url, target) == 5
    assert target.stat().st_mode & 0o077 == 0
    write(engine, 2)
    log.check()
    log.close()
    assert count(target) == 5
    assert count(path) == 7
    with pytest.raises(JournalError, match="already exists"):
        back_up(url, target)


def test_a_restore_after_a_crash_is_the_backup_without_the_log(url: str, path: Path, tmp_path: Path):
    fill(url, 5)
    back_up(url, tmp_path / "backup.db")
    engine = open_database(url, moves_log=False)
    write(engine, 100)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    engine.dispose()
    kept = restore(f"sqlite:///{crashed}/journal.db", tmp_path / "backup.db")
    assert kept is not None
    assert count(crashed / "journal.db") == 5
    assert count(kept) == 105  # with its own log beside it
    assert (crashed / "journal.db").stat().st_mode & 0o077 == 0
    fill(f"sqlite:///{crashed}/journal.db", 1)
    assert count(crashed / "journal.db") == 6


def test_it_is_restored_where_there_is_none(url: str, path: Path, tmp_path: Path):
    fill(url, 5)
    back_up(url, tmp_path / "backup.db")
    path.unlink()
    assert restore(url, tmp_path / "backup.db") is None
    assert count(path) == 5


def test_restoring_is_refused_while_another_process_uses_the_journal(url: str, path: Path, tmp_path: Path):
    fill(url, 5)
    back_up(url, tmp_path / "backup.db")
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM labels'); print(); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(JournalError, match="a process has journal"):
            restore(url, tmp_path / "backup.db")
        process.communicate(b"\n")
    restore(url, tmp_path / "backup.db")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_backup_that_is_no_journal_is_refused(url: str, path: Path, tmp_path: Path, content: bytes):
    fill(url, 5)
    (tmp_path / "backup.db").write_bytes(content)
    with pytest.raises(JournalError):
        restore(url, tmp_path / "backup.db")
    assert count(path) == 5
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_damaged_or_newer_backup_is_refused(url: str, path: Path, tmp_path: Path):
    fill(url, 500)
    back_up(url, tmp_path / "backup.db")
    newer = tmp_path / "newer.db"
    newer.write_bytes((tmp_path / "backup.db").read_bytes())
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE churnops_schema_version SET version_num = '9999'")
    with pytest.raises(JournalError, match="newer than this churnops"):
        restore(url, newer)
    data = bytearray((tmp_path / "backup.db").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    (tmp_path / "backup.db").write_bytes(data)
    with pytest.raises(JournalError):
        restore(url, tmp_path / "backup.db")
    assert count(path) == 500


def test_postgresql_has_its_own_tools(tmp_path: Path):
    for use in (back_up, restore):
        with pytest.raises(JournalError, match="pg_dump"):
            use("postgresql+psycopg://user@host/name", tmp_path / "backup.db")
