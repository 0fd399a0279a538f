"""What was told, which channels have still to hear of it, and who is telling them just now."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine, Row, Select, exists, func, insert, or_, select

from churnops.journal.clock import TOLERANCE, settle
from churnops.journal.database import answering, exclusive
from churnops.journal.distinct import distinct
from churnops.journal.tables import alerts, deliveries, microseconds, moment
from churnops.settings import LIVE

State = Literal["firing", "recovered", "event"]

UNDER_WAY = "under way"
"""In place of an error: somebody is telling this channel, or was killed while doing so."""


@dataclass(frozen=True)
class Notice:
    """One message: an alarm that fires, its end, or an event, which has no end.

    `source` names the customers that it is about.
    """

    subject: str
    state: State
    severity: str
    title: str
    body: str
    source: str = LIVE

    @property
    def incident(self) -> str:
        """Name of the alarm: its subject, and its source unless that is live traffic."""
        return incident(self.subject, self.source)


@dataclass(frozen=True)
class Alert:
    """A notice in the log. `id` is None where there was no log to write it to."""

    id: int | None
    at: datetime
    notice: Notice


@dataclass(frozen=True)
class Try:
    """One try to tell an alert to a channel, whose name holds no secret; `error` is None if it arrived."""

    alert: int
    channel: str
    error: str | None


@dataclass(frozen=True)
class ToldAlert:
    """An alert of the log, and the last try of each channel; `UNDER_WAY` is an error that may still end well."""

    alert: Alert
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class Firing:
    """An alarm that is not over: its latest alert, and since when it fires without a recovery between."""

    alert: Alert
    since: datetime


Decide = Callable[[Mapping[str, Alert]], Iterable[Notice]]


def incident(subject: str, source: str) -> str:
    """Return the name that an alarm, its repetitions and its recovery have in common.

    >>> incident("feature_drift", "live"), incident("feature_drift", "weekly")
    ('feature_drift', 'feature_drift@weekly')
    """
    return subject if source == LIVE else f"{subject}@{source}"


class AlertLog:
    """Append-only log of alerts and of the tries to deliver them. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(
        self, decide: Decide, channels: Collection[str], *, now: datetime, since: datetime, lease: timedelta
    ) -> tuple[list[Alert], list[tuple[Alert, str]]]:
        """Record what is news, and hand out what the caller, and nobody else, is to deliver.

        Parameters
        ----------
        decide : callable
            From the latest alert of each incident, events apart, to what is news. It runs in a transaction that no
            other process's overlaps, so the same thing is news to one of them only.
        channels : collection of str
            Names of the channels there are.
        since : datetime
            What is older is not delivered any more.
        lease : timedelta
            Who has not said by then what became of a delivery is taken for dead, and it is handed out again: an alert
            arrives at least once.

        Returns
        -------
        news : list of Alert
            What was recorded.
        deliveries : list of (Alert, str)
            Alerts and channels, oldest alert first: the news, and what earlier tries did not bring to a channel. An
            alert that a later one of its incident overtook is not among them.
        """
        at = microseconds(now)
        with answering(), exclusive(self._engine) as connection:
            news = [_record(connection, notice, now) for notice in decide(_latest(connection))]
            # A try dated ahead is one of a clock that was wrong: nobody may be waiting for its end.
            alive = range(microseconds(now - lease) + 1, microseconds(now + TOLERANCE))
            mine = [
                (_alert(row), row.channel)
                for row in connection.execute(_pending(since)).all()
                if row.channel in channels and (row.error != UNDER_WAY or row.tried_at not in alive)
            ] + [(alert, channel) for alert in news for channel in channels]
            if mine:
                claims = [{"alert": a.id, "at": at, "channel": channel, "error": UNDER_WAY} for a, channel in mine]
                connection.execute(insert(deliveries), claims)
        return news, mine

    def finish(self, tries: Iterable[Try], now: datetime) -> None:
        """Record what became of deliveries that were handed out."""
        rows = [vars(one) | {"at": microseconds(now)} for one in tries]
        if rows:
            with answering(), self._engine.begin() as connection:
                connection.execute(insert(deliveries), rows)

    def undelivered(self, since: datetime) -> int:
        """Return how many alerts since then a channel has still to hear of."""
        query = select(func.count(_pending(since).subquery().c.id.distinct()))
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def newest(self, most: int = 100) -> list[ToldAlert]:
        """Return the last `most` alerts, newest first."""
        with answering(), self._engine.connect() as connection:
            # Every id is above 0: said so, SQLite goes along the key.
            query = select(alerts).where(alerts.c.id > 0).order_by(alerts.c.id.desc()).limit(most)
            rows = connection.execute(query).all()
            times = settle((row.at for row in rows), microseconds(datetime.now(UTC)))
            found = [replace(_alert(row), at=moment(at)) for row, at in zip(rows, times, strict=True)]
            of = deliveries.c.alert.in_([alert.id for alert in found])
            last = select(func.max(deliveries.c.id)).where(of).group_by(deliveries.c.alert, deliveries.c.channel)
            tries: dict[int, list[Try]] = {}
            for row in connection.execute(
                select(deliveries).where(deliveries.c.id.in_(last)).order_by(deliveries.c.id)
            ):
                tries.setdefault(row.alert, []).append(Try(row.alert, row.channel, row.error))
        return [ToldAlert(alert, tuple(tries.get(alert.id or 0, ()))) for alert in found]

    def firing(self, subjects: Collection[str]) -> list[Firing]:
        """Return which of some subjects' alarms are not over, of all sources, oldest first."""
        found = []
        with answering(), self._engine.connect() as connection:
            pairs = [
                (s, source) for s in subjects for source in distinct(connection, alerts.c.source, alerts.c.subject == s)
            ]
            for subject, source in pairs:
                of = (alerts.c.subject == subject) & (alerts.c.source == source)
                mine = select(alerts).where(of)
                newest = mine.where(alerts.c.state != "event").order_by(alerts.c.id.desc()).limit(1)
                latest = connection.execute(newest).first()
                if latest is None or latest.state != "firing":
                    continue
                over = select(func.max(alerts.c.id)).where(of, alerts.c.state == "recovered")
                begun = mine.where(alerts.c.state == "firing", alerts.c.id > func.coalesce(over.scalar_subquery(), 0))
                first = connection.execute(begun.order_by(alerts.c.id).limit(1)).one()
                alert, now = _alert(latest), datetime.now(UTC)
                found.append(Firing(replace(alert, at=min(alert.at, now)), min(moment(first.at), now)))
        return sorted(found, key=lambda firing: firing.since)


def _record(connection: Connection, notice: Notice, now: datetime) -> Alert:
    added = connection.execute(insert(alerts), vars(notice) | {"at": microseconds(now)})
    assert added.inserted_primary_key is not None
    return Alert(int(added.inserted_primary_key[0]), now, notice)


def _newest() -> Select[tuple[int]]:
    """Return the query for the latest alert's id of each incident."""
    return select(func.max(alerts.c.id)).where(alerts.c.state != "event").group_by(alerts.c.subject, alerts.c.source)


def _latest(connection: Connection) -> dict[str, Alert]:
    rows = connection.execute(select(alerts).where(alerts.c.id.in_(_newest()))).all()
    return {incident(row.subject, row.source): _alert(row) for row in rows}


def _pending(since: datetime) -> Select[tuple[object, ...]]:
    """Return the query for alerts and channels whose last try did not end well, if there is still a point in it."""
    last = select(func.max(deliveries.c.id)).group_by(deliveries.c.alert, deliveries.c.channel)
    tries = deliveries.alias()  # of an alert dated ahead they tell how old it is
    return (
        select(alerts, deliveries.c.channel, deliveries.c.at.label("tried_at"), deliveries.c.error)
        .join(deliveries, deliveries.c.alert == alerts.c.id)
        .where(deliveries.c.id.in_(last), deliveries.c.error.is_not(None))
        .where(alerts.c.at >= microseconds(since))
        .where(~exists().where(tries.c.alert == alerts.c.id, tries.c.at < microseconds(since)))
        .where(or_(alerts.c.state == "event", alerts.c.id.in_(_newest())))
        .order_by(alerts.c.id, deliveries.c.id)
    )


def _alert(row: Row[tuple[object, ...]]) -> Alert:
    notice = Notice(row.subject, row.state, row.severity, row.title, row.body, row.source)
    return Alert(row.id, moment(row.at), notice)
