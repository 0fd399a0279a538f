"""Rolling profiles: column counts of each worker of the service, shared through the database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Engine, delete, select, text

from churnops.journal.database import answering
from churnops.journal.tables import microseconds, moment, profiles

_WRITE = text(
    "INSERT INTO profiles (content_sha256, part, worker, updated_at, data)"
    " VALUES (:content_sha256, :part, :worker, :updated_at, :data)"
    " ON CONFLICT (content_sha256, part, worker) DO UPDATE SET updated_at = excluded.updated_at, data = excluded.data"
)
LAST = datetime.max.replace(tzinfo=UTC)


class ProfilePart(NamedTuple):
    """One worker's counts in one part of the window.

    `content_sha256` identifies the model, `part` is the start of this part of the window, `data` a packed profile
    (see `churnops.data.packing`): the number of customers by value of each column. `data` holds no
    customer's record, so it is written even if predictions are not recorded.
    """

    content_sha256: str
    part: datetime
    worker: str
    data: bytes


class ProfileStore:
    """Keeps parts of profiles. Safe for several processes and threads, if each worker writes only its own rows.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, parts: Sequence[ProfilePart], at: datetime, oldest: datetime, newest: datetime = LAST) -> None:
        """Write parts, replacing their earlier versions.

        Deletes parts that begin before `oldest`, or after `newest` (written while a clock was ahead).

        All is one transaction, so a repeated or killed write counts no customer twice.
        """
        rows = [row._asdict() | {"part": microseconds(row.part), "updated_at": microseconds(at)} for row in parts]
        with answering(), self._engine.begin() as connection:
            connection.execute(delete(profiles).where(profiles.c.part < microseconds(oldest)))
            connection.execute(delete(profiles).where(profiles.c.part > microseconds(newest)))
            if rows:
                connection.execute(_WRITE, rows)

    def written(
        self, content_sha256: str, since: datetime, until: datetime = LAST
    ) -> dict[datetime, dict[str, datetime]]:
        """Return, for each part that starts from `since` to `until`, the time of each worker's last write."""
        table = profiles.c
        query = select(table.part, table.worker, table.updated_at).where(
            table.content_sha256 == content_sha256,
            table.part >= microseconds(since),
            table.part <= microseconds(until),
        )
        times: dict[datetime, dict[str, datetime]] = {}
        with answering(), self._engine.connect() as connection:
            for part, worker, updated_at in connection.execute(query):
                times.setdefault(moment(part), {})[worker] = moment(updated_at)
        return times

    def read(self, content_sha256: str, part: datetime) -> list[bytes]:
        """Return the workers' packed profiles of a part."""
        table = profiles.c
        query = select(table.data).where(table.content_sha256 == content_sha256, table.part == microseconds(part))
        with answering(), self._engine.connect() as connection:
            return list(connection.execute(query.order_by(table.worker)).scalars())
