"""Texts of cells as numbers, choices and times. A cell that contains only blanks counts as missing."""

import re

import polars as pl

from churnops.schema import Column, Schema

UTC = pl.Datetime("us", "UTC")
MISSING_WORDS = ("na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a")
"""Words that other programs write for a missing value, in lower case. churnops reads only an empty cell as missing."""

_TIME = (
    r"^\s*(?P<year>\d{4})(?:-(?P<month>\d\d?)-(?P<day>\d\d?)|/(?P<month_2>\d\d?)/(?P<day_2>\d\d?)"
    r"|(?P<month_3>\d\d)(?P<day_3>\d\d))"
    r"(?:[T ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?:Z|z|UTC|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)?)?\s*$"
)
_DAY_OR_MONTH_FIRST = r"^\s*\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b"


def without_blanks(text: pl.Series) -> pl.Series:
    """Return texts without the blanks around them; null if nothing is left.

    >>> without_blanks(pl.Series([" 46", "DSL ", "  ", None])).to_list()
    ['46', 'DSL', None, None]
    """
    stripped = text.str.strip_chars()
    return stripped.set(stripped == "", None)


def without_missing(raw: pl.Series, column: Column, schema: Schema) -> pl.Series:
    """Return texts with null for the Schema's `missing` texts, unless such a text is a choice of the column.

    >>> target = Column(name="churn", kind="target", choices=("No", "Yes"))
    >>> spend = Column(name="spend", kind="number")
    >>> without_missing(pl.Series(["1", " ?"]), spend, Schema(columns=(spend, target), missing=("?",))).to_list()
    ['1', None]
    """
    if raw.dtype != pl.String or not schema.missing:
        return raw
    missing = raw.str.strip_chars().is_in(list(schema.missing))
    if column.choices:
        missing &= ~raw.is_in(list(column.choices))
    return raw.set(missing, None) if missing.any() else raw


def as_numbers(text: pl.Series, decimal: str = ".", thousands: str = "") -> pl.Series:
    """Return texts as numbers; null for any other text, also if a mark is in the wrong place.

    >>> as_numbers(pl.Series(["1.5", " 2 ", " ", "many"])).to_list()
    [1.5, 2.0, None, None]
    >>> as_numbers(pl.Series(["1.234,5", "7", "1.5"]), decimal=",", thousands=".").to_list()
    [1234.5, 7.0, None]
    """
    if decimal != "." or thousands:
        text = _plain_numbers(text, decimal, thousands)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return numbers
    return without_blanks(text).cast(pl.Float64, strict=False)


def _plain_numbers(text: pl.Series, decimal: str, thousands: str) -> pl.Series:
    """Return numbers with a decimal point and without thousands marks; null for any other text."""
    group, point = re.escape(thousands), re.escape(decimal)
    whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d*)" if thousands else r"\d*"
    numbers = text.str.contains(rf"^\s*[+-]?{whole}(?:{point}\d*)?(?:[eE][+-]?\d+)?\s*$")
    plain = text.str.replace_all(thousands, "", literal=True) if thousands else text
    plain = plain.str.replace(decimal, ".", literal=True)
    return plain.set(~numbers.fill_null(value=False), None)


def as_times(text: pl.Series) -> pl.Series:
    """Return ISO 8601 dates and times in UTC; null for any other text. A time without an offset is UTC.

    The year must come first, so that day and month cannot be confused. No format is inferred from the other texts.

    >>> [str(time) for time in as_times(pl.Series(["2024-03-05", "2024-03-05T10:00+02:00", "05/03/2024"]))]
    ['2024-03-05 00:00:00+00:00', '2024-03-05 08:00:00+00:00', 'None']
    """
    parts = text.str.extract_groups(_TIME).struct.unnest()
    month, day = (pl.coalesce(name, f"{name}_2", f"{name}_3").str.pad_start(2, "0") for name in ("month", "day"))
    hour, minute, second, hours, minutes = (
        pl.col(name).fill_null("00") for name in ("hour", "minute", "second", "hours", "minutes")
    )
    date = pl.concat_str("year", month, day, separator="-")
    clock = pl.concat_str(hour, minute, second, separator=":")
    fraction = pl.col("fraction").fill_null("0").str.slice(0, 6)
    offset = pl.concat_str(pl.col("sign").fill_null("+"), hours, pl.lit(":"), minutes)
    canonical = pl.concat_str(date, pl.lit("T"), clock, pl.lit("."), fraction, offset)
    times = parts.select(canonical.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us"))
    return times.to_series().cast(UTC).alias(text.name)


def day_or_month_first(text: pl.Series) -> pl.Series:
    """Return which texts begin with a day or a month, such as 05/03/2024."""
    return text.str.contains(_DAY_OR_MONTH_FIRST)
