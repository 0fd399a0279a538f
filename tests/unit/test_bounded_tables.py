"""Tables and Schemas are bounded before they are built, whatever their format."""

import struct
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churnops.data.batches import count_rows, open_batches
from churnops.data.profile_files import profile_parquet
from churnops.data.read import read_table
from churnops.data.validate import ValidationError, check_customers, validate_data
from churnops.errors import DataError
from churnops.limits import (
    FOOTER_BYTES,
    MAX_BATCH_CELLS,
    MAX_CHOICES,
    MAX_COLUMNS,
    MAX_ERRORS,
    MAX_ROW_BYTES,
)
from churnops.schema import Column, Schema, nearest
from churnops.settings import Settings

TARGET = Column(name="churn", kind="target", choices=("no", "yes"))


def numbers(count: int) -> tuple[Column, ...]:
    return tuple(Column(name=f"c{i}", kind="number", alias=f"C {i}") for i in range(count))


class Counting(str):
    """Text that counts how often it is compared or hashed."""

    work = 0

    def __eq__(self, other: object) -> bool:
        Counting.work += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counting.work += 1
        return str.__hash__(self)


def csv_of(path: Path, columns: int, rows: int = 1) -> Path:
    header = ",".join(f"c{i}" for i in range(columns))
    path.write_text("\n".join([header, *[",".join(["1"] * columns)] * rows]) + "\n")
    return path


def parquet_of(path: Path, columns: int) -> Path:
    pq.write_table(pa.table({f"c{i}": [1.0] for i in range(columns)}), path)
    return path


@pytest.mark.parametrize("write", [csv_of, parquet_of])
def test_a_table_has_at_most_10000_columns(tmp_path: Path, write):
    path = tmp_path / f"wide.{'csv' if write is csv_of else 'parquet'}"
    assert read_table(write(path, MAX_COLUMNS)).width == MAX_COLUMNS
    with pytest.raises(DataError, match="10001 columns: at most 10000 are read"):
        read_table(write(path, MAX_COLUMNS + 1))


def test_the_parts_of_nested_columns_count(tmp_path: Path):
    path = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"a": [{f"c{i}": 1.0 for i in range(MAX_COLUMNS + 1)}]}), path)
    with pytest.raises(DataError, match="10001 columns"):
        read_table(path)


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        ("c" + ",c" * 200_000, "200001 columns"),
        (",".join(f"c{i}" for i in range(9000)) + ",c8999", "several columns have the header 'c8999'"),
        ('"\n",' * 400_000, "does not end within 1 MiB"),
        ("a,b," * 400_000, "does not end within 1 MiB"),
        ("\n" * (MAX_ROW_BYTES + 1), "does not end within 1 MiB"),
        ('a,"' + "b" * 4 * MAX_ROW_BYTES, "field larger than field limit"),
    ],
    ids=["many", "repeated", "many-lines", "long", "blank", "open-quote"],
)
def test_a_header_is_bounded_before_it_is_read(tmp_path: Path, begin: str, reason: str):
    path = tmp_path / "customers.csv"
    path.write_text(begin + "\n1,2\n" * 5)
    tracemalloc.start()
    with pytest.raises(DataError, match=reason):
        read_table(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * MAX_ROW_BYTES


def test_wide_rows_come_fewer_at_a_time(tmp_path: Path):
    columns = MAX_COLUMNS
    path = csv_of(tmp_path / "wide.csv", columns, rows=1000)
    heights = [table.height for table in open_batches(path, rows=5000)]
    assert max(heights) == MAX_BATCH_CELLS // columns
    assert sum(heights) == 1000


def footer_of(path: Path) -> int:
    return int(struct.unpack("<I", path.read_bytes()[-8:-4])[0])


def with_metadata(path: Path, length: int, rows: int = 1) -> Path:
    table = pa.table({"a": pa.array(range(rows), pa.float64())})
    pq.write_table(table.replace_schema_metadata({"k": "x" * length}), path, compression="none", use_dictionary=False)
    return path


def test_a_parquet_footer_is_bounded_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = with_metadata(tmp_path / "a.parquet", FOOTER_BYTES // 3)
    assert footer_of(path) < FOOTER_BYTES
    assert read_table(path).height == 1
    with_metadata(path, 2 * FOOTER_BYTES)
    assert footer_of(path) > FOOTER_BYTES

    def parsed(*args: object, **kwargs: object) -> None:
        raise AssertionError("the footer was parsed")

    monkeypatch.setattr(pq, "read_metadata", parsed)
    monkeypatch.setattr(pq, "ParquetFile", parsed)
    with pytest.raises(DataError, match="the limit for a file of this size is 4 MiB"):
        read_table(path)
    assert count_rows(path) is None
    with pytest.raises(DataError, match="the limit for a file of this size is 4 MiB"):
        profile_parquet([path], {})


def test_a_large_parquet_file_may_have_a_longer_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("churnops.data.parquet.FOOTER_BYTES", 1000)
    rows = 2**16
    path = with_metadata(tmp_path / "a.parquet", 5000, rows)
    assert 1000 < footer_of(path) < path.stat().st_size // 32
    assert count_rows(path) == rows
    with_metadata(path, 50_000, rows)
    assert footer_of(path) > path.stat().st_size // 32
    assert count_rows(path) is None


@pytest.mark.parametrize("columns", [MAX_COLUMNS - 1, MAX_COLUMNS])
def test_a_schema_has_at_most_10000_columns(columns: int):
    declared = [*numbers(columns), TARGET]
    if len(declared) <= MAX_COLUMNS:
        assert len(Schema(columns=declared).columns) == MAX_COLUMNS
    else:
        with pytest.raises(ValueError, match="at most 10000"):
            Schema(columns=declared)


def test_a_category_has_at_most_10000_choices():
    choices = tuple(map(str, range(MAX_CHOICES)))
    assert Column(name="a", kind="category", choices=choices).codes["77"] == 77
    with pytest.raises(ValueError, match="at most 10000"):
        Column(name="a", kind="category", choices=(*choices, "more"))


def test_a_schema_declares_and_renames_in_linear_work():
    def work(count: int) -> int:
        columns = [Column.model_construct(name=Counting(c.name), kind=c.kind, alias=c.alias) for c in numbers(count)]
        Counting.work = 0
        schema = Schema.model_construct(columns=(*columns, TARGET))
        schema._consistent()
        schema.rename([Counting(f"c{i}") for i in range(count)])
        return Counting.work

    assert work(800) < 3 * work(400)


def test_at_most_20_errors_are_made_of_a_table(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    schema = Schema(columns=(*numbers(100), TARGET))
    calls: list[str] = []
    monkeypatch.setattr(Schema, "closest_header", lambda self, name, headers: calls.append(name))
    table = read_table(csv_of(tmp_path / "a.csv", 3)).rename({"c0": "x", "c1": "y", "c2": "z"})
    with pytest.raises(ValidationError) as caught:
        check_customers(table, schema, "a.csv")
    assert len(caught.value.failures) == len(calls) == MAX_ERRORS
    paths = [csv_of(tmp_path / f"b{i}.csv", 3) for i in range(50)]
    with pytest.raises(ValidationError, match="the first 20 broken rules are listed") as caught:
        validate_data(paths, [], schema)
    assert len(caught.value.failures) == MAX_ERRORS
    assert len(calls) <= 2 * MAX_ERRORS


def test_a_hint_looks_at_a_bounded_number_of_names():
    names = [f"feature_{i:06d}" for i in range(50_000)]
    assert nearest("feature_000007x", names) == "did you mean 'feature_000007'?"
    assert len(nearest("q", names)) < 2000
    schema = Schema(columns=(Column(name="minutes", kind="number"), TARGET))
    assert schema.closest_header("minutes", ["Minutes!", *names]) == "Minutes!"
    assert schema.closest_header("minutes", [*names, "Minutes!"]) is None
