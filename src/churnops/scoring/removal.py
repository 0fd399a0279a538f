"""Removal of one customer's rows from a part of a scored folder; the folder's manifest changes with it."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from churnops.data.forget import remove_rows_of
from churnops.files import write_flushed
from churnops.schema import Schema
from churnops.scoring.manifest import MANIFEST, file_sha256


def is_listed(part: Path) -> bool:
    """Return whether the manifest beside a file lists it as a part."""
    return _record(_read(part), part) is not None


def remove_rows_of_part(part: Path, schema: Schema, customer: str) -> int:
    """Remove a customer's rows from a listed part; return their number.

    The manifest is written first. If the process is killed in between, the part still has the rows, so a repetition
    does both.

    Raises
    ------
    DataError
        As `remove_rows_of`.
    """

    def write_manifest(new: Path) -> None:
        document = _read(part)
        rows, churners = _numbers(new)
        _record(document, part).update(sha256=file_sha256(new), rows=rows, churners=churners)
        document["rows"] = sum(one["rows"] for one in document["parts"])
        document["predicted_to_churn"] = sum(one["churners"] for one in document["parts"])
        write_flushed(part.parent / MANIFEST, json.dumps(document, indent=1).encode())

    return remove_rows_of(part, schema, customer, before_replacing=write_manifest)


def _read(part: Path) -> Any:
    try:
        return json.loads((part.parent / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def _record(document: Any, part: Path) -> Any:
    """Return the part's record in a manifest; None if there is none, or the manifest is another program's."""
    try:
        return next((one for one in document["parts"] if one["data"] == part.name and "churners" in one), None)
    except (KeyError, TypeError):
        return None


def _numbers(part: Path) -> tuple[int, int]:
    """Return the numbers of rows and of predicted churners."""
    table = pl.scan_csv(part, infer_schema=False) if part.suffix.lower() == ".csv" else pl.scan_parquet(part)
    churners = (pl.col("churn_prediction").cast(pl.String) == "true").sum()
    rows, count = table.select(pl.len(), churners.alias("churners")).collect(engine="streaming").row(0)
    return int(rows), int(count)
