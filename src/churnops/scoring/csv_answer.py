"""CSV of scored customers, which a spreadsheet may open."""

import io
import json

import polars as pl

from churnops.data.cell_text import PER_DAY
from churnops.schema import WARNINGS
from churnops.scoring.table import with_json_reasons

FORMULA = r"^[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
"""Beginning of a cell that a spreadsheet may read as a formula; the last four are = + - @ of full width."""
_NUMBER = r"^[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?$"
_LAST_DAY = 95_000_000  # days from 1970, after which Polars panics; about 260,000 years


def csv_of(table: pl.DataFrame, *, header: bool = True, safe: bool = False) -> bytes:
    """Return scored customers as CSV: reasons and warnings as JSON, and an empty cell for a date beyond all calendars.

    Parameters
    ----------
    header
        Whether the first line has the names of the columns.
    safe
        Whether to protect spreadsheets, see `without_formulas`.
    """
    table = _in_calendar(_with_json_warnings(with_json_reasons(table)))
    buffer = io.BytesIO()
    (without_formulas(table) if safe else table).write_csv(buffer, include_header=header)
    return buffer.getvalue()


def without_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table without texts and headers that a spreadsheet reads as formulas: an apostrophe precedes them.

    Numbers stay as they are, also those in text columns.

    Examples
    --------
    >>> without_formulas(pl.DataFrame({"@id": ["=1+1", "-1.5", "a=b", None], "rate": [-1.0, 0.0, 1.0, None]})).rows()
    [("'=1+1", -1.0), ('-1.5', 0.0), ('a=b', 1.0), (None, None)]
    """
    texts = [name for name, kind in table.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    cells = pl.col(texts).cast(pl.String)
    formula = cells.str.contains(FORMULA) & ~cells.str.contains(_NUMBER)
    escaped = table.with_columns(pl.when(formula).then("'" + cells).otherwise(cells).name.keep()) if texts else table
    headers = pl.Series(table.columns, dtype=pl.String)
    names: dict[str, str] = {}
    for header in headers.filter(headers.str.contains(FORMULA)):
        name = f"'{header}"
        while name in table.columns or name in names.values():
            name = f"'{name}"
        names[header] = name
    return escaped.rename(names)


def with_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of texts without the apostrophes of `without_formulas`.

    >>> with_formulas(pl.DataFrame({"'@id": ["'=1+1", "'tis", None]})).to_dict(as_series=False)
    {'@id': ['=1+1', "'tis", None]}
    """
    escaped = "^'(" + FORMULA.removeprefix("^") + ")"
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    restored = table.with_columns(pl.col(texts).str.replace(escaped, "$1")) if texts else table
    headers = pl.Series(table.columns, dtype=pl.String)
    return restored.rename(dict(zip(headers, headers.str.replace(escaped, "$1"), strict=True)))


def _with_json_warnings(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with lists of warnings as JSON text, and an empty cell without warnings."""
    if table.schema.get(WARNINGS) != pl.List(pl.String):
        return table
    texts = [json.dumps(lines, ensure_ascii=False) if lines else None for lines in table.get_column(WARNINGS).to_list()]
    return table.with_columns(pl.Series(WARNINGS, texts, dtype=pl.String))


def _in_calendar(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table without dates and times that Polars cannot write."""
    columns = []
    for name, kind in table.schema.items():
        if isinstance(kind, pl.Date | pl.Datetime):
            limit = _LAST_DAY * (1 if isinstance(kind, pl.Date) else PER_DAY[kind.time_unit])
            if limit < 2**63:
                columns.append(pl.when(pl.col(name).to_physical().is_between(-limit, limit)).then(pl.col(name)))
    return table.with_columns(columns) if columns else table
