"""Rows of raw tables that equal an earlier row, or have its id."""

from collections.abc import Mapping, Sequence

import polars as pl

from churnops.data.failure import SHOWN, Failure
from churnops.schema import Schema

MAX_REPEATED = 0.1
"""Largest share of training rows that may equal an earlier row. More are refused: copies of training rows among the
held-out rows would make every model look perfect."""


def together(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all tables, by file, with the columns `:file` and `:row`."""
    named = (
        table.with_columns(pl.lit(name).alias(":file"), pl.int_range(1, pl.len() + 1).alias(":row"))
        for name, table in tables.items()
    )
    return pl.concat(named, how="diagonal")


def repeated_ids(merged: pl.DataFrame, schema: Schema, *, by_time: bool) -> list[Failure]:
    """List the rows of `together` with the id of an earlier row; with `by_time`, those of the same time."""
    identifier, time = schema.identifier, schema.time
    if identifier is None or identifier.name not in merged.columns:
        return []
    keys, text = [identifier.name], "with the id of an earlier row: keep one row per customer"
    if time and time.name in merged.columns:
        if by_time:
            keys.append(time.name)
            text = f"with the id and {time.name} of an earlier row: keep one row per customer and time"
        else:
            text += ", or set evaluation.split: time if they are of different times"
    known = merged.filter(pl.col(identifier.name).is_not_null())
    return _repeated(known, keys, "duplicate id", identifier.full_name, text)


def repeated_customers(merged: pl.DataFrame) -> list[Failure]:
    """List the rows of `together` that equal an earlier row in all columns, if they are more than `MAX_REPEATED`."""
    text = "equal to an earlier row: keep one row per customer, or add an id column if they are different customers"
    failures = _repeated(merged, _contents(merged), "duplicate row", None, text)
    return failures if sum(failure.count for failure in failures) > MAX_REPEATED * merged.height else []


def sentences_on_repeated(tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Return a sentence for each file with rows that equal an earlier row in all columns, also in the id."""
    merged = together(tables)
    text = "equal to an earlier row, which may be the same customer: an id column tells"
    return {f.file: f.without_file for f in _repeated(merged, _contents(merged), "duplicate row", None, text)}


def _contents(merged: pl.DataFrame) -> list[str]:
    """Return the columns of the tables themselves."""
    return [name for name in merged.columns if not name.startswith(":")]


def _repeated(merged: pl.DataFrame, names: Sequence[str], rule: str, column: str | None, message: str) -> list[Failure]:
    """List, per file, the rows that have the same values in `names` as an earlier row."""
    rows = merged.filter(~pl.struct(names).is_first_distinct())
    return [
        Failure(
            str(file),
            column,
            rule,
            f"{group.height} row{'' if group.height == 1 else 's'} {message}",
            group.height,
            tuple(group.get_column(":row").head(SHOWN)),
        )
        for (file,), group in rows.group_by(":file", maintain_order=True)
    ]
