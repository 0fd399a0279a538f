"""Monitoring results over time: the chosen time span, and its points from the cycles' summaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Literal

from churnops.app.shared.text import one_line
from churnops.journal.cycles import Cycle
from churnops.settings import LIVE
from churnops.untrusted import mapping, number, text
from churnops.words import percent

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
    """A measure of one cycle.

    Attributes
    ----------
    low, high
        Ends of the interval; None without one.
    marked
        Whether the measure is a change: drifted, above the limit, or ROC-AUC below its limit; None if not known.
    report_only
        Whether the cycle causes no alert or retraining: customers are simulated, past, or of a file without a source.
    """

    at: datetime
    value: float
    low: float | None
    high: float | None
    marked: bool | None
    report_only: bool
    model: str


def span(choice: str, now: datetime, days: Sequence[date] = ()) -> Span:
    """Return the time span of a choice.

    Parameters
    ----------
    now
        Current time. It is rounded up to a whole minute, so that the same span finds cached results.
    days
        First and last day (UTC) of a custom span; a single day is first and last.

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
    """Return a metric with its interval from finished cycles; ROC-AUC points are marked if below the limit."""
    points = []
    for cycle in _finished(cycles):
        performance = mapping(cycle.summary.get("performance"))
        measured = mapping(mapping(performance.get("metrics")).get(metric))
        below = {"below": True, "not below": False}.get(text(performance.get("verdict")))
        points.append(_point(cycle, measured, "value", below if metric == "roc_auc" else None))
    return [point for point in points if point is not None]


def drift_points(cycles: Sequence[Cycle], measure: Measure, *, limit: float | None = None) -> list[Point]:
    """Return the share of drifted columns (marked above `limit`), or the size of score or label drift."""
    points = []
    for cycle in _finished(cycles):
        if measure == "drift_rate":
            rate = number(cycle.summary.get(measure))
            marked = None if rate is None or limit is None else rate > limit
            points.append(_point(cycle, cycle.summary, measure, marked))
        else:
            drift = mapping(cycle.summary.get(measure))
            drifted = drift.get("drifted")
            points.append(_point(cycle, drift, "effect", drifted if isinstance(drifted, bool) else None))
    return [point for point in points if point is not None]


def failures(cycles: Sequence[Cycle]) -> list[tuple[datetime, str]]:
    """Return times and errors of failed cycles, newest first."""
    failed = [cycle for cycle in cycles if cycle.status == "failed"]
    return [(cycle.at, text(cycle.summary.get("error"))) for cycle in reversed(failed)]


def finished(cycles: Sequence[Cycle]) -> list[Cycle]:
    """Return the cycles with a report, newest first."""
    return [cycle for cycle in reversed(_finished(cycles)) if cycle.report]


def labels(cycles: Sequence[Cycle], deployed: str | None = None) -> list[str]:
    """Return a unique name for each cycle, from its time, for a list of choices.

    Cycles on other models than the `deployed` one (its content hash) are marked.
    """
    named: dict[str, int] = {}
    names = []
    for cycle in cycles:
        kinds = ["report only"] if cycle.report_only else []
        if not cycle.report_only and cycle.source != LIVE:
            kinds.append(f"source {one_line(cycle.source, 64)}")
        if deployed is not None and cycle.content_sha256 != deployed:
            kinds.append("earlier model")
        name = f"{cycle.at:%Y-%m-%d %H:%M:%S} UTC" + (f" ({', '.join(kinds)})" if kinds else "")
        named[name] = number_of = named.get(name, 0) + 1
        names.append(name if number_of == 1 else f"{name}, {number_of}")
    return names


def trend(points: Sequence[Point], name: str, *, share: bool = False) -> str:
    """Describe a figure of points in a sentence, also for screen readers; shares are given in percent.

    Examples
    --------
    >>> at = datetime(2026, 5, 4, tzinfo=UTC)
    >>> trend([Point(at, 0.9, 0.8, 0.95, False, False, "a")], "ROC-AUC")
    'ROC-AUC was 0.900 (0.800 to 0.950) on 2026-05-04.'
    """
    if not points:
        return f"{name}: no value in this time range."
    form = percent if share else "{:.3f}".format
    first, last = points[0], points[-1]
    interval = "" if last.low is None or last.high is None else f" ({form(last.low)} to {form(last.high)})"
    if len(points) == 1:
        return f"{name} was {form(last.value)}{interval} on {last.at:%Y-%m-%d}."
    values = [point.value for point in points]
    return (
        f"{name} went from {form(first.value)} on {first.at:%Y-%m-%d} to {form(last.value)}{interval} on "
        f"{last.at:%Y-%m-%d}; over {len(points)} reports it was between {form(min(values))} and {form(max(values))}."
    )


def _finished(cycles: Sequence[Cycle]) -> list[Cycle]:
    return [cycle for cycle in cycles if cycle.status == "finished"]


def _point(cycle: Cycle, document: object, key: str, marked: bool | None) -> Point | None:
    values = mapping(document)
    value, low, high = (number(values.get(name)) for name in (key, "low", "high"))
    if value is None:
        return None
    return Point(cycle.at, value, low, high, marked, cycle.report_only, text(cycle.summary.get("model_version")))
