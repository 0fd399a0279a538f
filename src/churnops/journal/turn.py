"""A job that only one process may do at a time, on whatever machine it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, Engine

from churnops.files import lock_folder
from churnops.journal.database import answering

# A machine that lost its power says no goodbye: the server asks after it, and lets go within a minute and a half. A
# server may end sessions that do nothing for long, as this one does on purpose.
_SESSION = (
    "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '60'),"
    " ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), ('idle_session_timeout', '0'))"
    " AS wanted (name, value)"
    " WHERE current_setting(name, true) IS NOT NULL"  # PostgreSQL 13 has no idle_session_timeout
)


@contextmanager
def turn(engine: Engine, name: str, folder: Path) -> Iterator[bool]:
    """Hold the turn for a job that only one process may do at a time, on all machines that share the database.

    Yields False, without waiting, if another process, or another thread of this one, has it.

    There are no leases and no clocks. On this machine the turn is a lock on `folder`; where the database is PostgreSQL
    it is also an advisory lock of a session of its own. The operating system and the server let go of both as soon as
    the holder ends, however it ends; a machine that lost its power or its network keeps the second for 90 seconds.
    Who is refused holds neither.

    If the session is lost during the job (the server was restarted, the network failed for long), other machines may
    begin the same job, and the holder is not told: it keeps them from wasted work, and is no fence. What must never
    happen twice, such as a deployment, needs a lock or a transaction of its own.

    Parameters
    ----------
    engine
        SQLite: processes on other machines are not kept out, as they cannot share its file safely anyway. PostgreSQL
        must be reached directly, or by a pooler that keeps sessions: PgBouncer's transaction mode does not.
    name
        Of the job. Jobs of different names in one database do not wait for each other, unless they share `folder`.
    folder
        For this lock only. It is made if need be, and stays.

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
    ...     with turn(engine, "retraining", Path(folder)) as mine, turn(engine, "retraining", Path(folder)) as too:
    ...         print(mine, too)
    True False
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        mine = held.enter_context(lock_folder(folder))
        if mine and engine.dialect.name == "postgresql":
            with answering():
                session = held.enter_context(closing(_session(engine)))  # and with it the lock ends
                mine = bool(session.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_number(name),)).scalar_one())
        if not mine:
            held.close()
        yield mine


def _session(engine: Engine) -> Connection:
    session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        session.detach()  # the pool may have another: this one must not be lent to anybody, or kept open
        session.exec_driver_sql(_SESSION)
    except BaseException:
        session.close()
        raise
    return session


def _number(name: str) -> int:
    """Return the lock's number, of the 2^64 that PostgreSQL has."""
    return int.from_bytes(sha256(f"churnops turn {name}".encode()).digest()[:8], signed=True)
