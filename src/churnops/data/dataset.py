"""Data sets: folders of Parquet or CSV files, which may be partitioned as in Hive (`year=2026/month=11/part.parquet`).

A data set is cut into parts, which tasks read independently of each other, in constant memory.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from churnops.data.batches import FileBatch, read_batches
from churnops.data.parquet import read_footer
from churnops.data.parquet_columns import Others
from churnops.errors import DataError
from churnops.files import as_text
from churnops.schema import Schema

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PART_ROWS = 250_000
"""Rows of a part: whole row groups of a Parquet file, at least one. A CSV file is one part."""
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
FORMATS = (".parquet", ".csv")


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes
    ----------
    name
        Path below the data set's folder.
    partition
        Columns that the names of its folders add, each with its value; None is a missing value.
    """

    path: Path
    name: str
    partition: tuple[tuple[str, str | None], ...]
    size: int
    changed_ns: int


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a file.

    Attributes
    ----------
    number
        Position in the data set.
    rows
        Number of rows; None: all rows from `first_row` on.
    share
        Share of the data set's bytes, in [0, 1].
    """

    number: int
    file: DataFile
    first_row: int
    rows: int | None
    share: float

    def batches(self, rows: int, schema: Schema, others: Others) -> Iterator[FileBatch]:
        """Yield the part in batches with its partition's columns; see `data.batches.read_batches`.

        Raises
        ------
        DataError
            If the file cannot be read, or has a column that the names of its folders add, too.
        """
        left = self.rows
        for batch in read_batches(self.file.path, rows=rows, schema=schema, others=others, skip=self.first_row):
            table = batch.table if left is None else batch.table.head(left)
            yield FileBatch(self._with_partition(table), batch.first_row, batch.share)
            if left is not None:
                left -= table.height
                if left == 0:
                    return

    def _with_partition(self, table: pl.DataFrame) -> pl.DataFrame:
        for name, _ in self.file.partition:
            if name in table.columns:
                raise DataError(f"{self.file.path} has a column {name!r}, and so have its folders: rename one of them")
        return table.with_columns(pl.lit(value, pl.String).alias(name) for name, value in self.file.partition)


@dataclass(frozen=True)
class DataSet:
    """Files of a folder, sorted by name.

    Attributes
    ----------
    ending
        Ending of all names: ".parquet" or ".csv".
    """

    folder: Path
    ending: str
    files: tuple[DataFile, ...]

    @classmethod
    def of(cls, folder: Path) -> "DataSet":
        """List the tables of a folder and of the folders in it. Names that begin with `.` or `_` are left out.

        Raises
        ------
        DataError
            If there is no table, there are CSV and Parquet files or different partitions, or it is a Delta table.
        """
        files = []
        for path in _tables(folder.resolve()):
            name, status = path.relative_to(folder.resolve()), path.stat()
            partition = tuple(_partition(name))
            files.append(DataFile(path, as_text(name), partition, status.st_size, status.st_mtime_ns))
        endings = {file.path.suffix.lower() for file in files}
        if len(endings) != 1:
            both = "holds CSV and Parquet files: use one format" if endings else "holds no .parquet or .csv file"
            raise DataError(f"{folder} {both}")
        first = [name for name, _ in files[0].partition]
        for file in files:
            if [name for name, _ in file.partition] != first:
                raise DataError(
                    f"{folder}: {file.name} is in other partitions than {files[0].name}: give all files the same"
                )
        return cls(folder, endings.pop(), tuple(files))

    @property
    def sha256(self) -> str:
        """Hash of names, sizes and times of modification."""
        listed = [(file.name, file.size, file.changed_ns) for file in self.files]
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    def parts(self) -> list[Part]:
        """Cut the data set into parts. Parquet files without rows have none.

        Raises
        ------
        DataError
            If a Parquet file is damaged, or there is no row.
        """
        total = sum(file.size for file in self.files) or 1
        cuts = [(file, first, rows, size) for file in self.files for first, rows, size in _cuts(file)]
        if not cuts:
            raise DataError(f"{self.folder} holds no rows")
        return [Part(number, *cut[:3], cut[3] / total) for number, cut in enumerate(cuts)]


def _tables(folder: Path) -> Iterator[Path]:
    if (folder / "_delta_log").exists():
        raise DataError(f"{folder} is a Delta table, whose files include deleted rows: export it as Parquet first")
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            if not path.is_symlink():  # a link may lead back to this folder
                yield from _tables(path)
        elif path.suffix.lower() in FORMATS:
            yield path


def _partition(name: Path) -> Iterator[tuple[str, str | None]]:
    """Yield column and value of each folder `column=value` in a path.

    Raises
    ------
    DataError
        If a column occurs twice.
    """
    seen = set()
    for folder in name.parts[:-1]:
        column, is_partition, value = folder.partition("=")
        if is_partition:
            column = unquote(column)
            if column in seen:
                raise DataError(f"{name}: two of its folders have a value of {column!r}")
            seen.add(column)
            yield column, None if value == NULL_PARTITION else unquote(value)


def _cuts(file: DataFile) -> Iterator[tuple[int, int | None, int]]:
    """Yield first row, number of rows and bytes of each part of a file."""
    if file.path.suffix.lower() == ".csv":
        yield 0, None, file.size
        return
    metadata = _footer(file.path)
    first = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows and (rows >= PART_ROWS or group == metadata.num_row_groups - 1):
            yield first, rows, round(file.size * rows / metadata.num_rows)
            first, rows = first + rows, 0


def _footer(path: Path) -> "pq.FileMetaData":
    import pyarrow as pa

    try:
        return read_footer(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet table: {str(error).partition(chr(10))[0]}") from None
