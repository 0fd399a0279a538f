"""Read raw tables: CSV and Excel as text, so that validation sees the original cells, and Parquet with its types."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.batches import open_batches
from churnops.data.cell_text import as_days, date_texts
from churnops.data.query import QUERY
from churnops.errors import DataError
from churnops.schema import SIMULATED, Column, Columns, Schema

ENDINGS = (".csv", ".parquet", ".xlsx")
"""Endings of the names of files that are read. A folder's queries are not: somebody may keep other SQL there."""


def table_paths(sources: Sequence[Path]) -> list[Path]:
    """Return the tables of `sources`: files, queries, and folders, whose files are sorted.

    Hidden files in a folder are left out, because other programs keep temporary copies there.

    Raises
    ------
    DataError
        If a source does not exist, has another ending, or is a folder without tables.
    """
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            tables = sorted(
                p for p in source.iterdir() if p.suffix.lower() in ENDINGS and p.is_file() and not is_hidden(p)
            )
            if not tables:
                raise DataError(f"{source} holds no .csv, .parquet or .xlsx file")
            paths += tables
        elif not source.exists():
            raise DataError(f"{source} does not exist: put the table there, or correct the path")
        elif source.suffix.lower() not in (*ENDINGS, QUERY):
            raise DataError(
                f"{source} is not a table churnops reads: its name must end in .csv, .parquet, .xlsx or .sql"
            )
        else:
            paths.append(source)
    return list(dict.fromkeys(path.resolve() for path in paths))


def is_hidden(path: Path) -> bool:
    """Whether the name begins with a dot."""
    return path.name.startswith(".")


def read_table(path: Path, schema: Schema | None = None) -> pl.DataFrame:
    """Read a whole file; see `churnops.data.batches.open_batches` for parameters and errors."""
    return pl.concat(open_batches(path, rows=100_000, schema=schema))


def encode(table: pl.DataFrame, schema: Schema) -> Columns:
    """Encode the input columns of a validated table; see `churnops.schema`. Dates may be ISO 8601 texts."""
    return {c.name: _encode(table.get_column(c.name), c) for c in schema.inputs if c.name in table.columns}


def _encode(series: pl.Series, column: Column) -> NDArray[np.float64]:
    codes = as_days(series) if column.kind == "date" else series
    if column.choices:
        codes = series.cast(pl.Enum(column.choices), strict=not column.is_open).to_physical()
    numbers = codes.cast(pl.Float64)
    if column.is_open and numbers.null_count() > series.null_count():
        numbers = numbers.set(numbers.is_null() & series.is_not_null(), column.other)
    return numbers.to_numpy()  # null becomes NaN


def outcomes(table: pl.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Return the target of a validated table: 1 churned, 0 stayed, NaN unknown (or no target column)."""
    if schema.target.name not in table.columns:
        return np.full(table.height, np.nan)
    churned = table.get_column(schema.target.name) == schema.target.choices[1]
    return churned.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def last_of_each(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return a validated table with the last row of each customer; rows without an id all stay.

    A join may repeat a customer, and repeated rows are not independent observations.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="who", kind="id"), Column(name="calls", kind="integer"),
    ...     Column(name="churn", kind="target", choices=("False", "True"))))
    >>> last_of_each(pl.DataFrame({"who": ["ann", None, "ann", None], "calls": [1, 2, 3, 4]}), schema).rows()
    [(None, 2), ('ann', 3), (None, 4)]
    """
    if schema.identifier is None or schema.identifier.name not in table.columns:
        return table
    ids = table.get_column(schema.identifier.name)
    return table.filter(ids.is_null() | ids.is_last_distinct())


def decode(columns: Columns, outcome: NDArray[np.float64], schema: Schema) -> pl.DataFrame:
    """Return encoded customers as a table with snake_case names: the inverse of `encode` and `outcomes`.

    Dates are ISO 8601 texts. A level outside an open category's choices is `Column.other_level`, which is encoded as
    before.

    Parameters
    ----------
    outcome
        Shape (n,): 1 churned, 0 stayed, NaN unknown; the target is the last column.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="calls", kind="integer"), Column(name="churn", kind="target", choices=("False", "True"))))
    >>> decode({"calls": np.array([3.0, np.nan])}, np.array([1.0, np.nan]), schema).rows()
    [(3, 'True'), (None, None)]
    """
    series = [_decode(columns[c.name], c) for c in schema.inputs if c.name in columns]
    return pl.DataFrame([*series, _decode(outcome, schema.target)])


def with_date_texts(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return a validated table with its dates and times as ISO 8601 texts; times keep their microseconds."""
    dates = [column.name for column in schema.inputs if column.kind == "date" and column.name in table.columns]
    texts = [date_texts(table.get_column(name)) for name in dates]
    if schema.time and schema.time.name in table.columns:
        texts.append(table.get_column(schema.time.name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
    return table.with_columns(texts)


def marked(table: pl.DataFrame) -> pl.DataFrame:
    """Add the column that marks every row as simulated."""
    return table.with_columns(pl.lit(value=True).alias(SIMULATED))


def _decode(values: NDArray[np.float64], column: Column) -> pl.Series:
    series = pl.Series(column.name, values).fill_nan(None)
    if column.kind == "date":
        milliseconds = (series * 86_400_000).round().cast(pl.Int64)
        return date_texts(milliseconds.cast(pl.Datetime("ms", "UTC")))
    if column.numeric:
        return series.cast(pl.Int64) if column.kind == "integer" else series
    return pl.Series(column.name, column.levels, dtype=pl.String).gather(series.cast(pl.UInt32))


def to_parquet(columns: Columns) -> bytes:
    """Return encoded columns as the content of a Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(dict(columns)).write_parquet(buffer)
    return buffer.getvalue()
