"""Rows above the header of a table: titles and comments."""

from collections import Counter
from collections.abc import Sequence


def header_of(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the place of the header among the first rows of a table; None if all are empty.

    Empty rows, rows of one text, and rows that begin with `#` and are shorter than the table are above it.

    >>> header_of([["Customers"], [], ["# today", "by hand"], ["id", "plan", "spend"], ["1", "a", "3"], ["2", "b", ""]])
    3
    """
    first = next((place for place, row in enumerate(rows) if any(row)), None)
    if first is None:
        return None
    width = Counter(map(len, filter(any, rows))).most_common(1)[0][0]
    below = (place for place, row in enumerate(rows) if any(row) and not _is_title(row, width))
    return next(below, first)


def _is_title(row: Sequence[str], width: int) -> bool:
    if row[0].startswith("#"):
        return len(row) < width
    return sum(map(bool, row)) == 1 and (len(row) < width or width > 2)
