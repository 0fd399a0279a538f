"""Backups of a SQLite journal: made while it is in use, restored while no process has it open."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from churnops.errors import JournalError
from churnops.files import close_to_others, fsync_folder
from churnops.journal.sqlite_files import INDEX, LOG
from churnops.journal.tables import SCHEMA_VERSION, VERSION_TABLE

# SQLite's lock bytes: every connection to a database in WAL mode holds a shared lock on this range.
# https://www.sqlite.org/src/file?name=src/os.h
_SHARED_FIRST = 0x40000002
_SHARED_SIZE = 510


def back_up(url: str, target: Path) -> int:
    """Back up a journal, which may be in use, to one file; return its number of predictions.

    The backup is a consistent state of the journal. It is checked before it gets its name.

    Raises
    ------
    JournalError
        If `target` exists, the journal is not a readable SQLite file, or the backup is damaged.
    """
    source = _file(url)
    if target.exists():
        raise JournalError(f"{target} already exists: choose another file name")
    if not target.parent.is_dir():
        raise JournalError(f"{target.parent} is not a folder: make it first")
    if not source.exists():
        raise JournalError(f"there is no journal {source}")
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        rows = _copy(source, "rw", unfinished)
        unfinished.rename(target)
    except sqlite3.Error as error:
        raise JournalError(f"the journal cannot be backed up: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    fsync_folder(target.parent)
    return rows


def restore(url: str, backup: Path) -> Path | None:
    """Replace the journal by a backup; return the path of the replaced journal, None if there was none.

    Raises
    ------
    JournalError
        If the backup is damaged or of a newer version, or a process has the journal open.
    """
    target = _file(url)
    log, index = (target.with_name(target.name + suffix) for suffix in (LOG, INDEX))
    if not backup.is_file():
        raise JournalError(f"there is no backup {backup}")
    unfinished = target.with_name(f".{target.name}.unfinished")
    kept = target.with_name(f"{target.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    try:
        _copy(backup.resolve(), "ro", unfinished)
        with _unused(target):
            # The log goes first: SQLite would apply it to whichever database lies beside it.
            with suppress(FileNotFoundError):
                log.rename(kept.with_name(kept.name + LOG))
            index.unlink(missing_ok=True)
            replaces = target.exists()
            if replaces:
                os.link(target, kept)
            unfinished.replace(target)
    except sqlite3.Error as error:
        raise JournalError(f"{backup} is not a journal, or it is damaged: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    fsync_folder(target.parent)
    return kept if replaces else None


def _file(url: str) -> Path:
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        raise JournalError("the journal is not a SQLite file: use the database's own tools, pg_dump and pg_restore")
    return Path(str(address.database)).resolve()


def _copy(source: Path, mode: str, target: Path) -> int:
    """Copy a database with its log, flush and check the copy; return its number of predictions."""
    target.unlink(missing_ok=True)
    target.touch()
    close_to_others(target)
    # Read by SQLite, not copied as a file, because the source (a journal or a backup) may have a log beside it.
    address = f"{source.as_uri()}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True)) as database, closing(sqlite3.connect(target)) as copy:
        database.backup(copy)
    rows = _checked(target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return rows


def _checked(path: Path) -> int:
    """Check the integrity and version of a journal; return its number of predictions."""
    with closing(sqlite3.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise JournalError(f"the journal is damaged: {verdict.splitlines()[0]}")
        version = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
        if version is None or str(version[0]) > SCHEMA_VERSION:
            raise JournalError(
                f"the journal is newer than this churnops, which reads version {SCHEMA_VERSION}: upgrade churnops"
            )
        if str(version[0]) == "0001":  # it had no predictions yet
            return 0
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


@contextmanager
def _unused(path: Path) -> Iterator[None]:
    """Keep every process from opening a database; refuse if one has it open."""
    if not path.exists():
        yield
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except OSError:
            raise JournalError(f"a process has {path.name} open: stop the service and every reader") from None
        yield
