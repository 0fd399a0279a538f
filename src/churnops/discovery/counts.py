"""Counts of the distinct texts of a column."""

from collections import Counter

import polars as pl

MAX_COUNTED = 50_000
"""Number of distinct texts beyond which the counting ends."""


class TextCounts:
    """Count of each distinct text, over all rows until there are more than `MAX_COUNTED` texts.

    Attributes
    ----------
    ended
        Whether there are more, so that later rows are not counted.
    """

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._size = 0
        self.ended = False

    def add(self, texts: pl.Series, counts: pl.Series) -> None:
        """Add distinct texts with their counts."""
        if self.ended or texts.len() == 0:
            return
        self._parts.append(pl.DataFrame({"text": texts, "count": counts.cast(pl.Int64)}))
        self._size += texts.len()
        if self._size > 2 * MAX_COUNTED:
            self.ended = self._merged().height > MAX_COUNTED

    @property
    def distinct(self) -> int:
        """Number of distinct texts that are counted."""
        return self._merged().height

    def columns(self) -> tuple[pl.Series, pl.Series]:
        """Return the counted texts and their counts."""
        merged = self._merged()
        return merged.get_column("text"), merged.get_column("count")

    def most_common(self, limit: int) -> Counter[str]:
        """Return the most frequent texts, in descending order of frequency, then in alphabetical order."""
        top = self._merged().sort("count", "text", descending=[True, False]).head(limit)
        return Counter(dict(top.iter_rows()))

    def share_of_repeated(self, limit: int) -> float:
        """Return the share of the cells that have one of the most frequent `limit` texts that occur more than once."""
        counts = self._merged().get_column("count")
        top = counts.sort(descending=True).head(limit)
        return float(top.filter(top > 1).sum()) / max(int(counts.sum()), 1)

    def _merged(self) -> pl.DataFrame:
        if len(self._parts) != 1:
            empty = pl.DataFrame(schema={"text": pl.String, "count": pl.Int64})
            self._parts = [pl.concat([empty, *self._parts]).group_by("text").agg(pl.col("count").sum())]
            self._size = self._parts[0].height
        return self._parts[0]
