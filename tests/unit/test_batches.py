"""Files in batches: the same rows whatever the batch, and every damage in one line with its row."""

import datetime as dt
import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churnops.data.batches import count_rows, open_batches, read_batches
from churnops.data.parquet import MAX_BATCH_BYTES, MAX_ROW_BYTES
from churnops.data.read import read_table
from churnops.errors import DataError

SIZES = (1, 2, 7, 1000)


def of_every_type() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "category": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "enum": pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])),
            "decimal": pl.Series(["1.50", "2.25", None]).cast(pl.Decimal(10, 2)),
            "list": [[1], [2, 3], None],
            "struct": [{"a": 1}, {"a": 2}, None],
            "array": pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int64, 2)),
            "zone": pl.Series([dt.datetime(2020, 1, 1)] * 3).dt.replace_time_zone("UTC"),
            "time": pl.Series([dt.datetime(2020, 1, 1)] * 3, dtype=pl.Datetime("ns")),
            "date": [dt.date(2020, 1, 1)] * 3,
            "span": [dt.timedelta(1)] * 3,
            "nothing": [None] * 3,
            "flag": [True, None, False],
            "small": pl.Series([1, 2, None], dtype=pl.Int8),
            "float": [1.0, float("nan"), None],
            "bytes": [b"a", b"", None],
            "text": ["a", "", None],
        }
    )


@pytest.mark.parametrize("rows", SIZES)
def test_a_parquet_file_keeps_its_types_in_any_batches(tmp_path: Path, rows: int):
    path = tmp_path / "a.parquet"
    pl.concat([of_every_type()] * 4).write_parquet(path, row_group_size=5)
    expected = pl.read_parquet(path)
    batches = list(open_batches(path, rows=rows))
    assert pl.concat(batches).schema == expected.schema
    assert pl.concat(batches).equals(expected)
    assert {batch.height for batch in batches[:-1]} <= {rows}
    assert read_table(path).equals(expected)
    assert count_rows(path) == expected.height


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"a,b\n1,2\n3,4", [("1", "2"), ("3", "4")]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n3,\r\n", [("1", "2"), ("3", None)]),
        (b'a,b\n"",1\n,"2"\n', [(None, "1"), (None, "2")]),
        (b"a,b\n 1 , x\nNULL,NA\n", [(" 1 ", " x"), ("NULL", "NA")]),
        (b'a,b\n"x\ny",2\n"say ""hi""","3,4"\n', [("x\ny", "2"), ('say "hi"', "3,4")]),
        (b'"a\nx",b\n1,2\n', [("1", "2")]),
        (b"a,b\n1,2\n\n3,4\n\n\n", [("1", "2"), ("3", "4")]),
        (b"\n\r\na,b\n1,2\n", [("1", "2")]),
        (b"a\n1\n\n2\n", [("1",), (None,), ("2",)]),
        (b"a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")]),
        (b"a,\n1,2\n", [("1", "2")]),
        ("a,b\n1,é\n".encode(), [("1", "é")]),
        (b"a,b\n1,x\0y\n", [("1", "x\0y")]),
    ],
)
def test_cells_of_a_csv_are_read_as_text(tmp_path: Path, text: bytes, rows: list[tuple[str | None, ...]]):
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    assert read_table(path).rows() == rows
    assert set(read_table(path).dtypes) == {pl.String}
    assert [row for batch in open_batches(path, rows=1) for row in batch.rows()] == rows


MANY = b"a,b\n" + b"1,2\n" * 700_000  # several blocks of the reader


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b", "has a header but no rows"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,b,a\n1,2,3\n", "several columns have the header 'a'"),
        (b"a\0b,c\n1,2\n", "binary data"),
        (b"\x89PNG\r\n\x1a\n\x00", "its header is not UTF-8"),
        (b"a,b\n1,2\n3\n", "row 2 has 1 value, but the header has 2"),
        (b"a,b\n1,2\n3,\xf8,5\n", "row 2 has 3 values, but the header has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", "row 2 has 3 values, but the header has 2"),
        (b"\na,b\n1,2\n3\n", "row 2 has 1 value"),
        (MANY + b"3\n", "row 700001 has 1 value"),
        (MANY + b"3,\xe9\n", "row 700001 is not UTF-8 text in column 'b'"),
        (b"a,b\n1,2\n3,\xe9\n", "row 2 is not UTF-8 text in column 'b'"),
        (b'a,b\n1,2\n3,"x\n4,5\n', "a quote is never closed"),
        (MANY + b'3,"' + b"z" * 2 * MAX_ROW_BYTES + b'"\n', "a row after row .* is longer than 1 MiB"),
        (b"z" * 2 * MAX_ROW_BYTES, "not a readable CSV"),
    ],
    ids=str,
)
def test_a_damaged_csv_is_one_line_that_names_the_row(tmp_path: Path, text: bytes, reason: str):
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(DataError, match=reason) as caught:
        list(open_batches(path, rows=100_000))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path):
    path = tmp_path / "a.parquet"
    buffer = io.BytesIO()
    pl.DataFrame({"a": range(1000)}).write_parquet(buffer)
    whole = buffer.getvalue()
    empty = io.BytesIO()
    pl.DataFrame({"a": []}).write_parquet(empty)
    broken = bytearray(whole)
    broken[4:60] = b"\xff" * 56
    for data in (b"PAR1 not really", whole[:-10], bytes(broken), empty.getvalue()):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            list(open_batches(path))
        assert "\n" not in str(caught.value)
    assert count_rows(path) == 0
    path.write_bytes(b"PAR1 not really")
    assert count_rows(path) is None
    with pytest.raises(DataError, match="cannot be read"):
        list(open_batches(tmp_path / "absent.parquet"))


def test_the_format_may_be_given_for_any_file_ending(tmp_path: Path):
    path = tmp_path / "upload"
    path.write_bytes(b"a,b\n1,2\n")
    assert next(open_batches(path, format="csv")).rows() == [("1", "2")]
    assert count_rows(path, format="csv") is None
    pl.DataFrame({"a": [1]}).write_parquet(path)
    assert next(open_batches(path, format="parquet")).rows() == [(1,)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("skip", [0, 1, 9, 10, 11, 94, 95])
def test_rows_that_are_finished_are_left_out(tmp_path: Path, ending: str, skip: int):
    path = tmp_path / f"a.{ending}"
    table = pl.DataFrame({"a": [str(number) for number in range(95)], "b": ["x"] * 95})
    table.write_csv(path) if ending == "csv" else table.write_parquet(path, row_group_size=10)
    batches = list(read_batches(path, rows=7, skip=skip))
    assert [value for batch in batches for value in batch.table["a"]] == table["a"].to_list()[skip:]
    assert [batch.first_row for batch in batches] == list(range(skip, 95, 7))
    assert not batches or batches[-1].share == 1.0


def test_progress_grows_and_the_first_batch_precedes_the_files_end(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + (b"1," + b"x" * 1000 + b"\n") * 40_000)
    shares = [batch.share for batch in read_batches(tmp_path / "a.csv", rows=1000)]
    assert np.abs(np.array(shares) - np.arange(1, 41) / 40).max() < 0.06
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    pl.DataFrame({"a": np.arange(100)}).write_parquet(tmp_path / "a.parquet")
    assert [b.share for b in read_batches(tmp_path / "a.parquet", rows=50)] == [0.5, 1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.text("a\"',\n\r \t")), min_size=1),
    st.sampled_from(SIZES),
)
def test_text_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, rows: list, size: int):
    path = tmp_path_factory.mktemp("text") / "a.csv"
    table = pl.DataFrame(rows, schema=["a", "b"], orient="row")
    table.write_csv(path, quote_style="always")
    back = pl.concat(open_batches(path, rows=size))
    assert back.rows() == [(a or None, b or None) for a, b in rows]


def sizes(batches: list[pl.DataFrame]) -> float:
    return max(batch.estimated_size() for batch in batches)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_long_rows_come_fewer_at_a_time(tmp_path: Path, ending: str):
    path = tmp_path / f"a.{ending}"
    table = pl.DataFrame({"a": [str(row) for row in range(150)], "b": ["z" * 900_000] * 150})
    table.write_csv(path) if ending == "csv" else table.write_parquet(path)
    heights, values = [], []
    for batch in open_batches(path):
        assert batch.estimated_size() < MAX_BATCH_BYTES * 1.1
        assert batch["b"].str.len_bytes().unique().to_list() == [900_000]
        heights.append(batch.height)
        values += batch["a"].to_list()
    assert values == table["a"].to_list()
    assert len(heights) > 1
    assert next(read_batches(path, skip=100)).first_row == 100


def test_repeated_text_is_refused_before_it_takes_memory(tmp_path: Path):
    path = tmp_path / "a.parquet"
    indices = pa.array([0, None] + [1] * 2000, type=pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, ["x", "z" * (MAX_ROW_BYTES + 1)])
    pq.write_table(pa.table({"a": column}), path, store_schema=False)
    assert path.stat().st_size < 2**20
    usual = pa.default_memory_pool()
    pa.set_memory_pool(counted := pa.proxy_memory_pool(usual))
    try:
        with pytest.raises(DataError, match="row 3 is longer than 1 MiB"):
            list(open_batches(path))
    finally:
        pa.set_memory_pool(usual)
    assert 0 < (counted.max_memory() or 0) < 2**27


def test_two_columns_make_a_row_too_long_together(tmp_path: Path):
    path = tmp_path / "a.parquet"
    half = MAX_ROW_BYTES // 2 + 1
    pl.DataFrame({"a": ["x", "y" * half, "y" * half], "b": ["z" * half, "x", "z" * half]}).write_parquet(path)
    with pytest.raises(DataError, match="row 3 is longer than 1 MiB"):
        list(open_batches(path, rows=2))


def test_lists_and_bytes_are_bounded_likewise(tmp_path: Path):
    path = tmp_path / "a.parquet"
    long = "z" * 2**19
    for column, row in (
        (pl.Series([["x"], [long, long, "y"]]), 2),
        (pl.Series([{"a": "x"}, {"a": "y"}, {"a": long * 3}]), 3),
        (pl.Series([b"", long.encode() * 3]), 2),
        (pl.Series([list(range(2**18))]), 1),
    ):
        pl.DataFrame({"a": column}).write_parquet(path)
        with pytest.raises(DataError, match=f"row {row} is longer than 1 MiB"):
            list(open_batches(path))
    pl.DataFrame({"a": [[long]] * 200}).write_parquet(path)
    batches = list(open_batches(path))
    assert len(batches) > 1
    assert sizes(batches) < MAX_BATCH_BYTES * 1.1
    assert sum(batch.height for batch in batches) == 200
