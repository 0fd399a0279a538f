"""Customers of a program as a table: a value counts the same in each form that Python, NumPy and pandas give it."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.errors import DataError
from churnops.schema import Column, Schema
from churnops.scoring.customers import as_table

SCHEMA = Schema(
    columns=(
        Column(name="since", kind="date", nullable=True),
        Column(name="calls", kind="integer", nullable=True),
        Column(name="plan", kind="flag", choices=("No", "Yes"), nullable=True),
        Column(name="churn", kind="target", choices=("False", "True")),
    )
)
EMPTY = {"since": None, "calls": None, "plan": None}
FORMS: dict[str, list[Any]] = {
    "since": [
        "2024-03-05",
        date(2024, 3, 5),
        datetime(2024, 3, 5, tzinfo=UTC),
        pd.Timestamp("2024-03-05"),
        np.datetime64("2024-03-05"),
        np.datetime64("2024-03-05", "ns"),
    ],
    "calls": [3, 3.0, "3", Decimal(3), np.int8(3), np.float32(3)],
    "plan": ["Yes", "yes", True, np.bool_(True), np.str_("Yes"), "1"],
}
EXPECTED = {"since": 19787.0, "calls": 3.0, "plan": 1.0}


def encoded(customers: object) -> dict[str, list[float]]:
    table = check_customers(as_table(customers, SCHEMA), SCHEMA, "customers")
    return {name: values.tolist() for name, values in encode(table, SCHEMA).items()}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FORMS.items() for value in values])
def test_each_form_of_a_value_is_read(name: str, value: Any):
    assert encoded(EMPTY | {name: value})[name] == [EXPECTED[name]]
    assert encoded(pd.DataFrame({**{key: [None] for key in EMPTY}, name: [value]}))[name] == [EXPECTED[name]]


@pytest.mark.parametrize("name", FORMS)
def test_forms_may_be_mixed_within_a_column(name: str):
    assert encoded([EMPTY | {name: value} for value in FORMS[name][:2]])[name] == [EXPECTED[name]] * 2


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), pd.NaT, pd.NA, Decimal("NaN")]
)
def test_each_form_of_a_missing_value_is_read(missing: Any):
    rows = [dict.fromkeys(EMPTY, missing), {name: values[0] for name, values in FORMS.items()}]
    assert all(np.isnan(values[0]) and values[1] == EXPECTED[name] for name, values in encoded(rows).items())


@pytest.mark.parametrize("seconds", [2**38, 2**55, 2**62])
def test_a_time_that_python_lacks_is_refused(seconds: int):
    moment = np.datetime64(seconds, "s")
    for given in (moment, pd.Series([moment])[0]):
        with pytest.raises(DataError, match="column since: 1 value not a date"):
            encoded(EMPTY | {"since": given})


def test_a_missing_key_is_a_missing_value():
    assert np.isnan(encoded([{"calls": 1, "since": "2024-03-05", "plan": "No"}, {"plan": "Yes"}])["calls"][1])


def test_an_object_that_is_no_value_is_refused():
    with pytest.raises(DataError, match="column calls: 1 value not a number"):
        encoded(EMPTY | {"calls": object()})
    with pytest.raises(DataError, match="cannot be read: give a dict"):
        as_table(pl.LazyFrame(), SCHEMA)


def test_values_of_several_kinds_are_read_as_texts():
    """So a number among dates is refused by name, and times with and without a zone stand side by side."""
    times = [datetime(2024, 3, 5), datetime(2024, 3, 5, tzinfo=UTC)]
    assert encoded([EMPTY | {"since": time} for time in times])["since"] == [EXPECTED["since"]] * 2
    table = as_table([{"since": date(2024, 3, 5)}, {"since": 3}, {"since": True}], SCHEMA)
    assert table["since"].to_list() == ["2024-03-05", "3", "True"]


def test_a_repeated_header_is_refused():
    with pytest.raises(DataError, match="column '1' is given twice"):
        as_table([{1: "a", "1": "b"}], SCHEMA)
