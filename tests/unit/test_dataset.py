"""Data sets: which files belong to one, the columns that their folders add, and the parts into which they are cut."""

from pathlib import Path

import polars as pl
import pytest

from churnops.data import dataset
from churnops.data.dataset import DataSet
from churnops.errors import DataError
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(Column(name="calls", kind="integer"), Column(name="churn", kind="target", choices=("no", "yes")))
)


def write(path: Path, rows: int = 3, group: int | None = None, first: int = 0, name: str = "calls") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame({name: range(first, first + rows)}, schema={name: pl.Int64})
    if path.suffix == ".parquet":
        table.write_parquet(path, row_group_size=group)
    else:
        table.write_csv(path)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_partitions_become_columns_and_hidden_files_are_left_out(tmp_path: Path, ending: str):
    write(tmp_path / f"year=2026/place=New%20York/a.{ending}", first=0)
    write(tmp_path / f"year=2026/place=__HIVE_DEFAULT_PARTITION__/a.{ending}", first=3)
    for hidden in ("_temporary/a", "year=2026/place=x/.b", "_SUCCESS/c"):
        write(tmp_path / f"{hidden}.{ending}")
    (tmp_path / "readme.txt").write_text("no table")
    parts = DataSet.of(tmp_path).parts()
    tables = [batch.table for part in parts for batch in part.batches(2, SCHEMA, "all")]
    rows = pl.concat(table.cast({"calls": pl.Int64}) for table in tables).sort("calls").rows()
    assert rows == [(n, "2026", "New York") for n in range(3)] + [(n, "2026", None) for n in range(3, 6)]
    assert sum(part.share for part in parts) == pytest.approx(1.0)


def test_parts_are_whole_row_groups_and_hold_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset, "PART_ROWS", 10)
    write(tmp_path / "a.parquet", rows=57, group=4)
    write(tmp_path / "b.parquet", rows=0)
    write(tmp_path / "c.parquet", rows=25, group=25, first=57)
    parts = DataSet.of(tmp_path).parts()
    assert [(part.file.name, part.first_row, part.rows) for part in parts] == [
        *(("a.parquet", first, 12) for first in (0, 12, 24, 36)),
        ("a.parquet", 48, 9),
        ("c.parquet", 0, 25),
    ]
    batches = [list(part.batches(5, SCHEMA, "all")) for part in parts]
    assert [row for part in batches for batch in part for row in batch.table["calls"]] == list(range(82))
    assert [batch.first_row for batch in batches[1]] == [12, 17, 22]


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path):
    def refused(folder: str, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            list(DataSet.of(tmp_path / folder).parts()[0].batches(10, SCHEMA, "all"))
        assert "\n" not in str(caught.value)

    write(tmp_path / "mixed/a.csv")
    write(tmp_path / "mixed/b.parquet")
    refused("mixed", "holds CSV and Parquet files: use one format")
    (tmp_path / "empty").mkdir()
    refused("empty", r"holds no .parquet or .csv file")
    write(tmp_path / "none/a.parquet", rows=0)
    refused("none", "holds no rows")
    write(tmp_path / "apart/year=1/a.csv")
    write(tmp_path / "apart/b.csv")
    refused("apart", "year=1/a.csv is in other partitions than b.csv")
    write(tmp_path / "twice/year=1/year=2/a.csv")
    refused("twice", "two of its folders have a value of 'year'")
    write(tmp_path / "collides/calls=1/a.csv")
    refused("collides", "has a column 'calls', and so have its folders")
    write(tmp_path / "delta/a.parquet")
    (tmp_path / "delta/_delta_log").mkdir()
    refused("delta", "is a Delta table")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.parquet").write_bytes(b"PAR1 and no more than that")
    refused("broken", "a.parquet is not a readable Parquet table")
