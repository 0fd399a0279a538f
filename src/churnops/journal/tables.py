"""Tables of the journal's database, and how it is opened."""

from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError, SQLAlchemyError

from churnops.errors import RegistryError

metadata = MetaData()

deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("event", String(16), nullable=False),  # intent, done or undone
    Column("intent", Integer, ForeignKey("deployments.id"), unique=True),  # the intent that a done or undone row closes
    Column("folder", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("previous", String(200)),
    Column("reason", String(2000), nullable=False),
)


def open_database(url: str) -> Engine:
    """Open the database and create the tables that are missing.

    SQLite runs in write-ahead-log mode; each commit is flushed to disk, since deployments are few.

    Raises
    ------
    RegistryError
        If the database cannot be opened; the message does not repeat the URL, which may hold a password.
    """
    try:
        engine = create_engine(url, pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _configure_sqlite)
        try:
            metadata.create_all(engine)
        except (OperationalError, ProgrammingError):
            metadata.create_all(engine)  # another process was creating them: now they are there
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise RegistryError(
            "journal.url is not a database URL that can be opened: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise RegistryError(f"the journal's database cannot be opened: {reason}") from None
    return engine


def _configure_sqlite(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
