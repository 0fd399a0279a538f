"""Discover a customer table: survey it, decide on each column, and look for leaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.cell_text import as_days, without_missing
from churnops.data.column_check import broken_cells, check_cells
from churnops.data.dependence import linked_columns
from churnops.data.read import encode, outcomes
from churnops.discovery.described import DescribedColumn, DescribedColumns
from churnops.discovery.facts import Forms
from churnops.discovery.kinds import decide
from churnops.discovery.leaks import Leak, find_leaks
from churnops.discovery.naming import names_of
from churnops.discovery.survey import Survey, survey
from churnops.discovery.target import TargetColumn, find_target
from churnops.errors import DataError
from churnops.schema import Column, Columns, Schema


@dataclass(frozen=True, repr=False)
class Discovery:
    """Facts and decisions about a table.

    Attributes
    ----------
    columns
        Descriptions of all columns but the target, in the order of the table.
    missing
        Texts that mean a missing value.
    leaks
        Columns that contain the outcome or may contain it; the certain ones are left out.
    linked
        Columns that another column determines, each with the name of that column.
    """

    rows: int
    target: TargetColumn
    target_name: str
    columns: tuple[DescribedColumn, ...]
    missing: tuple[str, ...]
    forms: Forms
    leaks: tuple[Leak, ...]
    linked: Mapping[str, str]

    def __repr__(self) -> str:
        used = sum(column.is_input for column in self.columns)
        churned = f"{self.target.churn_rate:.1%} churned by {self.target.header!r}"
        return f"<Discovery {self.rows:,} rows, {churned}; {used} of {len(self.columns)} columns are inputs>"

    @property
    def time(self) -> DescribedColumn | None:
        """Time of the row, if it was named."""
        return next((column for column in self.columns if column.kind == "time"), None)

    def notes(self) -> Mapping[str, str]:
        """Return a short comment for each column that a person should look at, by header."""
        notes = {d.header: f"check: {d.reason}" for d in self.columns if d.check and d.kind}
        names = {d.name: d for d in self.columns}
        notes |= {names[name].header: f"determined by {other}" for name, other in self.linked.items()}
        return notes | {leak.header: f"check: {leak.evidence}" for leak in self.leaks}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "rows": self.rows,
            "target": asdict(self.target) | {"name": self.target_name, "churn_rate": self.target.churn_rate},
            "columns": [asdict(decision) for decision in self.columns],
            "missing": list(self.missing),
            **asdict(self.forms),
            "leaks": [asdict(leak) for leak in self.leaks],
            "determined": dict(self.linked),
        }


def discover(
    paths: Sequence[Path],
    target: str,
    *,
    positive: str | None = None,
    identifier: str | None = None,
    time: str | None = None,
    progress: Callable[[int, float], None] = lambda rows, share: None,
) -> Discovery:
    """Find out what a customer table holds.

    Parameters
    ----------
    paths
        Files that have the same columns; their rows together are the table.
    target, identifier, time
        Headers of the outcome, of the customer's id and of the row's time. An id is looked for if `identifier` is None;
        a time is not.
    positive
        Value of the target that means churned; chosen by its name, or else the rarer one, if None.
    progress
        Is called with the number of rows read and the share of the files.

    Raises
    ------
    DataError
        If a file cannot be read; a header does not exist; the target has not two values; the time is constant or no
        time; or no column can be an input.
    """
    facts = survey(paths, progress)
    outcome = find_target(facts, target, positive)
    decisions = decide(facts, outcome.header, identifier, time)
    name = names_of([column.header for column in facts.columns])[outcome.header]
    columns, churned = _encoded(facts, decisions, outcome, name)
    leaks = find_leaks(facts.sample, columns, churned, decisions.columns)
    certain = {leak.header: leak for leak in leaks if leak.certain}
    described = tuple(
        replace(d, kind=None, choices=(), reason=f"contains the outcome: {certain[d.header].evidence}", check=True)
        if d.header in certain and d.kind not in ("id", "time")
        else d
        for d in decisions.columns
    )
    described = _with_later_dates(described, facts, columns)
    inputs = [d.name for d in described if d.is_input]
    if not inputs:
        raise _without_inputs(described)
    linked = linked_columns({name: columns[name] for name in inputs})
    return Discovery(facts.rows, outcome, name, described, decisions.missing, facts.forms, tuple(leaks), linked)


def _encoded(
    facts: Survey, decisions: DescribedColumns, target: TargetColumn, name: str
) -> tuple[Columns, NDArray[np.float64]]:
    """Return the sample's inputs and outcomes as `churnops run` would read them with these decisions."""
    columns = [
        Column(name=d.name, alias=d.header, kind=d.kind, choices=d.choices, format=d.format, unit=d.unit, nullable=True)
        for d in decisions.columns
        if d.is_input and d.kind
    ]
    if not columns:
        raise _without_inputs(decisions.columns)
    columns.append(Column(name=name, alias=target.header, kind="target", choices=target.choices))
    schema = Schema(columns=tuple(columns), missing=decisions.missing, **asdict(facts.forms))
    table = pl.DataFrame([_readable(facts.sample.get_column(c.alias or c.name), c, schema) for c in columns])
    return encode(table, schema), outcomes(table, schema)


def _with_later_dates(
    described: tuple[DescribedColumn, ...], facts: Survey, columns: Columns
) -> tuple[DescribedColumn, ...]:
    """Mark dates that are after the time of their row: they may be known only after the outcome."""
    time = next((d for d in described if d.kind == "time"), None)
    if time is None:
        return described
    column = Column(name=time.name, alias=time.header, kind="time", format=time.format)
    cells = facts.sample.get_column(time.header)
    at = as_days(check_cells(cells, column, "the table", may_be_null=True)[0]).to_numpy()

    def marked(decision: DescribedColumn) -> DescribedColumn:
        later = float((columns[decision.name] > at).mean()) if decision.kind == "date" else 0.0
        if later == 0.0:
            return decision
        reason = f"is after {time.header!r} in {later:.1%} of the rows: is it known at that time?"
        return replace(decision, reason=reason, check=True)

    return tuple(map(marked, described))


def _readable(cells: pl.Series, column: Column, schema: Schema) -> pl.Series:
    """Return the cells with the type of their kind, and null for those that break a rule, such as an outcome `NA`."""
    cells = without_missing(cells, column, schema)
    broken = broken_cells(cells, column, may_be_null=True, schema=schema)
    sound = cells.zip_with(~broken, cells.clear(cells.len()))
    return check_cells(sound, column, "the table", may_be_null=True, schema=schema)[0].alias(column.name)


def _without_inputs(columns: Sequence[DescribedColumn]) -> DataError:
    reasons = "; ".join(f"{column.header!r} {column.reason}" for column in columns)
    return DataError(f"no column can be an input of a model: {reasons or 'the table has no other column'}")
