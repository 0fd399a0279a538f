"""Facts on every column of raw tables, from one pass over all rows in constant memory.

Only facts: `kinds` decides what they mean.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

import polars as pl

from churnops.data.batches import open_batches, read_batches
from churnops.data.cell_text import as_numbers, as_times
from churnops.data.dialect import is_utf8
from churnops.schema import Encoding

MAX_LEVELS = 10_000
"""Number of distinct texts of a column that are counted."""
SAMPLE = 50_000
"""Largest number of rows kept for relations between columns, spread evenly over the table."""
FIRST_ROWS = 25_000
"""Number of rows from which the marks of numbers are read."""
MARKED_SHARE = 0.5
"""Share of a column's texts that must have a mark before the mark counts."""
_WITH_COMMA = r"^\s*[+-]?(?:\d+|\d{1,3}(?:[. ']\d{3})+),\d+\s*$"
_GROUPED = {mark: rf"^\s*[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+(?:[.,]\d+)?\s*$" for mark in (",", ".", " ", "'")}
_ONE_COMMA_GROUP = r"^\s*[+-]?\d{1,3},\d{3}\s*$"
_POINT = r"^\s*[+-]?\d*\.\d+\s*$"
_ZERO_FIRST = r"^\s*0\d+\s*$"


@dataclass
class ColumnFacts:
    """Counts over all rows of one column.

    Attributes
    ----------
    header
        Header in the file.
    rows, empty
        Number of cells, and of those that are empty or blank.
    numbers, whole
        Number of cells that are numbers, and of those that are whole.
    low, high
        Smallest and largest number; infinite without one.
    zero_first
        Number of cells such as 0042.
    times
        Number of cells that are dates or times in any format, or of a time type.
    iso, day_first, month_first
        Number of cells that are dates in the format "iso", and of the others, those in each of the other two formats.
    no_times
        Count of each distinct text that is no date, if others are; up to `MAX_LEVELS` of them.
    first_time, several_times
        First cell of a time type, and whether another cell differs.
    blanks
        Number of blanks within all texts that are not numbers.
    words
        Count of each distinct text that is not a number, up to `MAX_LEVELS` of them; `many_words` beyond.
    levels
        Count of each distinct text, up to `MAX_LEVELS` of them; `many_levels` beyond.
    repeats
        Number of cells whose value occurs earlier in the same batch.
    nested
        Whether the cells are lists or structs.
    """

    header: str
    rows: int = 0
    empty: int = 0
    numbers: int = 0
    whole: int = 0
    low: float = inf
    high: float = -inf
    zero_first: int = 0
    times: int = 0
    iso: int = 0
    day_first: int = 0
    month_first: int = 0
    no_times: Counter[str] = field(default_factory=Counter)
    first_time: Any = None
    several_times: bool = False
    blanks: int = 0
    words: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    many_words: bool = False
    many_levels: bool = False
    repeats: int = 0
    nested: bool = False

    @property
    def filled(self) -> int:
        """Number of cells with a value."""
        return self.rows - self.empty


@dataclass(frozen=True)
class Forms:
    """Form of the texts in the files: encoding of a CSV that is not UTF-8, and the marks of numbers."""

    encoding: Encoding = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""


@dataclass(frozen=True)
class Survey:
    """Facts on all columns, the form of the texts, and a sample of rows.

    Attributes
    ----------
    sample
        Rows as they are in the files, at most twice `SAMPLE`, spread evenly.
    """

    columns: tuple[ColumnFacts, ...]
    forms: Forms
    sample: pl.DataFrame
    rows: int


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
        for batch in read_batches(path, encoding=forms.encoding):
            for series in batch.table.get_columns():
                column = facts.setdefault(series.name, ColumnFacts(series.name, rows=rows, empty=rows))
                _add(column, series, forms)
            rows += batch.table.height
            for column in facts.values():  # a table without this column
                column.empty += rows - column.rows
                column.rows = rows
            sample.add(batch.table)
            progress(rows, (number + batch.share) / len(paths))
    return Survey(tuple(facts.values()), forms, sample.table(), rows)


class _SpreadRows:
    """Every k-th row of all batches; k doubles when the sample is full."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._step = 1
        self._next = 0  # rows to leave out until the next one is kept
        self._height = 0

    def add(self, batch: pl.DataFrame) -> None:
        part = batch.slice(self._next).gather_every(self._step)
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
    if not texts:
        return Forms()
    first = next(open_batches(texts[0], rows=FIRST_ROWS, encoding=encoding))
    comma, point, thousands = False, False, Counter[str]()
    for series in first.get_columns():
        known = series.drop_nulls()
        enough = MARKED_SHARE * known.len()
        point |= known.len() > 0 and int(known.str.contains(_POINT).sum()) >= enough
        commas, triples = (int(known.str.contains(pattern).sum()) for pattern in (_WITH_COMMA, _ONE_COMMA_GROUP))
        comma |= commas > triples and commas >= enough
        for mark, pattern in _GROUPED.items():
            count = int(known.str.contains(pattern).sum())
            plain = as_numbers(known).is_not_null().sum()
            if count and count + plain + commas >= enough and count >= plain / 100:
                thousands[mark] += count
    decimal: Literal[".", ","] = "," if comma and not point else "."
    marks = [mark for mark, _ in thousands.most_common() if mark != decimal and not (mark == "." and decimal == ".")]
    return Forms(encoding, decimal, marks[0] if marks else "")  # type: ignore[arg-type]


def _add(column: ColumnFacts, cells: pl.Series, forms: Forms) -> None:
    """Add the cells of one batch to the counts."""
    column.rows += cells.len()
    if cells.dtype.is_nested() or cells.dtype in (pl.Binary, pl.Object):
        column.nested = True
        column.empty += cells.null_count()
        return
    if cells.dtype.is_temporal():
        column.empty += cells.null_count()
        known = cells.drop_nulls()
        column.times += known.len()
        column.iso += known.len()
        if known.len():
            column.first_time = known[0] if column.first_time is None else column.first_time
            column.several_times |= bool((known != column.first_time).any())
        return
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
    texts = _texts(cells)
    column.empty += texts.null_count()
    known = texts.drop_nulls()
    if known.len() == 0:
        return
    numbers = as_numbers(known, forms.decimal, forms.thousands).fill_nan(None)
    _add_numbers(column, numbers.drop_nulls(), known)
    words = known.filter(numbers.is_null())
    if words.len():
        _add_times(column, words)
        column.blanks += int(words.str.count_matches(" ", literal=True).sum())
        column.many_words |= _count(column.words, words, full=column.many_words)
    column.many_levels |= _count(column.levels, known, full=column.many_levels)
    column.repeats += known.len() - known.n_unique()


def _add_times(column: ColumnFacts, words: pl.Series) -> None:
    with_digits = words.filter(words.str.contains(r"\d"))
    rest = with_digits.filter(as_times(with_digits).is_null())
    day_first, month_first = (as_times(rest, format).is_not_null() for format in ("day_first", "month_first"))
    dates = day_first | month_first
    column.iso += with_digits.len() - rest.len()
    column.day_first += int(day_first.sum())
    column.month_first += int(month_first.sum())
    column.times += with_digits.len() - rest.len() + int(dates.sum())
    if column.times:
        others = [words.filter(~words.str.contains(r"\d")), rest.filter(~dates)]
        _count(column.no_times, pl.concat(others), full=len(column.no_times) > MAX_LEVELS)


def _texts(cells: pl.Series) -> pl.Series:
    """Return cells as the texts that `churnops run` compares with the choices; blank texts become null."""
    if cells.dtype.is_float() and bool((cells.drop_nulls() == cells.drop_nulls().floor()).all()):
        cells = cells.cast(pl.Int64, strict=False)
    if cells.dtype == pl.Boolean:
        return cells.replace_strict({False: "False", True: "True"}, return_dtype=pl.String)
    texts = cells.cast(pl.String)
    return texts.set(texts.str.strip_chars() == "", None)


def _add_numbers(column: ColumnFacts, numbers: pl.Series, texts: pl.Series) -> None:
    finite = numbers.filter(numbers.is_finite())
    if finite.len() == 0:
        return
    column.numbers += finite.len()
    column.whole += int((finite == finite.floor()).sum())
    column.low = min(column.low, float(finite.min()))  # type: ignore[arg-type]
    column.high = max(column.high, float(finite.max()))  # type: ignore[arg-type]
    column.zero_first += int(texts.str.contains(_ZERO_FIRST).sum())


def _count(counter: Counter[str], texts: pl.Series, *, full: bool) -> bool:
    """Add texts to a counter of at most `MAX_LEVELS` keys; return whether it is full."""
    if full:
        return True
    counts = texts.value_counts()
    for text, count in zip(counts.to_series(0).to_list(), counts.to_series(1).to_list(), strict=True):
        counter[text] += count
        if len(counter) > MAX_LEVELS:
            return True
    return False
