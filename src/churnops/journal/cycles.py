"""The log of monitoring cycles and of looks.

A look is an analysis of fresh evidence; it spends some of the error budget. Each cycle has a source: `live` for
customers of the API, another name for files. Looks are counted for each model and source.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, Row, Select, Text, case, cast, func, insert, select
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
        Content hash of the monitored model; None if the cycle failed before it loaded a model.
    report_only
        Whether the cycle causes no alert, look or retraining: the batch was a past window, a file without a source, or
        simulated in a project that is not a demonstration.
    report
        File name of the report; None if the cycle failed.
    summary
        The findings as gauges and tables show them, or `{"error": ...}`.
    source
        Source of the batch's customers.
    """

    at: datetime
    content_sha256: str | None
    report_only: bool
    status: Status
    report: str | None
    summary: Mapping[str, Any]
    source: str = LIVE


@dataclass(frozen=True)
class CycleSeries:
    """Cycles of a period, oldest first; their summaries lack the key `columns`.

    `every` is None if the series is complete. Otherwise the period is divided into stretches of this length. Of each
    stretch, the series holds the newest cycle for each combination of status, `report_only` and source.
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
        """Record a look, and return its number, counted from 1 for each model and source.

        Evidence that was looked at before keeps its number, so a repeated or killed cycle spends the error budget once.
        """
        earlier = (looks.c.content_sha256 == content_sha256) & (looks.c.source == source)
        with answering(), exclusive(self._engine) as connection:
            same = select(looks.c.look).where(earlier, looks.c.batch_sha256 == batch_sha256)
            look = connection.execute(same).scalar()
            if look is None:
                look = (connection.execute(select(func.max(looks.c.look)).where(earlier)).scalar() or 0) + 1
                row = {
                    "at": microseconds(datetime.now(UTC)),
                    "content_sha256": content_sha256,
                    "source": source,
                    "look": look,
                    "batch_sha256": batch_sha256,
                }
                connection.execute(insert(looks), row)
            return int(look)

    def examined(self, content_sha256: str, batch_sha256: str, source: str = LIVE) -> bool:
        """Return whether a finished cycle has examined this evidence on a model."""
        evidence = select(looks.c.look).where(
            looks.c.content_sha256 == content_sha256, looks.c.source == source, looks.c.batch_sha256 == batch_sha256
        )
        with answering(), self._engine.connect() as connection:
            look = connection.execute(evidence).scalar()
            summary = connection.execute(_newest_summary(content_sha256, source)).scalar()
        return look is not None and summary is not None and look <= (json.loads(summary)["look"] or 0)

    def established(self, content_sha256: str, source: str = LIVE) -> frozenset[str]:
        """Return the triggers that fired in the newest finished cycle of a model and a source (not report-only)."""
        with answering(), self._engine.connect() as connection:
            summary = connection.execute(_newest_summary(content_sha256, source)).scalar()
        triggers = json.loads(summary)["recommend_retraining"]["triggers"] if summary else {}
        return frozenset(name for name, fired in triggers.items() if fired)

    def record(self, cycle: Cycle) -> None:
        """Add a cycle."""
        row = vars(cycle) | {"at": microseconds(cycle.at), "summary": json.dumps(cycle.summary, allow_nan=False)}
        row["aside"] = row.pop("report_only")
        with answering(), self._engine.begin() as connection:
            connection.execute(insert(cycles), row)

    def newest(
        self,
        limit: int = 1,
        *,
        status: Status | None = None,
        report_only: bool | None = False,
        source: str | None = None,
        content_sha256: str | None = None,
    ) -> list[Cycle]:
        """Return the last `limit` cycles, newest first. The other parameters filter; None takes all."""
        # Every id is above 0. The condition makes SQLite walk the primary key.
        query = select(cycles).where(cycles.c.id > 0).order_by(cycles.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(cycles.c.status == status)
        if report_only is not None:
            query = query.where(cycles.c.aside == report_only)
        if source is not None:
            query = query.where(cycles.c.source == source)
        if content_sha256 is not None:
            query = query.where(cycles.c.content_sha256 == content_sha256)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [_cycle(row, at, row.summary) for row, at in _settled(rows, microseconds(datetime.now(UTC)))]

    def newest_with_customers(self, content_sha256: str) -> Cycle | None:
        """Return a model's newest finished cycle with customers, of any source; report-only cycles do not count."""
        if self._engine.dialect.name == "postgresql":
            rows = cast(cycles.c.summary, JSONB)["rows"].as_integer()
        else:
            rows = func.json_extract(cycles.c.summary, "$.rows")
        query = (
            select(cycles)
            .where(cycles.c.id > 0, cycles.c.content_sha256 == content_sha256)
            .where(cycles.c.status == "finished", ~cycles.c.aside, rows > 0)
            .order_by(cycles.c.id.desc())
            .limit(1)
        )
        with answering(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _cycle(row, row.at, row.summary)

    def sources(self) -> list[str]:
        """Return the sources of all cycles, sorted."""
        with answering(), self._engine.connect() as connection:
            return list(distinct(connection, cycles.c.source))

    def between(
        self,
        since: datetime,
        until: datetime,
        *,
        report_only: bool | None = False,
        source: str | None = None,
        limit: int = 500,
    ) -> CycleSeries:
        """Return the cycles from `since` (included) to `until` (excluded), for figures over time.

        Parameters
        ----------
        report_only
            Take only cycles with this value; None takes all.
        source
            Take this source's cycles, and report-only cycles of any source; None takes all.
        limit
            If there are more cycles than this, the period is divided into `limit` stretches (see `CycleSeries`).
        """
        now, end = microseconds(datetime.now(UTC)), microseconds(until)
        within: ColumnElement[bool] = cycles.c.at >= microseconds(since)
        if end < now:  # otherwise the period includes cycles dated ahead, which count as of now
            within &= cycles.c.at < end
        if source is not None:
            within &= (cycles.c.source == source) | cycles.c.aside
        at = case((cycles.c.at > now, now), else_=cycles.c.at)
        bounds = select(func.count(), func.min(at), func.max(at)).where(within)
        chosen = within if report_only is None else within & (cycles.c.aside == report_only)
        with answering(), self._engine.connect() as connection:
            count, first, last = connection.execute(bounds).one()
            width = (last - first) // limit + 1 if count > limit else None
            if width is not None:
                stretch = (at - first) // width
                newest = select(func.max(cycles.c.id)).where(chosen)
                chosen = cycles.c.id.in_(newest.group_by(stretch, cycles.c.status, cycles.c.aside, cycles.c.source))
            query = select(cycles, self._without_columns().label("small")).where(chosen)
            rows = connection.execute(query).all()
        rows = sorted(rows, key=attrgetter("id"), reverse=True)  # not by the database, which would scan the whole table
        by_time = sorted([(at, row.id, row) for row, at in _settled(rows, now)], key=itemgetter(0, 1))
        series = tuple(_cycle(row, at, row.small) for at, _, row in by_time)
        return CycleSeries(series, None if width is None else timedelta(microseconds=width))

    def _without_columns(self) -> ColumnElement[str]:
        """Return the SQL expression of the summary without its key `columns`."""
        if self._engine.dialect.name == "postgresql":
            return cast(cast(cycles.c.summary, JSONB) - "columns", Text)
        return func.json_remove(cycles.c.summary, "$.columns")


def _newest_summary(content_sha256: str, source: str) -> Select[tuple[str]]:
    """Select the summary of a model's newest finished cycle of a source."""
    return (
        select(cycles.c.summary)
        .where(cycles.c.content_sha256 == content_sha256, cycles.c.source == source)
        .where(cycles.c.status == "finished", ~cycles.c.aside)
        .order_by(cycles.c.id.desc())
        .limit(1)
    )


def _settled(newest_first: Sequence[Row[Any]], now: int) -> Iterator[tuple[Row[Any], int]]:
    """Yield rows with their corrected times."""
    return zip(newest_first, settle((row.at for row in newest_first), now), strict=True)


def _cycle(row: Row[Any], at: int, summary: str) -> Cycle:
    return Cycle(moment(at), row.content_sha256, row.aside, row.status, row.report, json.loads(summary), row.source)
