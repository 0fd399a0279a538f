"""Customers as Python programs hold them: a dict, a list of dicts, a pandas or Polars table, or the path of a file.

pandas is never imported here: a pandas table can only come from a program that has imported it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnops.data.read import read_table
from churnops.errors import DataError
from churnops.schema import Schema

FORMS = "a dict, a list of dicts, a pandas or Polars DataFrame, or the path of a CSV, Parquet or Excel file"


def as_table(customers: object, schema: Schema) -> pl.DataFrame:
    """Return customers as a table with their own headers, for `data.validate.check_customers`.

    Parameters
    ----------
    customers
        A dict (one customer), a list of dicts, a pandas or Polars DataFrame, or the path of a CSV, Parquet or Excel
        file. NaN, NaT and pandas.NA in a dict or a pandas table are missing values. A column of a pandas table that the
        Schema does not declare has its header and no values.

    Raises
    ------
    DataError
        If `customers` have another type, there are none in a list, a header is repeated, or the file cannot be read.
    """
    if isinstance(customers, pl.DataFrame):
        return customers
    if isinstance(customers, str | Path):
        return read_table(Path(customers), schema)
    if _is_pandas(customers):
        return _from_pandas(customers, schema)
    return _from_rows([customers] if isinstance(customers, Mapping) else customers)


def like(customers: object, answers: pl.DataFrame) -> Any:
    """Return one row of answers for each customer, in the form of `customers`; for a file, a Polars table."""
    if isinstance(customers, Mapping):
        return answers.row(0, named=True)
    if _is_pandas(customers):
        columns = {s.name: s.to_list() if s.dtype.is_nested() else s.to_numpy() for s in answers}
        return type(customers)(columns, index=customers.index)  # type: ignore[attr-defined, call-arg]
    return answers if isinstance(customers, pl.DataFrame | str | Path) else answers.to_dicts()


def _is_pandas(customers: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(customers, pandas.DataFrame)


def _from_pandas(frame: Any, schema: Schema) -> pl.DataFrame:
    headers = [str(header) for header in frame.columns]
    _check_distinct(headers)
    declared = schema.rename(headers)
    columns = [
        _from_pandas_series(header, frame.iloc[:, position])
        if header in declared
        else pl.Series(header, [None], dtype=pl.Null).new_from_index(0, len(frame))
        for position, header in enumerate(headers)
    ]
    return pl.DataFrame(columns)


def _from_pandas_series(header: str, values: Any) -> pl.Series:
    kind = getattr(values.dtype, "kind", "O") if type(values.dtype).__module__.startswith("numpy") else "O"
    if kind in "iub":
        return pl.Series(header, values.to_numpy())
    return pl.Series(header, values.to_numpy("float64")) if kind == "f" else _from_values(header, values.tolist())


def _from_rows(rows: object) -> pl.DataFrame:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"customers of type {type(rows).__name__} cannot be read: give {FORMS}")
    if not rows:
        raise DataError("the list of customers is empty: give at least one")
    headers = dict.fromkeys(header for row in rows for header in row)
    _check_distinct(map(str, headers))
    return pl.DataFrame([_from_values(str(header), [row.get(header) for row in rows]) for header in headers])


def _check_distinct(headers: Iterable[str]) -> None:
    for header, count in Counter(headers).items():
        if count > 1:
            raise DataError(f"customers: column {header!r} is given twice: keep one of them")


def _from_values(header: str, values: Iterable[object]) -> pl.Series:
    """Return values of Python as a column; values of several kinds become texts, as in a CSV."""
    cells = list(map(_cell, values))
    kinds = {(type(cell), getattr(cell, "tzinfo", None) is None) for cell in cells if cell is not None}
    if len(kinds) > 1 and not kinds <= {(int, True), (float, True)}:
        cells = [None if cell is None else str(cell) for cell in cells]
    return pl.Series(header, cells, strict=False)


def _cell(value: object) -> object:
    """Return a single value, None for a missing one, and anything else as a text, which no rule of a column accepts."""
    if isinstance(value, np.datetime64):
        moment = value.astype("datetime64[us]")  # a time that no calendar has overflows
        value = moment.item() if np.isnat(value) or moment.astype(value.dtype) == value else str(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, date) and not MINYEAR <= value.year <= MAXYEAR and value == value:
        return str(value)  # pandas has later years than Python
    if isinstance(value, float | date | Decimal):
        return None if value != value else value
    return None if type(value).__name__ == "NAType" else str(value)
