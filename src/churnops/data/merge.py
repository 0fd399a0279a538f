"""Step 2: merge the validated tables into one, sorted by the content of the rows."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import polars as pl

from churnops.schema import Schema
from churnops.step import StepResult


@dataclass(frozen=True, kw_only=True)
class MergedTable(StepResult):
    """All rows, sorted by content, and the SHA-256 of that content."""

    table: pl.DataFrame
    sha256: str


class _Hashed(io.RawIOBase):
    """File of which only the SHA-256 is kept."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


def merge(tables: Mapping[str, pl.DataFrame], schema: Schema, *, beside: Sequence[str] = ()) -> MergedTable:
    """Merge validated tables (by file name) and sort the rows by their content.

    The columns `beside` are outside the schema. They are kept, and are the last sort keys.

    Sorting makes all later results (split, folds, models, bundle hash) independent of the number, names and order of
    the files. A column that only some files have is null in the others.
    """
    table = pl.concat(tables.values(), how="diagonal_relaxed")
    names = [column.name for column in schema.columns if column.name in table.columns]
    names += [name for name in beside if name in table.columns]
    table = table.select(names).sort(names, nulls_last=True)
    csv = _Hashed()
    table.write_csv(cast("IO[bytes]", csv))
    sha256 = csv.sha256.hexdigest()
    churned = table.get_column(schema.target.name) == schema.target.choices[1]
    identifier = [schema.identifier.name] if schema.identifier else []
    kept = table.drop(*beside, *identifier, *schema.personal, strict=False)
    churn_rate = float(churned.mean() or 0.0)  # type: ignore[arg-type]
    parquet = io.BytesIO()
    kept.write_parquet(parquet)
    return MergedTable(
        table=table,
        sha256=sha256,
        params={"files": list(tables), "sha256": sha256},
        metrics={"rows": table.height, "churn_rate": churn_rate},
        artifacts={"merged.parquet": parquet.getvalue()},
        datasets={"raw": (", ".join(tables), sha256)},
        summary=f"{table.height:,} rows of {', '.join(tables)}; {churn_rate:.1%} churned",
    )
