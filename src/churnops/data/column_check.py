"""Check the cells of one column: bring them to the type of its kind, and apply its rules."""

import sys
from dataclasses import dataclass, field

import polars as pl

from churnops.data.cell_text import (
    MISSING_WORDS,
    UTC,
    as_levels,
    as_numbers,
    as_times,
    day_or_month_first,
    in_calendar,
    whole_days,
)
from churnops.data.failure import MAX_EXAMPLE_LENGTH, SHOWN, Failure
from churnops.data.units import units_of
from churnops.dates import date_text
from churnops.schema import MAX_ID_LENGTH, SEEN_PATTERN, Column, Schema

MISSING_HINT = " (a missing value is an empty cell, or a text that `schema.missing` lists)"
_DATE_HINTS = {
    "iso": " (write 2024-03-05, or declare `format: day_first` or `month_first`: in 05/03/2024 day and month can be "
    "confused)",
    "day_first": " (`format: day_first` reads 05/03/2024 as 5 March)",
    "month_first": " (`format: month_first` reads 05/03/2024 as May 3)",
}
MAX_INTEGER = 2**53  # beyond it a float64 does not hold every whole number


def check_cells(
    raw: pl.Series, column: Column, file: str, *, may_be_null: bool, schema: Schema | None = None
) -> tuple[pl.Series, list[Failure]]:
    """Return a column with the type of its kind, and the rules that it breaks.

    `schema` gives the marks of numbers in texts; None: a decimal point.
    """
    series, rules = _check(raw, column, file, may_be_null, schema)
    return series, rules.failures


def broken_cells(raw: pl.Series, column: Column, *, may_be_null: bool, schema: Schema) -> pl.Series:
    """Return which cells of a column break a rule; shape (n,), Boolean."""
    _, rules = _check(raw, column, "", may_be_null, schema)
    broken = pl.Series(raw.name, [False], dtype=pl.Boolean).new_from_index(0, raw.len())
    for bad in rules.bad:
        broken |= bad.fill_null(value=False)
    return broken


def _check(
    raw: pl.Series, column: Column, file: str, may_be_null: bool, schema: Schema | None
) -> tuple[pl.Series, "_Rules"]:
    spelled = raw.dtype == pl.String and bool(column.choices) and bool(raw.is_in(list(column.choices)).all())
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)  # in a typed table, NaN means a missing number
    elif raw.dtype == pl.String and column.kind != "id" and not spelled:
        raw = _blank_as_missing(raw, column)
    series = raw if spelled else _cast(raw, column, schema)
    rules = _Rules(raw, column, file)
    if not may_be_null and raw.null_count():
        missing = "missing label" if column.kind == "target" else "missing value"
        rules.apply(missing, raw.is_null(), f"missing: {_remedy(column)}")
    _check_type(raw, series, rules)
    if column.is_number:
        if not _keeps_rules(series, column, raw.dtype):
            _check_numbers(series, rules)
        if column.kind == "integer" and not rules.failures:
            series = series.cast(pl.Int64)
    elif column.choices and not column.is_open and not spelled:
        _check_choices(series, rules)
    elif column.kind == "id":
        rules.apply("length", series.str.len_chars() > MAX_ID_LENGTH, f"longer than {MAX_ID_LENGTH} characters")
        blank = ~series.str.contains(SEEN_PATTERN)
        rules.apply("blank", blank, "blank: if a customer has no id, leave the cell empty")
        # PostgreSQL cannot store the NUL character in text.
        rules.apply("characters", series.str.contains("\0", literal=True), "with a NUL character")
    return series.alias(column.name), rules


@dataclass(frozen=True)
class _Rules:
    """The cells of one column as given, and the rules that they break so far."""

    raw: pl.Series
    column: Column
    file: str
    failures: list[Failure] = field(default_factory=list)
    bad: list[pl.Series] = field(default_factory=list)

    def apply(self, rule: str, bad: pl.Series, message: str) -> None:
        """Add a failure if any row is bad."""
        count = int(bad.sum() or 0)
        if count == 0:
            return
        self.bad.append(bad)
        rows = bad.arg_true().head(SHOWN)
        # Reports are passed on, so of an id or a personal value they contain only the row number.
        hidden = self.column.kind == "id" or self.column.personal
        examples = () if hidden else _examples(self.raw.gather(rows).drop_nulls())
        text = f"{count} {'value' if count == 1 else 'values'} {message}"
        numbers = tuple(row + 1 for row in rows)
        self.failures.append(Failure(self.file, self.column.full_name, rule, text, count, numbers, examples))


def _examples(cells: pl.Series) -> tuple[str, ...]:
    """Return cells as short texts; none if Python may lack such values, as for lists and durations."""
    if cells.dtype.is_nested() or cells.dtype == pl.Duration:
        return ()
    if cells.dtype in (pl.Date, pl.Datetime):
        return tuple(map(date_text, whole_days(cells)))
    return tuple(str(value)[:MAX_EXAMPLE_LENGTH] for value in cells.to_list())


def _blank_as_missing(raw: pl.Series, column: Column) -> pl.Series:
    """Return texts; a cell of blanks becomes null, unless blanks are a choice."""
    blank = raw.str.strip_chars() == ""
    if column.choices:
        blank &= ~raw.is_in(list(column.choices))
    return raw.set(blank, None) if blank.any() else raw


def _remedy(column: Column) -> str:
    if column.kind == "target":
        return "every row needs an outcome: fill in the cell, or remove the row"
    return "fill in the cell, or declare the column `nullable: true` in the schema"


def _check_type(raw: pl.Series, series: pl.Series, rules: _Rules) -> None:
    """Apply the rule of the type, with a hint if the cause is known."""
    if series.null_count() == raw.null_count():  # every null of `raw` is one of `series`
        return
    bad = raw.is_not_null() & series.is_null()
    message = f"not {_expected(rules.column)}"
    if raw.dtype == pl.String and bad.any():
        if raw.filter(bad).str.strip_chars().str.to_lowercase().is_in(MISSING_WORDS).any():
            message += MISSING_HINT
        elif rules.column.kind in ("date", "time") and day_or_month_first(raw.filter(bad)).any():
            message += _DATE_HINTS[rules.column.format]
        elif rules.column.is_number and (unit := _other_unit(raw.filter(bad), rules.column)):
            message += f" (a number may have a unit that the column declares: `unit: {unit!r}`)"
        elif rules.column.numeric and raw.filter(bad).str.contains(",", literal=True).any():
            message += " (write 1234.5, without a thousands separator)"
    elif raw.dtype in (pl.Date, pl.Datetime) and rules.column.kind in ("date", "time"):
        message += " in the years 1 to 9999"
    elif raw.dtype.is_nested() or raw.dtype == pl.Duration:
        message += f", but of type {raw.dtype}"
    rules.apply("type", bad, message)


def _other_unit(texts: pl.Series, column: Column) -> str:
    """Return the first unit beside a number that is not the column's; empty if there is none, or it may be personal."""
    if column.personal:
        return ""
    units = units_of(texts).drop_nulls()
    return "" if not units.len() or units[0] == column.unit else str(units[0])


def _keeps_rules(series: pl.Series, column: Column, given: pl.DataType) -> bool:
    """Whether all numbers keep the rules of a number or an integer: mostly known from the smallest and the largest.

    `given` is the type of the column before it was brought to float64. Only a text can then be NaN.
    """
    lowest, highest = series.min(), series.max()
    if not isinstance(lowest, float) or not isinstance(highest, float):
        return True  # there is no number
    limit = MAX_INTEGER if column.kind == "integer" else sys.float_info.max
    lower = -limit if column.minimum is None else max(column.minimum, -limit)
    upper = limit if column.maximum is None else min(column.maximum, limit)
    if not (lower <= lowest and highest <= upper) or (not given.is_numeric() and series.is_nan().any()):
        return False
    return column.kind != "integer" or given.is_integer() or bool((series == series.floor()).all())


def _check_numbers(series: pl.Series, rules: _Rules) -> None:
    """Apply the rules of a number or an integer."""
    column, finite = rules.column, series.is_finite()
    if not finite.all():
        word = rules.raw.dtype == pl.String and series.is_nan().any()
        rules.apply("finite", ~finite, f"not finite{MISSING_HINT if word else ''}")
    if column.kind == "integer":
        whole = (series == series.floor()) & (series >= -MAX_INTEGER) & (series <= MAX_INTEGER)
        rules.apply("integer", finite & ~whole, "not whole numbers")
    if column.minimum is not None:
        rules.apply("minimum", finite & (series < column.minimum), f"below the minimum {column.minimum:g}")
    if column.maximum is not None:
        rules.apply("maximum", finite & (series > column.maximum), f"above the maximum {column.maximum:g}")


def _check_choices(series: pl.Series, rules: _Rules) -> None:
    """Apply the rule of a flag, the target or a closed category."""
    choices = rules.column.choices
    bad = ~series.is_in(list(choices))
    message = f"not one of {', '.join(choices[:6])}{', …' if len(choices) > 6 else ''}"
    if bad.any() and series.filter(bad).str.strip_chars().str.to_lowercase().is_in(MISSING_WORDS).any():
        message += MISSING_HINT
    rules.apply("choices", bad, message)


def _cast(raw: pl.Series, column: Column, schema: Schema | None) -> pl.Series:
    """Bring a column to the type of its kind, with null where that is impossible."""
    text = raw.dtype in (pl.String, pl.Categorical, pl.Enum)
    if column.kind in ("date", "time"):
        return _cast_time(raw, column)
    if column.numeric:
        if text:
            marks = (schema.decimal, schema.thousands) if schema else (".", "")
            return as_numbers(raw.cast(pl.String), *marks, column.unit)
        # A Boolean is not a number, though it casts to one.
        return raw.cast(pl.Float64, strict=False) if raw.dtype.is_numeric() else _nothing(raw, pl.Float64())
    if raw.dtype == pl.Boolean and column.kind in ("flag", "target"):
        no, yes = column.choices
        return raw.replace_strict({False: no, True: yes}, return_dtype=pl.String)
    if raw.dtype.is_float() and bool((raw.drop_nulls() == raw.drop_nulls().floor()).all()):
        raw = raw.cast(pl.Int64, strict=False)
    if not text and not raw.dtype.is_numeric():
        return _nothing(raw, pl.String())
    texts = raw.cast(pl.String, strict=False)
    return as_levels(texts, column) if column.choices else texts


def _cast_time(raw: pl.Series, column: Column) -> pl.Series:
    """Bring times and dates to UTC; one without an offset is taken as UTC. A whole number is a date as 20240305."""
    if raw.dtype in (pl.Date, pl.Datetime):
        raw = in_calendar(raw)
        no_zone = raw.dtype == pl.Datetime and raw.dtype.time_zone is None  # type: ignore[attr-defined]
        return (raw.dt.replace_time_zone("UTC") if no_zone else raw).cast(UTC)
    if raw.dtype.is_numeric():
        whole = raw.cast(pl.Int64, strict=False)
        raw = whole.set((whole != raw).fill_null(value=False), None)
    elif raw.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return _nothing(raw, UTC)
    return as_times(raw.cast(pl.String), column.format)


def _nothing(raw: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return a column of nulls in place of one whose type, such as lists, never suits the column's kind."""
    return pl.Series(raw.name, [None] * raw.len(), dtype=dtype)


def _expected(column: Column) -> str:
    return {"date": "a date", "time": "an ISO 8601 time"}.get(column.kind, "a number" if column.numeric else "text")
