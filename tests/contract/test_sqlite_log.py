"""SQLite's log: it is moved after every kind of commit, never waits for a reader, and never reaches another file."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from churnops.errors import JournalError
from churnops.journal import open_database
from churnops.journal.keys import KeyStore
from churnops.journal.sqlite_log import SqliteLog
from tests.support.journals import write
from tests.support.processes import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{path}", durability="process", moves_log=False)
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: Engine) -> Iterator[SqliteLog]:
    log = SqliteLog(engine)
    yield log
    log.close()


def in_file(path: Path, table: str = "predictions") -> int:
    """Return the number of rows in the database's file without its log."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def rest(log: SqliteLog) -> None:
    """Move the log as after half a second without commits."""
    for _ in range(2):
        log._not_before = 0.0
        log.rest()
        if log._mover is not None:
            log._mover.join()


def test_any_commit_of_any_process_is_moved_at_the_next_rest(engine: Engine, log: SqliteLog, path: Path):
    write(engine, 3)
    rest(log)
    assert in_file(path) == 3
    other = open_database(f"sqlite:///{path}")
    KeyStore(other).add("billing", ["predict"])
    rest(log)
    assert in_file(path, "api_keys") == 1
    other.dispose()


def test_nothing_is_moved_between_commits_until_the_log_is_long(
    engine: Engine, log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
):
    rest(log)
    for _ in range(5):
        write(engine)
        log.rest()
    assert in_file(path) == 0
    monkeypatch.setattr("churnops.journal.sqlite_log.MAX_FRAMES", 3)
    write(engine)
    log.rest()
    assert log._mover is not None
    log._mover.join()
    assert in_file(path) == 6


def test_commits_beside_a_move_are_moved_without_holding_any_up(
    engine: Engine, log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A checkpoint covers the log at its start; the next one moves later rows."""
    checkpoint, modes, meanwhile = log._checkpoint, [], [500, 50, 5, 1, 1]

    def beside_commits(mode: str) -> tuple[int, int, int]:
        modes.append(mode)
        result = checkpoint(mode)
        if meanwhile:
            for _ in range(meanwhile.pop(0)):
                write(engine)
        return result

    monkeypatch.setattr(log, "_checkpoint", beside_commits)
    write(engine, 10)
    rest(log)
    assert not meanwhile
    assert set(modes) == {"PASSIVE"}
    assert in_file(path) == 567
    write(engine)
    assert log._progress().moved == 0  # the log began anew


def test_a_log_that_always_grows_is_moved_in_the_end(
    engine: Engine, log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = log._checkpoint

    def beside_commits(mode: str) -> tuple[int, int, int]:
        result = checkpoint(mode)
        if mode == "PASSIVE":
            write(engine)
        return result

    monkeypatch.setattr(log, "_checkpoint", beside_commits)
    write(engine)
    rest(log)
    write(engine)
    assert log._progress().moved == 0


def test_a_writer_does_not_put_the_move_off(
    engine: Engine, log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("churnops.journal.sqlite_log.MARK_MILLISECONDS", round(1000 * PATIENCE))
    write(engine)
    log.rest()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.rest()
        time.sleep(0.1)  # the mover is at its mark, and waits
        other.execute("ROLLBACK")
    assert log._mover is not None
    log._mover.join()
    assert log._not_before == 0.0
    write(engine)
    assert log._progress().moved == 0  # the log began anew


def test_a_rest_without_commits_moves_nothing(engine: Engine, log: SqliteLog):
    write(engine)
    rest(log)
    mover = log._mover
    rest(log)
    assert log._mover is mover


def test_a_reader_delays_moving_the_log_and_no_writer_waits(engine: Engine, log: SqliteLog, path: Path):
    assert log._connection.execute("PRAGMA busy_timeout").fetchone() == (0,)
    event.listen(engine, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout=0"))
    write(engine)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM predictions").fetchone()
        for _ in range(10):
            write(engine)  # an error, if anybody held the write lock
            rest(log)
        frames = log._frames()
        assert frames > log._progress().moved
        for _ in range(10):
            rest(log)
        assert log._frames() == frames  # trying again makes it no longer
        reader.execute("COMMIT")
    rest(log)
    assert in_file(path) == 11


def test_readers_backups_and_touches_are_no_overwriting(engine: Engine, log: SqliteLog, path: Path, tmp_path: Path):
    with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        for number in range(20):
            write(engine, 5)
            if number % 3 == 0:
                rest(log)
            path.touch()
            reader.execute("SELECT count(*) FROM predictions").fetchone()
            reader.execute(f"VACUUM INTO '{tmp_path}/copy-{number}.db'")
            reader.backup(copy)
            if number % 5 == 4:
                reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            path.chmod(0o600)
    write(engine)
    log.check()


def test_two_services_move_one_log(path: Path):
    engines = [open_database(f"sqlite:///{path}", durability="process", moves_log=False) for _ in range(2)]
    logs = [SqliteLog(engine) for engine in engines]
    for number in range(30):
        write(engines[number % 2], 3)
        for log in logs:
            log.rest()
            if number % 2:
                log.rest()
    for log in logs:
        log.check()
    for log in logs:
        rest(log)
    assert in_file(path) == 90
    for log in logs:
        log.close()


def older_copy(engine: Engine, log: SqliteLog, path: Path) -> bytes:
    """Return the file of an earlier time whose size and tables are the same."""
    write(engine)
    rest(log)
    old = path.read_bytes()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE predictions SET churn_probability = 0.123")
    rest(log)
    assert len(old) == path.stat().st_size
    assert old != path.read_bytes()
    return old


def online_backup(engine: Engine, log: SqliteLog, path: Path) -> bytes:
    write(engine)
    rest(log)
    target = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target.read_bytes()


OVERWRITES: dict[str, Callable[[Engine, SqliteLog, Path], bytes]] = {
    "an older copy of the same size": older_copy,
    "an online backup of now": online_backup,
    "nothing": lambda *_: b"",
    "its first half": lambda engine, log, path: path.read_bytes()[: path.stat().st_size // 2],
    "zeros": lambda engine, log, path: bytes(path.stat().st_size),
}


@pytest.mark.parametrize("content", OVERWRITES.values(), ids=OVERWRITES)
def test_an_overwritten_file_is_refused_and_its_log_is_never_applied(path: Path, content):
    # The connection of an abandoned log is never closed in this process, so the file is looked at as a copy.
    engine = open_database(f"sqlite:///{path}", durability="process", moves_log=False)
    log = SqliteLog(engine)
    new = content(engine, log, path)
    write(engine, 50)
    path.write_bytes(new)
    for _ in range(3):
        with pytest.raises(JournalError, match="was overwritten while it was open"):
            write(engine)
    rest(log)
    log.close()
    engine.dispose()
    assert path.read_bytes() == new
    assert not path.with_name("journal.db-wal").exists()
    (aside,) = path.parent.glob("journal.db.set-aside-*-wal")
    assert aside.stat().st_size > 0


def test_a_log_that_another_worker_set_aside_is_never_applied(path: Path):
    engines = [open_database(f"sqlite:///{path}", durability="process", moves_log=False) for _ in range(2)]
    logs = [SqliteLog(engine) for engine in engines]
    new = older_copy(engines[0], logs[0], path)
    path.write_bytes(new)
    logs[1]._settled = (logs[1]._state(), logs[1]._progress())  # it looked while the other one moved the log
    logs[0].rest()
    logs[1].rest()
    for engine, log in zip(engines, logs, strict=True):
        with pytest.raises(JournalError, match="was overwritten while it was open"):
            write(engine)
        log.close()
    assert path.read_bytes() == new


def test_a_replaced_file_is_refused_and_its_log_is_never_applied(path: Path, engine: Engine, log: SqliteLog):
    write(engine)
    other = path.with_name("other.db")
    open_database(f"sqlite:///{other}").dispose()
    new = other.read_bytes()
    other.replace(path)
    with pytest.raises(JournalError, match="was replaced while it was open"):
        write(engine)
    log.rest()
    log.close()
    assert path.read_bytes() == new
    assert not path.with_name("journal.db-wal").exists()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_every_writer_notices_a_missing_file_and_accepts_its_return(engine: Engine, path: Path, suffix: str):
    file, away = Path(f"{path}{suffix}"), path.with_name("away")
    write(engine)
    file.rename(away)
    for _ in range(2):
        with pytest.raises(JournalError, match=f"journal.db{suffix} was deleted or moved"):
            write(engine)
        with pytest.raises(JournalError):
            KeyStore(engine).add("billing", ["predict"])
        with engine.connect(), pytest.raises(JournalError):  # by a new connection
            write(engine)
    assert not file.exists()
    away.rename(file)
    write(engine)
    KeyStore(engine).add("billing", ["predict"])


def test_a_file_that_goes_during_a_transaction_is_no_success(engine: Engine, path: Path):
    connection = engine.connect()
    transaction = connection.begin()
    connection.exec_driver_sql("DELETE FROM api_keys")
    path.unlink()
    with pytest.raises(JournalError, match="was deleted"):
        transaction.commit()
    connection.close()


def test_the_log_of_a_deleted_journal_is_kept(path: Path):
    engine = open_database(f"sqlite:///{path}", moves_log=False)
    write(engine)
    log = path.with_name("journal.db-wal").read_bytes()
    path.unlink()
    engine.dispose()
    path.with_name("journal.db-wal").write_bytes(log)
    open_database(f"sqlite:///{path}").dispose()
    (kept,) = path.parent.glob("journal.db.set-aside-*-wal")
    assert kept.read_bytes() == log


def test_a_log_that_is_recovered_after_a_crash_is_moved_at_once(path: Path, tmp_path: Path):
    engine = open_database(f"sqlite:///{path}", moves_log=False)
    write(engine, 3)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    engine.dispose()
    engine = open_database(f"sqlite:///{crashed}/journal.db", moves_log=False)
    log = SqliteLog(engine)
    assert in_file(crashed / "journal.db") == 3
    (crashed / "journal.db").write_bytes(b"")
    with pytest.raises(JournalError, match="overwritten"):
        log.check()
    log.close()


@pytest.mark.parametrize("damage", ["cut", "half", "overwritten"])
def test_a_cut_or_overwritten_log_is_refused_and_the_data_stay_whole(
    engine: Engine, log: SqliteLog, path: Path, damage: str
):
    write(engine, 3)
    rest(log)
    for _ in range(40):
        write(engine)
    size = log.files.log.stat().st_size
    with log.files.log.open("r+b") as file:
        match damage:
            case "cut":
                file.truncate(0)
            case "half":
                file.truncate(size // 2)
            case "overwritten":
                file.write(bytes(size))
    with pytest.raises(JournalError, match=r"journal\.db lost a part of its log"):
        write(engine)
    log.close()
    assert in_file(path) == 3
    assert not log.files.log.exists()


def test_a_log_that_other_programs_empty_is_whole(engine: Engine, log: SqliteLog, path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
            write(engine, 5)
            other.execute("VACUUM")
            log.check()
            other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            log.check()
            write(engine)
    log.check()
