"""Data sets: folders of Parquet or CSV files, which may be partitioned as in Hive (`year=2026/month=11/part.parquet`).

A data set is cut into parts, which tasks read independently of each other, in constant memory.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from churnops.data.batches import FileBatch, read_batches
from churnops.data.parquet import read_footer
from churnops.data.parquet_columns import Others
from churnops.data.stored_files import StoredFile, unquoted
from churnops.errors import DataError
from churnops.files import as_text, temporary_folder
from churnops.objects import ObjectStore, at_once
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
    path
        Path of the file; of its head (see `DataSet.with_heads`) if it is in an object store.
    name
        Path below the data set's folder.
    partition
        Columns that the names of its folders add, each with its value; None is a missing value.
    version
        Time of modification in nanoseconds, or the etag of an object.
    store
        Address of the data set if it is in an object store, otherwise empty.
    """

    path: Path
    name: str
    partition: tuple[tuple[str, str | None], ...]
    size: int
    version: int | str
    store: str = ""

    @property
    def address(self) -> str:
        """Path or address, for messages."""
        return f"{self.store}/{self.name}" if self.store else str(self.path)

    @contextmanager
    def rows(self, first: int, end: int | None) -> Iterator[Path]:
        """Yield a file in which these rows can be read; rows in an object store are copied for the block."""
        if not self.store:
            yield self.path
            return
        with temporary_folder() as folder, self.naming(path := folder / self.path.name):
            self.stored().fetch_rows(path, first, end)
            yield path

    def stored(self) -> StoredFile:
        """Return the file as an object; raise `DataError` if it has changed."""
        return StoredFile.of(self.store, self.name, str(self.version))

    @contextmanager
    def naming(self, copy: Path) -> Iterator[None]:
        """Name the file in errors on its copy."""
        try:
            yield
        except DataError as error:
            error.args = (str(error).replace(str(copy), self.address),)
            raise


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
        end = None if self.rows is None else self.first_row + self.rows
        with self.file.rows(self.first_row, end) as path:
            for batch in read_batches(path, rows=rows, schema=schema, others=others, skip=self.first_row, end=end):
                yield FileBatch(self._with_partition(batch.table), batch.first_row, batch.share)

    def _with_partition(self, table: pl.DataFrame) -> pl.DataFrame:
        for name, _ in self.file.partition:
            if name in table.columns:
                raise DataError(
                    f"{self.file.address} has a column {name!r}, and so have its folders: rename one of them"
                )
        return table.with_columns(pl.lit(value, pl.String).alias(name) for name, value in self.file.partition)


@dataclass(frozen=True)
class DataSet:
    """Files of a folder, sorted by name.

    Attributes
    ----------
    folder
        Path of a folder, or an address in an object store.
    ending
        Ending of all names: ".parquet" or ".csv".
    """

    folder: Path | str
    ending: str
    files: tuple[DataFile, ...]

    @classmethod
    def of(cls, folder: Path | str) -> "DataSet":
        """List the tables of a folder and of the folders in it. Names that begin with `.` or `_` are left out.

        Parameters
        ----------
        folder
            Path, or an address in an object store. Nothing but the list is read, see `with_heads`.

        Raises
        ------
        DataError
            If there is no table, there are CSV and Parquet files or different partitions, or it is a Delta table.
        """
        files = list(_files(folder) if isinstance(folder, Path) else _objects(folder))
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
        listed = [(file.name, file.size, file.version) for file in self.files]
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    @contextmanager
    def with_heads(self) -> Iterator["DataSet"]:
        """Yield the data set with heads of its objects, which tell the columns and the parts: footer or first MiB."""
        if isinstance(self.folder, Path):
            yield self
            return
        with temporary_folder() as folder:
            files = [replace(file, path=folder / f"{n}{file.path.suffix}") for n, file in enumerate(self.files)]
            at_once(lambda file: file.stored().fetch_head(file.path), files)
            yield replace(self, files=tuple(files))

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


def _files(folder: Path) -> Iterator[DataFile]:
    for path in _tables(folder.resolve()):
        name, status = path.relative_to(folder.resolve()), path.stat()
        yield DataFile(path, as_text(name), tuple(_partition(name)), status.st_size, status.st_mtime_ns)


def _objects(address: str) -> Iterator[DataFile]:
    """Yield the tables below an address, in the order of `_tables`."""
    for listed in sorted(ObjectStore(address).entries(), key=lambda listed: PurePosixPath(listed.name)):
        name, etag = PurePosixPath(listed.name), unquoted(listed.etag)
        if name.parts[:1] == ("_delta_log",):
            raise _delta_table(address)
        if name.suffix.lower() in FORMATS and not any(part.startswith((".", "_")) for part in name.parts):
            partition = tuple(_partition(name))
            yield DataFile(Path(name.name), listed.name, partition, listed.bytes, etag, address.rstrip("/"))


def _delta_table(folder: Path | str) -> DataError:
    return DataError(f"{folder} is a Delta table, whose files include deleted rows: export it as Parquet first")


def _tables(folder: Path) -> Iterator[Path]:
    if (folder / "_delta_log").exists():
        raise _delta_table(folder)
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            if not path.is_symlink():  # a link may lead back to this folder
                yield from _tables(path)
        elif path.suffix.lower() in FORMATS:
            yield path


def _partition(name: PurePath) -> Iterator[tuple[str, str | None]]:
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
    metadata = _footer(file)
    first = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows and (rows >= PART_ROWS or group == metadata.num_row_groups - 1):
            yield first, rows, round(file.size * rows / metadata.num_rows)
            first, rows = first + rows, 0


def _footer(file: DataFile) -> "pq.FileMetaData":
    import pyarrow as pa

    try:
        with file.naming(file.path):
            return read_footer(file.path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file.address} is not a readable Parquet table: {str(error).partition(chr(10))[0]}") from None
