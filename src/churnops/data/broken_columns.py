"""Broken columns of a table to monitor: the other columns are read, so that one broken feed hides no other change."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from churnops.data.cell_text import without_missing
from churnops.data.column_check import broken_cells, check_cells
from churnops.data.failure import such_as
from churnops.data.validate import ValidationError, check_customers
from churnops.schema import Column, Schema, is_marked

BROKEN = 0.5
"""Share of cells that break a rule from which a column is broken. With a smaller share, the table is refused."""


@dataclass(frozen=True)
class SoundCells:
    """A checked table, with nulls for the cells of broken columns that break a rule.

    `broken` has the reason of each broken column, to follow its name: "is missing", or "cannot be read in 60% ...".
    """

    table: pl.DataFrame
    broken: Mapping[str, str]


def check_sound_cells(raw: pl.DataFrame, schema: Schema, name: str) -> SoundCells:
    """Check customers with outcomes, as `check_customers` does, but tolerate empty cells and broken columns.

    A column is broken if it is required and absent, or if at least half of its cells break a rule.

    Raises
    ------
    DataError
        If a header occurs twice.
    ValidationError
        If a column that is not broken breaks a rule, or more than half of the required inputs are broken: then the file
        is another table.
    """
    try:
        return SoundCells(check_customers(raw, schema, name, keep_outcome=True), {})
    except ValidationError as error:
        repaired, broken = _without_broken_cells(raw, schema)
        unusable = sum(column.name in broken for column in schema.model_inputs)
        if unusable > len(schema.model_inputs) / 2:
            raise
        try:
            table = check_customers(repaired, schema, name, keep_outcome=True, may_have_gaps=True)
        except ValidationError:
            raise error from None
        return SoundCells(table, broken)


def _without_broken_cells(raw: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return a table with nulls for the broken cells of broken columns, and the reason of each broken column."""
    headers = {name: header for header, name in schema.rename(raw.columns).items()}
    declared = set(headers.values())
    unknown = [header for header in raw.columns if header not in declared and not is_marked([header])]
    broken = {}
    for column in schema.inputs:
        if column.name not in headers:
            if column.required:
                near = schema.closest_header(column.name, unknown)
                broken[column.name] = "is missing" + (f"; is it {near!r}?" if near else "")
                raw = raw.with_columns(pl.lit(None, pl.String).alias(column.name))
            continue
        cells = without_missing(raw.get_column(headers[column.name]), column, schema)
        bad = broken_cells(cells, column, may_be_null=column.nullable, schema=schema)
        if bad.any() and bad.sum() >= BROKEN * raw.height:
            broken[column.name] = _reason(cells, bad, column, schema)
            raw = raw.with_columns(cells.zip_with(~bad, cells.clear(raw.height)))
    return raw, broken


def _reason(cells: pl.Series, bad: pl.Series, column: Column, schema: Schema) -> str:
    share = f"{bad.sum() / bad.len():.0%} of the rows"
    _, failures = check_cells(cells.drop_nulls(), column, "", may_be_null=True, schema=schema)
    if failures:
        return f"cannot be read in {share}: {failures[0].message}{such_as(failures[0].examples[:1])}"
    return "is empty" if bad.all() else f"is empty in {share}"
