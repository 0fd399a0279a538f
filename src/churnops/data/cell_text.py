"""Texts of cells as numbers, choices and times. A cell that contains only blanks counts as missing."""

import re
from collections.abc import Mapping

import polars as pl

from churnops.dates import FIRST_DAY, ISO_TIME, LAST_DAY
from churnops.schema import Column, DateFormat, Schema

UTC = pl.Datetime("us", "UTC")
PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
"""Number of each unit of time in a day."""
MISSING_WORDS = ("na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a")
"""Words that other programs write for a missing value, in lower case. churnops reads only an empty cell as missing."""

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_NUMBERS_OF_MONTHS = {name[:length]: f"{n:02d}" for n, name in enumerate(_MONTHS, 1) for length in (3, 4, len(name))}
_YEAR = r"(?P<year>\d{4}|\d\d)"
_CLOCK = (
    r"(?:,?[T ]\s*(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d{1,9})?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?\s*$"
)
_DAY_OR_MONTH_FIRST = rf"^\s*(?P<first>\d\d?)[-/.](?P<then>\d\d?)[-/.]{_YEAR}{_CLOCK}"
_NAMED_MONTHS = (
    rf"^\s*(?P<day>\d\d?)[-/. ]*(?P<month>[A-Za-z]{{3,9}})[-/., ]*{_YEAR}{_CLOCK}",
    rf"^\s*(?P<month>[A-Za-z]{{3,9}})\.?[- ]*(?P<day>\d\d?),?[- ]+{_YEAR}{_CLOCK}",
)
_FIRST_YEAR = 69  # 69 to 99 are years from 1969 on, 00 to 68 from 2000 on, as in POSIX


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
    if raw.dtype in (pl.Categorical, pl.Enum):
        raw = raw.cast(pl.String)
    if raw.dtype != pl.String or not schema.missing:
        return raw
    missing = raw.str.strip_chars().is_in(list(schema.missing))
    if column.choices:
        missing &= ~raw.is_in(list(column.choices))
    return raw.set(missing, None) if missing.any() else raw


def as_levels(text: pl.Series, column: Column) -> pl.Series:
    """Return texts with the choice in place of each other spelling of it.

    In an open category, texts that mean no choice are cut after `MAX_LEVEL` characters; in other columns they stay.

    >>> plan = Column(name="plan", kind="category", choices=("Gold", "Basic"))
    >>> as_levels(pl.Series([" gold", "Basic", "Platin", None]), plan).to_list()
    ['Gold', 'Basic', 'Platin', None]
    """
    others = text.filter(~text.is_in(list(column.choices))).unique().drop_nulls()
    named = column.level if column.is_open else column.choice
    changed = {other: level for other in others if (level := named(other)) not in (None, other)}
    return text.replace(changed) if changed else text


def as_numbers(text: pl.Series, decimal: str = ".", thousands: str = "", unit: str = "") -> pl.Series:
    """Return texts as numbers; null for any other text, also if a mark is in the wrong place.

    A number may have the unit before or after it. A minus sign may follow the number, and a number in brackets is
    negative.

    >>> as_numbers(pl.Series(["1.5", " 2 ", " ", "many"])).to_list()
    [1.5, 2.0, None, None]
    >>> as_numbers(pl.Series(["1.234,5", "7", "1.5"]), decimal=",", thousands=".").to_list()
    [1234.5, 7.0, None]
    >>> as_numbers(pl.Series(["$1,234.50", "7", "5-", "($3)", "7 €"]), thousands=",", unit="$").to_list()
    [1234.5, 7.0, -5.0, -3.0, None]
    """
    numbers = _plain_numbers(text, decimal, thousands)
    if numbers.null_count() == text.null_count():
        return numbers
    rest = text.filter(numbers.is_null()).drop_nulls().unique()
    marked = without_unit(rest, re.escape(unit)) if unit else rest
    marked = marked.str.replace(_BRACKETS, "-$1").str.replace(_MINUS_LAST, "-$1")
    others = _plain_numbers(without_blanks(marked), decimal, thousands)
    if others.null_count() == others.len():
        return numbers
    return numbers.fill_null(text.replace_strict(rest, others, default=None, return_dtype=pl.Float64))


BLANKS = r"[ \x{a0}\x{202f}\x{2009}]"  # blanks between groups of digits
_BRACKETS = r"^\s*\(([^+-].*)\)\s*$"
_MINUS_LAST = r"^\s*([\d.,][^-]*)-\s*$"


def without_unit(text: pl.Series, unit: str) -> pl.Series:
    r"""Return texts without a unit before or after a number; `unit` is a regular expression.

    >>> without_unit(pl.Series(["$1,234.50", "-$5", "15 $", "$"]), r"\$").to_list()
    ['1,234.50', '-5', '15', '$']
    """
    before, after = rf"^(\s*[+(-]?)\s*(?:{unit})\s*([+-]?[\d.,])", rf"([\d.,]-?)\s*(?:{unit})(\)?\s*)$"
    return text.str.replace(before, "$1$2").str.replace(after, "$1$2")


def _plain_numbers(text: pl.Series, decimal: str, thousands: str) -> pl.Series:
    """Return texts with the given marks as numbers; null for any other text."""
    if decimal == "." and not thousands:
        return text.cast(pl.Float64, strict=False)
    group = BLANKS if thousands == " " else re.escape(thousands)
    point = re.escape(decimal)
    whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d*)" if thousands else r"\d*"
    numbers = text.str.contains(rf"^\s*[+-]?{whole}(?:{point}\d*)?(?:[eE][+-]?\d+)?\s*$")
    plain = text.str.strip_chars()
    plain = plain.str.replace_all(group, "") if thousands else plain
    plain = plain.str.replace(decimal, ".", literal=True)
    return plain.set(~numbers.fill_null(value=False), None).cast(pl.Float64, strict=False)


def as_times(text: pl.Series, format: DateFormat = "iso") -> pl.Series:
    """Return texts as times in UTC; null for any other text. A time without an offset is UTC.

    ISO 8601, and dates with the English name of the month, are always read. `format` is the order of day and month in
    other dates. No format is inferred from the other texts.

    >>> [str(time) for time in as_times(pl.Series(["2024-03-05", "2024-03-05T10:00+02:00", "05/03/2024"]))]
    ['2024-03-05 00:00:00+00:00', '2024-03-05 08:00:00+00:00', 'None']
    >>> [str(time) for time in as_times(pl.Series(["05/03/2024", "5-Mar-24"]), "day_first")]
    ['2024-03-05 00:00:00+00:00', '2024-03-05 00:00:00+00:00']
    """
    distinct = text.drop_nulls().unique()
    if 2 * distinct.len() > text.len():
        return _parsed_times(text, format)
    return text.replace_strict(distinct, _parsed_times(distinct, format), default=None, return_dtype=UTC)


def _parsed_times(text: pl.Series, format: DateFormat) -> pl.Series:
    times = _iso_times(text)
    forms = [*_NAMED_MONTHS, *((_DAY_OR_MONTH_FIRST,) if format != "iso" else ())]
    for form in forms:
        if times.null_count() == text.null_count():
            break
        times = times.zip_with(times.is_not_null(), _other_times(text, form, format))
    return times


def _iso_times(text: pl.Series) -> pl.Series:
    parts = text.str.extract_groups(ISO_TIME).struct.unnest()
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
    return in_calendar(times.to_series().cast(UTC).alias(text.name))


def _other_times(text: pl.Series, form: str, format: DateFormat) -> pl.Series:
    """Return texts of one form other than ISO 8601 as times; null for any other text."""
    parts = text.str.extract_groups(form).struct.unnest()
    if "first" in parts.columns:
        parts = parts.rename(dict(zip(("first", "then"), _ORDER[format], strict=True)))
    month = pl.col("month").str.to_lowercase()
    if form in _NAMED_MONTHS:
        month = month.replace_strict(_NUMBERS_OF_MONTHS, default=None, return_dtype=pl.String)
    short = pl.col("year").str.len_chars() == 2
    century = pl.when(~short).then(pl.lit("")).when(pl.col("year") < str(_FIRST_YEAR)).then(pl.lit("20"))
    hour = pl.col("hour").fill_null("0").cast(pl.UInt8)
    noon = pl.when(pl.col("half").str.to_lowercase() == "p").then(12).otherwise(0)
    hour = pl.when(pl.col("half").is_null()).then(hour).when(hour.is_between(1, 12)).then(hour % 12 + noon)
    numbers = [part.cast(pl.String).str.pad_start(2, "0") for part in (month, pl.col("day"), hour)]
    canonical = pl.concat_str(
        century.otherwise(pl.lit("19")),
        "year",
        *numbers,
        pl.col("minute").fill_null("00"),
        pl.col("second").fill_null("00"),
    )
    times = parts.select(canonical.str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us", time_zone="UTC"))
    return times.to_series().alias(text.name)


_ORDER: Mapping[DateFormat, tuple[str, str]] = {"day_first": ("day", "month"), "month_first": ("month", "day")}


def in_calendar(times: pl.Series) -> pl.Series:
    """Return dates or times with null outside the years 1 to 9999, which Python does not have.

    Beyond the year 262142 Polars panics.

    >>> in_calendar(pl.Series([2_932_896, 2_932_897, None]).cast(pl.Date)).to_list()
    [datetime.date(9999, 12, 31), None, None]
    """
    outside = ~whole_days(times).is_between(FIRST_DAY, LAST_DAY)
    return times.set(outside, None) if outside.any() else times


def whole_days(times: pl.Series) -> pl.Series:
    """Return the days from 1970-01-01 to dates or times, also to those that no calendar has.

    >>> whole_days(pl.Series([-1, 2**62]).cast(pl.Datetime("ms"))).to_list()
    [-1, 53375995583]
    """
    units = times.to_physical()
    return units // PER_DAY[times.dtype.time_unit] if isinstance(times.dtype, pl.Datetime) else units


def as_days(dates: pl.Series) -> pl.Series:
    """Return times or ISO 8601 texts as days since 1970-01-01 UTC.

    >>> as_days(pl.Series(["2024-03-05", None, "1970-01-01T06:00Z"])).to_list()
    [19787.0, None, 0.25]
    """
    times = as_times(dates) if dates.dtype == pl.String else dates.cast(UTC)
    return times.dt.epoch("us").cast(pl.Float64) / 86_400_000_000


def date_texts(times: pl.Series) -> pl.Series:
    """Return times in UTC as ISO 8601 texts, without a time of day if it is midnight; see `churnops.dates.date_text`.

    >>> date_texts(as_times(pl.Series(["2024-03-05", "2024-03-05T10:00+02:00"]))).to_list()
    ['2024-03-05', '2024-03-05T08:00:00Z']
    """
    seconds = times.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").str.replace(".000Z", "Z", literal=True)
    return seconds.str.strip_suffix("T00:00:00Z")


def day_or_month_first(text: pl.Series) -> pl.Series:
    """Return which texts begin with a day or a month, such as 05/03/2024."""
    return text.str.contains(_DAY_OR_MONTH_FIRST)
