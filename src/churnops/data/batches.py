"""Read a table in batches of rows, in constant memory: the one place that says what a CSV or Parquet file means."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from churnops.data.parquet import read_footer, read_parquet
from churnops.errors import DataError
from churnops.limits import MAX_BATCH_BYTES, MAX_BATCH_CELLS, MAX_COLUMNS, MAX_ROW_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "parquet"]
ROWS = 25_000


@dataclass(frozen=True)
class FileBatch:
    """Consecutive rows of a file: `table`, how many rows stand above it, and the share of the file read (0 to 1)."""

    table: pl.DataFrame
    first_row: int
    share: float


def open_batches(path: Path, *, rows: int = ROWS, format: Format | None = None) -> Iterator[pl.DataFrame]:
    r"""Yield the file's rows in order, `rows` at a time, in constant memory: the last batch, and long rows, are fewer.

    Every column of a CSV is text and an empty cell is null; blank lines are no rows, unless the table has a single
    column. Parquet keeps its types.

    Parameters
    ----------
    format
        What the file is; its ending says so if not given.

    Raises
    ------
    DataError
        If the file is empty, damaged, binary, not UTF-8, not of its format, repeats a header, has more than 10,000
        columns, or has a row with more or fewer values than the header, or of more than 1 MiB; with the row where it is
        known (1 is the first after the header). Rows above it were yielded before. See `churnops.limits`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "customers.csv")
    ...     _ = path.write_text("state,minutes\nKS,265.1\nNJ,\nOH,161.6\n")
    ...     [batch.rows() for batch in open_batches(path, rows=2)]
    [[('KS', '265.1'), ('NJ', None)], [('OH', '161.6')]]
    """
    return (batch.table for batch in read_batches(path, rows=rows, format=format))


def read_batches(path: Path, *, rows: int = ROWS, format: Format | None = None, skip: int = 0) -> Iterator[FileBatch]:
    """Do as `open_batches`, say where each batch stands, and leave out the first `skip` rows, which is quick."""
    import pyarrow as pa

    kind = format or path.suffix.lower()[1:]
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        pieces = read_parquet(path, rows, skip) if kind == "parquet" else _read_csv(path)
        first = skip
        for table, share in _even(pieces, rows, skip):
            yield FileBatch(table, first, share)
            first += table.height
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_line(error.strerror or error)}") from None
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a readable {kind.upper()} table: {_line(error)}") from None
    if first == 0:
        raise DataError(f"{path} has a header but no rows")


def unpacked_bytes(table: pl.DataFrame) -> int:
    """Return about how many bytes the values of a table have, each text counted as often as it stands there.

    >>> unpacked_bytes(pl.DataFrame({"plan": ["gold", "gold"], "calls": [1, 2]}))
    26
    """
    size = 0
    for column in table.get_columns():
        text = column.dtype == pl.String  # its own estimate counts what a slice shares with others
        size += column.len() + int(column.str.len_bytes().sum()) if text else int(column.estimated_size())
    return size


def count_rows(path: Path, *, format: Format | None = None) -> int | None:
    """Return how many rows a Parquet file says it has; None where only reading the file could tell."""
    import pyarrow as pa

    if (format or path.suffix.lower()[1:]) != "parquet":
        return None
    try:
        return int(read_footer(path).num_rows)
    except (OSError, pa.ArrowException, DataError):
        return None  # reading it says what is wrong


_Pieces = Iterator[tuple["pa.RecordBatch", int, float]]
"""A piece of a table, the number of rows above it, and the share of the file read."""


def _even(pieces: _Pieces, rows: int, skip: int) -> Iterator[tuple[pl.DataFrame, float]]:
    """Cut pieces into tables of `rows` rows, or fewer if they are long, leaving out the first `skip` of the file."""
    held: list[pa.RecordBatch] = []
    count, size, share = 0, 0, 0.0
    for piece, above, read in pieces:
        rows = min(rows, max(MAX_BATCH_CELLS // max(piece.num_columns, 1), 1))
        piece = piece.slice(max(skip - above, 0))
        size += piece.nbytes
        if held and size > MAX_BATCH_BYTES:
            yield _to_polars(held), share
            held, count, size = [], 0, piece.nbytes
        share = read
        while piece.num_rows:
            held.append(piece.slice(0, rows - count))
            piece = piece.slice(held[-1].num_rows)
            count += held[-1].num_rows
            if count == rows:
                yield _to_polars(held), share
                held, count, size = [], 0, piece.nbytes
    if held:
        yield _to_polars(held), share


def _to_polars(pieces: "list[pa.RecordBatch]") -> pl.DataFrame:
    import pyarrow as pa

    table = pl.from_arrow(pa.Table.from_batches(pieces))
    assert isinstance(table, pl.DataFrame)
    return table


class _CountedFile(io.FileIO):
    """A file that counts the quotes in what is read: one that is never closed swallows rows."""

    quotes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.quotes += data.count(b'"')
        return data


def _read_csv(path: Path) -> _Pieces:
    """Read a CSV; the number of a bad row is known because one thread reads in order."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    headers, blank = _header(path)
    columns = [str(number) for number in range(len(headers))]  # headers may be empty, which Arrow would replace
    above = 0
    with _CountedFile(path) as file:
        try:
            reader = arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    column_names=columns, skip_rows_after_names=1 + blank, block_size=MAX_ROW_BYTES, use_threads=False
                ),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(headers) > 1),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            size = path.stat().st_size
            for number, batch in enumerate(reader, start=1):  # one batch a block; the file itself is read ahead
                yield batch.rename_columns(headers), above, min(number * MAX_ROW_BYTES / size, 1.0)
                above += batch.num_rows
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}{_csv_error(str(error), headers, above, blank)}") from None
        if file.quotes % 2:
            raise DataError(f"{path}: a quote is never closed, or stands in a value without quotes around it")


def _csv_error(text: str, headers: list[str], above: int, blank: int) -> str:
    """Say what Arrow found, with the row's number among the rows below the header."""
    found = re.search(r"Row #(\d+)", text)
    row = f"row {int(found[1]) - 1 - blank}" if found else f"a row after row {above}"
    if ragged := re.search(r"Expected (\d+) columns, got (\d+)", text):
        expected, given = ragged.groups()
        return f": {row} has {given} value{'' if given == '1' else 's'}, but the header has {expected}"
    if "UTF8" in text:
        column = re.search(r"column #(\d+)", text)
        return f": {row} is not UTF-8 text{f' in column {headers[int(column[1])]!r}' if column else ''}"
    if "straddl" in text:
        return f": {row} is longer than {MAX_ROW_BYTES >> 20} MiB, or has a quote that is never closed"
    return f" is not a readable CSV table: {_line(text)}"


def _header(path: Path) -> tuple[list[str], int]:
    """Return the headers and how many blank lines stand above; refuse binary files and repeated headers."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        begin = file.read(MAX_ROW_BYTES)  # a quote that is never closed would take the whole file for a header
        lines = io.StringIO(begin, newline="")
        blank, headers = next(((n, row) for n, row in enumerate(csv.reader(lines)) if row), (0, []))
        below, more = lines.read(1), file.read(1)
    if any("\0" in header for header in headers):
        raise DataError(f"{path} is not a CSV file: it holds binary data")
    if any("\udc80" <= character <= "\udcff" for character in "".join(headers)):
        raise DataError(f"{path} is not a readable CSV table: its header is not UTF-8 text")
    if not below and more:
        raise DataError(f"{path} is not a readable CSV table: its header does not end within {MAX_ROW_BYTES >> 20} MiB")
    if len(headers) > MAX_COLUMNS:
        raise DataError(f"{path} has {len(headers)} columns: at most {MAX_COLUMNS} are read")
    header, count = Counter(headers).most_common(1)[0] if headers else ("", 0)
    if count > 1:
        raise DataError(f"{path}: header {header!r} stands more than once")
    if not below:
        raise DataError(f"{path} {'has a header but no rows' if headers else 'is empty'}")
    return headers, blank


def _line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
