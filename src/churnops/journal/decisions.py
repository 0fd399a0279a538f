"""What was decided and why: whether to train again, and whether a challenger replaces the model in production."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine, insert, select

from churnops.journal.database import answering
from churnops.journal.tables import decisions, microseconds, moment

Subject = Literal["retrain", "deploy"]


@dataclass(frozen=True)
class RecordedDecision:
    """One decision, also "no".

    Attributes
    ----------
    subject
        Whether to train again (`retrain`), or to replace the model in production (`deploy`).
    verdict
        `yes` or `no` of a retraining; `deploy`, `keep` or `cannot tell` of a deployment.
    champion, challenger
        Content hashes of the model in production and of the new one; None where there is none.
    details
        JSON types: the numbers behind it.
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

    def newest(self, most: int = 1, *, subject: Subject | None = None) -> list[RecordedDecision]:
        """Return the last `most` decisions, newest first, on `subject` or on all.

        A decision dated after now counts as of the next one, on whatever subject, or of now (see `clock`).
        """
        now, later = microseconds(datetime.now(UTC)), decisions.alias()
        after = select(later.c.at).where(later.c.id > decisions.c.id, later.c.at <= now).order_by(later.c.id).limit(1)
        query = select(decisions, after.scalar_subquery().label("next")).order_by(decisions.c.id.desc()).limit(most)
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
