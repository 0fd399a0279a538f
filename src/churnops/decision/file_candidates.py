"""Candidates for a call list from a file of customers: scored as a whole, explained only if they are listed."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.batches import open_batches
from churnops.decision.candidates import Candidate, Details, explain, in_segment
from churnops.decision.reasons import raising
from churnops.errors import DataError
from churnops.model import Bundle
from churnops.schema import Columns
from churnops.scoring.table import score_table

if TYPE_CHECKING:
    from churnops.journal.segments import Where

PAGE = 5_000


class FileCandidates:
    """The customers of a CSV, Parquet or Excel file.

    Parameters
    ----------
    value_column
        Column that the policy in force names.

    Raises
    ------
    DataError
        If the file cannot be read, breaks the model's Schema, has no customer id, or names a customer twice.
    """

    until: datetime | None = None

    def __init__(self, path: Path, bundle: Bundle, value_column: str | None) -> None:
        identifier = bundle.schema.identifier
        if identifier is None:
            raise DataError(
                f"{path}: cannot list customers without ids: declare the column with the id in the schema (kind: id), "
                "and train again"
            )
        self.source = path.name
        self._bundle = bundle
        parts, ids, rows = [], [], 0
        for batch in open_batches(path, schema=bundle.schema):
            scored = score_table(batch, bundle, str(path), explain=False, first_row=rows)
            if identifier.name not in scored.customers.columns:
                raise DataError(f"{path}: the column {identifier.full_name} with the customers' ids is missing")
            ids += scored.customers.get_column(identifier.name).cast(pl.String).to_list()
            parts.append({**scored.columns, ":probability": scored.prediction.probability})
            rows += batch.height
        self._ids = ids
        self._columns: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._probability = self._columns[":probability"]
        self._check_ids(path)
        known = {} if value_column in bundle.schema.personal else self._columns
        self._value = None if value_column is None else known.get(value_column, np.full(rows, np.nan))
        self.scored = rows
        self.without_value = 0 if self._value is None else int(np.isnan(self._value).sum())

    def pages(self, above: float, lowest: float, where: "Where" = ()) -> Iterator[list[Candidate]]:
        """Yield candidates, see `Candidates`."""
        value = np.ones_like(self._probability) if self._value is None else self._value
        at_risk = self._probability * value
        with np.errstate(invalid="ignore"):
            chosen = np.flatnonzero((at_risk > above) & (self._probability >= lowest))
        if where:
            own = {column.name: self._column(column.name)[chosen] for column, _ in where}
            chosen = chosen[in_segment(own, where)]
        ordered = chosen[np.lexsort((-chosen, value[chosen], at_risk[chosen]))[::-1]]
        for start in range(0, ordered.size, PAGE):
            yield [self._candidate(row) for row in ordered[start : start + PAGE].tolist()]

    def details(self, candidates: Sequence[Candidate]) -> list[Details]:
        """Return the reasons, see `Candidates`. Features have no values if the model reads a personal column."""
        if not candidates:
            return []
        rows = [int(candidate.key) for candidate in candidates]
        columns = {name: self._columns[name][rows] for name in self._bundle.imputer.constants if name in self._columns}
        personal = any(column.personal for column in self._bundle.schema.model_inputs)  # the journal keeps the list
        explained = explain(self._bundle, columns)
        return [Details(raising(reasons), {} if personal else values) for reasons, values in explained]

    def _column(self, name: str) -> NDArray[np.float64]:
        """Return an encoded column, NaN if the file lacks it."""
        return self._columns.get(name, np.full(self.scored, np.nan))

    def _candidate(self, row: int) -> Candidate:
        value = None if self._value is None else float(self._value[row])
        return Candidate(self._ids[row], float(self._probability[row]), value, str(row), 0)

    def _check_ids(self, path: Path) -> None:
        ids = pl.Series(self._ids, dtype=pl.String)
        if ids.null_count():
            raise DataError(f"{path}: {ids.null_count():,} rows have no customer id: a call list needs one in each row")
        if (repeated := len(self._ids) - ids.n_unique()) > 0:
            raise DataError(f"{path}: {repeated:,} rows repeat a customer id: keep one row of each customer")
