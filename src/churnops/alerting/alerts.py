"""Alerts: each alarm is sent once, repeated while it lasts, and followed by its recovery.

Firing alarms are kept in the journal's database, so a restart forgets no alarm, and two processes do not both send the
same alarm. A failure to send never breaks the work that the alert is about.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from churnops.alerting.channels import Channel, deliver
from churnops.alerting.notices import SEVERITY_RANK, Alarm, Frame, Subject, due, message_of
from churnops.errors import JournalError
from churnops.journal.alerts import Alert, AlertLog, Notice, Try, incident
from churnops.settings import LIVE, AlertSettings, Settings

NEWS_AGE = timedelta(hours=24)
"""Largest age at which an alert is still sent to a channel that missed it."""

_LATE = "not sent: earlier messages used up the time limit"


@dataclass(frozen=True)
class Delivery:
    """Result of sending to a channel.

    Attributes
    ----------
    channel
        `console`; a scheme and a hash, such as `slack#dfd74c`; or `journal`, if it could not be read or written.
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
        Log of alerts and deliveries. Without a log (None), every alarm is sent every time.
    console : callable
        Receives each message and each failure to send.
    frame : Frame
        Parts of every message.
    now : callable
        Returns the time, with a zone.
    """

    def __init__(
        self,
        log: AlertLog | None,
        settings: AlertSettings,
        *,
        console: Callable[[str], object] | None = None,
        frame: Frame | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._settings = settings
        self._now = now
        self._console = console or _to_stderr
        self._frame = frame or Frame(link=settings.link)
        self._channels = {channel.label: channel for channel in map(Channel, settings.urls)}

    @classmethod
    def of(cls, settings: Settings, log: AlertLog | None) -> "Alerts":
        """Return the alerts of a project."""
        return cls(log, settings.alerts, frame=Frame.of(settings))

    def tell(
        self, firing: Sequence[Alarm], clear: Iterable[Subject], source: str = LIVE, *, raised: bool = False
    ) -> tuple[Delivery, ...]:
        """Send new alarms and recoveries, and repeat messages that missed a channel.

        Parameters
        ----------
        firing : sequence of Alarm
            Sent when new, when more severe than before or with a new reason, and again after `alerts.repeat_hours`.
        clear : iterable of str
            Subjects known to be fine: one that was firing gets one recovery. A subject in neither list keeps its state.
        source : str
            Source of the customers. Alarms of other sources are neither repeated nor ended.
        raised : bool
            Whether the caller raises the error that the alarm is about. The console then gets no message, because the
            error is printed.
        """
        worst = {alarm.subject: alarm for alarm in sorted(firing, key=lambda alarm: SEVERITY_RANK[alarm.severity])}
        begun = self._begun(tuple(worst))

        def notices(latest: Mapping[str, Alert]) -> list[Notice]:
            made = []
            for alarm in worst.values():
                name = incident(alarm.subject, source)
                since = begun.get(name, self._now())
                made.append(self._frame.notice(alarm, "firing", source, since, latest.get(name)))
            return made

        over = tuple(incident(subject, source) for subject in clear if subject not in worst)

        def decide(latest: Mapping[str, Alert]) -> list[Notice]:
            news = due(notices(latest), over, latest, self._now(), self._settings)
            return [self._frame.marked(notice) if notice.state == "recovered" else notice for notice in news]

        return self._tell(decide, notices({}), printed=not raised)

    def announce(self, alarm: Alarm) -> tuple[Delivery, ...]:
        """Send an event, such as a deployment, once; it has no recovery."""
        notice = self._frame.notice(alarm, "event", LIVE, self._now())
        return self._tell(lambda latest: [notice], [notice])

    def retry(self) -> tuple[Delivery, ...]:
        """Send again the alerts of the last 24 hours that missed a channel; `tell` and `announce` do so too."""
        return self._tell(lambda latest: [], [])

    def send_test(self) -> tuple[Delivery, ...]:
        """Send a test message to every channel; it is not recorded."""
        alert = Alert(None, self._now(), self._frame.test())
        return tuple(self._send([(alert, label) for label in self._channels]))

    def _begun(self, subjects: Sequence[Subject]) -> dict[str, datetime]:
        """Return the time at which each incident began to fire."""
        try:
            firing = self._log.firing(subjects) if self._log and subjects else []
        except JournalError:  # reported when the alerts are recorded
            return {}
        return {one.alert.notice.incident: one.since for one in firing}

    def _tell(
        self,
        decide: Callable[[Mapping[str, Alert]], list[Notice]],
        otherwise: Sequence[Notice],
        *,
        printed: bool = True,
    ) -> tuple[Delivery, ...]:
        """Send the notices that `decide` returns; without a database, send `otherwise`."""
        now, deliveries = self._now(), []
        limit = timedelta(seconds=self._settings.attempts * self._settings.timeout_seconds)
        try:
            if self._log is None:
                raise JournalError("there is no journal that holds earlier alerts")
            news, handed_out = self._log.take(
                decide, self._channels, now=now, since=now - NEWS_AGE, lease=limit + timedelta(minutes=1)
            )
        except JournalError as error:  # alerts are sent without the journal, too
            news = [Alert(None, now, notice) for notice in otherwise]
            handed_out = [(alert, label) for alert in news for label in self._channels]
            deliveries.append(Delivery("journal", "", False, 1, str(error)))
        deliveries += [self._print(alert.notice) for alert in news if printed]
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
        messages = {self._channels[label]: [message_of(a, now) for a in alerts] for label, alerts in queues.items()}
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
            except JournalError as error:  # the alert will be sent again
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


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
