"""The log of decision policies: every version, with the person and the reason. Rows are added, never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, func, insert, inspect, make_url, select

from churnops.errors import PolicyError
from churnops.journal.database import answering, create_journal_engine, exclusive
from churnops.journal.tables import microseconds, moment, policies


@dataclass(frozen=True)
class RecordedPolicy:
    """One version of the decision policy.

    Attributes
    ----------
    version
        1, 2, … without gaps.
    terms
        `DecisionPolicy.terms`, in JSON types.
    """

    version: int
    at: datetime
    by: str
    reason: str
    terms: Mapping[str, Any]


class PolicyLog:
    """Append-only log of decision policies; the newest version is in force. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, terms: Mapping[str, Any], by: str, reason: str, *, after: int | None = None) -> RecordedPolicy:
        """Record a policy as the newest version, and return it.

        Raises
        ------
        PolicyError
            If `after` is not the newest version any more, because another process set a policy meanwhile.
        """
        at = microseconds(datetime.now(UTC))
        text = json.dumps(terms, allow_nan=False, sort_keys=True)
        with answering(), exclusive(self._engine) as connection:
            version = (connection.execute(select(func.max(policies.c.version))).scalar() or 0) + 1
            if after not in (None, version - 1):
                raise PolicyError(f"decision policy {version - 1} was set meanwhile: look at it, and repeat the change")
            row = {"version": version, "at": at, "by": by, "reason": reason, "terms": text}
            connection.execute(insert(policies), row)
        return RecordedPolicy(version, moment(at), by, reason, json.loads(text))

    def newest(self, limit: int = 1) -> list[RecordedPolicy]:
        """Return the last `limit` versions, newest first."""
        query = select(policies).order_by(policies.c.version.desc()).limit(limit)
        with answering(), self._engine.connect() as connection:
            return [_recorded(row) for row in connection.execute(query)]

    def version(self, number: int) -> RecordedPolicy | None:
        """Return one version; None if it does not exist."""
        with answering(), self._engine.connect() as connection:
            row = connection.execute(select(policies).where(policies.c.version == number)).first()
        return None if row is None else _recorded(row)


def newest_at(url: str) -> RecordedPolicy | None:
    """Return the newest version in the database at an address, which is not migrated; None if there is none.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering():
        engine = create_journal_engine(make_url(url), "process", moves_log=True)
        try:
            if not inspect(engine).has_table(policies.name):  # a journal of an older version
                return None
            newest = PolicyLog(engine).newest()
        finally:
            engine.dispose()
    return newest[0] if newest else None


def _recorded(row: Row[Any]) -> RecordedPolicy:
    return RecordedPolicy(row.version, moment(row.at), row.by, row.reason, json.loads(row.terms))
