"""Facts on one column, counted over all rows."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any, Literal

import polars as pl

from churnops.data.cell_text import as_numbers, as_times, in_calendar, without_unit
from churnops.data.units import UNIT, units_of
from churnops.discovery.counts import TextCounts
from churnops.schema import Encoding

MAX_LEVELS = 10_000
"""Number of distinct texts of a column that are kept, the most frequent ones."""
MAX_NO_TIMES = 100
"""Number of distinct texts that are no dates, beyond which dates are no longer looked for."""
_ZERO_FIRST = r"^\s*0\d+\s*$"


def is_unsupported(dtype: pl.DataType) -> bool:
    """Whether no kind of column reads this type.

    >>> is_unsupported(pl.List(pl.Int64())), is_unsupported(pl.String())
    (True, False)
    """
    return dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Time, pl.Duration)


@dataclass(frozen=True)
class Forms:
    """Form of the texts in the files: encoding of a CSV that is not UTF-8, and the marks of numbers."""

    encoding: Encoding = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""


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
        Number of cells that are numbers, also with a unit, and of those that are whole.
    low, high
        Smallest and largest number; infinite without one.
    zero_first
        Number of cells such as 0042.
    units
        Number of cells with each unit, such as € or %.
    times
        Number of cells that are dates or times in any format, or of a time type.
    iso, day_first, month_first
        Number of cells that are dates in the format "iso", and of the others, those in each of the other two formats.
    no_times
        Count of each distinct text that is no date, until there are more than `MAX_NO_TIMES` of them.
    first_time, several_times
        First cell of a time type, and whether another cell differs.
    blanks
        Number of blanks within all texts that are not numbers.
    repeats
        Number of cells whose value occurs earlier in the same batch.
    unsupported
        Whether the cells have a type that no kind of column reads, such as lists.
    """

    header: str
    rows: int = 0
    empty: int = 0
    numbers: int = 0
    whole: int = 0
    low: float = inf
    high: float = -inf
    zero_first: int = 0
    units: Counter[str] = field(default_factory=Counter)
    times: int = 0
    iso: int = 0
    day_first: int = 0
    month_first: int = 0
    no_times: Counter[str] = field(default_factory=Counter)
    first_time: Any = None
    several_times: bool = False
    blanks: int = 0
    repeats: int = 0
    unsupported: bool = False
    _words: TextCounts = field(default_factory=TextCounts)
    _levels: TextCounts = field(default_factory=TextCounts)

    @property
    def filled(self) -> int:
        """Number of cells with a value."""
        return self.rows - self.empty

    @cached_property
    def words(self) -> Counter[str]:
        """Count of each of the `MAX_LEVELS` most frequent texts that are not numbers."""
        return self._words.most_common(MAX_LEVELS)

    @property
    def many_words(self) -> bool:
        """Whether there are more words."""
        return self._words.distinct > MAX_LEVELS

    @cached_property
    def levels(self) -> Counter[str]:
        """Count of each of the `MAX_LEVELS` most frequent texts."""
        return self._levels.most_common(MAX_LEVELS)

    @property
    def many_levels(self) -> bool:
        """Whether there are more levels."""
        return self._levels.distinct > MAX_LEVELS

    @cached_property
    def distinct(self) -> int | None:
        """Number of distinct texts; None if they are too many to be counted."""
        return None if self._levels.ended else self._levels.distinct

    @cached_property
    def repeated_share(self) -> float:
        """Share of the counted cells whose text is a kept level that occurs more than once."""
        return self._levels.share_of_repeated(MAX_LEVELS)

    def finish(self) -> None:
        """Count the dates, after all cells are added."""
        if not self._words.ended:
            self._add_times(*self._words.columns())

    def add(self, cells: pl.Series, forms: Forms) -> None:
        """Add the cells of one batch."""
        self.rows += cells.len()
        if is_unsupported(cells.dtype):
            self.unsupported = True
            self.empty += cells.null_count()
            return
        if cells.dtype.is_temporal():
            self._add_typed_times(cells)
            return
        known = _texts(cells).drop_nulls()
        self.empty += cells.len() - known.len()
        counted = known.value_counts(name="count")
        self.repeats += known.len() - counted.height
        self._add_texts(counted.to_series(0), counted.to_series(1), forms)

    def _add_typed_times(self, cells: pl.Series) -> None:
        self.empty += cells.null_count()
        count = cells.len() - cells.null_count()  # the training run names dates that no calendar has
        self.times += count
        self.iso += count
        known = in_calendar(cells).drop_nulls().cast(pl.Datetime("us")).dt.replace_time_zone(None)
        if known.len():
            self.first_time = known[0] if self.first_time is None else self.first_time
            self.several_times |= bool((known != self.first_time).any())

    def _add_texts(self, texts: pl.Series, counts: pl.Series, forms: Forms) -> None:
        """Add distinct texts with their counts."""
        self._levels.add(texts, counts)
        numbers = _finite_numbers(texts, forms)
        words = numbers.is_null()
        if words.any():
            numbers = numbers.fill_null(_finite_numbers(without_unit(texts, UNIT), forms))
            with_unit = words & numbers.is_not_null()
            for unit, count in zip(units_of(texts.filter(with_unit)), counts.filter(with_unit), strict=True):
                self.units[unit] += count
            words = numbers.is_null()
            self._add_words(texts.filter(words), counts.filter(words))
        self._add_numbers(numbers, counts, texts)

    def _add_numbers(self, numbers: pl.Series, counts: pl.Series, texts: pl.Series) -> None:
        finite = numbers.is_finite().fill_null(value=False)
        if not finite.any():
            return
        numbers, counts = numbers.filter(finite), counts.filter(finite)
        self.numbers += int(counts.sum())
        self.whole += int(counts.filter(numbers == numbers.floor()).sum())
        self.low = min(self.low, float(numbers.min()))  # type: ignore[arg-type]
        self.high = max(self.high, float(numbers.max()))  # type: ignore[arg-type]
        self.zero_first += int(counts.filter(texts.filter(finite).str.contains(_ZERO_FIRST)).sum())

    def _add_words(self, words: pl.Series, counts: pl.Series) -> None:
        self.blanks += int((words.str.count_matches(" ", literal=True) * counts).sum())
        if self._words.ended:
            self._add_times(words, counts)
            return
        self._words.add(words, counts)
        if self._words.ended:  # so far, dates were left for the end, because texts repeat
            self._add_times(*self._words.columns())

    def _add_times(self, words: pl.Series, counts: pl.Series) -> None:
        if len(self.no_times) > MAX_NO_TIMES:
            return
        iso = as_times(words).is_not_null()
        day_first, month_first = (as_times(words, format).is_not_null() & ~iso for format in _FORMATS)
        self.iso += int(counts.filter(iso).sum())
        self.day_first += int(counts.filter(day_first).sum())
        self.month_first += int(counts.filter(month_first).sum())
        times = iso | day_first | month_first
        self.times += int(counts.filter(times).sum())
        others = pl.DataFrame({"text": words, "count": counts}).filter(~times).head(2 * MAX_NO_TIMES)
        for text, count in others.iter_rows():
            self.no_times[text] += count


_FORMATS: tuple[Literal["day_first"], Literal["month_first"]] = ("day_first", "month_first")


def _texts(cells: pl.Series) -> pl.Series:
    """Return cells as the texts that `churnops run` compares with the choices; blank texts become null."""
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        known = cells.drop_nulls()
        if bool((known == known.floor()).all()):
            cells = cells.cast(pl.Int64, strict=False)
    if cells.dtype == pl.Boolean:
        return cells.replace_strict({False: "False", True: "True"}, return_dtype=pl.String)
    texts = cells.cast(pl.String)
    return texts.set(texts.str.strip_chars() == "", None)


def _finite_numbers(texts: pl.Series, forms: Forms) -> pl.Series:
    """Return texts as numbers; null for words, `inf` and `NaN` among them."""
    numbers = as_numbers(texts, forms.decimal, forms.thousands)
    return numbers.set(~numbers.is_finite(), None)
