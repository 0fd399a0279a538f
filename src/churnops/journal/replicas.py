"""Replicas: processes of the service that share the journal, and the model that each of them answers with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, select, text

from churnops.journal.clock import database_time
from churnops.journal.database import answering
from churnops.journal.tables import microseconds, moment, replicas

REPORT_SECONDS = 5.0
"""Time between two reports of a process without news."""

KEPT = timedelta(days=1)
"""Time after which the row of a process that was killed is deleted."""

_TIMES = ("started_at", "loaded_at")


@dataclass(frozen=True)
class ReplicaProcess:
    """One process of the service, as it describes itself.

    Attributes
    ----------
    id
        Random name of the process.
    host, address, pid
        Name of the machine; address and port at which it listens, empty if unknown; process id. The workers of one
        `churnops serve` have the same host and address.
    churnops
        Version of churnops.
    folder, model_version, content_sha256, loaded_at
        The model that it answers with: name of its version folder, version in answers, content hash, time of loading.
        None if no model is loaded.
    followed
        Name of the version folder that `production` led to at its last look; None if it led nowhere.
    refused
        Reason why it does not answer with the newest deployment; None if it does.
    """

    id: str
    host: str
    address: str
    pid: int
    churnops: str
    started_at: datetime
    folder: str | None = None
    model_version: str | None = None
    content_sha256: str | None = None
    loaded_at: datetime | None = None
    followed: str | None = None
    refused: str | None = None


_COLUMNS = (*(field.name for field in fields(ReplicaProcess)), "seen_at")
_WRITE = text(
    f"INSERT INTO replicas ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)


class ReplicaStore:
    """The table of replicas. Safe for several processes and threads; each process writes only its own row.

    Times of reports are the database's, so the clocks of machines need not agree.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, process: ReplicaProcess) -> None:
        """Write or replace a process's row; delete rows that nobody has written for a day."""
        with answering(), self._engine.begin() as connection:
            now = database_time(connection)
            connection.execute(delete(replicas).where(replicas.c.seen_at < microseconds(now - KEPT)))
            times = {name: None if (at := getattr(process, name)) is None else microseconds(at) for name in _TIMES}
            connection.execute(_WRITE, asdict(process) | times | {"seen_at": microseconds(now)})

    def remove(self, process_id: str) -> None:
        """Remove the row of a process that stops."""
        with answering(), self._engine.begin() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == process_id))

    def read(self) -> list[tuple[ReplicaProcess, timedelta]]:
        """Return each process and the time since its last report, by host, address and start."""
        order = (replicas.c.host, replicas.c.address, replicas.c.started_at, replicas.c.id)
        with answering(), self._engine.connect() as connection:
            now = database_time(connection)
            rows = connection.execute(select(replicas).order_by(*order)).mappings().all()
        return [(_process(row), max(now - moment(row["seen_at"]), timedelta())) for row in rows]


def _process(row: Mapping[Any, Any]) -> ReplicaProcess:
    values = {name: row[name] for name in _COLUMNS[:-1]}
    times = {name: None if row[name] is None else moment(row[name]) for name in _TIMES}
    return ReplicaProcess(**values | times)
