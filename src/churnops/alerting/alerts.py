"""Alerts: each alarm is sent once, repeated while it lasts, and followed by its recovery.

Firing alarms are kept in the journal's database, so that restarts forget nothing and two processes do not both send
one. A failure to send never breaks the work that the alert is about.
"""

import re
import socket
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from churnops.alerting.channels import Channel, Kind, Message, deliver
from churnops.errors import JournalError
from churnops.journal.alerts import Alert, AlertLog, Notice, Try, incident
from churnops.journal.clock import TOLERANCE
from churnops.settings import LIVE, AlertSettings, Settings
from churnops.words import capital

Severity = Literal["critical", "warning", "info"]
Subject = Literal[
    "performance",
    "feature_drift",
    "prediction_drift",
    "target_drift",
    "cycle_failed",
    "retraining_failed",
    "deployed",
    "rolled_back",
]

NEWS_AGE = timedelta(hours=24)
"""Age up to which an alert is still sent to a channel that missed it."""

_NAMES: Mapping[str, str] = {  # the names of other subjects are their own words
    "cycle_failed": "failed monitoring cycle",
    "retraining_failed": "failed retraining",
}
_RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
_KINDS: Mapping[str, Kind] = {"critical": "critical", "warning": "warning", "info": "info"}
_HIDDEN = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # Unicode's control characters and characters without a form
_MINUTE = timedelta(minutes=1)
_TITLE, _FACT, _PLACE, _LINK, _FACTS = 120, 155, 100, 300, 3  # together below the 1024 characters PagerDuty takes
_LATE = "not tried: the earlier messages took all the time"


@dataclass(frozen=True)
class Alarm:
    """An alarm to send.

    Parameters
    ----------
    facts : tuple of str
        Sentences, the most important first. Three are sent.
    link : str
        Address or path to look at; empty for the settings' `alerts.link`.
    """

    subject: Subject
    severity: Severity
    title: str
    facts: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class Delivery:
    """Result of sending to a channel.

    Attributes
    ----------
    channel
        `console`, a scheme and a hash such as `slack#dfd74c`, or `journal`, if the firing alarms could not be read.
    subject
        Name of the incident: the alarm's subject, and its source unless that is live traffic. Empty for a fault of the
        channel or the journal itself.
    error
        Reason for a failure, without secrets.
    """

    channel: str
    subject: str
    delivered: bool
    attempts: int
    error: str | None = None


class Alerts:
    """Sends alarms to the console and to every channel of the settings.

    No method raises because of a channel, the console or the database, and each returns within
    `alerts.attempts` times `alerts.timeout_seconds`, plus the time of the database.

    Parameters
    ----------
    log : AlertLog or None
        Firing alarms and deliveries. Without a log (None), every alarm is sent every time.
    console : callable
        Receives each message and each failure to send.
    banner : str
        Sentence at the top of every message.
    place : str
        Project and host, named in every message.
    now : callable
        The time, with a zone.
    """

    def __init__(
        self,
        log: AlertLog | None,
        settings: AlertSettings,
        *,
        console: Callable[[str], object] | None = None,
        banner: str = "",
        place: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._settings = settings
        self._now = now
        self._console = console or _to_stderr
        self._banner = banner
        self._place = place
        self._channels = {channel.label: channel for channel in map(Channel, settings.urls)}

    @classmethod
    def of(cls, settings: Settings, log: AlertLog | None) -> "Alerts":
        """Return the alerts of a project."""
        place = f"Project {settings.root.name} on {socket.gethostname()}"
        return cls(log, settings.alerts, banner=settings.banner, place=place)

    def tell(self, firing: Sequence[Alarm], clear: Iterable[Subject], source: str = LIVE) -> tuple[Delivery, ...]:
        """Send new alarms and recoveries, and again those that missed a channel.

        Parameters
        ----------
        firing : sequence of Alarm
            Sent when new, when more severe than before, and again after `alerts.repeat_hours`.
        clear : iterable of str
            Subjects known to be fine: if they fired, a recovery is sent, once. A subject in neither keeps its state.
        source : str
            Source of the customers. Alarms of other sources are neither repeated nor ended.
        """
        worst = {alarm.subject: alarm for alarm in sorted(firing, key=lambda alarm: _RANK[alarm.severity])}
        begun = self._begun(tuple(worst))
        notices = [
            self._notice(alarm, "firing", source, begun.get(incident(alarm.subject, source)))
            for alarm in worst.values()
        ]
        over = tuple(incident(subject, source) for subject in clear if subject not in worst)

        def decide(latest: Mapping[str, Alert]) -> list[Notice]:
            news = due(notices, over, latest, self._now(), self._settings)
            return [self._marked(notice) if notice.state == "recovered" else notice for notice in news]

        return self._tell(decide, notices)

    def announce(self, alarm: Alarm) -> tuple[Delivery, ...]:
        """Send an event, such as a deployment, once; it has no recovery."""
        notice = self._notice(alarm, "event", LIVE)
        return self._tell(lambda latest: [notice], [notice])

    def retry(self) -> tuple[Delivery, ...]:
        """Send again the alerts of the last 24 hours that missed a channel; `tell` and `announce` do so too."""
        return self._tell(lambda latest: [], [])

    def send_test(self) -> tuple[Delivery, ...]:
        """Send a test message to every channel; it is not recorded."""
        title = "[info] churnops: This is a test"
        body = _lines(
            "Alerts of churnops reach this channel.", plain(self._place, _PLACE), _address(self._settings.link)
        )
        alert = Alert(None, self._now(), Notice("test", "event", "info", title, body, LIVE))
        return tuple(self._send([(alert, label) for label in self._channels]))

    def _begun(self, subjects: Sequence[Subject]) -> dict[str, datetime]:
        """Return the time since when each incident has been firing."""
        try:
            firing = self._log.firing(subjects) if self._log and subjects else []
        except JournalError:  # reported when the alerts are recorded
            return {}
        return {one.alert.notice.incident: one.since for one in firing}

    def _notice(
        self, alarm: Alarm, state: Literal["firing", "event"], source: str, since: datetime | None = None
    ) -> Notice:
        title = plain(f"[{alarm.severity}] churnops: {_whose(source)}{alarm.title}", _TITLE)
        length = _FACT - len(self._banner) // _FACTS  # a message is as long with the banner as without
        facts = [plain(fact, length) for fact in alarm.facts[:_FACTS]]
        when = f"{'since' if state == 'firing' else 'at'} {_minute(since or self._now())}"
        place = plain(self._place, _PLACE - len(when) - 2)
        body = _lines(
            *facts, f"{place}, {when}." if place else capital(f"{when}."), _address(alarm.link or self._settings.link)
        )
        return self._marked(Notice(alarm.subject, state, alarm.severity, title, body, source))

    def _marked(self, notice: Notice) -> Notice:
        return replace(notice, body=_lines(self._banner, notice.body))

    def _tell(
        self, decide: Callable[[Mapping[str, Alert]], list[Notice]], otherwise: Sequence[Notice]
    ) -> tuple[Delivery, ...]:
        """Send the notices that are decided on; without a database, all of them."""
        now, deliveries = self._now(), []
        limit = timedelta(seconds=self._settings.attempts * self._settings.timeout_seconds)
        try:
            if self._log is None:
                raise JournalError("there is no journal that holds earlier alerts")
            news, handed_out = self._log.take(
                decide, self._channels, now=now, since=now - NEWS_AGE, lease=limit + _MINUTE
            )
        except JournalError as error:  # no reason for silence
            news = [Alert(None, now, notice) for notice in otherwise]
            handed_out = [(alert, label) for alert in news for label in self._channels]
            deliveries.append(Delivery("journal", "", False, 1, str(error)))
        deliveries += [self._print(alert.notice) for alert in news]
        deliveries += self._send(handed_out)
        broken = {label for label, channel in self._channels.items() if channel.problem is not None}
        for label in sorted(broken - {delivery.channel for delivery in deliveries}):
            deliveries.append(Delivery(label, "", False, 0, self._channels[label].problem))
        for delivery in deliveries:
            if not delivery.delivered and delivery.channel != "console":
                missed = f" did not get {delivery.subject}" if delivery.subject else ""
                self._write(f"alerts: {delivery.channel}{missed}: {delivery.error}")
        return tuple(deliveries)

    def _send(self, handed_out: Sequence[tuple[Alert, str]]) -> list[Delivery]:
        queues: dict[str, list[Alert]] = {}
        for alert, label in handed_out:
            queues.setdefault(label, []).append(alert)
        now = self._now()
        messages = {self._channels[label]: [_message(a, now) for a in alerts] for label, alerts in queues.items()}
        outcomes = deliver(messages, self._settings.attempts, self._settings.timeout_seconds)
        deliveries, tries = [], []
        for label, alerts in queues.items():
            for alert, errors in zip(alerts, outcomes[self._channels[label]], strict=True):
                last = errors[-1] if errors else _LATE
                deliveries.append(Delivery(label, alert.notice.incident, last is None, len(errors), last))
                if alert.id is not None:
                    tries += [Try(alert.id, label, error) for error in errors or [last]]
        if self._log is not None and tries:
            try:
                self._log.finish(tries, self._now())
            except JournalError as error:  # it will be sent again
                deliveries.append(Delivery("journal", "", False, 1, str(error)))
        return deliveries

    def _print(self, notice: Notice) -> Delivery:
        error = self._write("\n  ".join([notice.title, *notice.body.splitlines()]))
        return Delivery("console", notice.incident, error is None, 1, error)

    def _write(self, text: str) -> str | None:
        try:
            self._console(text)
        except (OSError, ValueError) as error:  # closed, or not able to write a character
            return type(error).__name__
        return None


def due(
    firing: Iterable[Notice],
    clear: Iterable[str],
    latest: Mapping[str, Alert],
    now: datetime,
    settings: AlertSettings,
) -> list[Notice]:
    """Return the notices to send, given the latest alert of each incident.

    Parameters
    ----------
    clear
        Names of incidents that are over.

    Examples
    --------
    >>> settings = AlertSettings(repeat_hours=24)
    >>> start, day = datetime(2026, 5, 1, 12, tzinfo=UTC), timedelta(days=1)
    >>> drift = Notice("feature_drift", "firing", "warning", "[warning] churnops: 4 of 12 columns drifted", "")
    >>> sent = {"feature_drift": Alert(1, start, drift)}
    >>> [len(due([drift], [], *seen, settings)) for seen in (({}, start), (sent, start), (sent, start + day))]
    [1, 0, 1]
    >>> over = due([], ["feature_drift", "performance"], sent, start + day, settings)
    >>> [(notice.title, notice.body) for notice in over]
    [('[recovered] churnops: feature drift', 'Over. Sent on 2026-05-01 12:00 UTC: 4 of 12 columns drifted')]
    """
    news, repeat = [], timedelta(hours=settings.repeat_hours)
    for notice in firing:
        last = latest.get(notice.incident)
        if last is not None and last.notice.state == "firing":
            worse = _RANK[notice.severity] > _RANK[last.notice.severity]
            age = now - last.at  # a negative age means that a clock was wrong: the alarm is sent again
            if not (worse or (repeat and not -TOLERANCE <= age < repeat)):
                continue
        news.append(notice)
    for name in clear:
        last = latest.get(name)
        if last is not None and last.notice.state == "firing":
            news.append(_recovery(last, settings.link))
    return news


def plain(text: str, limit: int) -> str:
    r"""Return a text from outside as one harmless line of at most `limit` characters, cut between words.

    Hidden characters are removed. Marks that chat services read as mentions, links or markup are rewritten; `<` and `>`
    with spaces around them stay comparisons.

    Examples
    --------
    >>> plain("p <  0.05 in '<!channel>'\n\x1b[31m", 40)
    "p < 0.05 in '‹!channel›' [31m"
    >>> plain("a" * 50, 10), plain("ROC-AUC is 0.7132 now", 15)
    ('aaaaaaaaa…', 'ROC-AUC is…')
    >>> plain("@here", 10) == "@\u200bhere"
    True
    """
    shown = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)
    line = re.sub(r"( [<>]=? )|<", lambda match: match[1] or "‹", " ".join(shown.split()))
    line = re.sub(r"( [<>]=? )|>", lambda match: match[1] or "›", line)
    line = line.replace("@", "@\u200b").replace("://", ":\u200b//")
    if len(line) <= limit:
        return line
    return (line[:limit].rpartition(" ")[0].rstrip(",;:. ") or line[: limit - 1]) + "…"


def _whose(source: str) -> str:
    """Return the part of a title that names the source."""
    return "" if source == LIVE else f"source {source}: "


def _recovery(last: Alert, link: str) -> Notice:
    subject, source = last.notice.subject, last.notice.source
    title = f"[recovered] churnops: {_whose(source)}{_NAMES.get(subject, subject.replace('_', ' '))}"
    alarm = last.notice.title.partition("churnops: ")[2].removeprefix(_whose(source))
    body = _lines(f"Over. Sent on {_minute(last.at)}: {alarm}", _address(link))
    return Notice(subject, "recovered", "info", title, body, source)


def _message(alert: Alert, now: datetime) -> Message:
    notice = alert.notice
    # Good news is green, and opens no incident where incidents are kept.
    good = notice.state == "recovered" or (notice.state == "event" and notice.severity == "info")
    kind = "good" if good else _KINDS[notice.severity]
    late = f"Late: this is of {_minute(alert.at)}." if now - alert.at > _MINUTE else ""
    # Apprise sends no message without a body.
    return Message(notice.incident, kind, notice.title, _lines(late, notice.body) or notice.title)


def _address(link: str) -> str:
    """Return a whole address or path, or nothing: part of one leads nowhere."""
    return link if len(link) <= _LINK and link.isprintable() and not re.search("[<>]", link) else ""


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
