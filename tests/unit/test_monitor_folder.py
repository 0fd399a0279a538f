"""Cycles on folders: counts of the parts are added, and equal those of all rows at once."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.data import dataset
from churnops.data.validate import ValidationError
from churnops.monitoring import ModelMonitor
from churnops.monitoring.collect import batch_from_file
from churnops.monitoring.folder import batch_from_folder
from churnops.settings import Settings
from churnops.training.train import TrainedModels
from tests.support.projects import LATER


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 200)


def write(folder: Path, table: pl.DataFrame) -> Path:
    for number in range(3):
        path = folder / f"in/month={number}/a.parquet"
        path.parent.mkdir(parents=True)
        table.slice(number * 600, 600).write_parquet(path, row_group_size=100)
    return folder / "in"


def test_a_folder_gives_the_report_of_its_rows_in_one_file(tmp_path: Path, trained: TrainedModels, settings: Settings):
    table = pl.read_csv(LATER)
    folder, file = write(tmp_path, table), tmp_path / "all.parquet"
    table.write_parquet(file)
    monitor, bundle = ModelMonitor(settings), trained.refit
    whole, parts = batch_from_file(file, bundle), batch_from_folder(folder, bundle, tmp_path / "models")
    assert parts.rows == whole.rows == table.height
    np.testing.assert_array_equal(parts.resolved.probability, whole.resolved.probability)
    (one, counts), (other, added) = (monitor._check(bundle, batch, None, ()) for batch in (whole, parts))
    for name, column in counts.items():
        np.testing.assert_array_equal(added[name].counts, column.counts)
        assert added[name].missing == column.missing
    first, second = one.to_json(), other.to_json()
    for differs in ("timestamp", "source"):
        del first[differs], second[differs]
    assert first == second


def test_a_broken_row_of_a_folder_is_named_by_file_and_row(tmp_path: Path, trained: TrainedModels):
    table = pl.read_csv(LATER).with_row_index()
    minutes = pl.when(pl.col("index") == 700).then(-1.0).otherwise("Total day minutes").alias("Total day minutes")
    folder = write(tmp_path, table.with_columns(minutes).drop("index"))
    with pytest.raises(ValidationError, match=r"^month=1/a\.parquet: .*\(row 101\)"):
        batch_from_folder(folder, trained.refit, tmp_path / "models")
