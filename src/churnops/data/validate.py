"""Step 1: check every raw table against the Schema, and name the failures.

A failure says file, column, rule, how many rows, and the first of them. Nothing is repaired or dropped: a table is
used as it is or not at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from churnops.data.read import read_table, table_paths
from churnops.errors import DataError
from churnops.files import as_text
from churnops.limits import MAX_ERRORS
from churnops.schema import MAX_ID_LENGTH, SEEN_PATTERN, Column, Schema, is_marked
from churnops.step import StepResult

SHOWN = 5
MAX_EXAMPLE_LENGTH = 40
MAX_INTEGER = 2**53  # beyond it a float64 does not hold every whole number


@dataclass(frozen=True)
class Failure:
    """One rule that a file breaks: in `count` rows, the first of them in `rows` (1 is the first after the header)."""

    file: str
    column: str | None
    rule: str
    message: str
    count: int = 1
    rows: tuple[int, ...] = ()
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.file}: column {self.column}: " if self.column else f"{self.file}: "
        rows = ", ".join(map(str, self.rows)) + (", …" if self.count > len(self.rows) else "")
        at = f" (row{'s' if self.count > 1 else ''} {rows})" if self.rows else ""
        given = f", such as {', '.join(dict.fromkeys(map(repr, self.examples)))}" if self.examples else ""
        return f"{where}{self.message}{given}{at}"


@dataclass(frozen=True, kw_only=True)
class ValidatedData(StepResult):
    """The typed raw tables and the typed tables of production, by file, with snake_case columns."""

    raw: Mapping[str, pl.DataFrame]
    production: Mapping[str, pl.DataFrame]


class ValidationError(DataError):
    """The tables break the Schema; `failures` lists the broken rules, 20 at most."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures[:MAX_ERRORS])
        artifacts = _report(self.failures, rows={}, ignored={})
        super().__init__("\n".join(_lines(self.failures)), artifacts=artifacts)

    def below(self, rows: int) -> "ValidationError":
        """Return the error as it reads where `rows` rows of the same file stand above."""
        moved = [replace(failure, rows=tuple(row + rows for row in failure.rows)) for failure in self.failures]
        return ValidationError(moved)


def validate_data(
    raw: Sequence[Path], production: Sequence[Path], schema: Schema, *, minimum_class: int = 1
) -> ValidatedData:
    """Check the raw tables, all labelled, and those of production, where an outcome may be missing.

    Parameters
    ----------
    raw, production
        Files or folders; `production` may be empty.
    minimum_class
        Rows of each outcome that the raw tables need: without both there is nothing to learn.

    Raises
    ------
    DataError
        If a file or folder is not there.
    ValidationError
        With the rules broken by any table, 20 at most.
    """
    required = {column.name for column in schema.columns if column.required and column.kind != "target"}
    training = _check_tables("raw", table_paths(raw), schema, required | {schema.target.name})
    later = _check_tables("production", table_paths(production), schema, required)
    failures = training.failures or _check_together(training.tables, schema, minimum_class)
    if failures := [*failures, *later.failures]:
        raise ValidationError(failures)
    rows = {name: table.height for name, table in (training.tables | later.tables).items()}
    return ValidatedData(
        raw=training.tables,
        production=later.tables,
        params={"files": list(rows), "columns": [column.name for column in schema.columns]},
        metrics={
            "raw_rows": sum(table.height for table in training.tables.values()),
            "production_rows": sum(table.height for table in later.tables.values()),
        },
        artifacts=_report([], rows, training.ignored | later.ignored),
    )


@dataclass(frozen=True)
class _Checked:
    """Typed tables, what breaks the Schema, and headers the Schema does not know, each by file."""

    tables: dict[str, pl.DataFrame]
    failures: list[Failure]
    ignored: dict[str, list[str]]


def _check_tables(group: str, paths: Sequence[Path], schema: Schema, needed: Set[str]) -> _Checked:
    """Read and check each table by itself."""
    checked = _Checked({}, [], {})
    for path in paths:
        if len(checked.failures) >= MAX_ERRORS:
            break
        name = f"{group}/{as_text(Path(path.name))}"
        if name in checked.tables:
            name = as_text(path)
        try:
            raw = read_table(path)
            names = schema.rename(raw.columns)
        except DataError as error:
            checked.failures.append(Failure(name, None, "file", str(error).removeprefix(str(path)).lstrip(": ")))
            continue
        unknown = [header for header in raw.columns if header not in names and not is_marked([header])]
        checked.ignored[name] = unknown
        typed, failures = _check_table(raw.select(list(names)).rename(names), schema, name, needed, unknown)
        checked.failures.extend(failures)
        checked.tables[name] = typed
    return checked


def check_customers(raw: pl.DataFrame, schema: Schema, name: str, *, keep_outcome: bool = False) -> pl.DataFrame:
    """Check rows to be scored, with snake_case names or raw headers. Only the model's inputs must be there.

    An outcome that came along is left out unchecked, or, with `keep_outcome`, checked where it is known.

    Raises
    ------
    DataError
        If a header occurs twice.
    ValidationError
        With the rules broken, 20 at most.
    """
    names = schema.rename(raw.columns)
    unknown = [header for header in raw.columns if header not in names and not is_marked([header])]
    table = raw.select(list(names)).rename(names)
    if not keep_outcome:
        table = table.drop(schema.target.name, strict=False)
    needed = {column.name for column in schema.model_inputs}
    typed, failures = _check_table(table, schema, name, needed, unknown)
    if failures:
        raise ValidationError(failures)
    return typed


def check_column(raw: pl.Series, column: Column, name: str) -> pl.Series:
    """Check one column of rows to be scored, which the Schema need not declare.

    Raises
    ------
    ValidationError
        With the rules broken, 20 at most.
    """
    typed, failures = _check_column(raw, column, name, column.nullable)
    if failures:
        raise ValidationError(failures)
    return typed


def _check_table(
    table: pl.DataFrame, schema: Schema, file: str, needed: Set[str], unknown: Sequence[str]
) -> tuple[pl.DataFrame, list[Failure]]:
    """Type the columns of one table and list what breaks the Schema.

    `needed` are the columns that must be there, the target among them if outcomes must be known; `unknown` are
    headers that the Schema does not know.
    """
    failures: list[Failure] = []
    typed: list[pl.Series] = []
    present = set(table.columns)
    for column in schema.columns:
        if len(failures) >= MAX_ERRORS:
            break
        if column.name in present:
            may_be_null = column.nullable or (column.kind == "target" and column.name not in needed)
            series, found = _check_column(table.get_column(column.name), column, file, may_be_null)
            typed.append(series)
            failures += found
        elif column.name in needed:
            near = schema.closest_header(column.name, unknown)
            hint = f"; is it {near!r}?" if near else ""
            failures.append(Failure(file, column.full_name, "missing column", f"required column is missing{hint}"))
    return pl.DataFrame(typed), failures


def _check_column(raw: pl.Series, column: Column, file: str, may_be_null: bool) -> tuple[pl.Series, list[Failure]]:
    """Type one column and apply its rules, each to the rows that passed the ones before."""
    failures: list[Failure] = []

    def rule(name: str, bad: pl.Series, message: str) -> None:
        count = int(bad.sum() or 0)
        if count == 0:
            return
        rows = bad.arg_true().head(SHOWN)
        # An id says who the customer is, and reports travel: the row number must do.
        given = [] if column.kind == "id" else raw.gather(rows).drop_nulls().to_list()
        examples = [str(value)[:MAX_EXAMPLE_LENGTH] for value in given]
        failures.append(
            Failure(
                file,
                column.full_name,
                name,
                f"{count} {'value' if count == 1 else 'values'} {message}",
                count,
                tuple(i + 1 for i in rows),
                tuple(examples),
            )
        )

    if raw.dtype.is_float():
        raw = raw.fill_nan(None)  # in a typed table NaN is how a missing number is written
    series = _cast(raw, column)
    if not may_be_null:
        missing = "missing label" if column.kind == "target" else "missing value"
        rule(missing, raw.is_null(), "missing")
    rule("type", raw.is_not_null() & series.is_null(), f"not {_expected(column)}")
    if column.numeric:
        _check_numbers(series, column, rule)
        if column.kind == "integer" and not failures:
            series = series.cast(pl.Int64)
    elif column.choices:
        allowed = f"not one of {', '.join(column.choices[:6])}{', …' if len(column.choices) > 6 else ''}"
        rule("choices", ~series.is_in(list(column.choices)), allowed)
    elif column.kind == "id":
        rule("length", series.str.len_chars() > MAX_ID_LENGTH, f"longer than {MAX_ID_LENGTH} characters")
        rule("blank", ~series.str.contains(SEEN_PATTERN), "blank: leave the cell of a customer without an id empty")
        # PostgreSQL cannot keep it as text.
        rule("characters", series.str.contains("\0", literal=True), "with a NUL character")
    return series.alias(column.name), failures


def _check_numbers(series: pl.Series, column: Column, rule: Callable[[str, pl.Series, str], None]) -> None:
    """Apply the rules of a number or an integer."""
    finite = series.is_finite()
    rule("finite", ~finite, "not finite")
    if column.kind == "integer":
        whole = (series == series.floor()) & (series.abs() <= MAX_INTEGER)
        rule("integer", finite & ~whole, "not whole numbers")
    if column.minimum is not None:
        rule("minimum", finite & (series < column.minimum), f"below the minimum {column.minimum:g}")
    if column.maximum is not None:
        rule("maximum", finite & (series > column.maximum), f"above the maximum {column.maximum:g}")


def _cast(raw: pl.Series, column: Column) -> pl.Series:
    """Bring a column to the type of its kind; what cannot be brought there is null."""
    text = raw.dtype in (pl.String, pl.Categorical, pl.Enum)
    if column.numeric:
        # A Boolean is not a number, though it casts to one.
        if raw.dtype.is_numeric() or text:
            return raw.cast(pl.String if text else raw.dtype).cast(pl.Float64, strict=False)
        return _nothing(raw, pl.Float64())
    if column.kind == "time":
        return _cast_time(raw)
    if raw.dtype == pl.Boolean and column.kind in ("flag", "target"):
        no, yes = column.choices
        return raw.replace_strict({False: no, True: yes}, return_dtype=pl.String)
    if raw.dtype.is_float() and bool((raw.drop_nulls() == raw.drop_nulls().floor()).all()):
        raw = raw.cast(pl.Int64, strict=False)
    return raw.cast(pl.String, strict=False) if text or raw.dtype.is_numeric() else _nothing(raw, pl.String())


def _cast_time(raw: pl.Series) -> pl.Series:
    """Bring times and dates to UTC; a text without an offset is taken as UTC."""
    utc = pl.Datetime("us", "UTC")
    if raw.dtype == pl.String:
        times = raw.str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
        return times.fill_null(raw.str.to_date("%Y-%m-%d", strict=False).cast(utc))
    if raw.dtype == pl.Datetime and raw.dtype.time_zone is None:  # type: ignore[attr-defined]
        return raw.dt.replace_time_zone("UTC").cast(utc)
    return raw.cast(utc) if raw.dtype in (pl.Date, pl.Datetime) else _nothing(raw, utc)


def _nothing(raw: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return only nulls: no value of a column of this type (a list, say) can be what is expected."""
    return pl.Series(raw.name, [None] * raw.len(), dtype=dtype)


def _expected(column: Column) -> str:
    if column.numeric:
        return "a number"
    return "an ISO 8601 time" if column.kind == "time" else "text"


def _check_together(tables: Mapping[str, pl.DataFrame], schema: Schema, minimum_class: int) -> list[Failure]:
    """Check what only shows over all training tables: repeated rows and ids, and the number of outcomes."""
    merged = pl.concat(
        (
            table.with_columns(pl.lit(name).alias(":file"), pl.int_range(1, pl.len() + 1).alias(":row"))
            for name, table in tables.items()
        ),
        how="diagonal",
    )
    everything = [name for name in merged.columns if not name.startswith(":")]
    failures = _repeated(
        merged, everything, "duplicate row", None, "repeating an earlier one: tell customers apart by an id"
    )
    if schema.identifier and schema.identifier.name in everything:
        known = merged.filter(pl.col(schema.identifier.name).is_not_null())
        text = "with the id of an earlier row: a customer stands once"
        failures += _repeated(known, [schema.identifier.name], "duplicate id", schema.identifier.full_name, text)
    target = schema.target
    for choice in target.choices:
        count = int((merged.get_column(target.name) == choice).sum())
        if count < minimum_class:
            text = f"{count} rows are {choice!r}, at least {minimum_class} of each outcome are needed"
            rule = "one class" if count == 0 else "few labels"
            failures.append(Failure("all tables", target.full_name, rule, text, count))
    return failures


def _repeated(merged: pl.DataFrame, names: list[str], rule: str, column: str | None, message: str) -> list[Failure]:
    """List, per file, the rows that have the same values in `names` as an earlier row."""
    repeated = merged.filter(~pl.struct(names).is_first_distinct())
    return [
        Failure(
            str(file),
            column,
            rule,
            f"{group.height} row{'' if group.height == 1 else 's'} {message}",
            group.height,
            tuple(group.get_column(":row").head(SHOWN)),
        )
        for (file,), group in repeated.group_by(":file", maintain_order=True)
    ]


def _lines(failures: Sequence[Failure]) -> list[str]:
    more = [f"the first {MAX_ERRORS} broken rules are listed: there may be more"] if len(failures) == MAX_ERRORS else []
    return [*map(str, failures), *more]


def _report(failures: Sequence[Failure], rows: dict[str, int], ignored: dict[str, list[str]]) -> dict[str, str]:
    """Write the report twice: JSON for machines, text for people."""
    document = {
        "valid": not failures,
        "rows": rows,
        "ignored_columns": ignored,
        "failures": [asdict(failure) for failure in failures],
    }
    lines = _lines(failures) or [f"{n} rows of {file} are valid" for file, n in rows.items()]
    lines += [f"{file}: ignored column {c!r}: it is not in the schema" for file, cs in ignored.items() for c in cs]
    return {
        "validation_report.json": json.dumps(document, indent=2, ensure_ascii=False),
        "validation_report.txt": "\n".join(lines) + "\n",
    }
