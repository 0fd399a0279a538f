"""The alert log: alerts, and the attempts to deliver them to each channel."""

import json
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
"""Error of an attempt while a process delivers the alert, or if that process was killed."""


@dataclass(frozen=True)
class Notice:
    """One message: an alarm that fires, its recovery, or an event, which has no recovery.

    `source` names the customers of the alarm (see `Cycle.source`). `reasons` are names of the reasons that were sent,
    such as broken columns, since the alarm began or was last repeated.
    """

    subject: str
    state: State
    severity: str
    title: str
    body: str
    source: str = LIVE
    reasons: tuple[str, ...] = ()

    @property
    def incident(self) -> str:
        """Name of the alarm: its subject, followed by its source unless that is live traffic."""
        return incident(self.subject, self.source)


@dataclass(frozen=True)
class Alert:
    """A notice in the log. `id` is None if there was no log to write to."""

    id: int | None
    at: datetime
    notice: Notice


@dataclass(frozen=True)
class Try:
    """One attempt to deliver an alert. `channel` holds no secret; `error` is None if the alert arrived."""

    alert: int
    channel: str
    error: str | None


@dataclass(frozen=True)
class LoggedAlert:
    """An alert of the log with each channel's last attempt. An attempt with error `UNDER_WAY` may still succeed."""

    alert: Alert
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class Firing:
    """An alarm that has not recovered: its latest alert, and the time of its first alert since the last recovery."""

    alert: Alert
    since: datetime


Decide = Callable[[Mapping[str, Alert]], Iterable[Notice]]


def incident(subject: str, source: str) -> str:
    """Return the name that an alarm shares with its repetitions and its recovery.

    >>> incident("feature_drift", "live"), incident("feature_drift", "weekly")
    ('feature_drift', 'feature_drift@weekly')
    """
    return subject if source == LIVE else f"{subject}@{source}"


class AlertLog:
    """Append-only log of alerts and delivery attempts. Safe for several processes and threads.

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
        """Record new alerts, and hand the caller the deliveries that are due.

        Parameters
        ----------
        decide : callable
            Maps the latest alert of each incident (events excluded) to the new notices. It runs in an exclusive
            transaction, so two processes never record the same notice.
        channels : collection of str
            Names of the configured channels.
        since : datetime
            Alerts before this time are no longer delivered.
        lease : timedelta
            How long a process may hold a delivery. After that time the process is assumed dead, and the delivery is
            handed out again. So an alert arrives at least once.

        Returns
        -------
        news : list of Alert
            The new alerts, which are now recorded.
        deliveries : list of (Alert, str)
            Alerts and channels, oldest alert first: new deliveries, and those that failed before. Of each incident,
            only the latest alert is delivered.
        """
        at = microseconds(now)
        with answering(), exclusive(self._engine) as connection:
            news = [_record(connection, notice, now) for notice in decide(_latest(connection))]
            # An attempt dated ahead was made with a wrong clock, so its lease is not valid.
            leased = range(microseconds(now - lease) + 1, microseconds(now + TOLERANCE))
            due = [
                (_alert(row), row.channel)
                for row in connection.execute(_pending(since)).all()
                if row.channel in channels and (row.error != UNDER_WAY or row.tried_at not in leased)
            ] + [(alert, channel) for alert in news for channel in channels]
            if due:
                claims = [{"alert": a.id, "at": at, "channel": channel, "error": UNDER_WAY} for a, channel in due]
                connection.execute(insert(deliveries), claims)
        return news, due

    def finish(self, tries: Iterable[Try], now: datetime) -> None:
        """Record the results of deliveries that were handed out."""
        rows = [vars(one) | {"at": microseconds(now)} for one in tries]
        if rows:
            with answering(), self._engine.begin() as connection:
                connection.execute(insert(deliveries), rows)

    def undelivered(self, since: datetime) -> int:
        """Count the alerts made at `since` or later that have not reached every channel."""
        query = select(func.count(_pending(since).subquery().c.id.distinct()))
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def newest(self, limit: int = 100) -> list[LoggedAlert]:
        """Return the last `limit` alerts, newest first."""
        with answering(), self._engine.connect() as connection:
            # Every id is above 0. The condition makes SQLite walk the primary key.
            query = select(alerts).where(alerts.c.id > 0).order_by(alerts.c.id.desc()).limit(limit)
            rows = connection.execute(query).all()
            times = settle((row.at for row in rows), microseconds(datetime.now(UTC)))
            newest = [replace(_alert(row), at=moment(at)) for row, at in zip(rows, times, strict=True)]
            shown = deliveries.c.alert.in_([alert.id for alert in newest])
            last = select(func.max(deliveries.c.id)).where(shown).group_by(deliveries.c.alert, deliveries.c.channel)
            tries: dict[int, list[Try]] = {}
            for row in connection.execute(
                select(deliveries).where(deliveries.c.id.in_(last)).order_by(deliveries.c.id)
            ):
                tries.setdefault(row.alert, []).append(Try(row.alert, row.channel, row.error))
        return [LoggedAlert(alert, tuple(tries.get(alert.id or 0, ()))) for alert in newest]

    def firing(self, subjects: Collection[str]) -> list[Firing]:
        """Return the alarms that have not recovered, of these subjects and of all sources, oldest first."""
        firing = []
        with answering(), self._engine.connect() as connection:
            pairs = [
                (s, source) for s in subjects for source in distinct(connection, alerts.c.source, alerts.c.subject == s)
            ]
            for subject, source in pairs:
                same_incident = (alerts.c.subject == subject) & (alerts.c.source == source)
                logged = select(alerts).where(same_incident)
                newest = logged.where(alerts.c.state != "event").order_by(alerts.c.id.desc()).limit(1)
                latest = connection.execute(newest).first()
                if latest is None or latest.state != "firing":
                    continue
                recovery = select(func.max(alerts.c.id)).where(same_incident, alerts.c.state == "recovered")
                unresolved = alerts.c.id > func.coalesce(recovery.scalar_subquery(), 0)
                begun = logged.where(alerts.c.state == "firing", unresolved)
                first = connection.execute(begun.order_by(alerts.c.id).limit(1)).one()
                alert, now = _alert(latest), datetime.now(UTC)
                firing.append(Firing(replace(alert, at=min(alert.at, now)), min(moment(first.at), now)))
        return sorted(firing, key=lambda alarm: alarm.since)


def _record(connection: Connection, notice: Notice, now: datetime) -> Alert:
    row = vars(notice) | {"at": microseconds(now), "reasons": json.dumps(notice.reasons) if notice.reasons else None}
    added = connection.execute(insert(alerts), row)
    assert added.inserted_primary_key is not None
    return Alert(int(added.inserted_primary_key[0]), now, notice)


def _newest() -> Select[tuple[int]]:
    """Return the query for each incident's latest alert id."""
    return select(func.max(alerts.c.id)).where(alerts.c.state != "event").group_by(alerts.c.subject, alerts.c.source)


def _latest(connection: Connection) -> dict[str, Alert]:
    rows = connection.execute(select(alerts).where(alerts.c.id.in_(_newest()))).all()
    return {incident(row.subject, row.source): _alert(row) for row in rows}


def _pending(since: datetime) -> Select[tuple[object, ...]]:
    """Return the query for deliveries to repeat: events and latest alerts whose last attempt has not succeeded."""
    last = select(func.max(deliveries.c.id)).group_by(deliveries.c.alert, deliveries.c.channel)
    tries = deliveries.alias()  # if an alert is dated ahead, its attempts show when it was made
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
    reasons = tuple(json.loads(row.reasons)) if row.reasons else ()
    notice = Notice(row.subject, row.state, row.severity, row.title, row.body, row.source, reasons)
    return Alert(row.id, moment(row.at), notice)
