"""Read a CSV, a Parquet file or a query in batches of rows, in constant memory; an Excel workbook is loaded whole."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from churnops.data.csv_columns import CsvColumns
from churnops.data.dialect import SEPARATORS, DecimalCommas, Dialect, read_dialect, with_readable_headers
from churnops.data.excel import headers_of_workbook, read_excel
from churnops.data.parquet import read_footer, read_parquet
from churnops.data.parquet_columns import Others, readable_columns, wanted_columns
from churnops.data.query import headers_of_query, read_query
from churnops.data.utf8_file import Utf8File
from churnops.errors import DataError
from churnops.limits import MAX_BATCH_BYTES, MAX_BATCH_CELLS, MAX_ROW_BYTES
from churnops.schema import RESERVED, Encoding, Schema

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "parquet", "xlsx", "sql"]
ROWS = 25_000


@dataclass(frozen=True)
class FileBatch:
    """Consecutive rows of a file.

    Attributes
    ----------
    first_row
        Number of the file's rows before `table`.
    share
        Share of the file read so far, in [0, 1].
    """

    table: pl.DataFrame
    first_row: int
    share: float


def open_batches(
    path: Path,
    *,
    rows: int = ROWS,
    format: Format | None = None,
    schema: Schema | None = None,
    others: Others = "names",
    encoding: Encoding = "utf-8",
) -> Iterator[pl.DataFrame]:
    r"""Yield a file's rows in order, in constant memory (but for an Excel workbook).

    Every column of a CSV or workbook is text and an empty cell is null. Blank lines are left out, unless the table
    has a single column. Separator and encoding are detected (`churnops.data.dialect`). Parquet keeps its types.

    Parameters
    ----------
    rows
        Number of rows per batch. The last batch, and batches of long rows, may have fewer.
    format
        Format of the file. If None, the ending of the file's name decides.
    schema
        Schema, if the file should be a customer table. Its headers decide the separator. Numbers may have decimal
        commas if the separator is not a comma.
    others
        What is read of columns outside the Schema. "names": these columns are null. "all": their values too; columns
        that are repeated, whose type cannot be read, or that scoring adds (`schema.RESERVED`) are left out, and U+FFFD
        replaces bytes that are not UTF-8.
        "flat": as "all", without columns that a CSV cannot hold. Without a Schema every column is read.
    encoding
        Encoding of a CSV without a byte-order mark, if there is no Schema, whose encoding is used otherwise.

    Raises
    ------
    DataError
        If the file is empty, damaged, binary, neither UTF-8 nor UTF-16, or not of its format; if it repeats a header or
        has more than 10,000 columns; or if a row exceeds 1 MiB or has more or fewer values than the header. The message
        contains the row if it is known (1 is the first after the header). Earlier batches may have been yielded. See
        `churnops.limits`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "customers.csv")
    ...     _ = path.write_text("state,minutes\nKS,265.1\nNJ,\nOH,161.6\n")
    ...     [batch.rows() for batch in open_batches(path, rows=2)]
    [[('KS', '265.1'), ('NJ', None)], [('OH', '161.6')]]
    """
    batches = read_batches(path, rows=rows, format=format, schema=schema, others=others, encoding=encoding)
    return (batch.table for batch in batches)


def read_batches(
    path: Path,
    *,
    rows: int = ROWS,
    format: Format | None = None,
    schema: Schema | None = None,
    others: Others = "names",
    skip: int = 0,
    end: int | None = None,
    encoding: Encoding = "utf-8",
) -> Iterator[FileBatch]:
    """Yield batches like `open_batches`, each with its position; leave out the first `skip` rows at little cost.

    If `end` is the number of the last row of a row group, nothing after this group is read.
    """
    import pyarrow as pa

    kind = format or path.suffix.lower()[1:]
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        if kind == "xlsx":
            pieces = read_excel(path, schema, others)
        elif kind == "sql":
            pieces = read_query(path, schema, others)
        elif kind == "parquet":
            pieces = read_parquet(path, rows, skip, schema, others, end)
        else:
            pieces = _read_csv(path, schema, others, encoding)
        first = skip
        for table, share in _even(pieces, rows, skip):
            yield FileBatch(table, first, share)
            first += table.height
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_line(error.strerror or error)}") from None
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, csv.Error) as error:
        name = "Parquet" if kind == "parquet" else kind.upper()
        raise DataError(f"{path} is not a readable {name} table: {_line(error)}") from None
    if first == 0:
        raise DataError(f"{path} {'returns' if kind == 'sql' else 'has a header but'} no rows")


def unpacked_bytes(table: pl.DataFrame) -> int:
    """Estimate the bytes of a table's values. A repeated text counts each time.

    >>> unpacked_bytes(pl.DataFrame({"plan": ["gold", "gold"], "calls": [1, 2]}))
    26
    """
    size = 0
    for column in table.get_columns():
        text = column.dtype == pl.String  # Polars counts all memory that a slice of text shares
        size += column.len() + int(column.str.len_bytes().sum()) if text else int(column.estimated_size())
    return size


def count_rows(path: Path, *, format: Format | None = None) -> int | None:
    """Return the number of rows in the footer of a Parquet file; None for another or an unreadable file."""
    import pyarrow as pa

    if (format or path.suffix.lower()[1:]) != "parquet":
        return None
    try:
        return int(read_footer(path).num_rows)
    except (OSError, pa.ArrowException, DataError):
        return None  # reading the rows raises the error


def headers_of(path: Path, *, format: Format | None = None) -> list[str]:
    """Return the names of a file's columns, in order; names may be repeated.

    Raises
    ------
    DataError
        If the file or its header cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        kind = format or path.suffix.lower()[1:]
        if kind == "sql":
            return headers_of_query(path)
        if kind != "parquet":
            return headers_of_workbook(path) if kind == "xlsx" else list(read_dialect(path).headers)
        with pq.ParquetFile(path, metadata=read_footer(path)) as file:
            return list(file.schema_arrow.names)
    except (OSError, pa.ArrowException, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {_line(error)}") from None


def columns_left_out(path: Path, schema: Schema, others: Literal["flat", "all"]) -> list[str]:
    """Return the columns outside the Schema that are not read, because they are repeated or of an unsupported type.

    Columns that scoring adds are not among them, see `replaced_columns`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() != ".parquet":
            headers = headers_of(path)
            read = wanted_columns(headers, path, schema, others)
        else:
            with pq.ParquetFile(path, metadata=read_footer(path)) as file:
                headers = file.schema_arrow.names
                read = [field is not None for field in readable_columns(file, path, schema, others)]
    except (OSError, pa.ArrowException, DataError):
        return []  # reading the rows raises the error
    left_out = (name for name, is_read in zip(headers, read, strict=True) if not is_read and name not in RESERVED)
    return list(dict.fromkeys(left_out))


def replaced_columns(path: Path, schema: Schema, *, format: Format | None = None) -> list[str]:
    """Return the columns of a file to be scored that scoring adds, such as those of an earlier scoring."""
    try:
        headers = headers_of(path, format=format)
    except DataError:
        return []  # reading the rows raises the error
    return [name for name in schema.added if name in headers]


_Pieces = Iterator[tuple["pa.RecordBatch", int, float]]
"""Pieces of a table, each with the number of rows before it and the share of the file read."""


def _even(pieces: _Pieces, rows: int, skip: int) -> Iterator[tuple[pl.DataFrame, float]]:
    """Cut pieces into tables of `rows` rows, or fewer if rows are long; leave out the file's first `skip` rows."""
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
    table.columns = pieces[0].schema.names  # Polars replaces an empty name
    return table


def _read_csv(path: Path, schema: Schema | None, others: Others, encoding: Encoding) -> _Pieces:
    """Read a CSV with one thread, in order, so that an error can contain the row's number."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    dialect = with_readable_headers(path, read_dialect(path, schema, encoding), schema)
    columns = CsvColumns.of(path, dialect, schema, others)
    numbers = DecimalCommas(path, dialect, schema)
    above = 0
    with Utf8File(path, dialect.encoding, dialect.separator) as file:
        try:
            reader = arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    column_names=[*columns.types],
                    skip_rows_after_names=1 + dialect.above,
                    block_size=MAX_ROW_BYTES,
                    use_threads=False,
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=dialect.separator,
                    newlines_in_values=True,
                    ignore_empty_lines=len(dialect.headers) > 1,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=columns.types,
                    include_columns=columns.parsed,
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            size = path.stat().st_size // (2 if dialect.encoding.startswith("utf-16") else 1)
            for number, batch in enumerate(reader, start=1):  # each batch is one block; the file is read ahead
                piece = numbers.as_points(columns.complete(batch), above)
                yield piece, above, min(number * MAX_ROW_BYTES / size, 1.0)
                above += batch.num_rows
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}{_csv_error(str(error), dialect, above)}") from None
        if file.quotes % 2:
            raise DataError(f"{path}: a quote is never closed, or text follows a closing quote")


def _csv_error(text: str, dialect: Dialect, above: int) -> str:
    """Explain an error of Arrow, with the row's number among the rows below the header."""
    match = re.search(r"Row #(\d+)", text)
    row = f"row {int(match[1]) - 1 - dialect.above}" if match else f"a row after row {above}"
    if ragged := re.search(r"Expected (\d+) columns, got (\d+)", text):
        expected, given = ragged.groups()
        counts = f"{row} has {given} value{'' if given == '1' else 's'}, but the header has {expected}"
        if expected == "1":
            return f": {counts}: the first line must hold the names of all columns, and nothing may stand above it"
        return f": {counts} (separated by {SEPARATORS[dialect.separator]})"
    if "UTF8" in text:
        column = re.search(r"column #(\d+)", text)
        where = f" in column {dialect.headers[int(column[1])]!r}" if column else ""
        return f": {row} is not UTF-8 text{where}: save the file as UTF-8"
    if "straddl" in text:
        return f": {row} is longer than {MAX_ROW_BYTES >> 20} MiB, or has a quote that is never closed"
    return f" is not a readable CSV table: {_line(text)}"


def _line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
