"""Dates as numbers: days since 1970-01-01 UTC, with a fraction for the time of day."""

import re
from datetime import UTC, datetime, timedelta
from math import floor

import numpy as np
from numpy.typing import NDArray

ISO_TIME = (
    r"^\s*(?P<year>\d{4})(?:-(?P<month>\d\d?)-(?P<day>\d\d?)|/(?P<month_2>\d\d?)/(?P<day_2>\d\d?)"
    r"|(?P<month_3>\d\d)(?P<day_3>\d\d)(?:\.0+)?)"
    r"(?:[T ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?:Z|z|UTC|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)?)?\s*$"
)
"""Regular expression of ISO 8601 dates and times that begin with the year, for Python and Polars."""
_ISO_TIME = re.compile(ISO_TIME, re.ASCII)
_WHOLE = ("year", "month", "day", "hour", "minute", "second", "hours", "minutes")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS = 86_400_000  # of a day
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""Days from 1970-01-01 to the first day of the year 1 and to the last day of the year 9999."""


def days_of(text: str) -> float:
    """Return the days from 1970-01-01 UTC to an ISO 8601 date or time. A time without an offset is UTC.

    Raises
    ------
    ValueError
        If the text is no such date, or the date does not exist.

    Examples
    --------
    >>> days_of("2024-03-05"), days_of("1970-01-02T12:00Z"), days_of("1970-01-01T01:00+02:00") * 24
    (19787.0, 1.5, -1.0)
    """
    match = _ISO_TIME.match(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no ISO 8601 date")
    part = {name.partition("_")[0]: text for name, text in match.groupdict().items() if text}
    year, month, day, hour, minute, second, hours, minutes = (int(part.get(name, 0)) for name in _WHOLE)
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text[:40]!r} has no offset of less than a day")
    time = datetime(year, month, day, hour, minute, second, int(part.get("fraction", "0").ljust(6, "0")[:6]), UTC)
    ahead = timedelta(hours=hours, minutes=minutes)
    days = (time - _EPOCH + (ahead if part.get("sign") == "-" else -ahead)) / timedelta(days=1)
    if not FIRST_DAY <= days < LAST_DAY + 1:
        raise ValueError(f"{text[:40]!r} is not in the years 1 to 9999")
    return days


def date_text(days: float) -> str:
    """Return days since 1970-01-01 UTC as an ISO 8601 date, with the time of day unless it is midnight.

    >>> date_text(19787.0), date_text(1.5), date_text(1e9)
    ('2024-03-05', '1970-01-02T12:00:00Z', '1e+09 days after 1970-01-01')
    """
    try:
        time = _EPOCH + timedelta(milliseconds=round(days * _MILLISECONDS))
    except (OverflowError, ValueError):
        return f"{days:.6g} days after 1970-01-01"
    if time.timetz() == _EPOCH.timetz():
        return f"{time:%Y-%m-%d}" if time.year >= 1000 else time.date().isoformat()
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds").replace("+00:00", "Z")


def day_text(days: float) -> str:
    """Return the date of days since 1970-01-01 UTC, without the time of day.

    >>> day_text(19787.9)
    '2024-03-05'
    """
    return date_text(floor(days))


def moments(days: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Return days since 1970-01-01 UTC as times, for the axis of a figure; shape (n,)."""
    return np.round(days * _MILLISECONDS).astype("datetime64[ms]")
