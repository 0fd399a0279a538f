"""Monitoring's record: looks at fresh evidence, which spend its error budget, and how every cycle ended.

Each cycle has a source: `live` is what the API answers, the others are files. Looks are counted for each.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, Row, Text, case, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from churnops.journal.clock import settle
from churnops.journal.database import answering, exclusive
from churnops.journal.distinct import distinct
from churnops.journal.tables import cycles, looks, microseconds, moment
from churnops.settings import LIVE

Status = Literal["finished", "failed"]


@dataclass(frozen=True)
class Cycle:
    """One monitoring cycle.

    Attributes
    ----------
    content_sha256
        Of the model it watched; None if it failed before there was one.
    aside
        Whether nothing follows from it: the batch was simulated, of the past, or a file to report on.
    report
        Name of the report's file; None if it failed.
    summary
        The findings as gauges and tables show them, or `{"error": ...}`.
    source
        Whose customers the batch held.
    """

    at: datetime
    content_sha256: str | None
    aside: bool
    status: Status
    report: str | None
    summary: Mapping[str, Any]
    source: str = LIVE


@dataclass(frozen=True)
class CycleSeries:
    """Cycles of a time, oldest first, their summaries without the columns.

    `every` is None where all are there; otherwise they were too many, and of each such stretch only the newest of a
    kind (by status, aside and source) is there.
    """

    cycles: tuple[Cycle, ...]
    every: timedelta | None


class CycleLog:
    """Append-only log of cycles and looks. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self, content_sha256: str, batch_sha256: str, source: str = LIVE) -> int:
        """Return the number of this look at a model with a source's customers, from 1; the same evidence is one look.

        A cycle that is repeated, run twice at once, or killed and run again so spends nothing more.
        """
        mine = (looks.c.content_sha256 == content_sha256) & (looks.c.source == source)
        with answering(), exclusive(self._engine) as connection:
            same = select(looks.c.look).where(mine, looks.c.batch_sha256 == batch_sha256)
            found = connection.execute(same).scalar()
            if found is None:
                found = (connection.execute(select(func.max(looks.c.look)).where(mine)).scalar() or 0) + 1
                row = {
                    "at": microseconds(datetime.now(UTC)),
                    "content_sha256": content_sha256,
                    "source": source,
                    "look": found,
                    "batch_sha256": batch_sha256,
                }
                connection.execute(insert(looks), row)
            return int(found)

    def established(self, content_sha256: str, source: str = LIVE) -> frozenset[str]:
        """Return the triggers that had fired by the end of this model's newest finished cycle of a source."""
        query = (
            select(cycles.c.summary)
            .where(cycles.c.content_sha256 == content_sha256, cycles.c.source == source)
            .where(cycles.c.status == "finished", ~cycles.c.aside)
            .order_by(cycles.c.id.desc())
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

    def newest(
        self, most: int = 1, *, status: Status | None = None, aside: bool | None = False, source: str | None = None
    ) -> list[Cycle]:
        """Return the last `most` cycles, newest first; `status`, `aside` and `source` choose, None takes all."""
        # Every id is above 0; with this condition SQLite goes along the key.
        query = select(cycles).where(cycles.c.id > 0).order_by(cycles.c.id.desc()).limit(most)
        if status is not None:
            query = query.where(cycles.c.status == status)
        if aside is not None:
            query = query.where(cycles.c.aside == aside)
        if source is not None:
            query = query.where(cycles.c.source == source)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [_cycle(row, at, row.summary) for row, at in _settled(rows, microseconds(datetime.now(UTC)))]

    def sources(self) -> list[str]:
        """Return the sources of all cycles, by name."""
        with answering(), self._engine.connect() as connection:
            return list(distinct(connection, cycles.c.source))

    def between(
        self,
        since: datetime,
        until: datetime,
        *,
        aside: bool | None = False,
        source: str | None = None,
        most: int = 500,
    ) -> CycleSeries:
        """Return the cycles from `since` (included) to `until` (excluded), as figures over time show them.

        Parameters
        ----------
        aside
            None takes all.
        source
            Of cycles that something followed from, take only those of this source; None takes all.
        most
            With more cycles than this, of all kinds, one of each of so many equal stretches of time is taken.
        """
        now, end = microseconds(datetime.now(UTC)), microseconds(until)
        within: ColumnElement[bool] = cycles.c.at >= microseconds(since)
        if end < now:  # otherwise cycles dated ahead, which count as of now, are within
            within &= cycles.c.at < end
        if source is not None:
            within &= (cycles.c.source == source) | cycles.c.aside
        at = case((cycles.c.at > now, now), else_=cycles.c.at)
        bounds = select(func.count(), func.min(at), func.max(at)).where(within)
        chosen = within if aside is None else within & (cycles.c.aside == aside)
        with answering(), self._engine.connect() as connection:
            count, first, last = connection.execute(bounds).one()
            width = (last - first) // most + 1 if count > most else None
            if width is not None:
                stretch = (at - first) // width
                newest = select(func.max(cycles.c.id)).where(chosen)
                chosen = cycles.c.id.in_(newest.group_by(stretch, cycles.c.status, cycles.c.aside, cycles.c.source))
            query = select(cycles, self._without_columns().label("small")).where(chosen)
            rows = connection.execute(query).all()
        rows = sorted(rows, key=attrgetter("id"), reverse=True)  # here: the database would go through all by id
        found = sorted([(at, row.id, row) for row, at in _settled(rows, now)], key=itemgetter(0, 1))
        series = tuple(_cycle(row, at, row.small) for at, _, row in found)
        return CycleSeries(series, None if width is None else timedelta(microseconds=width))

    def _without_columns(self) -> ColumnElement[str]:
        """Return the summary without its part that grows with the table: cut off before it is read."""
        if self._engine.dialect.name == "postgresql":
            return cast(cast(cycles.c.summary, JSONB) - "columns", Text)
        return func.json_remove(cycles.c.summary, "$.columns")


def _settled(newest_first: Sequence[Row[Any]], now: int) -> Iterator[tuple[Row[Any], int]]:
    """Yield rows with the times that they count as of."""
    return zip(newest_first, settle((row.at for row in newest_first), now), strict=True)


def _cycle(row: Row[Any], at: int, summary: str) -> Cycle:
    return Cycle(moment(at), row.content_sha256, row.aside, row.status, row.report, json.loads(summary), row.source)
