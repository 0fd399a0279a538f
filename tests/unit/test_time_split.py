"""The split in time: its size, its errors, and the tables that it needs."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.data.row_times import times_of
from churnops.data.time_split import Moments, forward_folds, split_in_time
from churnops.data.validate import ValidationError, validate_data
from churnops.errors import DataError
from churnops.retraining.pipeline import _written
from churnops.retraining.rows import ProductionRows
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="who", kind="id", required=False),
        Column(name="month", kind="time", required=False, nullable=True),
        Column(name="calls", kind="integer"),
        Column(name="left", kind="target", choices=("no", "yes")),
    )
)


def moments(at: list[float], gap: float = 30.0) -> Moments:
    times = np.repeat(at, 40)
    return Moments(times, np.zeros(times.size, dtype=np.uint64), gap)


def outcomes(rows: int) -> np.ndarray:
    return np.arange(rows) % 2 == 0


def test_months_stay_together_and_the_nearest_share_is_held_out():
    split = split_in_time(moments([0, 31, 62, 93, 124]), outcomes(200), 0.25, seed=1)
    assert split.cut == 124
    assert (split.training.sum(), split.held_out.sum()) == (160, 40)
    assert str(split).startswith("held out from 1970-05-05 on; training rows are at least 30 days older; 0 rows")


def test_rows_within_the_horizon_before_are_in_neither_part():
    split = split_in_time(moments([0, 31, 62, 93, 124], gap=40.0), outcomes(200), 0.25, seed=1)
    assert (split.training.sum(), split.held_out.sum()) == (120, 40)


def test_half_of_the_customers_on_both_sides_keep_the_later_rows():
    customers = np.tile(np.arange(1, 1001, dtype=np.uint64), 5)
    at = np.repeat([0.0, 31.0, 62.0, 93.0, 124.0], 1000)
    split = split_in_time(Moments(at, customers, 30.0), outcomes(5000), 0.2, seed=1)
    assert 420 < split.held_out.sum() < 580
    assert split.training.sum() == 4 * (1000 - split.held_out.sum())


@pytest.mark.parametrize(
    ("at", "gap", "message"),
    [
        ([5.0], 30.0, "all rows have the same time: add rows of other times"),
        ([0.0, 10.0], 30.0, r"too few training rows in time: 0 churned and 0 stayed.* journal\.label_horizon"),
    ],
)
def test_too_few_rows_name_what_to_change(at: list[float], gap: float, message: str):
    with pytest.raises(DataError, match=message):
        split_in_time(moments(at, gap), outcomes(40 * len(at)), 0.2, seed=1)


def test_folds_without_enough_earlier_rows_are_left_out():
    table = moments([0, 31, 62, 93])
    assert len(forward_folds(table, outcomes(160), 3, seed=1)) == 3
    assert len(forward_folds(Moments(table.at, table.customers, 60.0), outcomes(160), 3, seed=1)) == 2
    with pytest.raises(DataError, match="too few to compare models in time"):
        forward_folds(Moments(table.at, table.customers, 100.0), outcomes(160), 3, seed=1)


def test_every_row_needs_its_time():
    table = pl.DataFrame({"who": ["a", "b"], "month": [date(2025, 1, 1), None], "calls": [1, 2], "left": ["no", "yes"]})
    with pytest.raises(DataError, match="1 of 2 rows have no value in month"):
        times_of(table, SCHEMA)
    with pytest.raises(DataError, match="2 of 2 rows have no value in month"):
        times_of(table.drop("month"), SCHEMA)


def test_a_customer_may_have_a_row_for_each_time(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("who,month,calls,left\na,2025-01-01,1,no\na,2025-02-01,2,yes\nb,2025-01-01,3,no\n")
    assert validate_data([path], [], SCHEMA, by_time=True).metrics["raw_rows"] == 3
    with pytest.raises(ValidationError, match=r"id of an earlier row: keep one.*evaluation\.split: time"):
        validate_data([path], [], SCHEMA)
    path.write_text(path.read_text() + "a,2025-01-01,4,no\n")
    with pytest.raises(ValidationError, match="1 row with the id and month of an earlier row"):
        validate_data([path], [], SCHEMA, by_time=True)


def test_rows_of_the_journal_have_the_time_of_their_prediction(tmp_path: Path):
    schema = Schema(columns=(Column(name="who", kind="id"), Column(name="month", kind="time"), *SCHEMA.columns[2:]))
    raw = tmp_path / "rows.csv"
    raw.write_text("who,month,calls,left\na,2025-01-01,1,no\nb,2025-01-01,3,yes\n")
    at = np.array([86_400_000_000])
    rows = ProductionRows(pl.DataFrame({"calls": [1], "left": ["no"]}), at, at, ("c",), due=1, labelled=1)
    (table,) = validate_data([raw], _written(rows, schema, tmp_path), schema).production.values()
    assert table.rows() == [("c", datetime(1970, 1, 2, tzinfo=UTC), 1, "no")]
