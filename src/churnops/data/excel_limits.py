"""Limits of an Excel workbook, checked before it is loaded.

The library that reads workbooks allocates every cell between the first and the last one. A file of 1 KB with a cell in
the last row and column would take 400 GB. So the largest reference in the file is found first.
"""

import re
import zipfile
import zlib
from pathlib import Path

from churnops.errors import DataError
from churnops.limits import MAX_EXCEL_BYTES, MAX_EXCEL_CELLS, MAX_EXCEL_UNPACKED

MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384
"""Size of a sheet in Excel."""
PIECE = 2**20
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]*)(\d+)""")
_CELL_REFERENCE = re.compile(rb"""\sr\s*=\s*["'][A-Za-z]""")
_ROW = re.compile(rb"<(?:[^\s<>/:]+:)?row(?=[\s/>])")
_CELL = re.compile(rb"<(?:[^\s<>/:]+:)?c(?=[\s/>])")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\0", b"<\0")
"""First bytes of XML that is not UTF-8."""


def check_workbook(path: Path) -> None:
    """Check that a file is a workbook within the limits.

    Raises
    ------
    DataError
        If the file is no workbook, or exceeds the limit of its size, of its unpacked size or of its cells.
    """
    try:
        size = path.stat().st_size
        if size > MAX_EXCEL_BYTES:
            raise DataError(f"{path} has {size >> 20} MiB: at most {MAX_EXCEL_BYTES >> 20} MiB are read{_REMEDY}")
        with zipfile.ZipFile(path) as archive:
            _check_parts(path, archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError):
        raise DataError(f"{path} is not an Excel workbook (.xlsx), or it has a password{_REMEDY}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


_REMEDY = ": save it as CSV"


def _check_parts(path: Path, archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    names = {part.filename.replace("\\", "/").lower() for part in parts}
    if len(names) < len(parts) or "xl/workbook.xml" not in names:
        raise zipfile.BadZipFile
    room, extent = MAX_EXCEL_UNPACKED, _Extent()
    for part in parts:
        part.file_size = 2**62  # the size in the directory may be wrong: read to the end of the data
        with archive.open(part) as file:
            first = True
            while piece := file.read(PIECE):
                room -= len(piece)
                if room < 0:
                    size = f"{MAX_EXCEL_UNPACKED >> 20} MiB"
                    raise DataError(f"{path} has more than {size} when it is decompressed{_REMEDY}")
                if first and piece.startswith(_WIDE) and part.filename.endswith((".xml", ".rels")):
                    raise zipfile.BadZipFile
                first = False
                extent.add(piece, last=False)
            extent.add(b"")
    rows, columns = extent.rows, extent.columns
    if rows > MAX_ROWS or columns > MAX_COLUMNS or rows * columns > MAX_EXCEL_CELLS:
        shape = f"a sheet of up to {rows:,} rows and {columns:,} columns"
        raise DataError(f"{path} has {shape}: at most {MAX_EXCEL_CELLS:,} cells are read{_REMEDY}")


class _Extent:
    """Upper limits of the rows and columns of all sheets of a workbook.

    A row or cell without a reference follows the one before. So if there are any, their number is added to the largest
    reference.

    >>> extent = _Extent()
    >>> extent.add(b'<row r="7"><c r="B7"><v>1</v></c><c r="AA7"/></row>')
    >>> extent.rows, extent.columns
    (7, 27)
    >>> extent.add(b"<row><c/><c/></row>")
    >>> extent.rows, extent.columns
    (9, 29)
    """

    def __init__(self) -> None:
        self._row = 0
        self._column = 0
        self._rows = 0
        self._all_rows_named = True
        self._unnamed = 0  # largest number of cells of a row, if some of its cells have no reference
        self._open = 0  # cells of the row that continues in the next piece
        self._begun = b""

    @property
    def rows(self) -> int:
        """Largest number of rows of a sheet."""
        return self._row + (0 if self._all_rows_named else self._rows)

    @property
    def columns(self) -> int:
        """Largest number of columns of a sheet."""
        return self._column + self._unnamed

    def add(self, piece: bytes, *, last: bool = True) -> None:
        """Add a piece of XML; unless it is the last one, a tag may continue in the next piece."""
        text = self._begun + piece
        end = len(text) if last else text.rfind(b"<")
        end = end if end > 0 and len(text) - end < PIECE else len(text)
        self._begun, text = text[end:], text[:end]
        references = _REFERENCE.findall(text)
        for letters, row in set(references):
            self._row = max(self._row, int(row[:9]))
            self._column = max(self._column, _number(letters[:9]))
        rows, cells = _ROW.split(text), len(_CELL.findall(text))
        named = len(_CELL_REFERENCE.findall(text))
        self._rows += len(rows) - 1
        self._all_rows_named &= len(references) - named >= len(rows) - 1
        counts = [len(_CELL.findall(row)) for row in (rows if cells > named else rows[-1:])]
        if cells > named:
            self._unnamed = max(self._unnamed, self._open + counts[0], *counts)
        self._open = counts[-1] + (self._open if len(rows) == 1 else 0)


def _number(letters: bytes) -> int:
    """Return the number of a column.

    >>> _number(b"A"), _number(b"AA"), _number(b"xfd")
    (1, 27, 16384)
    """
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number
