"""What monitoring did: looks at fresh evidence, which its error budget is spent by, and how every cycle ended."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine, func, insert, select

from churnops.journal.database import answering, exclusive
from churnops.journal.tables import cycles, looks, microseconds, moment

Status = Literal["finished", "failed"]


@dataclass(frozen=True)
class Cycle:
    """One monitoring cycle.

    Attributes
    ----------
    content_sha256
        Of the model it watched; None if it failed before there was one.
    aside
        Whether the batch was made up or of the past, so that nothing follows from it.
    report
        Name of the report's file; None if it failed.
    summary
        The findings as gauges and tables show them, or `{"error": ...}`.
    """

    at: datetime
    content_sha256: str | None
    aside: bool
    status: Status
    report: str | None
    summary: Mapping[str, Any]


class CycleLog:
    """Append-only log of cycles and looks. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self, content_sha256: str, batch_sha256: str) -> int:
        """Return the number of this look at a model, 1 for the first; the same evidence is the same look again.

        A cycle that is repeated, run twice at once, or killed and run again so spends nothing more.
        """
        mine = looks.c.content_sha256 == content_sha256
        with answering(), exclusive(self._engine) as connection:
            same = select(looks.c.look).where(mine, looks.c.batch_sha256 == batch_sha256)
            found = connection.execute(same).scalar()
            if found is None:
                found = (connection.execute(select(func.max(looks.c.look)).where(mine)).scalar() or 0) + 1
                row = {
                    "at": microseconds(datetime.now(UTC)), "content_sha256": content_sha256, "look": found,
                    "batch_sha256": batch_sha256,
                }  # fmt: skip
                connection.execute(insert(looks), row)
            return int(found)

    def established(self, content_sha256: str) -> frozenset[str]:
        """Return the triggers that had fired by the end of this model's newest finished cycle."""
        query = (
            select(cycles.c.summary)
            .where(cycles.c.content_sha256 == content_sha256, cycles.c.status == "finished", ~cycles.c.aside)
            .order_by(cycles.c.at.desc(), cycles.c.id.desc())
            .limit(1)
        )
        with answering(), self._engine.connect() as connection:
            summary = connection.execute(query).scalar()
        triggers = json.loads(summary)["recommend_retraining"]["triggers"] if summary else {}
        return frozenset(name for name, fired in triggers.items() if fired)

    def record(self, cycle: Cycle) -> None:
        """Add a cycle."""
        row = vars(cycle) | {"at": microseconds(cycle.at), "summary": json.dumps(cycle.summary, allow_nan=False)}
        with answering(), self._engine.begin() as connection:
            connection.execute(insert(cycles), row)

    def newest(self, most: int = 1, *, status: Status | None = None, aside: bool | None = False) -> list[Cycle]:
        """Return the last `most` cycles, newest first; `status` and `aside` choose, None takes all."""
        query = select(cycles).order_by(cycles.c.at.desc(), cycles.c.id.desc()).limit(most)
        if status is not None:
            query = query.where(cycles.c.status == status)
        if aside is not None:
            query = query.where(cycles.c.aside == aside)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Cycle(moment(r.at), r.content_sha256, r.aside, r.status, r.report, json.loads(r.summary)) for r in rows]
