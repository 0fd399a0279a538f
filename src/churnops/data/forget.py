"""Remove one customer's rows from CSV and Parquet files; everything else in a file stays as it is."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl

from churnops.data.batches import headers_of, open_batches
from churnops.data.dialect import Dialect, read_dialect
from churnops.errors import DataError
from churnops.files import fsync_folder
from churnops.limits import MAX_ROW_BYTES
from churnops.schema import Schema

ROWS = 50_000
WRITTEN = (".csv", ".parquet")
"""Endings of the files from which rows can be removed."""


def count_rows_of(path: Path, schema: Schema, customer: str) -> int:
    """Return the number of a customer's rows in a table; 0 if it has no column of ids.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    header = _id_header(path, schema)
    if header is None:
        return 0
    return sum(int(_is(batch.get_column(header), customer).sum()) for batch in open_batches(path, schema=schema))


def remove_rows_of(
    path: Path, schema: Schema, customer: str, *, before_replacing: Callable[[Path], None] = lambda new: None
) -> int:
    """Remove a customer's rows from a CSV or Parquet file; return their number.

    The new file replaces the old one only if it has all other rows. `before_replacing` is called with it first.

    Raises
    ------
    DataError
        If the file cannot be read, changes meanwhile, or has quotes that leave the ends of its rows unclear.
    """
    header, count = _id_header(path, schema), count_rows_of(path, schema, customer)
    if header is None or count == 0:
        return 0
    before, by_hand = _state(path), DataError(f"{path}: rows of the customer whose ends are unclear: {count:,}")
    with _replacing(path) as new:
        try:
            if path.suffix.lower() == ".parquet":
                _filter_parquet(path, new, header, customer)
            else:
                _filter_csv(path, new, read_dialect(path, schema), header, customer)
        except csv.Error:
            raise by_hand from None
        rows, kept = (sum(batch.height for batch in _batches(file, schema)) for file in (path, new))
        if kept != rows - count or (kept and count_rows_of(new, schema, customer)):
            raise by_hand
        if _state(path) != before:
            raise DataError(f"{path} changed meanwhile: type the command again")
        before_replacing(new)
    return count


def _id_header(path: Path, schema: Schema) -> str | None:
    headers = headers_of(path) if path.suffix.lower() != ".csv" else list(read_dialect(path, schema).headers)
    names = schema.rename(headers)
    return next((h for h, name in names.items() if schema.identifier and name == schema.identifier.name), None)


def _is(ids: pl.Series, customer: str) -> pl.Series:
    """Return which ids are the customer's, as validation reads them: a whole float is a whole number."""
    if ids.dtype.is_float():
        ids = ids.cast(pl.Int64, strict=False)
    return (ids.cast(pl.String, strict=False) == customer).fill_null(value=False)


def _batches(path: Path, schema: Schema) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file that may have none."""
    try:
        yield from open_batches(path, schema=schema)
    except DataError as error:
        if not str(error).endswith("no rows"):
            raise


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file beside `path`, which replaces it at the end, with the same permissions."""
    new = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    try:
        shutil.copyfile(os.devnull, new)
        shutil.copymode(path, new)
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)
        fsync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _filter_parquet(path: Path, new: Path, header: str, customer: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        codec = file.metadata.row_group(0).column(0).compression
        with pq.ParquetWriter(
            new, file.schema_arrow, compression="NONE" if codec == "UNCOMPRESSED" else codec
        ) as writer:
            for batch in file.iter_batches(ROWS):
                ids = pl.from_arrow(batch.column(header))
                assert isinstance(ids, pl.Series)
                writer.write_batch(batch.filter(pa.array((~_is(ids, customer)).to_numpy())))


def _filter_csv(path: Path, new: Path, dialect: Dialect, header: str, customer: str) -> None:
    """Copy the records of other customers as they are, byte by byte."""
    encoding = "latin-1" if dialect.encoding == "windows-1252" else dialect.encoding  # keeps every byte
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    if encoding == "latin-1":
        customer = customer.encode("windows-1252", "replace").decode("latin-1")
    place = dialect.headers.index(header)
    with (
        path.open(encoding=encoding, errors=errors, newline="") as old,
        new.open("w", encoding=encoding, errors=errors, newline="") as target,
    ):
        for number, record in enumerate(_records(old)):
            cells = next(csv.reader([record], delimiter=dialect.separator), [])
            if number <= dialect.above or len(cells) <= place or cells[place] != customer:
                target.write(record)


def _records(file: IO[str]) -> Iterator[str]:
    """Yield the records of a CSV, each with its line ends; a quoted cell may contain line ends."""
    record: list[str] = []
    size, quoted = 0, False
    for line in file:
        record.append(line)
        size += len(line)
        quoted ^= line.count('"') % 2 == 1
        if not quoted:
            yield "".join(record)
            record, size = [], 0
        elif size > MAX_ROW_BYTES:
            raise csv.Error("a quote is never closed")
    if record:
        yield "".join(record)
