"""Levels of a category: whether they are a flag, and their order."""

import re
from collections.abc import Iterable

from churnops.spelling import YES_NO, plain

_NUMBERS = re.compile(r"(\d+)")


def flag_choices(levels: Iterable[str]) -> tuple[str, str] | None:
    """Return the two values of a flag, false first, as they are written; None if these are no words for no and yes.

    >>> flag_choices(["Yes", "No"]), flag_choices(["1.0", "0.0"]), flag_choices(["DSL", "Fiber"])
    (('No', 'Yes'), ('0.0', '1.0'), None)
    """
    given: dict[str, list[str]] = {}
    for text in levels:
        given.setdefault(plain(text), []).append(text)
    for no, yes in YES_NO:
        if given.keys() == {no, yes}:
            return given[no][0], given[yes][0]
    return None


def ordered(levels: Iterable[str]) -> tuple[str, ...]:
    """Return levels in natural order: words of an order in theirs, numbers by value, texts by letter.

    >>> ordered(["high", "Low", "medium"]), ordered(["10+", "2-5", "<1"]), ordered(["b", "a"])
    (('Low', 'medium', 'high'), ('<1', '2-5', '10+'), ('a', 'b'))
    """
    given = list(levels)
    plain = [text.strip().lower() for text in given]
    for scale in _SCALES:
        if len(plain) > 1 and set(plain) <= set(scale):
            return tuple(sorted(given, key=lambda text: scale.index(text.strip().lower())))
    return tuple(sorted(given, key=_natural))


_SCALES = (
    ("never", "very low", "lowest", "low", "medium", "moderate", "mid", "average", "high", "highest", "very high"),
    ("very bad", "bad", "poor", "fair", "ok", "average", "good", "very good", "excellent"),
    ("none", "basic", "bronze", "silver", "gold", "platinum", "diamond"),
    ("xs", "s", "m", "l", "xl", "xxl"),
    ("very small", "small", "medium", "large", "very large"),
    ("daily", "weekly", "biweekly", "monthly", "quarterly", "half-yearly", "yearly"),
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    (
        *("january", "february", "march", "april", "may", "june"),
        *("july", "august", "september", "october", "november", "december"),
    ),
)


def _natural(text: str) -> tuple[object, ...]:
    """Return a key that sorts "<1", "2-5", "10+" by their numbers, with texts without numbers last."""
    parts = _NUMBERS.findall(text)
    sign = -1 if text.strip().startswith(("<", "≤", "under", "less")) else 0
    return (not parts, int(parts[0][:18]) if parts else 0, sign, text)
