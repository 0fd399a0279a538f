"""What a Parquet file unpacks to is known from its page headers before a page is unpacked."""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churnops.data import parquet, parquet_pages
from churnops.data.batches import open_batches
from churnops.data.parquet_pages import _header, _pages, _walk, check_pages
from churnops.errors import DataError

TEXTS = [None if i % 7 == 0 else f"customer {i % 50}" for i in range(5000)]
TABLE = pa.table(
    {
        "n": pa.array(range(5000), pa.int64()),
        "t": TEXTS,
        "list": [[1.0] * (i % 5) for i in range(5000)],
        "struct": [{"a": i, "b": "x" * (i % 9)} for i in range(5000)],
        "flag": [i % 3 == 0 for i in range(5000)],
    }
)


def check_all(path: Path) -> bool:
    metadata = pq.read_metadata(path)
    return check_pages(path, metadata, 0, range(metadata.num_columns))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_every_value_of_every_page_is_seen(tmp_path: Path, version: Any, compression: Any, dictionary: bool):
    path = tmp_path / "a.parquet"
    pq.write_table(
        TABLE,
        path,
        data_page_version=version,
        compression=compression,
        use_dictionary=dictionary,
        data_page_size=1000,
        write_batch_size=100,
        row_group_size=3000,
    )
    metadata = pq.read_metadata(path)
    with path.open("rb") as file:
        for group in range(metadata.num_row_groups):
            assert not check_pages(path, metadata, group, range(metadata.num_columns))
            for position in range(metadata.num_columns):
                column = metadata.row_group(group).column(position)
                start = column.dictionary_page_offset or column.data_page_offset
                largest, values, repeated = _pages(path, file.fileno(), start, column.total_compressed_size)
                assert values == column.num_values
                assert 0 < largest < column.total_uncompressed_size
                assert repeated == 0
    assert pa.concat_tables(table.to_arrow() for table in open_batches(path)).num_rows == 5000


def test_a_header_longer_than_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet_pages, "WINDOW", 8)
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    assert not check_all(path)


def bomb(path: Path, length: int, count: int, **options: Any) -> None:
    table = pa.table({"t": ["z" * length] * count})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, data_page_size=2**30, **options)


def test_a_page_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    bomb(path, 100_000, 1000)
    assert path.stat().st_size < 100_000
    largest = check(path)
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", largest)
    assert sum(table.height for table in open_batches(path)) == 1000
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", largest - 1)
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="unpack to more than 95 MiB at once: write smaller pages"):
        next(open_batches(path))
    assert pa.total_allocated_bytes() - before < 2**24


def check(path: Path) -> int:
    column = pq.read_metadata(path).row_group(0).column(0)
    with path.open("rb") as file:
        return _pages(path, file.fileno(), column.data_page_offset, column.total_compressed_size)[0]


def test_the_pages_of_all_columns_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({f"c{i}": np.arange(1000) for i in range(10)}), path, use_dictionary=False)
    monkeypatch.setattr(parquet_pages, "PAGES_SHARE", 0)
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 10 * 8000 + 10 * 64)
    assert not check_all(path)
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 9 * 8000)
    with pytest.raises(DataError, match="write smaller pages"):
        check_all(path)


def test_values_that_repeat_beginnings_come_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each is a few bytes, and may be as long as the page."""
    path = tmp_path / "a.parquet"
    table = pa.table({"d": pa.array([Decimal(10) ** 30 + i for i in range(3000)], pa.decimal128(38))})
    pq.write_table(table, path, use_dictionary=False, column_encoding={"d": "DELTA_BYTE_ARRAY"})
    assert check_all(path)
    asked: list[int] = []
    first = parquet._first
    monkeypatch.setattr(parquet, "_first", lambda *args: asked.append(args[3]) or first(*args))
    assert sum(batch.height for batch in open_batches(path)) == 3000
    assert asked == [parquet.LONG_ROWS]
    monkeypatch.setattr(parquet_pages, "MAX_PREFIXED_BYTES", 10)
    with pytest.raises(DataError, match="a page holds more than it should"):
        next(open_batches(path))


class Forged:
    """Metadata that say less than the pages hold."""

    def __init__(self, path: Path, **changes: int) -> None:
        column = pq.read_metadata(path).row_group(0).column(0)
        names = ("num_values", "data_page_offset", "dictionary_page_offset", "total_compressed_size")
        self._column = SimpleNamespace(**{name: getattr(column, name) for name in names} | changes)

    def row_group(self, _group: int) -> Any:
        return SimpleNamespace(num_columns=1, column=lambda _: self._column)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_values": 4999}, "more than it should"),
        ({"data_page_offset": 5, "dictionary_page_offset": None}, "header of a page is damaged"),
        ({"data_page_offset": -5, "dictionary_page_offset": None}, ""),
        ({"data_page_offset": 10**12, "dictionary_page_offset": None}, ""),
    ],
    ids=["values", "offset", "negative", "outside"],
)
def test_a_footer_that_belies_its_pages(tmp_path: Path, changes: dict[str, int], reason: str):
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE.select(["n"]), path)
    if reason:
        with pytest.raises(DataError, match=reason):
            check_pages(path, Forged(path, **changes), 0, [0])  # type: ignore[arg-type]
    else:
        check_pages(path, Forged(path, **changes), 0, [0])  # type: ignore[arg-type]  # nothing is there to unpack


def test_columns_that_are_stored_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE.select(["n"]), path, row_group_size=TABLE.num_rows // 2)
    assert sum(batch.height for batch in open_batches(path)) == TABLE.num_rows
    monkeypatch.setattr(parquet, "_stored_bytes", lambda *_: path.stat().st_size * 2 // 3)  # as a forged footer says
    with pytest.raises(DataError, match="its columns overlap"):
        list(open_batches(path))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_within_bounds(data: bytes):
    """The compiled loops do not check bounds: the same code in Python does."""
    found, totals, array = np.zeros(5, np.int64), np.zeros(3, np.int64), np.frombuffer(data, np.uint8)
    with np.errstate(over="ignore"):
        place = _header.py_func(array, 0, found)
    assert place == _header(array, 0, found)
    assert place <= len(data)
    assert _walk(array, len(data), totals) >= -2


@pytest.mark.parametrize("size", [-1, 2**31, 2**32 + 50])
def test_a_size_that_others_read_differently_is_damage(size: int):
    zigzag, number = size << 1 ^ size >> 63, bytearray()
    while zigzag > 0x7F:
        number.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    number.append(zigzag)
    header = np.frombuffer(bytes([0x15, 0, 0x15, 2, 0x15, *number, 0]), np.uint8)  # type, unpacked, stored size, end
    assert _header(header, 0, np.zeros(5, np.int64)) == -2
