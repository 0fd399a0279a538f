"""What monitoring found over time: the time that is chosen, and points of it from the cycles' summaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Literal

from churnops.app.shared.documents import mapping, number, text
from churnops.app.shared.text import one_line, percent
from churnops.journal.cycles import Cycle
from churnops.settings import LIVE

Measure = Literal["drift_rate", "prediction_drift", "target_drift"]

RANGES = {"24 hours": timedelta(hours=24), "7 days": timedelta(days=7), "30 days": timedelta(days=30)}
ALL, CUSTOM = "All", "Custom"
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """From `since` (included) to `until` (excluded)."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Point:
    """What one cycle found.

    Attributes
    ----------
    low, high
        Ends of the interval; None without one.
    marked
        Whether it counts as a change (drifted, below the line); None if that cannot be told.
    aside
        Whether nothing follows: the customers were made up, of the past, or of a file without a source.
    """

    at: datetime
    value: float
    low: float | None
    high: float | None
    marked: bool | None
    aside: bool
    model: str


def span(choice: str, now: datetime, days: Sequence[date] = ()) -> Span:
    """Return the time that a choice stands for.

    Parameters
    ----------
    now
        Rounded up to a whole minute, so that what is read for one look serves for the next.
    days
        First and last day (UTC) of a custom time; with only one given, so far, it is that day.

    Examples
    --------
    >>> now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    >>> span("24 hours", now).since
    datetime.datetime(2026, 5, 3, 12, 1, tzinfo=datetime.timezone.utc)
    >>> custom = span("Custom", now, [date(2026, 5, 1), date(2026, 5, 2)])
    >>> f"{custom.since:%d %H:%M} to {custom.until:%d %H:%M}"
    '01 00:00 to 03 00:00'
    """
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if choice == CUSTOM and days:
        first, last = (datetime.combine(day, clock(tzinfo=UTC)) for day in (days[0], days[-1]))
        return Span(first, last + timedelta(days=1))
    return Span(end - RANGES[choice] if choice in RANGES else BEGIN, end)


def metric_points(cycles: Sequence[Cycle], metric: str) -> list[Point]:
    """Return a metric with its interval, of the finished cycles that could tell it; ROC-AUC's are judged."""
    found = []
    for cycle in _finished(cycles):
        performance = mapping(cycle.summary.get("performance"))
        measured = mapping(mapping(performance.get("metrics")).get(metric))
        below = {"below": True, "not below": False}.get(text(performance.get("verdict")))
        found.append(_point(cycle, measured, "value", below if metric == "roc_auc" else None))
    return [point for point in found if point is not None]


def drift_points(cycles: Sequence[Cycle], measure: Measure, *, limit: float | None = None) -> list[Point]:
    """Return the share of drifted columns (above `limit` is marked), or the size of the drift of scores or outcomes."""
    found = []
    for cycle in _finished(cycles):
        if measure == "drift_rate":
            rate = number(cycle.summary.get(measure))
            marked = None if rate is None or limit is None else rate > limit
            found.append(_point(cycle, cycle.summary, measure, marked))
        else:
            drift = mapping(cycle.summary.get(measure))
            drifted = drift.get("drifted")
            found.append(_point(cycle, drift, "effect", drifted if isinstance(drifted, bool) else None))
    return [point for point in found if point is not None]


def failures(cycles: Sequence[Cycle]) -> list[tuple[datetime, str]]:
    """Return when cycles failed, and why, newest first."""
    failed = [cycle for cycle in cycles if cycle.status == "failed"]
    return [(cycle.at, text(cycle.summary.get("error"))) for cycle in reversed(failed)]


def finished(cycles: Sequence[Cycle]) -> list[Cycle]:
    """Return the cycles with a report, newest first."""
    return [cycle for cycle in reversed(_finished(cycles)) if cycle.report]


def labels(cycles: Sequence[Cycle]) -> list[str]:
    """Return a name for each cycle, by its time; no two are the same, as one is chosen by it."""
    named: dict[str, int] = {}
    found = []
    for cycle in cycles:
        kind = (
            "report only"
            if cycle.report_only
            else ""
            if cycle.source == LIVE
            else f"source {one_line(cycle.source, 64)}"
        )
        name = f"{cycle.at:%Y-%m-%d %H:%M:%S} UTC{f' ({kind})' if kind else ''}"
        named[name] = number_of = named.get(name, 0) + 1
        found.append(name if number_of == 1 else f"{name}, {number_of}")
    return found


def trend(points: Sequence[Point], what: str, *, share: bool = False) -> str:
    """Say in a sentence what a figure of points shows, for those who do not see it; shares are told in percent.

    Examples
    --------
    >>> at = datetime(2026, 5, 4, tzinfo=UTC)
    >>> trend([Point(at, 0.9, 0.8, 0.95, False, False, "a")], "ROC-AUC")
    'ROC-AUC was 0.900 (0.800 to 0.950) on 2026-05-04.'
    """
    if not points:
        return f"{what} could not be told in this time."
    form = percent if share else "{:.3f}".format
    first, last = points[0], points[-1]
    interval = "" if last.low is None or last.high is None else f" ({form(last.low)} to {form(last.high)})"
    if len(points) == 1:
        return f"{what} was {form(last.value)}{interval} on {last.at:%Y-%m-%d}."
    values = [point.value for point in points]
    return (
        f"{what} went from {form(first.value)} on {first.at:%Y-%m-%d} to {form(last.value)}{interval} on "
        f"{last.at:%Y-%m-%d}; over {len(points)} reports it was between {form(min(values))} and {form(max(values))}."
    )


def _finished(cycles: Sequence[Cycle]) -> list[Cycle]:
    return [cycle for cycle in cycles if cycle.status == "finished"]


def _point(cycle: Cycle, document: object, key: str, marked: bool | None) -> Point | None:
    found = mapping(document)
    value, low, high = (number(found.get(name)) for name in (key, "low", "high"))
    if value is None:
        return None
    return Point(cycle.at, value, low, high, marked, cycle.report_only, text(cycle.summary.get("model_version")))
