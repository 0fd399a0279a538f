"""Levels of a table that its open categories do not have: counted batch by batch, and too many refused.

Needs no table library, because the service counts levels without one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from churnops.data.failure import MAX_EXAMPLE_LENGTH, Failure
from churnops.schema import Columns, Schema

if TYPE_CHECKING:
    import polars as pl

MIN_ROWS = 100
"""Number of rows from which a table is refused for its unknown levels."""
MAX_SHARE = 0.05
"""Largest share of rows with an unknown level in a column whose levels were all but known in cross-validation."""
MAX_EXPECTED = 0.01
"""Share of unknown levels in cross-validation from which they are expected, so that no table is refused for them."""
EXAMPLES = 3
RULE = "unknown levels"
ACCEPT = "`--accept-unknown` (API: `accept_unknown=true`) scores them as other"
"""Remedy for the sender of a file to score."""


def expected_shares(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the shares of levels unseen in cross-validation, by column; empty for models without them.

    >>> expected_shares({"unseen_levels": {"city": 0.02}}), expected_shares({})
    ({'city': 0.02}, {})
    """
    shares = metrics.get("unseen_levels")
    given = shares if isinstance(shares, Mapping) else {}
    return {str(name): float(share) for name, share in given.items() if isinstance(share, int | float)}


def unknown_columns(columns: Columns, schema: Schema) -> list[list[str]]:
    """Return, for each row of encoded columns, the names of the open categories whose level is unknown."""
    names: list[list[str]] = [[] for _ in next(iter(columns.values()), ())]
    for column in schema.inputs:
        if column.is_open and column.name in columns:
            for row in (columns[column.name] == column.other).nonzero()[0]:
                names[row].append(column.name)
    return names


@dataclass(frozen=True)
class UnknownLevel:
    """Rows of one column with levels outside its choices.

    Attributes
    ----------
    examples
        Up to three such levels, cut after 40 characters.
    row
        Number of the first such row, from 1.
    """

    count: int
    examples: tuple[str, ...]
    row: int

    def merge(self, other: "UnknownLevel") -> "UnknownLevel":
        """Return the sum; `other` has later rows of the same table."""
        examples = tuple(dict.fromkeys((*self.examples, *other.examples)))[:EXAMPLES]
        return UnknownLevel(self.count + other.count, examples, self.row)


@dataclass(frozen=True)
class UnknownLevels:
    """Unknown levels of a table's open categories, by column.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> plan = Column(name="plan", kind="category", choices=("gold", "basic"))
    >>> schema = Schema(columns=(plan, Column(name="churn", kind="target", choices=("no", "yes"))))
    >>> import numpy as np, polars as pl
    >>> UnknownLevels.of(pl.DataFrame({"plan": ["gold", "Platin"]}), {"plan": np.array([0.0, 2.0])}, schema)
    UnknownLevels(rows=2, columns={'plan': UnknownLevel(count=1, examples=('Platin',), row=2)})
    """

    rows: int = 0
    columns: Mapping[str, UnknownLevel] = field(default_factory=dict)

    @classmethod
    def of(cls, table: "pl.DataFrame", columns: Columns, schema: Schema, first_row: int = 0) -> Self:
        """Count the unknown levels of a checked table; `columns` is the table encoded.

        `first_row` is the number of rows above the table in the same file.
        """
        levels = {}
        for column in schema.inputs:
            if column.is_open and column.name in columns:
                rows = (columns[column.name] == column.other).nonzero()[0]
                if rows.size:
                    texts = table.get_column(column.name).gather(rows[:1000]).unique(maintain_order=True).head(EXAMPLES)
                    examples = tuple(str(text)[:MAX_EXAMPLE_LENGTH] for text in texts)
                    levels[column.name] = UnknownLevel(int(rows.size), examples, first_row + int(rows[0]) + 1)
        return cls(table.height, levels)

    def to_json(self) -> dict[str, Any]:
        """Return JSON types for `read`; empty if no level is unknown."""
        return asdict(self) if self.columns else {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the counts of `to_json`."""
        levels = {
            name: UnknownLevel(level["count"], tuple(level["examples"]), level["row"])
            for name, level in document["columns"].items()
        }
        return cls(document["rows"], levels)

    def merge(self, other: "UnknownLevels") -> "UnknownLevels":
        """Return the counts of both; `other` has later rows of the same table."""
        columns = dict(self.columns)
        for name, level in other.columns.items():
            columns[name] = columns[name].merge(level) if name in columns else level
        return UnknownLevels(self.rows + other.rows, columns)

    def failures(self, schema: Schema, file: str, remedy: str, expected: Mapping[str, float]) -> list[Failure]:
        """Return a failure for each column with too many unknown levels.

        Parameters
        ----------
        remedy
            Advice if the levels are right.
        expected
            Share of rows whose level the training part of a fold lacked, by column, in [0, 1]; 0 if not given.
        """
        return [
            Failure(
                file,
                schema.by_name[name].full_name,
                RULE,
                f"has the spelling changed? If not, {remedy}: {words}",
                level.count,
                (level.row,),
                level.examples,
            )
            for name, level, words in self._shares()
            if self.rows >= MIN_ROWS and level.count > MAX_SHARE * self.rows and expected.get(name, 0.0) < MAX_EXPECTED
        ]

    def sentences(self, schema: Schema) -> list[str]:
        """Return a sentence for each column with unknown levels."""
        return [
            f"{schema.by_name[name].full_name}: {words}, such as {', '.join(map(repr, level.examples))}; coded as other"
            for name, level, words in self._shares()
        ]

    def _shares(self) -> Iterator[tuple[str, UnknownLevel, str]]:
        for name, level in self.columns.items():
            share = level.count / self.rows
            yield name, level, f"{level.count:,} of {self.rows:,} rows ({share:.1%}) have a level outside its choices"
