"""Rows of raw tables that equal an earlier row."""

from collections.abc import Mapping, Sequence

import polars as pl

from churnops.data.failure import SHOWN, Failure


def together(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all tables, by file, with the columns `:file` and `:row`."""
    named = (
        table.with_columns(pl.lit(name).alias(":file"), pl.int_range(1, pl.len() + 1).alias(":row"))
        for name, table in tables.items()
    )
    return pl.concat(named, how="diagonal")


def contents(merged: pl.DataFrame) -> list[str]:
    """Return the columns of the tables themselves."""
    return [name for name in merged.columns if not name.startswith(":")]


def repeated(merged: pl.DataFrame, names: Sequence[str], rule: str, column: str | None, message: str) -> list[Failure]:
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


def sentences_on_repeated(tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Return a sentence for each file with rows that equal an earlier row in all columns, also in the id."""
    merged = together(tables)
    text = "equal to an earlier row, which may be the same customer: an id column tells"
    return {f.file: f.without_file for f in repeated(merged, contents(merged), "duplicate row", None, text)}
