"""Step 1: check every table against the Schema, and list the failures.

A failure names file, column, rule, the number of rows, and the first of them. No value is changed. Rows are left out
only if `max_broken_rows` permits it; otherwise a table is used whole or not at all.
"""

import json
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from churnops.data.cell_text import without_missing
from churnops.data.column_check import broken_cells, check_cells
from churnops.data.failure import Failure
from churnops.data.read import encode, read_table, table_paths
from churnops.data.repeated_rows import repeated_customers, repeated_ids, sentences_on_repeated, together
from churnops.data.skipped import UNDECLARED, Skipped, skipped_files, uninformative_columns
from churnops.data.unexpected_cells import ACCEPT_EMPTY, DECLARE_NULLABLE, UnexpectedCells
from churnops.errors import DataError
from churnops.files import as_text
from churnops.limits import MAX_ERRORS
from churnops.schema import Column, Schema, is_marked
from churnops.step import StepResult


@dataclass(frozen=True, kw_only=True)
class ValidatedData(StepResult):
    """Typed raw and production tables, by file, with snake_case columns; and the files and columns not used."""

    raw: Mapping[str, pl.DataFrame]
    production: Mapping[str, pl.DataFrame]
    skipped: Skipped


class ValidationError(DataError):
    """The tables break the Schema; `failures` lists the broken rules, 20 at most."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures[:MAX_ERRORS])
        artifacts = _report(self.failures, {}, {}, Skipped())
        super().__init__("\n".join(_lines(self.failures)), artifacts=artifacts)

    def __reduce__(self) -> tuple[type, tuple[tuple[Failure, ...]]]:
        """Return how another process makes this error."""
        return type(self), (self.failures,)

    def below(self, rows: int) -> "ValidationError":
        """Return the error with the row numbers of the file, for a batch that follows `rows` other rows."""
        moved = [replace(failure, rows=tuple(row + rows for row in failure.rows)) for failure in self.failures]
        return ValidationError(moved)


def validate_data(
    raw: Sequence[Path],
    production: Sequence[Path],
    schema: Schema,
    *,
    minimum_class: int = 1,
    max_broken_rows: float = 0.0,
    by_time: bool = False,
) -> ValidatedData:
    """Check the raw tables, which need outcomes, and the production tables, which need none.

    Parameters
    ----------
    raw, production
        Files or folders; `production` may be empty.
    minimum_class
        Fewest rows of each outcome that the raw tables need together.
    max_broken_rows
        Largest share of a raw table's rows that may break the Schema, in [0, 1). They are left out, and reported.
    by_time
        Whether the raw tables may have several rows of a customer, at different times.

    Raises
    ------
    DataError
        If a file or folder does not exist.
    ValidationError
        If a table breaks the Schema; if more than 5 % of a raw table's rows have a level that its open category does
        not have; or if a production table has many empty cells in a column that is not nullable. `failures` lists the
        broken rules of all tables, 20 at most.
    """
    required = {column.name for column in schema.columns if column.required and column.kind != "target"}
    training = _check_tables("raw", table_paths(raw), schema, required | {schema.target.name}, max_broken_rows)
    later = _check_tables("production", table_paths(production), schema, required, may_have_gaps=True)
    unknown = {name: _unknown_levels(table, schema) for name, table in training.tables.items()}
    failures = [*training.failures, *_too_unknown(unknown, schema)]
    failures = failures or _check_together(training.tables, schema, minimum_class, by_time=by_time)
    failures += later.failures
    sound = {} if failures else later.tables
    empty = {name: UnexpectedCells.of(table, encode(table, schema), schema) for name, table in sound.items()}
    failures += [f for name, cells in empty.items() for f in cells.empty_failures(schema, name, (), DECLARE_NULLABLE)]
    if failures:
        raise ValidationError(failures)
    rows = {name: table.height for name, table in (training.tables | later.tables).items()}
    ignored = training.ignored | later.ignored
    columns = dict.fromkeys((header for headers in ignored.values() for header in headers), UNDECLARED)
    columns |= uninformative_columns(pl.concat(training.tables.values(), how="diagonal_relaxed"), schema)
    doubtful = _joined(
        training.rows,
        {name: "; ".join(cells.unknown_sentences(schema)) for name, cells in unknown.items() if cells.unknown},
        {name: "; ".join(cells.empty_sentences(schema)) for name, cells in empty.items() if cells.empty},
        sentences_on_repeated(training.tables),
    )
    skipped = Skipped(skipped_files([*raw, *production]), columns, doubtful)
    report = _report([], rows, ignored, skipped)
    return ValidatedData(
        raw=training.tables,
        production=later.tables,
        skipped=skipped,
        params={"files": list(rows), "columns": [column.name for column in schema.columns]},
        metrics={
            "raw_rows": sum(table.height for table in training.tables.values()),
            "production_rows": sum(table.height for table in later.tables.values()),
        },
        artifacts=report,
        summary=report["validation_report.txt"].rstrip(),
    )


def _unknown_levels(table: pl.DataFrame, schema: Schema) -> UnexpectedCells:
    table = table.select(column.name for column in schema.inputs if column.is_open and column.name in table.columns)
    return UnexpectedCells.of(table, encode(table, schema), schema)


def _too_unknown(unknown: Mapping[str, UnexpectedCells], schema: Schema) -> list[Failure]:
    remedy = "add the new levels to its `choices`"
    return [failure for name, cells in unknown.items() for failure in cells.unknown_failures(schema, name, remedy, {})]


def _joined(*sentences: Mapping[str, str]) -> dict[str, str]:
    """Return all sentences on each file as one."""
    names = dict.fromkeys(name for group in sentences for name in group)
    return {name: "; ".join(group[name] for group in sentences if name in group) for name in names}


@dataclass(frozen=True)
class _Checked:
    """Typed tables, failures, headers outside the Schema, and sentences on rows that were left out, each by file."""

    tables: dict[str, pl.DataFrame]
    failures: list[Failure]
    ignored: dict[str, list[str]]
    rows: dict[str, str]


def _check_tables(
    group: str,
    paths: Sequence[Path],
    schema: Schema,
    needed: Set[str],
    max_broken_rows: float = 0.0,
    *,
    may_have_gaps: bool = False,
) -> _Checked:
    """Read and check each table by itself."""
    checked = _Checked({}, [], {}, {})
    for path in paths:
        if len(checked.failures) >= MAX_ERRORS:
            break
        name = f"{group}/{as_text(Path(path.name))}"
        if name in checked.tables:
            name = as_text(path)
        try:
            raw = read_table(path, schema)
            names = schema.rename(raw.columns)
        except DataError as error:
            checked.failures.append(Failure(name, None, "file", str(error).removeprefix(str(path)).lstrip(": ")))
            continue
        unknown = [header for header in raw.columns if header not in names and not is_marked([header])]
        checked.ignored[name] = unknown
        table = raw.select(list(names)).rename(names)
        gaps = schema.by_name if may_have_gaps else ()
        typed, failures = _check_table(table, schema, name, needed, unknown, gaps=gaps)
        if failures and max_broken_rows:
            broken = _broken_rows(table, schema, needed)
            count = int(broken.sum())
            if 0 < count <= max_broken_rows * table.height:
                reasons = "; ".join(failure.without_file for failure in failures)
                checked.rows[name] = f"{count:,} of {table.height:,} rows left out: {reasons}"
                typed, failures = _check_table(table.filter(~broken), schema, name, needed, unknown)
        checked.failures.extend(failures)
        checked.tables[name] = typed
    return checked


def _broken_rows(table: pl.DataFrame, schema: Schema, needed: Set[str]) -> pl.Series:
    """Return which rows break a rule of a column; shape (n,), Boolean."""
    broken = pl.Series("broken", [False], dtype=pl.Boolean).new_from_index(0, table.height)
    for column in schema.columns:
        if column.name in table.columns:
            cells = without_missing(table.get_column(column.name), column, schema)
            may_be_null = _may_be_null(column, needed, ())
            broken |= broken_cells(cells, column, may_be_null=may_be_null, schema=schema)
    return broken


def _may_be_null(column: Column, needed: Set[str], gaps: Collection[str]) -> bool:
    if column.kind == "target":
        return column.name not in needed
    return column.nullable or (column.name in gaps and column.kind not in ("id", "time"))


def check_customers(
    raw: pl.DataFrame,
    schema: Schema,
    name: str,
    *,
    keep_outcome: bool = False,
    may_lack: Collection[str] = (),
    may_have_gaps: bool = False,
) -> pl.DataFrame:
    """Check rows to score, with snake_case names or raw headers. Only the model's inputs are required.

    Parameters
    ----------
    keep_outcome
        Whether an outcome column stays, and its known values are checked. By default it is left out.
    may_lack
        Inputs that the table may lack, or that may be empty; the result then has nulls.
    may_have_gaps
        Whether cells of all inputs may be empty.

    Raises
    ------
    DataError
        If a header occurs twice.
    ValidationError
        If the table breaks the Schema; `failures` lists the broken rules, 20 at most.
    """
    raw = with_absent(raw, schema, may_lack)
    names = schema.rename(raw.columns)
    unknown = [header for header in raw.columns if header not in names and not is_marked([header])]
    table = raw.select(list(names)).rename(names)
    if not keep_outcome:
        table = table.drop(schema.target.name, strict=False)
    needed = {column.name for column in schema.model_inputs}
    advice = f"; {ACCEPT_EMPTY}"
    gaps = schema.by_name if may_have_gaps else may_lack
    typed, failures = _check_table(table, schema, name, needed, unknown, nullable=advice, gaps=gaps)
    if failures:
        raise ValidationError(failures)
    return typed


def with_absent(raw: pl.DataFrame, schema: Schema, names: Collection[str]) -> pl.DataFrame:
    """Return a table with nulls in the named columns of the Schema that it lacks."""
    absent = set(names) - set(schema.rename(raw.columns).values())
    columns = (schema.by_name[name] for name in sorted(absent))
    return raw.with_columns(pl.lit(None, pl.Float64 if c.numeric else pl.String).alias(c.name) for c in columns)


def check_column(raw: pl.Series, column: Column, name: str) -> pl.Series:
    """Check one column of rows to score; the Schema need not declare the column.

    Raises
    ------
    ValidationError
        If a value breaks a rule of the column; `failures` lists the broken rules, 20 at most.
    """
    typed, failures = check_cells(raw, column, name, may_be_null=column.nullable)
    if failures:
        raise ValidationError(failures)
    return typed


def _check_table(
    table: pl.DataFrame,
    schema: Schema,
    file: str,
    needed: Set[str],
    unknown: Sequence[str],
    *,
    nullable: str = "",
    gaps: Collection[str] = (),
) -> tuple[pl.DataFrame, list[Failure]]:
    """Convert the columns of one table to their types, and list the failures.

    Parameters
    ----------
    needed
        The required columns, with the target if outcomes must be known.
    unknown
        Headers outside the Schema.
    nullable
        Advice if a nullable column is missing.
    gaps
        Names of columns whose cells may be empty although they are not nullable.
    """
    failures: list[Failure] = []
    typed: list[pl.Series] = []
    present = set(table.columns)
    for column in schema.columns:
        if len(failures) >= MAX_ERRORS:
            break
        if column.name in present:
            may_be_null = _may_be_null(column, needed, gaps)
            cells = without_missing(table.get_column(column.name), column, schema)
            series, broken = check_cells(cells, column, file, may_be_null=may_be_null, schema=schema)
            typed.append(series)
            failures += broken
        elif column.name in needed:
            near = schema.closest_header(column.name, unknown)
            hint = f"; is it {near!r}? Then rename that header to {column.alias or column.name!r}" if near else ""
            hint += nullable.format(column.name) if column.nullable else ""
            failures.append(Failure(file, column.full_name, "missing column", f"required column is missing{hint}"))
    return pl.DataFrame(typed), failures


def _check_together(
    tables: Mapping[str, pl.DataFrame], schema: Schema, minimum_class: int, *, by_time: bool
) -> list[Failure]:
    """Check all training tables together for repeated rows and ids, and for enough rows of each outcome."""
    merged = together(tables)
    failures = repeated_ids(merged, schema, by_time=by_time) or repeated_customers(merged)
    target = schema.target
    for choice in target.choices:
        count = int((merged.get_column(target.name) == choice).sum())
        if count < minimum_class:
            text = f"{count} rows have the outcome {choice!r}; at least {minimum_class} of each outcome are needed"
            rule = "one class" if count == 0 else "few labels"
            failures.append(Failure("all tables", target.full_name, rule, text, count))
    return failures


def _lines(failures: Sequence[Failure]) -> list[str]:
    more = [f"the first {MAX_ERRORS} broken rules are listed: there may be more"] if len(failures) == MAX_ERRORS else []
    return [*map(str, failures), *more]


def _report(
    failures: Sequence[Failure], rows: dict[str, int], ignored: dict[str, list[str]], skipped: Skipped
) -> dict[str, str]:
    """Return the report in two forms: JSON for machines, text for people."""
    document = {
        "valid": not failures,
        "rows": rows,
        "ignored_columns": ignored,
        "skipped": asdict(skipped),
        "failures": [asdict(failure) for failure in failures],
    }
    lines = _lines(failures) or [f"{n} rows of {file} are valid" for file, n in rows.items()]
    lines += [f"{file}: ignored column {c!r}: it is not in the schema" for file, cs in ignored.items() for c in cs]
    lines += skipped.sentences()
    return {
        "validation_report.json": json.dumps(document, indent=2, ensure_ascii=False),
        "validation_report.txt": "\n".join(lines) + "\n",
    }
