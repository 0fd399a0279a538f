"""Texts of cells as numbers, choices and times. A cell that contains only blanks counts as missing."""

import polars as pl

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


def as_numbers(text: pl.Series) -> pl.Series:
    """Return texts as numbers; null for any other text.

    >>> as_numbers(pl.Series(["1.5", " 2 ", " ", "many"])).to_list()
    [1.5, 2.0, None, None]
    """
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return numbers
    return without_blanks(text).cast(pl.Float64, strict=False)


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
