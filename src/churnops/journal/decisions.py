"""The log of decisions with reasons: whether to retrain, and whether a challenger replaces the deployed model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine, func, insert, select

from churnops.journal.database import answering
from churnops.journal.tables import decisions, microseconds, moment

Subject = Literal["retrain", "deploy"]


@dataclass(frozen=True)
class RecordedDecision:
    """One decision, including "no".

    Attributes
    ----------
    subject
        `retrain` (whether to retrain) or `deploy` (whether to replace the deployed model).
    verdict
        `yes` or `no` for `retrain`; `deploy`, `keep` or `cannot tell` for `deploy`.
    champion, challenger
        Content hashes of the deployed model and of the new one; None if there is none.
    details
        The numbers behind the decision, in JSON types.
    """

    at: datetime
    subject: Subject
    verdict: str
    reason: str
    champion: str | None = None
    challenger: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class DecisionLog:
    """Append-only log of decisions. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, decision: RecordedDecision) -> None:
        """Add a decision."""
        row = vars(decision) | {
            "at": microseconds(decision.at),
            "details": json.dumps(decision.details, allow_nan=False),
        }
        with answering(), self._engine.begin() as connection:
            connection.execute(insert(decisions), row)

    def newest(self, limit: int = 1, *, subject: Subject | None = None) -> list[RecordedDecision]:
        """Return the last `limit` decisions on `subject`, or on both subjects, newest first.

        A future time is replaced by the time of the next decision on either subject, or by the present (see `clock`).
        """
        now, later = microseconds(datetime.now(UTC)), decisions.alias()
        after = select(later.c.at).where(later.c.id > decisions.c.id, later.c.at <= now).order_by(later.c.id).limit(1)
        query = select(decisions, after.scalar_subquery().label("next")).order_by(decisions.c.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(decisions.c.subject == subject)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            RecordedDecision(
                moment(r.at if r.at <= now else now if r.next is None else r.next),
                r.subject,
                r.verdict,
                r.reason,
                r.champion,
                r.challenger,
                json.loads(r.details),
            )
            for r in rows
        ]

    def count(self, subject: Subject, champion: str, since: datetime) -> int:
        """Return the number of decisions on a subject that were made since a time about a champion's content hash."""
        table = decisions.c
        query = select(func.count()).where(
            table.subject == subject, table.champion == champion, table.at >= microseconds(since)
        )
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())
