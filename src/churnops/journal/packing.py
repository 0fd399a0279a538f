"""Packing of the records of a table, column by column."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.journal.layouts import (
    ABSENT,
    ABSENT_NUMBER,
    MAX_WHOLE,
    NULL,
    NULL_NUMBER,
    Layout,
    LayoutColumn,
    exact_days,
)


def pack_table(layout: Layout, table: pl.DataFrame) -> tuple[list[bytes], list[str | None]]:
    """Return `inputs` and `rest` of each row, as `Layout.pack` packs it, without a Python object for each number.

    Examples
    --------
    >>> columns = (LayoutColumn("minutes", "number"), LayoutColumn("plan", "level", ("No", "Yes")))
    >>> layout = Layout("v1", "f" * 64, None, None, columns)
    >>> inputs, rests = pack_table(layout, pl.DataFrame({"minutes": [3.5, None], "plan": ["Yes", "Maybe"]}))
    >>> inputs[0] == layout.pack({"minutes": 3.5, "plan": "Yes"}).inputs, rests
    (True, [None, '{"inputs":{"plan":"Maybe"}}'])
    """
    packed = np.zeros(table.height, dtype=layout.dtype)
    others = set(table.columns) - {column.name for column in layout.columns}
    has_rest = np.full(table.height, fill_value=bool(others))
    for place, column in enumerate(layout.columns):
        null, absent = (NULL, ABSENT) if column.kind == "level" else (NULL_NUMBER, ABSENT_NUMBER)
        if column.name not in table.columns:
            packed[str(place)] = absent
            continue
        series = table.get_column(column.name)
        values = _values(column, series)
        unplaced = np.isnan(values)
        if series.null_count():
            is_null = series.is_null().to_numpy()
            values[is_null], unplaced[is_null] = null, False
        values[unplaced] = absent
        packed[str(place)] = values
        has_rest |= unplaced
    inputs = _bytes_of_rows(packed)
    rests: list[str | None] = [None] * table.height
    for row in has_rest.nonzero()[0].tolist():
        inputs[row], _, rests[row] = layout.pack(table.row(row, named=True))
    return inputs, rests


def pack_reason_rows(features: NDArray[np.int64], shares: NDArray[np.float64]) -> list[bytes]:
    """Pack the reasons of many rows as `pack_reasons` does; both arrays have shape (n, number of reasons).

    >>> from churnops.journal.layouts import pack_reasons
    >>> pack_reason_rows(np.array([[1, 0]]), np.array([[0.5, -2.0]])) == [pack_reasons([1, 0], [0.5, -2.0])]
    True
    """
    kept = [("features", "<u2", features.shape[1:]), ("shares", "<f8", shares.shape[1:])]
    packed = np.empty(len(features), dtype=kept)
    packed["features"], packed["shares"] = features, shares
    return _bytes_of_rows(packed)


def _bytes_of_rows(packed: NDArray[np.void]) -> list[bytes]:
    size, data = packed.itemsize, packed.tobytes()
    return [data[start : start + size] for start in range(0, size * len(packed), size)] if size else [b""] * len(packed)


def _values(column: LayoutColumn, series: pl.Series) -> NDArray[np.float64]:
    """Return the packed values of a column; NaN for null, and for a value without a place."""
    if column.kind == "number" and series.dtype == pl.Float64:
        return series.to_numpy(writable=True)
    if column.kind == "integer" and series.dtype == pl.Int64:
        whole = series.fill_null(0).to_numpy() if series.null_count() else series.to_numpy()
        return np.where((whole >= -MAX_WHOLE) & (whole <= MAX_WHOLE), whole, np.nan)
    if column.kind == "level" and series.dtype == pl.String:
        return _mapped(series, {level: code for code, level in enumerate(column.levels)})
    if column.kind == "date" and series.dtype == pl.String:
        return _mapped(series, {text: exact_days(text) for text in series.unique().drop_nulls()})
    return np.full(len(series), np.nan)


def _mapped(series: pl.Series, values: Mapping[str, float | None]) -> NDArray[np.float64]:
    return np.array([values.get(text) for text in series.to_list()], dtype=np.float64)
