"""Times of a table's rows."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.cell_text import as_days
from churnops.errors import DataError
from churnops.schema import Schema


def times_of(table: pl.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Return the time of each row of a validated table, whose Schema has a column of kind `time`, in days since 1970.

    Raises
    ------
    DataError
        If a row has no time.
    """
    time = schema.time
    assert time is not None, "evaluation.split: time is refused without such a column"
    times = table.get_column(time.name) if time.name in table.columns else pl.Series([None] * table.height)
    if missing := times.null_count():
        raise DataError(
            f"{missing:,} of {table.height:,} rows have no value in {time.full_name}: with evaluation.split: time "
            "every row of data.raw needs its time"
        )
    return as_days(times).to_numpy()
