"""Read the table in an Excel workbook (.xlsx): the first visible sheet with data, as texts like a CSV."""

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnops.data.excel_limits import check_workbook
from churnops.data.parquet_columns import Others, wanted_columns
from churnops.data.titles import header_of
from churnops.errors import DataError
from churnops.limits import MAX_COLUMNS
from churnops.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 5_000
"""Number of rows that are converted at a time."""
FIRST_ROWS = 20
MAX_EXACT = 1e15
"""Numbers below this are written without an exponent if they are whole: Excel has no other whole numbers."""


def read_excel(path: Path, schema: Schema | None, others: Others) -> "Iterator[tuple[pa.RecordBatch, int, float]]":
    """Yield the rows of the table, each piece with the number of rows before it and the share read.

    Every column is text, and an empty cell is null; dates are ISO 8601 texts. Rows above the header and empty rows are
    left out as in a CSV. See `churnops.data.batches.open_batches` for the parameters.

    Raises
    ------
    DataError
        If the file is no workbook, is encrypted, exceeds a limit, or has no table.
    """
    import pyarrow as pa

    headers, rows, height = _table(path)
    _sheet.cache_clear()
    wanted = wanted_columns(headers, path, schema, others)
    read = [place for place, is_wanted in enumerate(wanted) if is_wanted]
    names = [headers[place] for place in read]
    names = list(dict.fromkeys([*names, *(headers if others == "names" else ())]))
    above = 0
    filled = filter(_any_value, rows)
    while part := list(islice(filled, ROWS)):
        columns = list(zip(*part, strict=True))
        arrays = [pa.array(map(_text, columns[place]), pa.string()) for place in read]
        arrays += [pa.nulls(len(part))] * (len(names) - len(read))
        yield pa.RecordBatch.from_arrays(arrays, names=names), above, min((above + len(part)) / height, 1.0)
        above += len(part)


def headers_of_workbook(path: Path) -> list[str]:
    """Return the headers of the table; they may be repeated."""
    return _table(path)[0]


Row = list[Any]


def _table(path: Path) -> tuple[list[str], Iterator[Row], int]:
    """Return the headers, the rows below them, and the number of rows of the sheet."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    sheet = _sheet(path, status.st_size, status.st_mtime_ns)
    if sheet.width > MAX_COLUMNS:
        raise DataError(f"{path} has {sheet.width} columns: at most {MAX_COLUMNS} are read")
    rows = _rows(path, sheet)
    first = list(islice(rows, 1 + FIRST_ROWS))
    texts = [[_text(value) or "" for value in row] for row in first]
    header = header_of(texts)
    if header is None or sheet.height <= header + 1:
        raise DataError(f"{path} has a header but no rows")
    return texts[header], chain(first[header + 1 :], rows), sheet.height


@lru_cache(maxsize=1)
def _sheet(path: Path, size: int, mtime_ns: int) -> Any:
    """Return the first visible sheet with a cell; kept until its rows are read, because its headers are read before.

    `size` and `mtime_ns` are those of the file, so that a changed file is opened again.
    """
    import python_calamine as calamine

    check_workbook(path)
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        for metadata in workbook.sheets_metadata:
            visible = metadata.visible == calamine.SheetVisibleEnum.Visible
            if visible and metadata.typ == calamine.SheetTypeEnum.WorkSheet:
                sheet = workbook.get_sheet_by_name(metadata.name)
                if sheet.height:
                    return sheet
    except (calamine.CalamineError, OSError) as error:
        raise DataError(f"{path} is not a readable Excel workbook: {str(error).partition(chr(10))[0]}") from None
    except BaseException as error:
        _refuse_panic(error, f"{path} is not a readable Excel workbook")
        raise
    raise DataError(f"{path} has no visible sheet with data")


def _rows(path: Path, sheet: Any) -> Iterator[Row]:
    """Yield the rows of a sheet, whose values are converted here."""
    number = 1
    try:
        for row in sheet.iter_rows():
            yield row
            number += 1
    except BaseException as error:
        _refuse_panic(error, f"{path}: row {number} of the sheet cannot be read: is a number in a date cell no date?")
        raise


def _refuse_panic(error: BaseException, message: str) -> None:
    """Raise a DataError if the error is a panic of Rust, which is no `Exception`."""
    if type(error).__name__ == "PanicException":
        raise DataError(message) from None


def _any_value(row: Row) -> bool:
    """Whether a cell of a row has a value."""
    return any(value != "" for value in row)


def _text(value: Any) -> str | None:
    """Return the value of a cell as the text that a CSV would have; None for an empty cell."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < MAX_EXACT else repr(value)
    return value.isoformat() if isinstance(value, date) else str(value)
