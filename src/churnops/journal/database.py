"""The journal's database: opening, migrating and transactions."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from churnops.errors import JournalError, redact
from churnops.journal.sqlite_files import Identity, OpenedFiles, check_identity, keep_orphaned_log
from churnops.journal.tables import SCHEMA_VERSION, VERSION_TABLE

Durability = Literal["process", "power"]

IN_MEMORY = (None, "", ":memory:")
_LOCK = 0x636875726E  # number of the advisory lock in PostgreSQL: "churn"
_BUSY_SECONDS = 10.0
FILES = "files"
"""Key of a SQLite connection's `OpenedFiles` in its `info`."""

_checks: WeakKeyDictionary[Engine, list[Callable[[], None]]] = WeakKeyDictionary()
_connection_checks: WeakKeyDictionary[Engine, Callable[[PoolProxiedConnection], None]] = WeakKeyDictionary()
_migrating = threading.Lock()  # Alembic keeps the migration under way in a global variable


def open_database(url: str, *, durability: Durability = "power", moves_log: bool = True) -> Engine:
    """Open the database, and create its tables or migrate them to `SCHEMA_VERSION`.

    Several processes may open one database at once: one migrates it, the others wait. A migration is one transaction.

    Parameters
    ----------
    durability : {"process", "power"}
        Whether a committed transaction survives only the end of the process, or also a power cut. SQLite flushes
        each commit to disk only for "power". PostgreSQL flushes by default; "power" enforces this.
    moves_log
        Whether a commit may move SQLite's write-ahead log into the database when the log is long. This takes tens of
        milliseconds. False if a `SqliteLog` moves it.

    Raises
    ------
    JournalError
        If the database cannot be opened, or a newer churnops has migrated it. The message leaves out the URL, which
        may hold a password.
    """
    try:
        engine = create_journal_engine(make_url(url), durability, moves_log=moves_log)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise JournalError(
            "journal.url is not a database URL that can be opened: use sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/NAME"
        ) from None
    try:
        _migrate(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise JournalError(f"the journal's database cannot be opened: {reason(error)}") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def answering() -> Iterator[None]:
    """Turn the errors of a damaged or unreachable database into a JournalError of one line."""
    try:
        yield
    except (DataError, OverflowError, UnicodeError) as error:
        raise JournalError(f"the journal's database cannot store a value: {reason(error)}") from None
    except SQLAlchemyError as error:
        raise JournalError(f"the journal's database failed: {reason(error)}") from None


@contextmanager
def exclusive(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction; exclusive transactions of all processes run one after another."""
    with engine.connect() as connection:
        connection.execution_options(begin="BEGIN IMMEDIATE")
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection


def run(connection: Connection, statement: str, values: Sequence[Any] = ()) -> int:
    """Execute a statement without a result in the caller's transaction; return the number of changed rows.

    SQLite's driver is called directly, because for one row SQLAlchemy would take longer than SQLite.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the database refuses the statement.
    """
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(statement, tuple(values)).rowcount
    driver: Any = connection.connection.driver_connection
    try:
        return int(driver.execute(statement, values).rowcount)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error, dialect=connection.dialect) from error


def commit_directly(connection: Connection, work: Callable[[], None]) -> None:
    """Call `work` in a transaction of a SQLite file, with the same checks as in SQLAlchemy's transactions.

    For a transaction, SQLAlchemy takes 100 µs: more than SQLite takes to write a prediction. `work` uses `run`.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the database refuses a statement.
    sqlite3.Error
        If the database cannot begin or commit.
    JournalError
        If the files are no longer the opened ones.
    """
    pooled = connection.connection
    driver: Any = pooled.driver_connection
    _connection_checks[connection.engine](pooled)
    driver.execute("BEGIN")
    try:
        work()
        connection.dialect.do_commit(pooled)
    except BaseException:
        driver.rollback()
        raise


def is_sqlite_file(engine: Engine) -> bool:
    """Return whether the database is a SQLite file. A database in memory is not: it has a single connection."""
    database = engine.url.database
    return engine.dialect.name == "sqlite" and database not in IN_MEMORY and not str(database).startswith("file:")


def reason(error: Exception) -> str:
    """Return an error's first line without secrets."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    hint = ": `churnops doctor` says whether the disk is full" if lines[:1] == ["disk I/O error"] else ""
    return redact(lines[0]) + hint if lines else type(error).__name__


def create_journal_engine(url: URL, durability: Durability, *, moves_log: bool) -> Engine:
    """Return an engine with the options of `open_database`. Nothing is opened or migrated yet."""
    match url.get_backend_name():
        case "sqlite":
            # Without isolation_level=None the driver would commit before each CREATE TABLE.
            options: dict[str, Any] = {"connect_args": {"isolation_level": None, "check_same_thread": False}}
            if url.database in IN_MEMORY:
                # The database lives in its one connection, so threads take turns.
                options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
            engine = create_engine(url, **options)
            synchronous = "FULL" if durability == "power" else "NORMAL"
            event.listen(engine, "connect", lambda connection, _: _configure_sqlite(connection, synchronous, moves_log))
            if is_sqlite_file(engine):
                keep_orphaned_log(Path(engine.url.database or ""))
                _check_files(engine)
            event.listen(engine, "begin", _begin_sqlite)
        case "postgresql":
            # By default, an unreachable server is an error only after minutes.
            limits = {"connect_timeout": "10", "tcp_user_timeout": "10000", "application_name": "churnops"}
            engine = create_engine(
                url.update_query_dict(limits | dict(url.query)),
                pool_pre_ping=True,
                # A pooler may give each transaction another session, so statements are not prepared in one. Without
                # autocommit, the driver would send a BEGIN of its own.
                connect_args={"prepare_threshold": None, "autocommit": True},
            )
            begin = _begin_postgresql(durability)
            plain = {"stream_results": False, "yield_per": None}  # a server's cursor cannot begin a transaction
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin, execution_options=plain))
        case other:
            raise NoSuchModuleError(other)
    return engine


def check_transactions(engine: Engine, check: Callable[[], None]) -> None:
    """Call `check` before each SQLite transaction and after its commit; the transaction raises the check's errors."""
    _checks[engine].insert(0, check)


def _check_files(engine: Engine) -> None:
    """Refuse transactions if SQLite's files are no longer the opened ones: their commits would be lost."""
    path = Path(str(engine.url.database)).absolute()
    opened: list[Identity] = []
    live: list[OpenedFiles] = []  # of the connections that are open
    checks: list[Callable[[], None]] = []
    commit = engine.dialect.do_commit

    def before_connecting(*_: object) -> None:
        # SQLite would create an empty file if the database is missing.
        for other in checks:
            other()
        if opened:
            check_identity(str(path), opened[0])
        if live:
            live[0].check()

    def connected(connection: Any, record: Any) -> None:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # opens or creates log and index
        files = record.info[FILES] = OpenedFiles(path, connection)
        before_connecting()
        opened[:] = [files.identity]
        live.append(files)

    def closed(_: object, record: Any) -> None:
        with suppress(ValueError):
            live.remove(record.info.get(FILES))

    def check(connection: PoolProxiedConnection) -> None:
        for other in checks:
            other()
        connection.info[FILES].check()

    def checked_commit(connection: PoolProxiedConnection) -> None:
        commit(connection)
        check(connection)

    _checks[engine] = checks
    _connection_checks[engine] = check
    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", connected)
    event.listen(engine, "close", closed)
    event.listen(engine, "begin", lambda connection: check(connection.connection))
    # SQLAlchemy has no event after a commit.
    engine.dialect.do_commit = checked_commit  # type: ignore[method-assign,assignment]


def _begin_sqlite(connection: Connection) -> None:
    run(connection, connection.get_execution_options().get("begin", "BEGIN"))


def _configure_sqlite(connection: Any, synchronous: str, moves_log: bool) -> None:
    connection.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    # Small pages, because a commit logs every page that it touches, usually for a single row.
    connection.execute("PRAGMA page_size=2048")  # only affects a new database
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except connection.OperationalError:  # another process does the same, and SQLite does not wait for this lock
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if not moves_log:
        connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_postgresql(durability: Durability) -> str:
    """Return the statements that begin a transaction.

    Settings of a session would be lost, or leak to others, if PgBouncer gives each transaction another session.
    """
    # Without a limit, one lock that is never released would block all threads.
    begin = f"BEGIN; SET LOCAL lock_timeout = {int(_BUSY_SECONDS * 1000)}"
    if durability == "power":
        # Changed only if it is "off", because "remote_apply" is stricter than "on".
        begin += (
            "; SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )
    return begin


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        version = schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version is not None and version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal's database has version {version}; this churnops reads {SCHEMA_VERSION}: upgrade churnops"
        )
    from alembic import command  # here, because it is slow and rarely needed
    from alembic.config import Config

    folder = str(Path(__file__).with_name("migrations"))
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    with _migrating, exclusive(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")  # changes nothing if another process was first


def schema_version(connection: Connection) -> str | None:
    """Return the version of the journal's tables; None if there are none."""
    try:
        version = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    except (OperationalError, ProgrammingError):  # usually a missing table; the migration raises any other error
        return None
    return None if version is None else str(version)
