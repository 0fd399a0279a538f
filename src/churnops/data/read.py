"""Read raw tables: CSV as text, so that validation sees what the file says, and Parquet with its types."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.batches import open_batches
from churnops.errors import DataError
from churnops.schema import Columns, Schema

ENDINGS = (".csv", ".parquet")


def table_paths(sources: Sequence[Path]) -> list[Path]:
    """Return the CSV and Parquet files that `sources` (files or folders) name, sorted within a folder.

    Raises
    ------
    DataError
        If a source does not exist, has another ending, or is a folder without tables.
    """
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(p for p in source.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not found:
                raise DataError(f"{source} holds no .csv or .parquet file")
            paths += found
        elif not source.exists():
            raise DataError(f"{source} does not exist: put the table there, or change the path in config.yaml")
        elif source.suffix.lower() not in ENDINGS:
            raise DataError(f"{source} is not a table churnops reads: its name must end in .csv or .parquet")
        else:
            paths.append(source)
    return list(dict.fromkeys(path.resolve() for path in paths))


def read_table(path: Path) -> pl.DataFrame:
    """Read one file whole; every column of a CSV is text, empty cells are null.

    Raises
    ------
    DataError
        As `churnops.data.batches.open_batches`, which says what a file means.
    """
    return pl.concat(open_batches(path, rows=100_000))


def encode(table: pl.DataFrame, schema: Schema) -> Columns:
    """Encode the input columns that a validated table has; see `churnops.schema.Column.encode`."""
    columns = {}
    for column in schema.inputs:
        if column.name not in table.columns:
            continue
        series = table.get_column(column.name)
        if not column.numeric:
            series = series.cast(pl.Enum(column.choices)).to_physical()
        columns[column.name] = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return columns


def outcomes(table: pl.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Return the target of a validated table: 1 churned, 0 stayed, NaN not known (or no target column)."""
    if schema.target.name not in table.columns:
        return np.full(table.height, np.nan)
    churned = table.get_column(schema.target.name) == schema.target.choices[1]
    return churned.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def to_parquet(columns: Columns) -> bytes:
    """Return encoded columns as the content of a Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(dict(columns)).write_parquet(buffer)
    return buffer.getvalue()
