"""Facts on every column of raw tables, from one pass over all rows in constant memory.

Only facts: `kinds` decides what they mean.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from churnops.data.batches import headers_of, open_batches, read_batches
from churnops.data.cell_text import BLANKS, as_numbers, in_calendar, without_unit
from churnops.data.dialect import is_utf8
from churnops.data.units import UNIT
from churnops.discovery.facts import ColumnFacts, Forms
from churnops.schema import Encoding

SAMPLE = 50_000
"""Largest number of rows kept for relations between columns, spread evenly over the table."""
FIRST_ROWS = 25_000
"""Number of rows from which the marks of numbers are read."""
MARKED_SHARE = 0.5
"""Share of a column's texts that must have a mark before the mark counts."""
_WITH_COMMA = r"^\s*[+-]?(?:\d+|\d{1,3}(?:[. \x{a0}\x{202f}']\d{3})+),\d+\s*$"
_MARKS = {",": ",", ".": r"\.", " ": BLANKS, "'": "'"}
_GROUPED = {mark: rf"^\s*[+-]?\d{{1,3}}(?:{pattern}\d{{3}})+(?:[.,]\d+)?\s*$" for mark, pattern in _MARKS.items()}
_ONE_COMMA_GROUP = r"^\s*[+-]?\d{1,3},\d{3}\s*$"
_POINT = r"^\s*[+-]?\d*\.\d+\s*$"


@dataclass(frozen=True)
class Survey:
    """Facts on all columns, the form of the texts, and a sample of rows.

    Attributes
    ----------
    sample
        Rows as they are in the files, at most twice `SAMPLE`, spread evenly.
    repeated
        Headers of several columns, which are not read.
    """

    columns: tuple[ColumnFacts, ...]
    forms: Forms
    sample: pl.DataFrame
    rows: int
    repeated: tuple[str, ...] = ()


def survey(paths: Sequence[Path], progress: Callable[[int, float], None] = lambda rows, share: None) -> Survey:
    """Read all rows of the tables once. `progress` is called with the rows read and the share of the files.

    Raises
    ------
    DataError
        If a table cannot be read.
    """
    forms = read_forms(paths)
    facts: dict[str, ColumnFacts] = {}
    sample = _SpreadRows()
    rows = 0
    for number, path in enumerate(paths):
        for batch in read_batches(path, others="all", encoding=forms.encoding):
            table = _without_headers(batch.table)
            for series in table.get_columns():
                column = facts.setdefault(series.name, ColumnFacts(series.name, rows=rows, empty=rows))
                column.add(series, forms)
            rows += table.height
            for column in facts.values():  # a table without this column
                column.empty += rows - column.rows
                column.rows = rows
            sample.add(table)
            progress(rows, (number + batch.share) / len(paths))
    for column in facts.values():
        column.finish()
    repeated = [header for path in paths for header, count in Counter(headers_of(path)).items() if count > 1]
    return Survey(tuple(facts.values()), forms, sample.table(), rows, tuple(dict.fromkeys(repeated)))


def _without_headers(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out rows that repeat the header, as joined CSVs have them. A training run counts them as broken rows."""
    first = table.columns[0]
    if set(table.dtypes) != {pl.String} or not (table[first].str.strip_chars() == first.strip()).any():
        return table
    return table.filter(~pl.all_horizontal(pl.col(name).str.strip_chars() == name.strip() for name in table.columns))


class _SpreadRows:
    """Every k-th row of all batches; k doubles when the sample is full."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._step = 1
        self._next = 0  # rows to leave out until the next one is kept
        self._height = 0

    def add(self, batch: pl.DataFrame) -> None:
        part = batch.slice(self._next).gather_every(self._step)
        times = part.select(pl.selectors.date() | pl.selectors.datetime())
        part = part.with_columns(map(in_calendar, times))
        part = part.with_columns(pl.selectors.datetime(time_zone="*").dt.replace_time_zone(None))
        self._next += part.height * self._step - batch.height
        self._parts.append(part)
        self._height += part.height
        if self._height > 2 * SAMPLE:
            whole = self.table()
            self._parts = [whole.gather_every(2)]
            self._next += self._step if whole.height % 2 else 0
            self._step *= 2
            self._height = self._parts[0].height

    def table(self) -> pl.DataFrame:
        return pl.concat(self._parts, how="diagonal_relaxed")


def read_forms(paths: Sequence[Path]) -> Forms:
    """Detect the encoding from all bytes, and the marks of numbers from the first rows of the first table."""
    texts = [path for path in paths if path.suffix.lower() == ".csv"]
    encoding: Encoding = "utf-8" if all(map(is_utf8, texts)) else "windows-1252"
    first = next(open_batches(paths[0], rows=FIRST_ROWS, others="all", encoding=encoding))
    comma, point, thousands = False, False, Counter[str]()
    for series in first.select(pl.selectors.string()).get_columns():
        known = series.drop_nulls()
        if not known.str.contains(r"\d").any():
            continue
        known = without_unit(known, UNIT)
        plain = as_numbers(known).is_not_null().sum()
        enough = MARKED_SHARE * known.len()
        point |= known.len() > 0 and int(known.str.contains(_POINT).sum()) >= enough
        commas, triples = (int(known.str.contains(pattern).sum()) for pattern in (_WITH_COMMA, _ONE_COMMA_GROUP))
        comma |= commas > triples and commas >= enough
        for mark, pattern in _GROUPED.items():
            count = int(known.str.contains(pattern).sum())
            if count and count + plain + commas >= enough and count >= plain / 100:
                thousands[mark] += count
    decimal: Literal[".", ","] = "," if comma and not point else "."
    marks = [mark for mark, _ in thousands.most_common() if mark != decimal and not (mark == "." and decimal == ".")]
    return Forms(encoding, decimal, marks[0] if marks else "")  # type: ignore[arg-type]
