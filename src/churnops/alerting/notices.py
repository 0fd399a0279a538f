"""Notices: the texts of alerts, and the decision which of them to send."""

import re
import socket
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from churnops.alerting.channels import Kind, Message
from churnops.journal.alerts import Alert, Notice
from churnops.journal.clock import TOLERANCE
from churnops.settings import LIVE, AlertSettings, Settings
from churnops.words import capital

Severity = Literal["critical", "warning", "info"]
Subject = Literal[
    "performance",
    "feature_drift",
    "prediction_drift",
    "target_drift",
    "broken_columns",
    "wrong_predictions",
    "training_rows",
    "unknown_levels",
    "cycle_failed",
    "retraining_failed",
    "deployed",
    "rolled_back",
    "split_stopped",
    "split_mismatch",
]

_NAMES: Mapping[str, str] = {  # the other subjects' names are their own words
    "cycle_failed": "failed monitoring cycle",
    "retraining_failed": "failed retraining",
}
SEVERITY_RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
_KINDS: Mapping[str, Kind] = {"critical": "critical", "warning": "warning", "info": "info"}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # Unicode's categories of invisible characters
_MINUTE = timedelta(minutes=1)
_TITLE, _FACT, _PLACE, _LINK, _FACTS = 120, 155, 100, 300, 3  # characters, below PagerDuty's 1024 in all


@dataclass(frozen=True)
class Alarm:
    """An alarm to send.

    Parameters
    ----------
    facts : tuple of str
        Sentences, the most important first. Three are sent.
    link : str
        Address or path to look at; empty for the settings' `alerts.link`.
    reasons : mapping
        Names of the reasons, such as broken columns, each with its title. A new reason is sent at once.
    """

    subject: Subject
    severity: Severity
    title: str
    facts: tuple[str, ...] = ()
    link: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """Parts of every message.

    Attributes
    ----------
    banner
        First line; empty for none.
    place
        Project and host.
    link
        Address for alarms without one.
    """

    banner: str = ""
    place: str = ""
    link: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Frame":
        """Return the frame of a project on this host."""
        return cls(settings.banner, f"Project {settings.root.name} on {socket.gethostname()}", settings.alerts.link)

    def notice(
        self, alarm: Alarm, state: Literal["firing", "event"], source: str, at: datetime, last: Alert | None = None
    ) -> Notice:
        """Return the message of an alarm, which names the reasons first that its `last` alert had not.

        `at` is the time of an event, or the start of an alarm.
        """
        title = plain(f"[{alarm.severity}] churnops: {_whose(source)}{alarm.title}", _TITLE)
        length = _FACT - len(self.banner) // _FACTS  # a message is as long with the banner as without
        new = [alarm.reasons[name] for name in new_reasons(tuple(alarm.reasons), last)]
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        first = f"New: {', '.join(new[:3])}{more}. " if new else ""
        facts = [plain(fact, length) for fact in (first + "".join(alarm.facts[:1]), *alarm.facts[1:_FACTS])]
        when = f"{'since' if state == 'firing' else 'at'} {_minute(at)}."
        place = plain(self.place, _PLACE - len(when) - 2)
        body = _lines(*facts, f"{place}, {when}" if place else capital(when), _address(alarm.link or self.link))
        return self.marked(Notice(alarm.subject, state, alarm.severity, title, body, source, tuple(alarm.reasons)))

    def test(self) -> Notice:
        """Return a test message."""
        body = _lines("Alerts of churnops reach this channel.", plain(self.place, _PLACE), _address(self.link))
        return Notice("test", "event", "info", "[info] churnops: This is a test", body, LIVE)

    def marked(self, notice: Notice) -> Notice:
        """Return a notice with the banner."""
        return replace(notice, body=_lines(self.banner, notice.body))


def due(
    firing: Iterable[Notice],
    clear: Iterable[str],
    latest: Mapping[str, Alert],
    now: datetime,
    settings: AlertSettings,
) -> list[Notice]:
    """Return the notices to send, given the latest alert of each incident.

    An alarm that fires already is sent again after `repeat_hours`, or at once if it is worse or has a new reason. A
    reason is new if no alert had it since the alarm began or was last repeated. So a reason that comes and goes is sent
    once in this time.

    Parameters
    ----------
    clear
        Names of incidents that are over.

    Examples
    --------
    >>> from datetime import UTC
    >>> settings = AlertSettings(repeat_hours=24)
    >>> start, day = datetime(2026, 5, 1, 12, tzinfo=UTC), timedelta(days=1)
    >>> drift = Notice("feature_drift", "firing", "warning", "[warning] churnops: 4 of 12 columns drifted", "")
    >>> sent = {"feature_drift": Alert(1, start, drift)}
    >>> [len(due([drift], [], *seen, settings)) for seen in (({}, start), (sent, start), (sent, start + day))]
    [1, 0, 1]
    >>> over = due([], ["feature_drift", "performance"], sent, start + day, settings)
    >>> [(notice.title, notice.body) for notice in over]
    [('[recovered] churnops: feature drift', 'This alert of 2026-05-01 12:00 UTC is over: 4 of 12 columns drifted')]
    """
    news, repeat = [], timedelta(hours=settings.repeat_hours)
    for notice in firing:
        last = latest.get(notice.incident)
        if last is not None and last.notice.state == "firing":
            worse = SEVERITY_RANK[notice.severity] > SEVERITY_RANK[last.notice.severity]
            age = now - last.at  # a negative age means that a clock was wrong: the alarm is sent again
            if not repeat or -TOLERANCE <= age < repeat:
                unknown = not repeat and notice.reasons and not last.notice.reasons  # sent by an earlier version
                if not (worse or unknown or new_reasons(notice.reasons, last)):
                    continue
                notice = replace(notice, reasons=tuple(dict.fromkeys((*last.notice.reasons, *notice.reasons))))
        news.append(notice)
    for name in clear:
        last = latest.get(name)
        if last is not None and last.notice.state == "firing":
            news.append(_recovery(last, settings.link))
    return news


def new_reasons(reasons: Sequence[str], last: Alert | None) -> list[str]:
    """Return the reasons that the last alert of a firing alarm had not; none if its reasons are not known."""
    if last is None or last.notice.state != "firing" or not last.notice.reasons:
        return []
    return [reason for reason in reasons if reason not in last.notice.reasons]


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
    body = _lines(f"This alert of {_minute(last.at)} is over: {alarm}", _address(link))
    return Notice(subject, "recovered", "info", title, body, source)


def message_of(alert: Alert, now: datetime) -> Message:
    """Return the message for a channel; a late message contains its time."""
    notice = alert.notice
    # Good news is green, and opens no incident in services that keep incidents.
    good = notice.state == "recovered" or (notice.state == "event" and notice.severity == "info")
    kind = "good" if good else _KINDS[notice.severity]
    late = f"Delayed message of {_minute(alert.at)}." if now - alert.at > _MINUTE else ""
    # Apprise sends no message without a body.
    return Message(notice.incident, kind, notice.title, _lines(late, notice.body) or notice.title)


def _address(link: str) -> str:
    """Return an address or path; empty if it is unsafe or too long, because an address that is cut leads nowhere."""
    return link if len(link) <= _LINK and link.isprintable() and not re.search("[<>]", link) else ""


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
