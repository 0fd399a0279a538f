"""Collect a batch from a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.accepted import Accepted
from churnops.data.broken_columns import SoundCells, check_sound_cells
from churnops.data.read import encode, last_of_each, outcomes, read_table
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import check_customers, with_absent
from churnops.files import as_text
from churnops.model import Bundle
from churnops.monitoring.batch import Batch, LabelCoverage, Resolved
from churnops.schema import Columns, is_marked
from churnops.scoring.customers import as_table


def batch_from_file(
    path: Path, bundle: Bundle, *, acts_as: str | None = None, accept_missing: Sequence[str] = ()
) -> Batch:
    """Read a CSV, Parquet or Excel file of customers, with or without the target, with raw headers or snake_case names.

    Parameters
    ----------
    acts_as
        Source of the customers; None to report only.
    accept_missing
        Names or headers of columns that the file may lack.

    Raises
    ------
    DataError
        If the file cannot be read, or breaks the bundle's Schema in more than broken columns (`Batch.broken`).
    """
    may_lack = Accepted.of(bundle.schema, missing=accept_missing).missing
    table, name = with_absent(read_table(path, bundle.schema), bundle.schema, may_lack), as_text(Path(path.name))
    return batch_from_table(table, bundle, name, acts_as=acts_as, tolerate_broken=True)


def batch_from_customers(customers: object, bundle: Bundle, *, acts_as: str | None = None) -> Batch:
    """Check and score customers in any form of `scoring.customers.as_table`; a path as `batch_from_file` does.

    Raises
    ------
    DataError
        As in `batch_from_file`.
    """
    if isinstance(customers, str | Path):
        return batch_from_file(Path(customers), bundle, acts_as=acts_as)
    table = as_table(customers, bundle.schema)
    return batch_from_table(table, bundle, "customers", acts_as=acts_as, tolerate_broken=True)


def batch_from_table(
    table: pl.DataFrame, bundle: Bundle, source: str, *, acts_as: str | None = None, tolerate_broken: bool = False
) -> Batch:
    """Check and score the customers of a table. Every customer counts as due, with or without an outcome.

    The batch is simulated if the table has the column that `churnops simulate` adds.

    Parameters
    ----------
    tolerate_broken
        Whether columns may be broken, see `churnops.data.broken_columns`.

    Raises
    ------
    ValidationError
        If the table breaks the bundle's Schema; `failures` lists the broken rules, 20 at most.
    """
    schema = bundle.schema
    customers = table.drop(bundle.schema.added, strict=False)  # without an earlier scoring
    checked = (
        check_sound_cells(customers, schema, source)
        if tolerate_broken
        else SoundCells(check_customers(customers, schema, source, keep_outcome=True, may_have_gaps=True), {})
    )
    once = last_of_each(checked.table, schema)
    columns, outcome = encode(once, schema), outcomes(once, schema)
    batch = batch_from_columns(columns, outcome, bundle, source, acts_as=acts_as, broken=checked.broken)
    if simulated := is_marked(table.columns):
        batch = replace(batch, columns=schema.without_personal(columns))  # `simulate` writes no personal values
    return replace(
        batch,
        simulated=simulated,
        repeated_rows=checked.table.height - once.height,
        unexpected=UnexpectedCells.of(once, columns, schema),
    )


def batch_from_columns(
    columns: Columns,
    outcome: NDArray[np.float64],
    bundle: Bundle,
    source: str,
    *,
    acts_as: str | None = None,
    broken: Mapping[str, str] = MappingProxyType({}),
) -> Batch:
    """Score n encoded customers; `outcome` (n,) is 1, 0 or NaN. If n is 0, `columns` may be empty.

    If a model input is `broken` (see `Batch`), there are no scores.
    """
    sound = all(column.name not in broken for column in bundle.schema.model_inputs)
    probability = bundle.predict(columns).probability if outcome.size and sound else np.full(outcome.size, np.nan)
    known = ~np.isnan(outcome)
    coverage = LabelCoverage(due=outcome.size, labelled=int(known.sum()))
    resolved = Resolved(probability[known], outcome[known], coverage)
    return Batch(columns, probability, outcome, resolved, source, acts_as=acts_as, broken=broken)
