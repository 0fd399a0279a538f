"""Numbers and times of a monitoring report as text."""

import math
from typing import Any


def finite(value: Any) -> bool:
    """Return whether there is a number to show.

    >>> finite(None), finite(float("nan")), finite(0)
    (False, False, True)
    """
    return value is not None and math.isfinite(value)


def number(value: Any) -> str:
    """Return a number with three significant digits, or a dash.

    >>> number(0.012345), number(None)
    ('0.0123', '–')
    """
    return f"{value:.3g}" if finite(value) else "–"


def metric(value: Any) -> str:
    """Return a metric with three decimals, or a dash.

    >>> metric(0.9), metric(None)
    ('0.900', '–')
    """
    return f"{value:.3f}" if finite(value) else "–"


def p_text(value: Any) -> str:
    """Return a p-value with four decimals, or a dash.

    >>> p_text(0.05), p_text(1e-9), p_text(None)
    ('0.0500', '< 0.0001', '–')
    """
    return "–" if not finite(value) else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def moment(time: str) -> str:
    """Return a time, in ISO 8601 and UTC, as people write it: to the minute.

    >>> moment("2026-11-24T10:00:00+00:00")
    '2026-11-24 10:00 UTC'
    """
    return str(time)[:16].replace("T", " ") + " UTC"
