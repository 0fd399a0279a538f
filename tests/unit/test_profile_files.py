"""Profiles of Parquet files: exactly what counting all rows at once gives; what cannot be counted is refused."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churnops.data import profile_files
from churnops.data.profile import count_profile, fit_profile
from churnops.data.profile_files import profile_parquet
from churnops.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    for part in range(3):
        table = pl.DataFrame(
            {
                "minutes": pl.Series(rng.normal(size=5000).round(1)).set(pl.Series(rng.random(5000) < 0.01), None),
                "calls": pl.Series(rng.integers(0, 9, 5000), dtype=pl.Int16),
                "plan": rng.random(5000) < 0.3,
                "note": ["text"] * 5000,
            }
        )
        table.write_parquet(tmp_path / f"{part}.parquet", row_group_size=1200)
    return tmp_path


def test_streamed_counts_are_those_of_all_rows(folder: Path, rng: np.random.Generator):
    reference = fit_profile({"calls": np.arange(5.0), "minutes": rng.normal(size=300).round(1), "plan": np.zeros(9)})
    reported: list[int] = []
    found = profile_parquet([folder], reference, on_rows=reported.append)
    table = pl.concat(pl.read_parquet(path) for path in sorted(folder.iterdir()))
    columns = {name: table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in reference}
    for name, expected in count_profile(reference, columns).items():
        np.testing.assert_array_equal(found[name].counts, expected.counts)
        assert found[name].missing == expected.missing
    assert found["minutes"].missing > 0
    assert sorted(reported)[-1] == 15_000
    again = profile_parquet(sorted(folder.iterdir(), reverse=True), reference)
    np.testing.assert_array_equal(again["minutes"].counts, found["minutes"].counts)


def test_a_files_metadata_are_not_read_again_for_each_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[bool] = []  # whether the file's metadata had to be read

    class Opened(pq.ParquetFile):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            opened.append(options.get("metadata") is None)
            super().__init__(*args, **options)

    monkeypatch.setattr(pq, "ParquetFile", Opened)
    monkeypatch.setattr(profile_files, "RUN", 30)
    values = np.arange(4000.0) % 7
    reference = fit_profile({"x": np.arange(5.0)})
    for rows in (10, 40, 4000):  # in a row group: many groups a run, one, the whole file
        opened.clear()
        pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet", row_group_size=rows)
        found = profile_parquet([tmp_path], reference)["x"]
        np.testing.assert_array_equal(found.counts, reference["x"].count(values).counts)
        assert sum(opened) <= 2  # to check it, and to cut it into runs
        assert len(opened) - sum(opened) == {10: 134, 40: 100, 4000: 1}[rows]


@pytest.mark.parametrize(
    ("values", "counts", "missing"),
    [
        (pa.nulls(3), [0, 0, 0, 0, 0], 3),
        (pa.array([Decimal("1.0"), Decimal("2.5"), None]), [0, 1, 0, 0, 1], 1),
        (pa.array([2**60 + 1, 2, None]), [0, 0, 0, 1, 1], 1),  # beyond 2**53 rounded, not refused
        (pa.array([np.nan, -np.inf, 1.5]), [1, 0, 1, 0, 0], 1),
        (pa.array([], pa.float32()), [0, 0, 0, 0, 0], 0),
    ],
    ids=["all null", "decimals", "large integers", "not numbers", "no rows"],
)
def test_every_kind_of_number_is_counted(tmp_path: Path, values: pa.Array, counts: list[int], missing: int):
    pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet")
    found = profile_parquet([tmp_path], fit_profile({"x": np.array([1.0, 2.0])}))["x"]
    assert (found.counts.tolist(), found.missing) == (counts, missing)


PEAKS = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from churnops.data.profile import fit_profile
from churnops.data.profile_files import profile_parquet
reference = fit_profile({f"c{i}": np.arange(9.0) for i in range(12)})
for file in sys.argv[1:]:
    profile_parquet([Path(file)], reference)
    print(pa.default_memory_pool().max_memory())
"""


def test_memory_does_not_grow_with_the_row_group(tmp_path: Path, rng: np.random.Generator):
    table = pa.table({f"c{i}": rng.normal(size=1_500_000) for i in range(12)})  # 137 MiB
    files = [tmp_path / "small.parquet", tmp_path / "large.parquet"]
    for file, rows in zip(files, (300_000, 1_500_000), strict=True):
        part = table.slice(0, rows)
        pq.write_table(part, file, row_group_size=rows, use_dictionary=False, compression="none")
    command = [sys.executable, "-c", PEAKS, *map(str, files)]
    small, large = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert large < 1.2 * small


def test_what_cannot_be_counted_is_refused_in_one_line(folder: Path, tmp_path: Path):
    reference = fit_profile({"calls": np.arange(5.0)})
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    data = (folder / "0.parquet").read_bytes()
    (damaged / "a.parquet").write_bytes(data[: len(data) // 2])
    (damaged / "b.parquet").write_bytes(b"PAR1" + bytes(500) + data[504:])  # the end is right, the rows are not
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["calls", "calls"]), twice)
    for sources, names, message in (
        ([twice], ("calls",), "has two columns 'calls'"),
        ([tmp_path / "empty"], ("calls",), "holds no .parquet file"),
        ([tmp_path / "nothing.parquet"], ("calls",), "is not a readable Parquet table"),
        ([damaged / "a.parquet"], ("calls",), "is not a readable Parquet table"),
        ([damaged / "b.parquet"], ("minutes",), "is not a readable Parquet table"),
        ([folder], ("age",), "has no column 'age'"),
        ([folder], ("note",), "holds .*string, not numbers"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            profile_parquet(sources, dict.fromkeys(names, reference["calls"]))
        assert "\n" not in str(caught.value)
