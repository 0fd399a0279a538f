"""Encoded columns and tables: one is the inverse of the other."""

import io

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from churnops.data.read import decode, encode, outcomes
from churnops.data.validate import check_customers
from churnops.settings import Settings


def test_a_decoded_table_is_read_as_the_same_columns(telecom: pl.DataFrame, settings: Settings):
    schema = settings.table
    columns, outcome = encode(telecom, schema), outcomes(telecom, schema).copy()
    outcome[::7] = np.nan
    table = decode(columns, outcome, schema)
    read = pl.read_csv(io.BytesIO(table.write_csv().encode()), infer_schema=False)  # all text, as churnops reads a CSV
    checked = check_customers(read, schema, "batch.csv", keep_outcome=True)
    again = encode(checked, schema)
    assert sorted(again) == sorted(columns)
    for name, values in columns.items():
        assert np.array_equal(again[name], values, equal_nan=True)
    assert np.array_equal(outcomes(checked, schema), outcome, equal_nan=True)
    assert_frame_equal(decode(again, outcome, schema), table)


def test_missing_values_of_every_kind_stay_missing(settings: Settings):
    columns = {column.name: np.array([np.nan, 0.0]) for column in settings.table.inputs}
    table = decode(columns, np.array([np.nan, 0.0]), settings.table)
    assert table.null_count().row(0) == (1,) * table.width
    assert decode({}, np.empty(0), settings.table).height == 0
