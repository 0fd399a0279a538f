"""Columns outside the Schema are never read, whatever they hold; passed on to an answer, they never refuse a file."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churnops.data import parquet
from churnops.data.batches import columns_left_out, open_batches
from churnops.data.simulated import has_mark
from churnops.data.utf8_file import _BEFORE, count_quotes
from churnops.data.validate import check_customers, validate_data
from churnops.errors import DataError
from churnops.limits import MAX_ROW_BYTES
from churnops.schema import Column, Schema
from churnops.scoring.csv_answer import csv_of

SCHEMA = Schema(
    columns=(
        Column(name="minutes", kind="number"),
        Column(name="plan", kind="category", choices=("gold", "basic"), required=False, nullable=True),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
NOON = dt.datetime(2024, 3, 5, 12)
BAD = pa.array([b"caf\xe9", None, b"x", b"\xff"]).view(pa.string())
LONG = "z" * 3 * MAX_ROW_BYTES


def twice(value: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([value, None, value, None], kind)


def keys(values: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, None, 0, 0], pa.uint8()), values)


OTHERS = {
    "decimal256": twice(Decimal("1.5"), pa.decimal256(60, 2)),
    "decimal32": twice(Decimal("1.5"), pa.decimal32(5, 2)),
    "zone": twice(NOON, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "+05:30")),
    "far_time": pa.array([2**62, None, -(2**62), 0], pa.timestamp("ms")),
    "far_zone": pa.array([2**53, None, -(2**53), 0], pa.timestamp("s", "+05:30")),
    "far_date": pa.array([2**30, None, -(2**30), 0], pa.date32()),
    "date64": twice(dt.date(2024, 1, 1), pa.date64()),
    "late": pa.array([5, None, 2**31 - 1, -1], pa.time32("ms")),
    "span": pa.array([5, None, 2**62, -(2**62)], pa.duration("s")),
    "nothing": pa.nulls(4),
    "half": pa.array(np.array([1, 2, 3, 4], np.float16)),
    "unsigned": pa.array([2**64 - 1, None, 0, 1], pa.uint64()),
    "bytes": twice(b"\xff"),
    "large_bytes": twice(b"\xff", pa.large_binary()),
    "bytes_view": twice(b"\xff", pa.binary_view()),
    "fixed_bytes": twice(b"ab", pa.binary(2)),
    "text_view": twice("x", pa.string_view()),
    "latin_1": BAD,
    "latin_1_keys": keys(BAD.take([0, 2, 3])),
    "latin_1_lists": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), BAD),
    "lists": twice([1]),
    "view_lists": twice(["ab"], pa.list_(pa.string_view())),
    "fixed_lists": twice([1, 2], pa.list_(pa.int8(), 2)),
    "list_view": twice([1], pa.list_view(pa.int8())),
    "structs": twice({"a": 1, "b": "x"}),
    "repeated_parts": pa.StructArray.from_arrays([pa.array([1] * 4), pa.array([2] * 4)], ["a", "a"]),
    "map": twice([("a", b"x")], pa.map_(pa.large_string(), pa.binary_view())),
    "keys": keys(pa.array([Decimal("1.5")], pa.decimal256(60, 2))),
    "byte_keys": keys(pa.array([b"\xff"])),
    "uuid": twice(uuid.UUID(int=5).bytes, pa.uuid()),
    "json": pa.ExtensionArray.from_storage(pa.json_(), twice("{}")),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0, 2], pa.int8())),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((4, 2, 2))),
    "long_text": twice(LONG),
    "long_bytes": twice(LONG.encode()),
    "long_lists": twice(list(range(300_000))),
}


def customers(**columns: pa.Array) -> pa.Table:
    own = {"minutes": pa.array([1.0, 2.0, 3.0, 4.0]), "plan": twice("gold"), "churn": pa.array(["No", "Yes"] * 2)}
    return pa.table(own | columns)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_parquet_column_of_any_kind_refuses_no_file(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "a.parquet"
    pq.write_table(customers(extra=OTHERS[kind]), path)
    table = pl.concat(open_batches(path, schema=SCHEMA))
    assert table["extra"].dtype == pl.Null
    assert table["minutes"].to_list() == [1.0, 2.0, 3.0, 4.0]
    assert validate_data([path], [], SCHEMA).metrics["raw_rows"] == 4
    for others in ("all", "flat"):
        passed = pl.concat(open_batches(path, schema=SCHEMA, others=others))
        assert check_customers(passed, SCHEMA, "a")["minutes"].to_list() == [1.0, 2.0, 3.0, 4.0]
        assert ("extra" in passed.columns) != ("extra" in columns_left_out(path, SCHEMA, others))
        passed.write_parquet(tmp_path / "b.parquet")
        assert pl.read_parquet(tmp_path / "b.parquet").equals(passed)
    assert csv_of(passed).count(b"\n") == 5
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rows", [1, 100])
def test_texts_that_are_not_utf_8_and_long_values_are_passed_on(tmp_path: Path, rows: int):
    path = tmp_path / "a.parquet"
    pq.write_table(customers(latin=BAD, long=pa.array([LONG, "short", None, LONG]), dates=OTHERS["far_date"]), path)
    table = pl.concat(open_batches(path, rows=rows, schema=SCHEMA, others="all"))
    assert table["latin"].to_list() == ["caf\ufffd", None, "x", "\ufffd"]
    assert table["long"].to_list() == [None, "short", None, None]
    lines = csv_of(table.select("minutes", "dates")).decode().splitlines()
    assert lines == ["minutes,dates", "1.0,", "2.0,", "3.0,", "4.0,1970-01-01"]


def test_a_text_of_the_schema_must_be_utf_8_in_parquet(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(customers().set_column(1, "plan", BAD.take([1, 2, 2, 3])), path)
    for rows in (1, 100):
        with pytest.raises(DataError, match="row 4 is not UTF-8 text in column 'plan'"):
            list(open_batches(path, rows=rows, schema=SCHEMA))


def test_bytes_of_columns_that_are_not_read_may_be_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    pq.write_table(customers(extra=pa.array(["x" * 50] * 4)), path, compression="none", use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(3)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 100] = b"\xff" * 100
    path.write_bytes(bytes(content))
    assert next(open_batches(path, schema=SCHEMA))["minutes"].to_list() == [1.0, 2.0, 3.0, 4.0]
    monkeypatch.setattr(parquet, "_stored_bytes", lambda _metadata, _group, leaves: len(leaves) == 4 and 10**9)
    assert next(open_batches(path, schema=SCHEMA)).height == 4  # sizes of the others do not count
    with pytest.raises(DataError):
        next(open_batches(path, schema=SCHEMA, others="all"))


def repeated_parquet(path: Path, headers: list[str]) -> Path:
    path = path / "a.parquet"
    names = ["minutes", "churn", *headers]
    pq.write_table(pa.table([[1.0, 2.0], ["No", "Yes"], *[["x", "y"]] * len(headers)], names=names), path)
    return path


def repeated_csv(path: Path, headers: list[str]) -> Path:
    path = path / "a.csv"
    more = ",".join(["", *headers]), ",x" * len(headers), ",y" * len(headers)
    path.write_text(f"minutes,churn{more[0]}\n1,No{more[1]}\n2,Yes{more[2]}\n")
    return path


@pytest.mark.parametrize("write", [repeated_parquet, repeated_csv])
def test_only_headers_of_the_schema_must_not_be_repeated(tmp_path: Path, write: Callable[..., Path]):
    path = write(tmp_path, ["note", "", "note", "", "b"])
    table = next(open_batches(path, schema=SCHEMA))
    assert table.columns == ["minutes", "churn", "note", "", "b"]
    assert table["note"].null_count() == 2
    assert next(open_batches(path, schema=SCHEMA, others="all")).columns == ["minutes", "churn", "b"]
    assert columns_left_out(path, SCHEMA, "all") == ["note", ""]
    ignored = validate_data([path], [], SCHEMA).artifacts["validation_report.json"]
    assert '"note"' in ignored
    with pytest.raises(DataError, match="several columns have the header 'minutes': rename all but one"):
        next(open_batches(write(tmp_path, ["minutes"]), schema=SCHEMA))
    with pytest.raises(DataError, match="several columns have the header 'note'"):
        next(open_batches(write(tmp_path, ["note", "note"])))
    assert has_mark(write(tmp_path, ["note", "note", "churnops_simulated"]))


@pytest.mark.parametrize("write", [repeated_parquet, repeated_csv])
def test_rows_are_counted_without_a_column_of_the_schema(tmp_path: Path, write: Callable[..., Path]):
    path = write(tmp_path, ["note"])
    schema = Schema(columns=(Column(name="x", kind="number"), SCHEMA.target.model_copy(update={"name": "y"})))
    for others in ("names", "all"):
        table = next(open_batches(path, schema=schema, others=others))
        assert (table.height, table.columns) == (2, ["minutes", "churn", "note"])
    with pytest.raises(DataError, match="required column is missing"):
        validate_data([path], [], schema)


def test_a_csv_cell_of_any_bytes_refuses_no_file(tmp_path: Path):
    path = tmp_path / "a.csv"
    cells = [b"caf\xe9", b'27" screen', b"\xff\x00\xfe", b"=1+1", b'"a\nb"', b"z" * 500_000, b""]
    rows = b"".join(b"%d,%s,No\n" % (row, cell) for row, cell in enumerate(cells))
    path.write_bytes(b"minutes,gr\xf6\xdfe,churn\n" + rows)
    table = pl.concat(open_batches(path, schema=SCHEMA))
    assert table["minutes"].to_list() == [str(row) for row in range(7)]
    assert table["gr\ufffd\ufffde"].null_count() == 7
    passed = pl.concat(open_batches(path, rows=2, schema=SCHEMA, others="all"))["gr\ufffd\ufffde"].to_list()
    assert passed == ["caf\ufffd", '27" screen', "\ufffd\x00\ufffd", "=1+1", "a\nb", "z" * 500_000, None]
    path.write_bytes(b"minutes,plan\n1,\xe9\n")
    with pytest.raises(DataError, match="row 1 is not UTF-8 text in column 'plan'"):
        list(open_batches(path, schema=SCHEMA))


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ('a,27" b,"c"\n', False),
        ('a,"27"" b",c\n', False),
        ('"a\n,b","c"\n', False),
        ('a,"b\nc,d\n', True),
        ('a,"b\nc,"d"\n', True),
        ('"27" b"\n', True),
        ('x "a,b\n', False),
        ('"sep=,"\n"a","b"\n', False),
    ],
)
def test_only_quotes_at_the_beginning_of_a_value_must_be_closed(text: str, odd: bool):
    data = np.frombuffer(text.encode(), np.uint8)
    assert count_quotes(data, ord(","), _BEFORE)[0] % 2 == odd
    for cut in range(len(data)):
        first, place = count_quotes(data[:cut], ord(","), _BEFORE)
        assert (first + count_quotes(data[cut:], ord(","), place)[0]) % 2 == odd
