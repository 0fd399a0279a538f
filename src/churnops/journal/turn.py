"""A lock for a job that only one process may do at a time, among all machines that share the database."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, Engine

from churnops.files import lock_folder
from churnops.journal.database import answering

# With keepalives, the server notices within 90 seconds that a machine has lost its power. The transaction is idle on
# purpose, and a timeout of 0 keeps the server from ending it.
_SETTINGS = (
    "SELECT set_config(name, value, true) FROM (VALUES ('tcp_keepalives_idle', '60'),"
    " ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), ('idle_in_transaction_session_timeout', '0'),"
    " ('transaction_timeout', '0')) AS wanted (name, value)"
    " WHERE current_setting(name, true) IS NOT NULL"  # PostgreSQL has transaction_timeout since version 17
)
_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"


@contextmanager
def turn(engine: Engine, name: str, folder: Path) -> Iterator[bool]:
    """Take the lock for a job that only one process may do at a time, among all machines that share the database.

    Yields whether the lock was free. `turn` does not wait for another process or thread that holds it.

    On this machine it is a lock on `folder`; with PostgreSQL it is also an advisory lock of an idle transaction with a
    connection of its own. The operating system and the server release the locks when the holder ends, for any reason.
    If the holder's machine loses its power or network, the advisory lock is released after 90 seconds.

    The connection may be lost during the job: the server restarts, or the network fails for long. Then other machines
    may begin the same job unnoticed. The lock prevents double work; it does not protect data. A job that must not
    happen twice, such as a deployment, needs a lock or a transaction of its own.

    Parameters
    ----------
    engine
        With SQLite, processes on other machines are not excluded; machines cannot share its file safely anyway.
    name
        Name of the job. Jobs with different names do not exclude each other, unless they share `folder`.
    folder
        Folder for this lock only. It is created if missing, and stays.

    Raises
    ------
    JournalError
        If the database does not answer.
    OSError
        If the folder cannot be made or read.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from churnops.journal import open_database
    >>> engine = open_database("sqlite:///:memory:")
    >>> with TemporaryDirectory() as folder:
    ...     with turn(engine, "retraining", Path(folder)) as first, turn(engine, "retraining", Path(folder)) as second:
    ...         print(first, second)
    True False
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        free = held.enter_context(lock_folder(folder))
        if free and engine.dialect.name == "postgresql":
            with answering():
                connection = held.enter_context(_own_connection(engine))
                free = bool(connection.exec_driver_sql(_LOCK, (_number(name),)).scalar_one())
        if not free:
            held.close()
        yield free


@contextmanager
def _own_connection(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction, which its end releases. The pool does not lend it again."""
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql(_SETTINGS)
            yield connection
        finally:
            connection.invalidate()  # closes it without a rollback, which would fail if the connection was lost


def _number(name: str) -> int:
    """Return the number of a job's lock: a signed integer of 64 bits."""
    return int.from_bytes(sha256(f"churnops turn {name}".encode()).digest()[:8], signed=True)
