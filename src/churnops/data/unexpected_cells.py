"""Cells of a table that training did not have: unknown levels of open categories, and empty cells of other columns.

They are scored and counted, batch by batch, and too many of them are refused. Needs no table library, because the
service counts levels without one.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from churnops.data.failure import MAX_EXAMPLE_LENGTH, Failure, such_as
from churnops.schema import Columns, Schema

if TYPE_CHECKING:
    import polars as pl

MIN_ROWS = 100
"""Number of rows from which a table is refused for its unknown levels."""
MAX_SHARE = 0.05
"""Largest share of rows with an unknown level in a column whose levels were all but known in cross-validation; and
of rows with an empty cell in a column that is not nullable."""
FEW_EMPTY = 5
"""Number of empty cells of a column that are accepted whatever their share, unless all cells are empty."""
MAX_EXPECTED = 0.01
"""Share of unknown levels in cross-validation from which they are expected, so that no table is refused for them."""
EXAMPLES = 3
MAX_TEXTS = 1000
"""Number of rows with an unknown level whose texts are read for examples."""
ACCEPT = "`--accept-unknown` (API: `accept_unknown=true`) scores them as other"
"""Remedy for the sender of a file to score."""
ACCEPT_EMPTY = "`--accept-missing {0}` (API: `accept_missing={0}`) scores without it"
DECLARE_NULLABLE = "declare the column `nullable: true` in the schema"


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
class CellCount:
    """Unexpected cells of one column.

    Attributes
    ----------
    examples
        Up to three different cells, cut after 40 characters; none for empty cells and personal columns.
    row
        Number of the first such row, from 1.
    file
        File of this row, in a data set of several files.
    """

    count: int
    examples: tuple[str, ...]
    row: int
    file: str = field(default="", repr=False)

    def merge(self, other: "CellCount") -> "CellCount":
        """Return the sum; `other` has later rows of the same table."""
        examples = tuple(dict.fromkeys((*self.examples, *other.examples)))[:EXAMPLES]
        return replace(self, count=self.count + other.count, examples=examples)


Counts = Mapping[str, CellCount]


@dataclass(frozen=True)
class UnexpectedCells:
    """Unexpected cells of a table, by column.

    Attributes
    ----------
    unknown
        Levels that an open category does not have.
    empty
        Empty cells of required inputs that are not nullable.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> plan = Column(name="plan", kind="category", choices=("gold", "basic"))
    >>> schema = Schema(columns=(plan, Column(name="churn", kind="target", choices=("no", "yes"))))
    >>> import numpy as np, polars as pl
    >>> UnexpectedCells.of(pl.DataFrame({"plan": ["gold", "Platin"]}), {"plan": np.array([0.0, 2.0])}, schema).unknown
    {'plan': CellCount(count=1, examples=('Platin',), row=2)}
    """

    rows: int = 0
    unknown: Counts = field(default_factory=dict)
    empty: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, table: "pl.DataFrame", columns: Columns, schema: Schema, first_row: int = 0) -> Self:
        """Count the unexpected cells of a checked table; `columns` is the table encoded.

        `first_row` is the number of rows above the table in the same file.
        """
        unknown, empty = {}, {}
        for column in schema.inputs:
            if column.name not in columns:
                continue
            codes = columns[column.name]
            if column.is_open and (rows := (codes == column.other).nonzero()[0]).size:
                cells = table.get_column(column.name).gather(rows[:MAX_TEXTS])
                texts = cells.unique(maintain_order=True).head(EXAMPLES)
                examples = () if column.personal else tuple(str(text)[:MAX_EXAMPLE_LENGTH] for text in texts)
                unknown[column.name] = CellCount(int(rows.size), examples, first_row + int(rows[0]) + 1)
            if column.required and not column.nullable and (rows := np.isnan(codes).nonzero()[0]).size:
                empty[column.name] = CellCount(int(rows.size), (), first_row + int(rows[0]) + 1)
        return cls(table.height, unknown, empty)

    def to_json(self) -> dict[str, Any]:
        """Return JSON types for `read`; empty if no cell is unexpected."""
        return asdict(self) if self.unknown or self.empty else {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the counts of `to_json`."""

        def counts(given: Mapping[str, Any]) -> dict[str, CellCount]:
            return {
                name: CellCount(cells["count"], tuple(cells["examples"]), cells["row"]) for name, cells in given.items()
            }

        return cls(document["rows"], counts(document["unknown"]), counts(document["empty"]))

    def in_file(self, name: str) -> "UnexpectedCells":
        """Return the counts of a file of a data set."""
        unknown, empty = ({n: replace(c, file=name) for n, c in of.items()} for of in (self.unknown, self.empty))
        return UnexpectedCells(self.rows, unknown, empty)

    def merge(self, other: "UnexpectedCells") -> "UnexpectedCells":
        """Return the counts of both; `other` has later rows of the same table."""
        unknown, empty = _merged(self.unknown, other.unknown), _merged(self.empty, other.empty)
        return UnexpectedCells(self.rows + other.rows, unknown, empty)

    def unknown_failures(self, schema: Schema, file: str, remedy: str, expected: Mapping[str, float]) -> list[Failure]:
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
                level.file or file,
                schema.by_name[name].full_name,
                "unknown levels",
                f"has the spelling changed? If not, {remedy}: {self._unknown(level)}",
                level.count,
                (level.row,),
                level.examples,
            )
            for name, level in self.unknown.items()
            if self.rows >= MIN_ROWS and level.count > MAX_SHARE * self.rows and expected.get(name, 0.0) < MAX_EXPECTED
        ]

    def empty_failures(
        self, schema: Schema, file: str, accepted: Collection[str] = (), remedy: str = ACCEPT_EMPTY
    ) -> list[Failure]:
        """Return a failure for each column with too many empty cells that is not one of `accepted`.

        In `remedy`, the advice if the cells are rightly empty, `{0}` is the column's name.
        """
        return [
            Failure(
                cells.file or file,
                schema.by_name[name].full_name,
                "missing value",
                f"{self._empty(cells)}; fill them in, or {remedy.format(name)}",
                cells.count,
                (cells.row,),
            )
            for name, cells in self.empty.items()
            if name not in accepted
            and (cells.count == self.rows or cells.count > max(FEW_EMPTY, MAX_SHARE * self.rows))
        ]

    def sentences(self, schema: Schema) -> list[str]:
        """Return a sentence for each column with unexpected cells."""
        return [*self.unknown_sentences(schema), *self.empty_sentences(schema)]

    def unknown_sentences(self, schema: Schema) -> list[str]:
        """Return a sentence for each column with unknown levels."""
        return [
            f"{schema.by_name[name].full_name}: {self._unknown(level)}{such_as(level.examples)}; coded as other"
            for name, level in self.unknown.items()
        ]

    def empty_sentences(self, schema: Schema) -> list[str]:
        """Return a sentence for each column with unexpected empty cells."""
        return [
            f"{schema.by_name[name].full_name}: {self._empty(cells)}, the first is row {cells.row}"
            f"{f' of {cells.file}' if cells.file else ''}; scored without it"
            for name, cells in self.empty.items()
        ]

    def _unknown(self, cells: CellCount) -> str:
        return f"{self._share(cells)} have a level outside its choices"

    def _empty(self, cells: CellCount) -> str:
        return f"{self._share(cells)} have an empty cell, and no training row had one"

    def _share(self, cells: CellCount) -> str:
        return f"{cells.count:,} of {self.rows:,} rows ({cells.count / self.rows:.1%})"


def _merged(earlier: Counts, later: Counts) -> Counts:
    result = dict(earlier)
    for name, cells in later.items():
        result[name] = result[name].merge(cells) if name in result else cells
    return result
