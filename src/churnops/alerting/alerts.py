"""Alerts: who is told what, once, until it is over; nothing that goes wrong with them breaks what they tell of.

What fires is kept in the journal's database, so that restarts forget nothing and two processes do not both tell it.
"""

import re
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

WORTH_TELLING = timedelta(hours=24)
"""What a channel has not heard of in this time, it is not told any more."""

_NAMES: Mapping[str, str] = {  # others are called what they are
    "cycle_failed": "failed monitoring cycle",
    "retraining_failed": "failed retraining",
}
_RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
_KINDS: Mapping[str, Kind] = {"critical": "critical", "warning": "warning", "info": "info"}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # of Unicode: control characters and what has no form
_MINUTE = timedelta(minutes=1)
_TITLE, _FACT, _LINK, _FACTS = 120, 170, 300, 3  # together less than the 1024 characters that PagerDuty takes


@dataclass(frozen=True)
class Alarm:
    """What is to be told.

    Parameters
    ----------
    facts : tuple of str
        In words, the most important first. Three are told.
    link : str
        Where to look; empty for the settings' `alerts.link`.
    """

    subject: Subject
    severity: Severity
    title: str
    facts: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class Delivery:
    """What became of telling a channel.

    Attributes
    ----------
    channel
        `console`, a scheme and a hash such as `slack#dfd74c`, or `journal`, if what fires could not be looked up.
    subject
        Name of the incident: the alarm's subject, and its source unless that is live traffic. Empty for what is wrong
        with a channel or the journal, whatever the message.
    error
        Why it is not delivered, without secrets.
    """

    channel: str
    subject: str
    delivered: bool
    attempts: int
    error: str | None = None


class Alerts:
    """Tells the console and every channel of the settings.

    No method raises because of a channel, the console or the database, and each returns within
    `alerts.attempts` times `alerts.timeout_seconds`, beside what the database takes.

    Parameters
    ----------
    log : AlertLog or None
        What fires and what was delivered. None: there is no database, so that everything is told every time.
    console : callable
        Is given what is told, and what could not be.
    banner : str
        Sentence at the top of every message.
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
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._settings = settings
        self._now = now
        self._console = console or _to_stderr
        self._banner = banner
        self._channels = {channel.label: channel for channel in map(Channel, settings.urls)}

    @classmethod
    def of(cls, settings: Settings, log: AlertLog | None) -> "Alerts":
        """Return the alerts of a project."""
        return cls(log, settings.alerts, banner=settings.banner)

    def tell(self, firing: Sequence[Alarm], clear: Iterable[Subject], source: str = LIVE) -> tuple[Delivery, ...]:
        """Tell what is news about alarms, and again what did not reach a channel before.

        Parameters
        ----------
        firing : sequence of Alarm
            Told when new, when more severe than told before, and again after `alerts.repeat_hours`.
        clear : iterable of str
            Subjects known to be fine: told as recovered, once, if they fired. One in neither keeps its state.
        source : str
            Whose customers both are about. Another source's alarms are neither repeated nor ended.
        """
        worst = {alarm.subject: alarm for alarm in sorted(firing, key=lambda alarm: _RANK[alarm.severity])}
        notices = [self._notice(alarm, "firing", source) for alarm in worst.values()]
        over = tuple(incident(subject, source) for subject in clear if subject not in worst)

        def decide(latest: Mapping[str, Alert]) -> list[Notice]:
            news = due(notices, over, latest, self._now(), self._settings)
            return [self._marked(notice) if notice.state == "recovered" else notice for notice in news]

        return self._tell(decide, notices)

    def announce(self, alarm: Alarm) -> tuple[Delivery, ...]:
        """Tell an event, such as a deployment, once; it has no recovery."""
        notice = self._notice(alarm, "event", LIVE)
        return self._tell(lambda latest: [notice], [notice])

    def retry(self) -> tuple[Delivery, ...]:
        """Tell again what did not reach a channel in the last 24 hours; `tell` and `announce` do so too."""
        return self._tell(lambda latest: [], [])

    def _notice(self, alarm: Alarm, state: Literal["firing", "event"], source: str) -> Notice:
        title = plain(f"[{alarm.severity}] churnops: {_whose(source)}{alarm.title}", _TITLE)
        length = _FACT - len(self._banner) // _FACTS  # a message is as long with the banner as without
        facts = [plain(fact, length) for fact in alarm.facts[:_FACTS]]
        body = _lines(*facts, _address(alarm.link or self._settings.link))
        return self._marked(Notice(alarm.subject, state, alarm.severity, title, body, source))

    def _marked(self, notice: Notice) -> Notice:
        return replace(notice, body=_lines(self._banner, notice.body))

    def _tell(
        self, decide: Callable[[Mapping[str, Alert]], list[Notice]], otherwise: Sequence[Notice]
    ) -> tuple[Delivery, ...]:
        """Tell what is decided on; without a database, everything there is."""
        now, said = self._now(), []
        limit = timedelta(seconds=self._settings.attempts * self._settings.timeout_seconds)
        try:
            if self._log is None:
                raise JournalError("there is no journal to tell what was told before")
            news, handed_out = self._log.take(
                decide, self._channels, now=now, since=now - WORTH_TELLING, lease=limit + _MINUTE
            )
        except JournalError as error:  # which is no reason for silence
            news = [Alert(None, now, notice) for notice in otherwise]
            handed_out = [(alert, label) for alert in news for label in self._channels]
            said.append(Delivery("journal", "", False, 1, str(error)))
        said += [self._print(alert.notice) for alert in news]
        said += self._send(handed_out)
        broken = {label for label, channel in self._channels.items() if channel.problem is not None}
        for label in sorted(broken - {delivery.channel for delivery in said}):
            said.append(Delivery(label, "", False, 0, self._channels[label].problem))
        for delivery in said:
            if not delivery.delivered and delivery.channel != "console":
                what = f" was not told {delivery.subject}" if delivery.subject else ""
                self._write(f"alerts: {delivery.channel}{what}: {delivery.error}")
        return tuple(said)

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
                last = errors[-1] if errors else "not tried: the channel took all the time there was"
                deliveries.append(Delivery(label, alert.notice.incident, last is None, len(errors), last))
                if alert.id is not None:
                    tries += [Try(alert.id, label, error) for error in errors or [last]]
        if self._log is not None and tries:
            try:
                self._log.finish(tries, self._now())
            except JournalError as error:  # it will be told again
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
    """Return the news, given the latest alert of each incident.

    Parameters
    ----------
    clear
        Names of incidents that are over.

    Examples
    --------
    >>> settings = AlertSettings(repeat_hours=24)
    >>> start, day = datetime(2026, 5, 1, 12, tzinfo=UTC), timedelta(days=1)
    >>> drift = Notice("feature_drift", "firing", "warning", "[warning] churnops: 4 of 12 columns drifted", "")
    >>> told = {"feature_drift": Alert(1, start, drift)}
    >>> [len(due([drift], [], *seen, settings)) for seen in (({}, start), (told, start), (told, start + day))]
    [1, 0, 1]
    >>> over = due([], ["feature_drift", "performance"], told, start + day, settings)
    >>> [(notice.title, notice.body) for notice in over]
    [('[recovered] churnops: feature drift', 'told on 2026-05-01 12:00 UTC: 4 of 12 columns drifted')]
    """
    news, repeat = [], timedelta(hours=settings.repeat_hours)
    for notice in firing:
        last = latest.get(notice.incident)
        if last is not None and last.notice.state == "firing":
            worse = _RANK[notice.severity] > _RANK[last.notice.severity]
            age = now - last.at  # below zero, the clock was wrong then: the alarm is sent again, with the right time
            if not (worse or (repeat and not -TOLERANCE <= age < repeat)):
                continue
        news.append(notice)
    for name in clear:
        last = latest.get(name)
        if last is not None and last.notice.state == "firing":
            news.append(_recovery(last, settings.link))
    return news


def plain(text: str, most: int) -> str:
    r"""Return a text, which may hold names and categories that customers made up, as one harmless line.

    Characters that are not shown are taken out, and marks that chat services take for mentions, links and markup are
    written so that they do not; `<` and `>` with spaces around them stay comparisons.

    Examples
    --------
    >>> plain("p <  0.05 in '<!channel>'\n\x1b[31m", 40)
    "p < 0.05 in '‹!channel›' [31m"
    >>> plain("a" * 50, 10)
    'aaaaaaaaa…'
    >>> plain("@here", 10) == "@\u200bhere"
    True
    """
    shown = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)
    line = re.sub(r"( [<>]=? )|<", lambda found: found[1] or "‹", " ".join(shown.split()))
    line = re.sub(r"( [<>]=? )|>", lambda found: found[1] or "›", line)
    line = line.replace("@", "@\u200b").replace("://", ":\u200b//")
    return line if len(line) <= most else line[: most - 1] + "…"


def _whose(source: str) -> str:
    """Return the part of a title that names the source."""
    return "" if source == LIVE else f"source {source}: "


def _recovery(last: Alert, link: str) -> Notice:
    subject, source = last.notice.subject, last.notice.source
    title = f"[recovered] churnops: {_whose(source)}{_NAMES.get(subject, subject.replace('_', ' '))}"
    what = last.notice.title.partition("churnops: ")[2].removeprefix(_whose(source))
    body = _lines(f"told on {_minute(last.at)}: {what}", _address(link))
    return Notice(subject, "recovered", "info", title, body, source)


def _message(alert: Alert, now: datetime) -> Message:
    notice = alert.notice
    # Good news is green, and opens no incident where incidents are kept.
    good = notice.state == "recovered" or (notice.state == "event" and notice.severity == "info")
    kind = "good" if good else _KINDS[notice.severity]
    late = f"told late: it is of {_minute(alert.at)}" if now - alert.at > _MINUTE else ""
    # Apprise sends no message without a body.
    return Message(notice.incident, kind, notice.title, _lines(late, notice.body) or notice.title)


def _address(link: str) -> str:
    """Return an address or path whole, or nothing: part of one leads nowhere."""
    return link if len(link) <= _LINK and link.isprintable() and not re.search("[<>]", link) else ""


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
