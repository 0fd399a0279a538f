"""Rolling profiles: what each worker of the service counted of its customers, where the workers meet."""

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
    """What one worker counted in one part of the window.

    `content_sha256` is the model's, `part` when this part of the window begins, `data` a packed profile
    (see `churnops.data.packing`): how many customers had which value of a column. It holds no customer, so it
    is written whether or not predictions are recorded.
    """

    content_sha256: str
    part: datetime
    worker: str
    data: bytes


class ProfileStore:
    """Keeps parts of profiles. Safe for several processes and threads, if each worker writes its own rows only.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, parts: Sequence[ProfilePart], at: datetime, oldest: datetime, newest: datetime = LAST) -> None:
        """Write parts, in place of what their workers wrote for them before.

        Parts that began before `oldest` are forgotten, and those after `newest`: of a clock that was ahead.

        One transaction, so a write that is repeated or killed counts nobody twice.
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
        """Return when each worker last wrote, by part and worker, for the parts that began from `since` to `until`."""
        table = profiles.c
        query = select(table.part, table.worker, table.updated_at).where(
            table.content_sha256 == content_sha256,
            table.part >= microseconds(since),
            table.part <= microseconds(until),
        )
        found: dict[datetime, dict[str, datetime]] = {}
        with answering(), self._engine.connect() as connection:
            for part, worker, updated_at in connection.execute(query):
                found.setdefault(moment(part), {})[worker] = moment(updated_at)
        return found

    def read(self, content_sha256: str, part: datetime) -> list[bytes]:
        """Return what the workers counted in a part."""
        table = profiles.c
        query = select(table.data).where(table.content_sha256 == content_sha256, table.part == microseconds(part))
        with answering(), self._engine.connect() as connection:
            return list(connection.execute(query.order_by(table.worker)).scalars())
