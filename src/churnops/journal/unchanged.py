"""Read a journal without changing it: nothing is migrated, and SQLite makes no file beside it."""

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from churnops.errors import JournalError
from churnops.journal.database import IN_MEMORY, answering, create_journal_engine, schema_version
from churnops.journal.sqlite_files import LOG


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite journal; None for another database."""
    try:
        address = make_url(url)
    except ArgumentError:
        raise JournalError("journal.url is not a database URL") from None
    is_file = address.get_backend_name() == "sqlite" and address.database not in IN_MEMORY
    return Path(str(address.database)).resolve() if is_file else None


def open_unchanged(url: str) -> Engine:
    """Return an engine for reading. Its stores work only if the journal has `SCHEMA_VERSION`.

    Raises
    ------
    JournalError
        If there is no such database, or its address is wrong.
    """
    path = sqlite_path(url)
    if path is None:
        try:
            return create_journal_engine(make_url(url), "process", moves_log=False)
        except (NoSuchModuleError, ImportError):
            raise JournalError("journal.url names a database that this churnops cannot open") from None
    if not path.is_file():
        raise JournalError(f"there is no journal {path}")
    # In use, the database has a log, which holds its newest rows. Without one, SQLite would make files to read it.
    mode = "mode=ro" if path.with_name(path.name + LOG).exists() else "immutable=1"
    address = f"{path.as_uri()}?{mode}"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)


def stored_version(engine: Engine) -> str | None:
    """Return the version of a journal's tables; None if the database has none.

    Raises
    ------
    JournalError
        If the database does not answer or is damaged.
    """
    with answering(), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master" if engine.dialect.name == "sqlite" else "SELECT 1")
        return schema_version(connection)


def damage(engine: Engine) -> str | None:
    """Return the first damage of a SQLite file that SQLite finds in its structure; None if there is none.

    Raises
    ------
    JournalError
        If the file cannot be read at all.
    """
    with answering(), engine.connect() as connection:
        verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return None if verdict == "ok" else verdict.splitlines()[-1]
