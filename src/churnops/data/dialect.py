"""Dialect of a CSV: its encoding, separator, headers and decimal mark."""

import codecs
import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.data.titles import header_of
from churnops.errors import DataError
from churnops.limits import MAX_COLUMNS, MAX_ROW_BYTES
from churnops.schema import Encoding, Schema

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_ROWS = 20
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CODECS = {"utf-8": ("utf-8-sig", "surrogateescape"), "windows-1252": ("windows-1252", "replace")}
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?(?:\r\n|\r|\n)', re.IGNORECASE)
_UNREADABLE = re.compile("[\udc80-\udcff]")
_DECIMAL_COMMA = r"^(\s*[+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?\s*)$"
_DECIMAL_POINT = r"^\s*[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?\s*$"


@dataclass(frozen=True)
class Dialect:
    """Format of a CSV.

    Attributes
    ----------
    encoding
        utf-8, utf-16-le, utf-16-be or windows-1252.
    separator
        Character between two cells of a row.
    headers
        Names of the columns, in order; names may be repeated. A byte that is not UTF-8 is a lone surrogate.
    above
        Number of rows above the header: blank lines, a line such as `sep=;`, and titles and comments.
    """

    encoding: str
    separator: str
    headers: tuple[str, ...]
    above: int


def read_dialect(path: Path, schema: Schema | None = None, encoding: Encoding = "utf-8") -> Dialect:
    r"""Detect the dialect of a CSV from its first MiB.

    A line `sep=;` at the top names the separator. Otherwise the separator that yields the most headers of `schema` is
    taken. If none yields any: the one of comma, semicolon, tab and bar that gives the first 20 rows the length of the
    header. Above the header may be rows of one cell and rows that begin with `#`, if they are shorter than the header.

    Raises
    ------
    DataError
        If the file is binary or has no row below the header; or if the header does not end within the first MiB or has
        more than 10,000 columns.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "customers.csv")
    ...     _ = path.write_text("state;minutes\nKS;265,1\n")
    ...     read_dialect(path)
    Dialect(encoding='utf-8', separator=';', headers=('state', 'minutes'), above=0)
    """
    with path.open("rb") as binary:
        mark = binary.read(3)
    declared = encoding if schema is None else schema.encoding
    plain = declared == "utf-8" or is_utf8(path)
    name = ENCODINGS.get(mark[:2], "utf-8" if plain else declared)
    codec, errors = _CODECS.get(name, ("utf-16", "replace"))
    with path.open(encoding=codec, errors=errors, newline="") as file:
        begin = file.read(MAX_ROW_BYTES)  # with a quote that is never closed, the whole file would be the header
        named = _SEPARATOR_LINE.match(begin)
        text = begin[named.end() :] if named else begin
        separator = named[1] if named else _separator(text, schema)
        if separator not in SEPARATORS:
            raise DataError(
                f"{path}: its first line names the separator {separator!r}, but churnops reads only {_NAMES}"
            )
        above, headers, below = _first_row(text, separator)
        more = bool(file.read(1))
    _check(path, headers, below=below, more=more)
    return Dialect(name, separator, tuple(headers), above + bool(named))


def is_utf8(path: Path) -> bool:
    """Whether all bytes of a file are UTF-8, or it is UTF-16 with a byte-order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return True
        file.seek(0)
        try:
            while data := file.read(2**20):
                decoder.decode(data)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


_NAMES = "commas, semicolons, tabs and bars"


def _first_row(text: str, separator: str) -> tuple[int, list[str], bool]:
    """Return the number of rows above the header, the header's cells, and whether text follows."""
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=separator)
    header = header_of(_rows(text, separator))
    above, cells = next(((number, row) for number, row in enumerate(rows) if number >= (header or 0) and row), (0, []))
    return above, cells, bool(lines.read(1))


def _rows(text: str, separator: str) -> list[list[str]]:
    """Return the first rows, as far as they can be read."""
    rows: list[list[str]] = []
    with suppress(csv.Error):  # the first MiB ends within a quoted cell
        rows.extend(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), 1 + FIRST_ROWS))
    return rows


def _separator(text: str, schema: Schema | None) -> str:
    """Return the separator of a header; a comma if it has none."""
    headers: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        try:
            headers[separator] = _first_row(text, separator)[1]
        except csv.Error:  # a cell is too long: the separator is wrong, or a header is too long
            headers[separator] = []
    if schema is not None:
        known = {separator: len(_known(cells, schema)) for separator, cells in headers.items()}
        best = max(known, key=lambda separator: known[separator])
        if known[best]:
            return best
    possible = [separator for separator, cells in headers.items() if len(cells) > 1]
    return max(possible, key=lambda separator: _agreeing(text, separator), default=",")


def _agreeing(text: str, separator: str) -> int:
    """Return how many of the first rows have as many cells as the header."""
    above, header, _ = _first_row(text, separator)
    return sum(len(row) == len(header) for row in _rows(text, separator)[above:])


def _known(headers: list[str], schema: Schema) -> set[str]:
    return {name for column in schema.columns for name in (column.name, column.alias) if name}.intersection(headers)


def _check(path: Path, headers: list[str], *, below: bool, more: bool) -> None:
    """Refuse a file that is no table. `below`: text follows the header; `more`: the file is longer than 1 MiB."""
    if any("\0" in header for header in headers):
        raise DataError(
            f"{path} is not a CSV file: it holds binary data. If it is UTF-16 text without a byte-order mark, save it "
            "as UTF-8"
        )
    if not below and more:
        raise DataError(f"{path} is not a readable CSV table: its header does not end within {MAX_ROW_BYTES >> 20} MiB")
    if len(headers) > MAX_COLUMNS:
        raise DataError(f"{path} has {len(headers)} columns: at most {MAX_COLUMNS} are read")
    if not below:
        raise DataError(f"{path} {'has a header but no rows' if headers else 'is empty'}")


def with_readable_headers(path: Path, dialect: Dialect, schema: Schema | None) -> Dialect:
    """Return the dialect with U+FFFD in place of bytes that are not UTF-8, in headers outside the Schema.

    Raises
    ------
    DataError
        If there is such a header, and no Schema or a column of the Schema is missing: the header may be that column's.
    """
    unreadable = [_UNREADABLE.search(header) is not None for header in dialect.headers]
    if not any(unreadable):
        return dialect
    given = schema.rename(dialect.headers).values() if schema else ()
    if schema is None or any(column.name not in given for column in schema.model_inputs):
        raise DataError(f"{path} is not a readable CSV table: its header is not UTF-8 text: save it as UTF-8")
    return replace(dialect, headers=tuple(_UNREADABLE.sub("\ufffd", header) for header in dialect.headers))


class DecimalCommas:
    """Reads decimal commas in the number columns of a file whose separator is not a comma."""

    def __init__(self, path: Path, dialect: Dialect, schema: Schema | None) -> None:
        self._path = path
        numbers = {name for c in schema.columns if c.is_number for name in (c.name, c.alias)} if schema else set()
        known = dialect.separator == "," or (schema is not None and (schema.decimal, schema.thousands) != (".", ""))
        given = [] if known else list(enumerate(dialect.headers))  # `as_numbers` reads the Schema's marks
        self._columns = [(position, header) for position, header in given if header in numbers]
        self._first: dict[str, str] = {}

    def as_points(self, batch: "pa.RecordBatch", above: int) -> "pa.RecordBatch":
        """Return the rows with decimal points.

        Parameters
        ----------
        above
            Number of rows before this batch.

        Raises
        ------
        DataError
            If some numbers of the file have a decimal comma and others a decimal point: 1.234 may then mean 1234.
        """
        import pyarrow.compute as pc

        for position, header in self._columns:
            column = batch.column(position)
            commas = pc.match_substring_regex(column, _DECIMAL_COMMA)
            self._note("comma", header, above + pc.index(commas, True).as_py() + 1 if pc.any(commas).as_py() else None)
            points = pc.match_substring_regex(column, _DECIMAL_POINT)
            self._note("point", header, above + pc.index(points, True).as_py() + 1 if pc.any(points).as_py() else None)
            if pc.any(commas).as_py():
                column = pc.replace_substring_regex(column, _DECIMAL_COMMA, r"\1.\2")
                batch = batch.set_column(position, batch.schema.field(position), column)
        return batch

    def _note(self, mark: str, header: str, row: int | None) -> None:
        if row is not None:
            self._first.setdefault(mark, f"a decimal {mark} in row {row} of column {header!r}")
        if len(self._first) == 2:
            raise DataError(
                f"{self._path} has {' and '.join(self._first.values())}: write all numbers with the same decimal mark"
            )
