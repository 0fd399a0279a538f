"""Times and customers of a table's rows."""

import polars as pl

from churnops.data.cell_text import as_days
from churnops.data.identity import customer_hashes
from churnops.data.time_split import Moments
from churnops.errors import DataError
from churnops.schema import Schema


def moments_of(table: pl.DataFrame, schema: Schema, gap: float) -> Moments:
    """Return times and customers of a validated table, whose Schema has a column of kind `time`.

    Raises
    ------
    DataError
        If a row has no time.
    """
    time, identifier = schema.time, schema.identifier
    assert time is not None, "evaluation.split: time is refused without such a column"
    times = table.get_column(time.name) if time.name in table.columns else pl.Series([None] * table.height)
    if missing := times.null_count():
        raise DataError(
            f"{missing:,} of {table.height:,} rows have no value in {time.full_name}: with evaluation.split: time "
            "every row of data.raw needs its time"
        )
    known = identifier is not None and identifier.name in table.columns
    ids = table.get_column(identifier.name).to_list() if identifier is not None and known else [None] * table.height
    return Moments(as_days(times).to_numpy(), customer_hashes(ids), gap)
