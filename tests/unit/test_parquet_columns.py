"""Parquet columns of types that Polars lacks: left out if the schema does not know them, one line if it does."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churnops.data.batches import columns_left_out, open_batches, read_batches
from churnops.data.parquet_columns import leaves_of
from churnops.data.simulated import has_mark
from churnops.data.validate import validate_data
from churnops.errors import DataError
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="minutes", kind="number", alias="Minutes"),
        Column(name="since", kind="time", required=False),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
NOON = dt.datetime(2024, 3, 5, 12)
UNREADABLE = {
    "decimal256": pa.array([Decimal("1.5"), None], pa.decimal256(60, 2)),
    "list_view": pa.array([[1], None], pa.list_view(pa.int64())),
    "empty_lists": pa.array([[], None], pa.list_(pa.int64(), 0)),
    "nested_zone": pa.array([[{"a": NOON}], None], pa.list_(pa.struct({"a": pa.timestamp("us", "+05:30")}))),
    "nested_decimal": pa.array(
        [{"x": 1, "a": Decimal("1.5")}, None], pa.struct({"x": pa.int8(), "a": pa.decimal256(50, 1)})
    ),
    "map": pa.array([[("a", Decimal("1.5"))], None], pa.map_(pa.string(), pa.decimal256(50, 1))),
}


def write(folder: Path, **columns: pa.Array) -> Path:
    path = folder / "customers.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("name", ["extra", "a.b"])
def test_a_column_outside_the_schema_is_never_read(
    tmp_path: Path, kind: str, name: str, capfd: pytest.CaptureFixture[str]
):
    text = pa.array(["x" * 50, None])
    path = write(
        tmp_path,
        **{"a": pa.array([{"b": "c"}, None]), name: UNREADABLE[kind], "note": text, "Minutes": pa.array([1.0, 2.0])},
    )
    names = pl.concat(open_batches(path, rows=1, schema=SCHEMA))
    assert names.columns == ["a", name, "note", "Minutes"]  # headers of columns that are not read stay
    assert names.select(pl.exclude("Minutes")).null_count().row(0) == (2, 2, 2)
    table = pl.concat(open_batches(path, rows=1, schema=SCHEMA, others="all"))
    assert table.columns == ["a", "note", "Minutes"]
    assert table["note"].to_list() == ["x" * 50, None]
    assert [batch.table["Minutes"].to_list() for batch in read_batches(path, skip=1, schema=SCHEMA)] == [[2.0]]
    assert columns_left_out(path, SCHEMA, "all") == [name]
    assert columns_left_out(path, SCHEMA, "flat") == ["a", name]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_column_of_the_schema_is_refused_on_one_line(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]):
    path = write(tmp_path, note=pa.array(["x", "y"]), Minutes=UNREADABLE[kind])
    with pytest.raises(
        DataError,
        match=r"column 'Minutes' has type .*, which churnops does not read: write the column with another type",
    ) as caught:
        list(open_batches(path, schema=SCHEMA))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("zone", ["+05:30", "-00:30", "Mars/Phobos", "GMT+5"])
@pytest.mark.parametrize("unit", ["us", "ns", "ms"])
def test_a_time_in_a_zone_that_is_not_known_is_the_same_moment(
    tmp_path: Path, zone: str, unit: str, capfd: pytest.CaptureFixture[str]
):
    times = pa.array([NOON, None], pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
    path = write(tmp_path, since=times, other=times, minutes=pa.array([1.0, 2.0]), churn=pa.array(["No", "Yes"]))
    table = pl.concat(open_batches(path, schema=SCHEMA, others="all"))
    moment = NOON.replace(tzinfo=dt.UTC)
    assert table["other"].to_list() == table["since"].to_list() == [moment, None]
    assert columns_left_out(path, SCHEMA, "all") == []
    path = write(tmp_path, since=times[:1], minutes=pa.array([1.0]), churn=pa.array(["No"]))
    with pytest.raises(DataError, match="0 rows have the outcome 'Yes'"):  # the table itself is valid
        validate_data([path], [], SCHEMA)
    assert capfd.readouterr().err == ""


def test_a_known_zone_stays(tmp_path: Path):
    times = pa.array([NOON], pa.timestamp("us", "Europe/Berlin"))
    table = pl.concat(open_batches(write(tmp_path, since=times), schema=SCHEMA))
    assert table.schema["since"] == pl.Datetime("us", "Europe/Berlin")


def test_the_mark_of_simulated_customers_is_never_left_out(tmp_path: Path):
    path = write(tmp_path, minutes=pa.array([1.0, 2.0]), **{"Churnops Simulated": UNREADABLE["decimal256"]})
    with pytest.raises(DataError, match="column 'Churnops Simulated' has type decimal256"):
        list(open_batches(path, schema=SCHEMA))


def test_the_mark_is_seen_whatever_the_separator(tmp_path: Path):
    path = tmp_path / "customers.csv"
    for encoding in ("utf-8", "utf-16"):
        path.write_text(f"{'x' * 2000};a, b;churnops_simulated\n1;2;3\n", encoding=encoding)
        assert has_mark(path)


def test_a_file_without_a_readable_column_is_refused(tmp_path: Path):
    path = write(tmp_path, a=UNREADABLE["decimal256"], b=UNREADABLE["decimal256"])
    with pytest.raises(DataError, match="no column with a type that churnops reads"):
        list(open_batches(path))


def test_an_unread_column_is_reported_as_ignored(tmp_path: Path):
    path = write(tmp_path, extra=UNREADABLE["decimal256"], minutes=pa.array([1.0, 2.0]), churn=pa.array(["No", "Yes"]))
    validated = validate_data([path], [], SCHEMA)
    assert "ignored column 'extra'" in validated.artifacts["validation_report.txt"]


def test_leaves_are_counted_as_the_file_stores_them(tmp_path: Path):
    for array in UNREADABLE.values():
        path = write(tmp_path, a=array)
        assert leaves_of(array.type) == pq.ParquetFile(path).metadata.num_columns
